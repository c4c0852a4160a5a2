//! Ctrl-C ends a run early and cleanly: the relays that were started end too, and what was measured is not lost.
//!
//! Input: SIGINT and SIGTERM. Output: a flag that long loops look at. A second signal ends the process at once.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// What a loop returns when it stopped for this.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

pub fn install() {
    let handler = request as extern "C" fn(libc::c_int);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only touches an atomic and calls `signal`, both allowed in a handler (signal-safety(7)).
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

extern "C" fn request(signal: libc::c_int) {
    REQUESTED.store(true, Ordering::Relaxed);
    // SAFETY: `signal` is a valid signal number: the kernel gave it. The default action ends the process.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

pub fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// An error once Ctrl-C was pressed.
pub fn check() -> Result<(), Interrupted> {
    if is_requested() { Err(Interrupted) } else { Ok(()) }
}
