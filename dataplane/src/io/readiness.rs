//! Which of many sockets have something to read: an epoll instance.
//!
//! Input: sockets, each under the id of its port. Output: ids. Owns the instance and the array that the kernel writes to.
//! Level-triggered: a socket that was not read empty is told again, after those that were not told yet.

use crate::io::ports::PortId;
use crosspoint_contract::limits::BATCH_PACKETS_MAX;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

pub(super) struct Readiness {
    epoll: OwnedFd,
    events: [libc::epoll_event; BATCH_PACKETS_MAX],
}

impl Readiness {
    pub(super) fn new() -> io::Result<Readiness> {
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is fresh and nobody else's.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Readiness { epoll, events: [libc::epoll_event { events: 0, u64: 0 }; BATCH_PACKETS_MAX] })
    }

    /// Becomes readable when one of the sockets is.
    pub(super) fn fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    pub(super) fn watch(&self, socket: &UdpSocket, port: PortId) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: port.0.into() };
        self.control(libc::EPOLL_CTL_ADD, socket, &raw mut event)
    }

    /// One that is not watched is as good.
    pub(super) fn forget(&self, socket: &UdpSocket) {
        let _ = self.control(libc::EPOLL_CTL_DEL, socket, ptr::null_mut());
    }

    fn control(&self, operation: libc::c_int, socket: &UdpSocket, event: *mut libc::epoll_event) -> io::Result<()> {
        // SAFETY: both descriptors are open; `event` is null for a removal, which reads none, and else outlives the call.
        let result = unsafe { libc::epoll_ctl(self.fd(), operation, socket.as_raw_fd(), event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// How many sockets are readable now, `max` at most.
    pub(super) fn look(&mut self, max: usize) -> io::Result<usize> {
        let max = max.min(self.events.len()) as libc::c_int;
        // SAFETY: the kernel writes at most `max` events, and `events` has room for them.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), max, 0) };
        match usize::try_from(count) {
            Ok(count) => Ok(count),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// The `i`th of these.
    pub(super) fn ready(&self, i: usize) -> PortId {
        PortId(self.events[i].u64 as u32)
    }
}
