//! The backend of old system calls: `recvmmsg`, `sendmmsg`, and `ppoll` to sleep.
//!
//! Input: a bound, non-blocking UDP socket, and ports. Output: see [`crate::io`]. Owns the socket and the arrays that the
//! kernel reads messages from. Packets are received into and sent from the pool; nothing is copied in between.
//!
//! A harvest asks the shared socket and those that ports are steered to, another one first each time. Where ports are
//! sockets, an epoll instance says which have something; those that the batch has no room for come first next time.
//!
//! An ICMP error about an earlier packet never shows here: Linux tells it to unconnected UDP sockets only if they ask
//! (`IP_RECVERR`), and ours does not.

use crate::batch::{BATCH_CAPACITY, Disposition, Nanos, PacketBatch};
use crate::buffers::{Buffer, BufferPool};
use crate::io::fault::Fault;
use crate::io::messages::Messages;
use crate::io::port_table::{Exit, PortTable, original_destination};
use crate::io::ports::{PortRefused, PortSpec, WorkerPorts};
use crate::io::readiness::Readiness;
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
    /// What is asked each time: descriptors of `socket` and of `worker_ports`.
    sources: Vec<(RawFd, Arrival)>,
    ports: PortTable,
    worker_ports: WorkerPorts,
    /// Where ports are sockets.
    readiness: Option<Readiness>,
    /// Ids of ports that closed since the last harvest, whose packets may still name them.
    closed: Vec<PortId>,
    /// Counts harvests, so that no source is always the last.
    turn: usize,
    sleeper: Sleeper,
    counters: IoCounters,
}

impl Mmsg {
    /// Those of a batch, received and local, and the next batch's lying ready.
    pub(crate) const POOL_BUFFERS: usize = BATCH_CAPACITY + BATCH_PACKETS_MAX;

    pub(crate) fn open(socket: UdpSocket, worker_ports: &WorkerPorts) -> io::Result<Mmsg> {
        let readiness = if worker_ports.are_sockets() { Some(Readiness::new()?) } else { None };
        Ok(Mmsg {
            receive: Messages::new(),
            ready: [const { Buffer::NONE }; BATCH_PACKETS_MAX],
            ready_used: BATCH_PACKETS_MAX,
            send: Messages::new(),
            sources: sources(&socket, worker_ports),
            socket,
            ports: PortTable::new(worker_ports),
            worker_ports: worker_ports.clone(),
            readiness,
            closed: Vec::with_capacity(worker_ports.ports_max),
            turn: 0,
            sleeper: Sleeper::new()?,
            counters: IoCounters::default(),
        })
    }

    pub(crate) fn harvest(&mut self, batch: &mut PacketBatch, sleep_until: Option<Nanos>) -> Result<(), Fault> {
        self.closed.drain(..).for_each(|id| self.ports.free(id));
        self.refill(batch.pool_mut());
        self.receive_all(batch)?;
        if batch.is_empty()
            && self.ready_used == 0
            && let Some(until) = sleep_until
        {
            self.sleep(until)?;
            self.receive_all(batch)?;
        }
        batch.set_now(Nanos::now());
        Ok(())
    }

    pub(crate) fn resolve_ports(&mut self, batch: &mut PacketBatch) {
        self.counters.port_unknown += self.ports.resolve(batch);
    }

    pub(crate) fn submit(&mut self, first: usize, batch: &mut PacketBatch) {
        let mut next = first;
        while let Some(first) = (next..batch.len()).find(|i| batch.packet(*i).disposition == Disposition::Send) {
            next = first + 1;
            self.send_group(first, batch);
        }
        for i in first..batch.len() {
            let buffer = batch.take_buffer(i);
            batch.pool_mut().give(buffer);
        }
    }

    pub(crate) fn open_port(&mut self, port: &PortSpec) -> Result<PortId, PortRefused> {
        let id = self.ports.open(port)?;
        if let (Some(readiness), Some(socket)) = (&self.readiness, &port.socket)
            && readiness.watch(socket, id).is_err()
        {
            self.ports.close(id);
            self.ports.free(id);
            return Err(PortRefused::Exhausted);
        }
        Ok(id)
    }

    pub(crate) fn mark_port(&mut self, id: PortId, tos: u8) {
        self.ports.mark(id, tos);
    }

    pub(crate) fn close_port(&mut self, id: PortId) {
        if !self.ports.is_open(id) {
            return;
        }
        if let (Some(readiness), Some(socket)) = (&self.readiness, self.ports.socket(id)) {
            readiness.forget(socket);
        }
        self.ports.close(id);
        self.closed.push(id);
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
            self.receive.point(i, pool.start(&buffer, 0), PACKET_BYTES_MAX, SOCKADDR_BYTES as u32);
            self.receive.take_control(i);
            self.ready[i] = buffer;
        }
        self.ready_used = 0;
    }

    /// Asks each source for as much as the batch has room for.
    fn receive_all(&mut self, batch: &mut PacketBatch) -> Result<(), Fault> {
        let sources = self.sources.len() + usize::from(self.readiness.is_some());
        self.turn = (self.turn + 1) % sources;
        for source in (self.turn..sources).chain(0..self.turn) {
            match self.sources.get(source).copied() {
                Some((fd, arrival)) => self.receive_from(fd, arrival, batch)?,
                None => self.receive_from_ready_ports(batch)?,
            }
        }
        Ok(())
    }

    fn receive_from_ready_ports(&mut self, batch: &mut PacketBatch) -> Result<(), Fault> {
        let room = BATCH_PACKETS_MAX - self.ready_used;
        let Some(readiness) = self.readiness.as_mut().filter(|_| room > 0) else { return Ok(()) };
        self.counters.enters += 1;
        let count = readiness.look(room).map_err(|source| Fault::System { call: "epoll_wait", source })?;
        for i in 0..count {
            let port = self.readiness.as_ref().map_or(PortId::SHARED, |readiness| readiness.ready(i));
            if let Some(fd) = self.ports.socket(port).map(AsRawFd::as_raw_fd) {
                self.receive_from(fd, Arrival::At(port), batch)?;
            }
        }
        Ok(())
    }

    fn receive_from(&mut self, fd: RawFd, arrival: Arrival, batch: &mut PacketBatch) -> Result<(), Fault> {
        if self.ready_used == BATCH_PACKETS_MAX {
            return Ok(());
        }
        self.counters.enters += 1;
        match self.receive.receive(fd, self.ready_used..BATCH_PACKETS_MAX) {
            Ok(count) => self.hand_over(count, arrival, batch),
            Err(error) if is_transient(&error) => {}
            Err(source) => return Err(Fault::System { call: "recvmmsg", source }),
        }
        Ok(())
    }

    fn hand_over(&mut self, received: usize, arrival: Arrival, batch: &mut PacketBatch) {
        for i in self.ready_used..self.ready_used + received {
            let buffer = std::mem::replace(&mut self.ready[i], Buffer::NONE);
            let (bytes, truncated) = self.receive.received(i);
            let port = match arrival {
                Arrival::At(port) => Some(port),
                Arrival::Steered => original_destination(&self.receive.controls[i], self.receive.control_bytes(i))
                    .and_then(|local| self.ports.place_of(&local)),
            };
            match Remote::decode(&self.receive.names[i]).zip(port) {
                Some((remote, port)) => batch.push_received(buffer, remote, port, bytes, truncated),
                None => batch.pool_mut().give(buffer),
            }
            self.counters.bytes_received += bytes as u64;
            self.counters.port_unknown += u64::from(port.is_none());
        }
        self.counters.packets_received += received as u64;
        self.ready_used += received;
    }

    fn sleep(&mut self, until: Nanos) -> Result<(), Fault> {
        if !self.sleeper.fall_asleep() {
            return Ok(());
        }
        self.counters.enters += 1;
        let mut polled = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; POLLED_MAX];
        for (polled, fd) in polled.iter_mut().zip(self.polled_fds()) {
            polled.fd = fd;
        }
        let waited = wait_readable(&mut polled, until);
        self.sleeper.rise();
        waited.map_err(|source| Fault::System { call: "ppoll", source })?;
        if polled[0].revents != 0 {
            self.sleeper.drain();
        }
        Ok(())
    }

    /// The eventfd first.
    fn polled_fds(&self) -> impl Iterator<Item = RawFd> {
        let sources = self.sources.iter().map(|(fd, _)| *fd);
        std::iter::once(self.sleeper.eventfd()).chain(sources).chain(self.readiness.iter().map(Readiness::fd))
    }

    /// Sends packet `first` and all later ones that leave by the same socket, in order, and marks them taken.
    fn send_group(&mut self, first: usize, batch: &mut PacketBatch) {
        let exit = self.ports.exit_from(batch.packet(first).port);
        let mut group = Group::default();
        for i in first..batch.len() {
            let packet = batch.packet_mut(i);
            if packet.disposition == Disposition::Send && self.ports.exit_from(packet.port) == exit {
                packet.disposition = Disposition::Taken;
                self.lay_out(i, batch, &mut group);
            }
        }
        if let Some(fd) = exit.and_then(|exit| self.fd_of(exit)) {
            self.send_now(fd, &group);
        }
    }

    fn fd_of(&self, exit: Exit) -> Option<RawFd> {
        match exit {
            Exit::Socket(PortId::SHARED) => Some(self.socket.as_raw_fd()),
            Exit::Socket(port) => self.ports.socket(port).map(AsRawFd::as_raw_fd),
            Exit::Raw(index) => self.worker_ports.steered.as_ref().map(|steered| steered.senders[index].as_raw_fd()),
        }
    }

    /// Points the group's next message at a packet, unless nothing can go from its port to its receiver.
    fn lay_out(&mut self, i: usize, batch: &mut PacketBatch, group: &mut Group) {
        let (remote, port, bytes) = (batch.packet(i).remote, batch.packet(i).port, batch.packet(i).len());
        let (headroom, payload) = batch.headroom_mut(i);
        let room = headroom.last_chunk_mut().expect("the headroom is longer than headers");
        let name = &mut self.send.names[group.messages];
        let Some(departure) = self.ports.depart(port, &remote, &payload[..bytes], name, room) else {
            self.counters.send_failed += 1;
            return;
        };
        let bytes = departure.headers_bytes + bytes;
        self.send.point(group.messages, batch.start(i, departure.headers_bytes), bytes, departure.name_bytes);
        group.messages += 1;
        group.headers_bytes = departure.headers_bytes;
    }

    /// Sends the messages. One that the kernel refuses is counted and the next one tried; once the
    /// socket's queue is full the rest is counted and given up, because late voice is worth less than none.
    fn send_now(&mut self, fd: RawFd, group: &Group) {
        let mut next = 0;
        while next < group.messages {
            self.counters.enters += 1;
            match self.send.send(fd, next..group.messages) {
                Ok(sent) => {
                    self.counters.packets_sent += sent as u64;
                    self.counters.bytes_sent +=
                        self.send.bytes(next..next + sent) - (sent * group.headers_bytes) as u64;
                    next += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_exhausted(&error) => {
                    self.counters.send_exhausted += (group.messages - next) as u64;
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

/// What the messages of one source have in common.
#[derive(Clone, Copy)]
enum Arrival {
    /// They came to this port.
    At(PortId),
    /// Each says where it came to.
    Steered,
}

/// Messages that leave by one socket, and so have headers of one length.
#[derive(Default)]
struct Group {
    messages: usize,
    headers_bytes: usize,
}

/// The eventfd, the shared socket, one of each family that ports are steered to, or an epoll instance.
const POLLED_MAX: usize = 4;

fn sources(shared: &UdpSocket, ports: &WorkerPorts) -> Vec<(RawFd, Arrival)> {
    let receivers = ports.steered.iter().flat_map(|steered| &steered.receivers);
    let steered = receivers.map(|socket| (socket.as_raw_fd(), Arrival::Steered));
    std::iter::once((shared.as_raw_fd(), Arrival::At(PortId::SHARED))).chain(steered).collect()
}

/// Nothing is there, or nothing was told that concerns us.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionRefused) || error.raw_os_error() == Some(libc::ENOMEM)
}

/// Returns when one of the descriptors is readable, at `until`, or early by a signal. Negative ones are not asked.
fn wait_readable(polled: &mut [libc::pollfd], until: Nanos) -> io::Result<()> {
    let remaining = until.timespec_from(Nanos::now());
    // SAFETY: `polled` and `remaining` outlive the call, and the count is that of `polled`; no signal mask is given.
    let result = unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, &remaining, ptr::null()) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
    }
    Ok(())
}
