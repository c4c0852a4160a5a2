//! SIGTERM and SIGINT as a descriptor, so that a signal is one more thing the link thread waits for.
//!
//! Input: whether SIGINT is ours. Output: a descriptor that becomes readable. Owns the descriptor. The signals are
//! blocked in the calling thread and in all it starts later; a blocked SIGINT that nobody reads is an ignored one, which
//! is what a child in somebody's terminal wants.

use crate::fault::Fault;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

/// Blocks them in this thread and in those it starts. A program that starts a thread before [`crate::run`], for its log say,
/// calls it first: a signal may go to any thread that does not block it, and would end the process there.
pub fn block_signals() -> Result<(), Fault> {
    let both = set_of(&[libc::SIGTERM, libc::SIGINT]);
    // SAFETY: `both` is an initialised signal set; no old set is asked for.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &both, std::ptr::null_mut()) };
    match result {
        0 => Ok(()),
        error => Err(Fault::System { call: "pthread_sigmask", source: io::Error::from_raw_os_error(error) }),
    }
}

/// The blocked signals as a descriptor.
pub fn block(interrupt_is_ours: bool) -> Result<OwnedFd, Fault> {
    block_signals()?;
    let both = set_of(&[libc::SIGTERM, libc::SIGINT]);
    let awaited = if interrupt_is_ours { both } else { set_of(&[libc::SIGTERM]) };
    // SAFETY: -1 asks for a new descriptor; `awaited` is an initialised signal set.
    let fd = unsafe { libc::signalfd(-1, &awaited, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(Fault::System { call: "signalfd", source: io::Error::last_os_error() });
    }
    // SAFETY: the descriptor is fresh and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set before sigaddset and assume_init use it; the signals exist.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}
