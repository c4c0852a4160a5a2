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

/// Ends the sleep of one worker; may be cloned and sent to any thread.
#[derive(Clone)]
pub struct Waker {
    bell: Arc<Bell>,
}

struct Bell {
    state: State<AtomicU32>,
    eventfd: File,
}

impl Waker {
    /// Makes the worker look at its queues, now if it sleeps, else before it next would sleep. Call it after queueing.
    pub fn wake(&self) {
        if self.bell.state.notify() {
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
        Ok(Sleeper { bell: Arc::new(Bell { state: State(AtomicU32::new(AWAKE)), eventfd }) })
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker { bell: self.bell.clone() }
    }

    /// Whether the worker may sleep. If not, it was notified since it last looked, and must look now.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.bell.state.fall_asleep()
    }

    /// The worker is awake and will look at its queues; notices up to now are served by that.
    pub(crate) fn rise(&self) {
        self.bell.state.rise();
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

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const NOTIFIED: u32 = 2;

/// The figure at the top of this file. Generic, so that the model checker runs this very code.
struct State<W>(W);

impl<W: Word> State<W> {
    /// Whether there is a sleeper to ring.
    fn notify(&self) -> bool {
        // Release: what the caller queued is visible to the worker that sees this notice.
        self.0.swap(NOTIFIED) == ASLEEP
    }

    fn fall_asleep(&self) -> bool {
        let asleep = self.0.replace_if(AWAKE, ASLEEP);
        if !asleep {
            self.rise();
        }
        asleep
    }

    fn rise(&self) {
        // Acquire: pairs with `notify`. A plain store could be overtaken by the reading of the queues, and so wipe out a
        // notice of something that was not seen.
        self.0.swap(AWAKE);
    }
}

/// What `State` needs of an atomic, with acquire and release at each step.
trait Word {
    fn swap(&self, new: u32) -> u32;
    fn replace_if(&self, current: u32, new: u32) -> bool;
}

macro_rules! impl_word {
    ($atomic:ty) => {
        impl Word for $atomic {
            fn swap(&self, new: u32) -> u32 {
                self.swap(new, Ordering::AcqRel)
            }

            fn replace_if(&self, current: u32, new: u32) -> bool {
                self.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
            }
        }
    };
}

impl_word!(AtomicU32);

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

    impl_word!(loom::sync::atomic::AtomicU32);

    /// Runs every order and reordering that the memory model allows, of a worker and those who queue for it. A lost wake
    /// shows as a deadlock. The bound on preemptions keeps it to a second; faults of this kind need one or two.
    fn worker_sees_what_is_queued_by(producers: usize) {
        use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
        use loom::{sync::Arc, sync::Notify, thread};
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(move || {
            let state = Arc::new(State(loom::sync::atomic::AtomicU32::new(AWAKE)));
            let (queued, eventfd) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
            for _ in 0..producers {
                let (state, queued, eventfd) = (state.clone(), queued.clone(), eventfd.clone());
                thread::spawn(move || {
                    queued.fetch_add(1, Relaxed);
                    if state.notify() {
                        eventfd.notify();
                    }
                });
            }
            while queued.load(Relaxed) < producers {
                if state.fall_asleep() {
                    eventfd.wait();
                    state.rise();
                }
            }
        });
    }

    #[test]
    fn no_interleaving_loses_the_wake_of_one() {
        worker_sees_what_is_queued_by(1);
    }

    #[test]
    fn no_interleaving_loses_a_wake_of_two() {
        worker_sees_what_is_queued_by(2);
    }
}
