//! The backend of old system calls: `recvmmsg`, `sendmmsg`, and `ppoll` to sleep.
//!
//! Input: a bound, non-blocking UDP socket. Output: see [`crate::io`]. Owns the socket and the arrays that the kernel
//! reads messages from. Packets are received into and sent from the pool; nothing is copied in between.
//!
//! An ICMP error about an earlier packet never shows here: Linux tells it to unconnected UDP sockets only if they ask
//! (`IP_RECVERR`), and ours does not.

use crate::batch::{BATCH_CAPACITY, Disposition, Nanos, PacketBatch};
use crate::buffers::{Buffer, BufferPool};
use crate::io::fault::Fault;
use crate::io::remote::{Remote, SOCKADDR_BYTES};
use crate::io::wake::{Sleeper, Waker};
use crate::io::{IoCounters, PortId, is_exhausted};
use crosspoint_contract::limits::{BATCH_PACKETS_MAX, PACKET_BYTES_MAX};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

pub(crate) struct Mmsg {
    receive: Box<Messages<BATCH_PACKETS_MAX>>,
    /// Buffers that `receive` points at, in its order.
    ready: [Buffer; BATCH_PACKETS_MAX],
    /// How many at the front of `ready` went away with the last batch.
    ready_used: usize,
    send: Box<Messages<BATCH_CAPACITY>>,
    socket: UdpSocket,
    sleeper: Sleeper,
    counters: IoCounters,
}

impl Mmsg {
    /// Those of a batch, received and local, and the next batch's lying ready.
    pub(crate) const POOL_BUFFERS: usize = BATCH_CAPACITY + BATCH_PACKETS_MAX;

    pub(crate) fn open(socket: UdpSocket) -> io::Result<Mmsg> {
        Ok(Mmsg {
            receive: Messages::new(),
            ready: [const { Buffer::NONE }; BATCH_PACKETS_MAX],
            ready_used: BATCH_PACKETS_MAX,
            send: Messages::new(),
            socket,
            sleeper: Sleeper::new()?,
            counters: IoCounters::default(),
        })
    }

    pub(crate) fn harvest(&mut self, batch: &mut PacketBatch, sleep_until: Option<Nanos>) -> Result<(), Fault> {
        self.refill(batch.pool_mut());
        let mut received = self.receive_now()?;
        if received == 0
            && let Some(until) = sleep_until
        {
            self.sleep(until)?;
            received = self.receive_now()?;
        }
        self.hand_over(received, batch);
        batch.set_now(Nanos::now());
        Ok(())
    }

    pub(crate) fn submit(&mut self, batch: &mut PacketBatch) {
        let count = self.lay_out(batch);
        self.send_now(count);
        for i in 0..batch.len() {
            let buffer = batch.take_buffer(i);
            batch.pool_mut().give(buffer);
        }
    }

    pub(crate) fn waker(&self) -> Waker {
        self.sleeper.waker()
    }

    pub(crate) fn counters(&self) -> IoCounters {
        self.counters
    }

    #[cfg(test)]
    pub(crate) fn buffers_idle(&self) -> usize {
        self.ready.iter().filter(|buffer| **buffer != Buffer::NONE).count()
    }

    /// Puts a free buffer under each receive message that gave its own away.
    fn refill(&mut self, pool: &mut BufferPool) {
        for i in 0..self.ready_used {
            // The pool is sized for it: nothing but this and the batch, which is empty now, holds buffers.
            let buffer = pool.take().expect("every buffer is back after submit");
            self.receive.point(i, pool.bytes_mut(&buffer).as_mut_ptr(), PACKET_BYTES_MAX, SOCKADDR_BYTES as u32);
            self.ready[i] = buffer;
        }
        self.ready_used = 0;
    }

    fn receive_now(&mut self) -> Result<usize, Fault> {
        self.counters.enters += 1;
        match self.receive.receive(self.socket.as_raw_fd()) {
            Ok(count) => Ok(count),
            Err(error) if is_transient(&error) => Ok(0),
            Err(source) => Err(Fault::System { call: "recvmmsg", source }),
        }
    }

    fn hand_over(&mut self, received: usize, batch: &mut PacketBatch) {
        for i in 0..received {
            let buffer = std::mem::replace(&mut self.ready[i], Buffer::NONE);
            let (bytes, truncated) = self.receive.received(i);
            match Remote::decode(&self.receive.names[i]) {
                Some(remote) => batch.push_received(buffer, remote, PortId::SHARED, bytes, truncated),
                None => batch.pool_mut().give(buffer),
            }
            self.counters.bytes_received += bytes as u64;
        }
        self.counters.packets_received += received as u64;
        self.ready_used = received;
    }

    fn sleep(&mut self, until: Nanos) -> Result<(), Fault> {
        if !self.sleeper.fall_asleep() {
            return Ok(());
        }
        self.counters.enters += 1;
        let readable = wait_readable([self.socket.as_raw_fd(), self.sleeper.eventfd()], until);
        self.sleeper.rise();
        let [_, rung] = readable.map_err(|source| Fault::System { call: "ppoll", source })?;
        if rung {
            self.sleeper.drain();
        }
        Ok(())
    }

    /// Points the send messages at the packets marked `Send`; says how many.
    fn lay_out(&mut self, batch: &mut PacketBatch) -> usize {
        let mut count = 0;
        for i in 0..batch.len() {
            let packet = batch.packet(i);
            if packet.disposition == Disposition::Send {
                let bytes = packet.len();
                let name_bytes = packet.remote.encode(&mut self.send.names[count]);
                self.send.point(count, batch.buffer_mut(i).as_mut_ptr(), bytes, name_bytes);
                count += 1;
            }
        }
        count
    }

    /// Sends the first `count` messages. One that the kernel refuses is counted and the next one tried; once the
    /// socket's queue is full the rest is counted and given up, because late voice is worth less than none.
    fn send_now(&mut self, count: usize) {
        let mut next = 0;
        while next < count {
            self.counters.enters += 1;
            match self.send.send(self.socket.as_raw_fd(), next..count) {
                Ok(sent) => {
                    self.counters.packets_sent += sent as u64;
                    self.counters.bytes_sent += self.send.bytes(next..next + sent);
                    next += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_exhausted(&error) => {
                    self.counters.send_exhausted += (count - next) as u64;
                    return;
                }
                Err(_) => {
                    self.counters.send_failed += 1;
                    next += 1;
                }
            }
        }
    }
}

/// Nothing is there, or nothing was told that concerns us.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionRefused) || error.raw_os_error() == Some(libc::ENOMEM)
}

/// Returns when one of the descriptors is readable, at `until`, or early by a signal; says which are.
fn wait_readable(fds: [RawFd; 2], until: Nanos) -> io::Result<[bool; 2]> {
    let mut polled = fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let remaining = until.timespec_from(Nanos::now());
    // SAFETY: `polled` and `remaining` outlive the call, and the count is that of `polled`; no signal mask is given.
    let result = unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, &remaining, ptr::null()) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok([false; 2]) } else { Err(error) };
    }
    Ok(polled.map(|fd| fd.revents != 0))
}

/// `N` messages in the kernel's form. Always boxed, so the pointers from `headers` to the other arrays stay valid.
struct Messages<const N: usize> {
    headers: [libc::mmsghdr; N],
    iovecs: [libc::iovec; N],
    names: [[u8; SOCKADDR_BYTES]; N],
}

impl<const N: usize> Messages<N> {
    fn new() -> Box<Messages<N>> {
        // SAFETY: mmsghdr is plain data for which zeroes (null pointers, no lengths) are valid.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        Box::new(Messages {
            headers: [header; N],
            iovecs: [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; N],
            names: [[0; SOCKADDR_BYTES]; N],
        })
    }

    /// Makes message `i` one of `bytes` bytes at `packet`, with `name_bytes` of `names[i]`.
    fn point(&mut self, i: usize, packet: *mut u8, bytes: usize, name_bytes: u32) {
        self.iovecs[i] = libc::iovec { iov_base: packet.cast(), iov_len: bytes };
        let header = &mut self.headers[i].msg_hdr;
        header.msg_iov = &raw mut self.iovecs[i];
        header.msg_iovlen = 1;
        header.msg_name = (&raw mut self.names[i]).cast();
        header.msg_namelen = name_bytes;
    }

    fn receive(&mut self, socket: RawFd) -> io::Result<usize> {
        let headers = self.headers.as_mut_ptr();
        // SAFETY: all N headers were pointed at `iovecs` and `names` of this box and at PACKET_BYTES_MAX bytes of a pool
        // buffer each, which `Mmsg::ready` holds the right to; the mapping lives as long as the caller's batch.
        let count = unsafe { libc::recvmmsg(socket, headers, N as libc::c_uint, libc::MSG_DONTWAIT, ptr::null_mut()) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Bytes of received message `i`, and whether there were more.
    fn received(&self, i: usize) -> (usize, bool) {
        let header = &self.headers[i];
        (header.msg_len as usize, header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0)
    }

    fn send(&mut self, socket: RawFd, range: std::ops::Range<usize>) -> io::Result<usize> {
        let headers = &mut self.headers[range];
        // SAFETY: the headers were pointed by `lay_out` at `iovecs` and `names` of this box and at packets of the batch
        // that is being submitted; the kernel copies all of it before it returns.
        let count =
            unsafe { libc::sendmmsg(socket, headers.as_mut_ptr(), headers.len() as libc::c_uint, libc::MSG_DONTWAIT) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Sum of the payloads of sent messages.
    fn bytes(&self, range: std::ops::Range<usize>) -> u64 {
        self.headers[range].iter().map(|header| u64::from(header.msg_len)).sum()
    }
}
