//! How the link and lobby threads sleep: until a worker rings, a descriptor is ready, or a time has come.
//!
//! Input: descriptors and a timeout. Output: which are ready. Owns nothing. Workers do not use it: they sleep in their
//! io backend.

use crate::io::Sleeper;
use std::os::fd::RawFd;
use std::time::Duration;

/// A descriptor to watch, and what `poll` said of it.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    pub fd: RawFd,
    pub writing: bool,
    pub ready: bool,
}

impl Watched {
    pub fn reading(fd: RawFd) -> Self {
        Watched { fd, writing: false, ready: false }
    }
}

/// Descriptors watched at once: listener, control, signals, and the sleeper's own.
const WATCHED_MAX: usize = 4;

/// Sleeps, unless something was queued for this thread since it last looked. `None` waits without end.
pub fn wait(sleeper: &Sleeper, watched: &mut [Watched], timeout: Option<Duration>) {
    // Who is ready is asked even when there is no reason to sleep.
    let asleep = sleeper.fall_asleep();
    let timeout = if asleep { timeout } else { Some(Duration::ZERO) };
    let mut polled = [libc::pollfd { fd: -1, events: 0, revents: 0 }; WATCHED_MAX];
    polled[0] = libc::pollfd { fd: sleeper.eventfd(), events: libc::POLLIN, revents: 0 };
    for (place, watched) in polled[1..].iter_mut().zip(&*watched) {
        let writing = if watched.writing { libc::POLLOUT } else { 0 };
        *place = libc::pollfd { fd: watched.fd, events: libc::POLLIN | writing, revents: 0 };
    }
    let timeout_ms = timeout.map_or(-1, |timeout| timeout.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32);
    // SAFETY: `polled` is an array of WATCHED_MAX initialised pollfds that outlives the call; negative descriptors
    // are skipped by the kernel.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout_ms) };
    sleeper.rise();
    sleeper.drain();
    for (place, watched) in polled[1..].iter().zip(watched) {
        watched.ready = place.revents != 0;
    }
}
