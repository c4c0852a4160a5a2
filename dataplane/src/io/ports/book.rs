//! Who has which port, for each way that ports are made.
//!
//! Input: claims and releases of the link thread. Output: a refusal, or the socket of the port where it has one. Owns the
//! steering, and the count of descriptors.

use super::PortRefused;
use super::bound::BoundPorts;
use super::steering::Steering;
use crate::io::{Fault, socket};
use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Descriptors that are not for ports: workers, rings, control, log.
pub(super) const DESCRIPTORS_KEPT: u64 = 512;

#[derive(Debug)]
pub(super) enum Book {
    Steered {
        steering: Steering,
        /// Surveyed when the first port is claimed: by then our own shared sockets are bound.
        bound: Mutex<Option<BoundPorts>>,
    },
    /// The kernel keeps the book, by what is bound.
    Sockets {
        left: AtomicUsize,
    },
    Simulated(Mutex<HashSet<SocketAddr>>),
}

impl Default for Book {
    /// Has no port to give.
    fn default() -> Book {
        Book::sockets(0)
    }
}

impl Book {
    pub(super) fn steered(steering: Steering) -> Book {
        Book::Steered { steering, bound: Mutex::new(None) }
    }

    pub(super) fn sockets(descriptors: usize) -> Book {
        Book::Sockets { left: AtomicUsize::new(descriptors) }
    }

    pub(super) fn simulated() -> Book {
        Book::Simulated(Mutex::default())
    }

    /// Enters a claim; gives the port's socket if it has one.
    pub(super) fn enter(
        &self,
        worker: usize,
        addr: SocketAddr,
        tos: u8,
    ) -> Result<Option<Arc<UdpSocket>>, PortRefused> {
        let taken = match self {
            Book::Steered { steering, bound } => {
                lock(bound).get_or_insert_with(BoundPorts::survey).holds(addr) || !steering.take(addr, worker)
            }
            Book::Sockets { left } => return bind(left, addr, tos).map(|socket| Some(Arc::new(socket))),
            Book::Simulated(ports) => !lock(ports).insert(addr),
        };
        if taken { Err(PortRefused::Taken) } else { Ok(None) }
    }

    /// The claim has ended. The socket closes by itself.
    pub(super) fn strike(&self, addr: SocketAddr) {
        match self {
            Book::Steered { steering, .. } => steering.release(addr),
            Book::Sockets { left } => drop(left.fetch_add(1, Ordering::Relaxed)),
            Book::Simulated(ports) => drop(lock(ports).remove(&addr)),
        }
    }
}

/// What a panic of another holder left is as good as ever: each change is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bind(left: &AtomicUsize, addr: SocketAddr, tos: u8) -> Result<UdpSocket, PortRefused> {
    let take_one = |left: usize| left.checked_sub(1);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).map_err(|_| PortRefused::Exhausted)?;
    socket::port(addr, tos).map_err(|fault| {
        left.fetch_add(1, Ordering::Relaxed);
        match fault {
            Fault::AddressNotHere { .. } => PortRefused::NoSuchAddress,
            Fault::PortInUse { .. } | Fault::PortForbidden { .. } => PortRefused::Taken,
            _ => PortRefused::Exhausted,
        }
    })
}

/// How many descriptors this process may open for ports: all that the hard limit allows, but for a few.
pub(super) fn descriptors_for_ports() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place to write to and outlives the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: `raised` is valid to read and outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
        limit = raised;
    }
    usize::try_from(limit.rlim_cur.saturating_sub(DESCRIPTORS_KEPT)).unwrap_or(usize::MAX)
}
