//! How another thread ends a worker's sleep.
//!
//! ```text
//!             fall_asleep              wake (rings the eventfd)
//!   AWAKE ---------------> ASLEEP ------------------------------> NOTIFIED
//!     ^ ^----- rise ---------'                                      |  ^
//!     |  `---------------- rise, or a refused fall_asleep ----------'  |
//!     `--------------- wake (no system call) --------------------------'
//! ```
//!
//! The one who queues something for a worker calls [`Waker::wake`] afterwards. Only a worker that sleeps costs a
//! system call. Nothing is lost: a worker that was notified since it last looked refuses to fall asleep, and whoever
//! queues after its last look leaves that notice first.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const NOTIFIED: u32 = 2;

/// Ends the sleep of one worker; may be cloned and sent to any thread.
#[derive(Clone)]
pub struct Waker {
    bell: Arc<Bell>,
}

struct Bell {
    state: AtomicU32,
    eventfd: File,
}

impl Waker {
    /// Makes the worker look at its queues, now if it sleeps, else before it next would sleep. Call it after queueing.
    pub fn wake(&self) {
        // Release: what we queued is visible to the worker that sees this notice.
        if self.bell.state.swap(NOTIFIED, Ordering::AcqRel) == ASLEEP {
            // It fails only when the count is at its maximum, and then the worker is being woken already.
            let _ = (&self.bell.eventfd).write(&1u64.to_ne_bytes());
        }
    }
}

/// The worker's end of its wakers.
pub(crate) struct Sleeper {
    bell: Arc<Bell>,
}

impl Sleeper {
    pub(crate) fn new() -> io::Result<Sleeper> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is fresh and nobody else's.
        let eventfd = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Sleeper { bell: Arc::new(Bell { state: AtomicU32::new(AWAKE), eventfd }) })
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker { bell: self.bell.clone() }
    }

    /// Whether the worker may sleep. If not, it was notified since it last looked, and must look now.
    pub(crate) fn fall_asleep(&self) -> bool {
        let state = &self.bell.state;
        let asleep = state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !asleep {
            self.rise();
        }
        asleep
    }

    /// The worker is awake and will look at its queues; notices up to now are served by that.
    pub(crate) fn rise(&self) {
        // Acquire: pairs with the swap in `wake`. A plain store could overtake the reading of the queues.
        self.bell.state.swap(AWAKE, Ordering::AcqRel);
    }

    /// Becomes readable when [`Waker::wake`] met a sleeper.
    pub(crate) fn eventfd(&self) -> RawFd {
        self.bell.eventfd.as_raw_fd()
    }

    /// Makes the eventfd unreadable again.
    pub(crate) fn drain(&self) {
        // Nothing to read is as good.
        let _ = (&self.bell.eventfd).read(&mut [0; 8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(sleeper: &Sleeper) -> bool {
        (&sleeper.bell.eventfd).read(&mut [0; 8]).is_ok()
    }

    #[test]
    fn notice_to_a_worker_that_is_awake_costs_no_system_call_and_keeps_it_awake() {
        let sleeper = Sleeper::new().expect("eventfd");
        sleeper.waker().wake();
        assert!(!rung(&sleeper));
        assert!(!sleeper.fall_asleep(), "slept over a notice");
        assert!(sleeper.fall_asleep(), "one notice keeps it awake once");
    }

    #[test]
    fn sleeper_is_rung_once() {
        let sleeper = Sleeper::new().expect("eventfd");
        assert!(sleeper.fall_asleep());
        sleeper.waker().wake();
        assert!(rung(&sleeper));
        sleeper.waker().wake();
        assert!(!rung(&sleeper));
    }
}
