//! The seam between a pinned worker and the kernel: datagrams come in batches, and leave in batches.
//!
//! ```text
//!   loop {
//!       io.harvest(&mut batch, sleep_until)?   poll; if nothing is there, sleep until a packet, a wake or a time
//!       ...                                    open and close ports
//!       io.resolve_ports(&mut batch)           say which open port each packet came to
//!       stages(&mut batch)                     read, rewrite in place, decide each packet
//!       io.submit(&mut batch)                  send what is marked so; every buffer finds its way back
//!   }
//! ```
//!
//! Input: one UDP socket. Output: [`PacketBatch`]es and [`IoCounters`]. Owns the socket, the ring, and the clock reading
//! of a batch. Does not look into packets. Nothing is allocated after [`open`].
//!
//! | backend | what it is for |
//! |---|---|
//! | [`uring`] | the default: multishot receive into a buffer ring, one system call a turn |
//! | [`mmsg`] | where io_uring is forbidden, and its twin for comparison: `recvmmsg`, `sendmmsg` |
//! | [`sim`] | tests: queues in memory, time by the caller |

mod buffer_ring;
mod fault;
mod headers;
mod messages;
mod mmsg;
mod port_table;
#[cfg(test)]
mod port_tests;
pub mod ports;
pub mod probe;
mod readiness;
mod remote;
pub mod sim;
pub mod socket;
#[cfg(test)]
mod tests;
mod uring;
mod wake;

pub use fault::Fault;
pub use ports::{ClaimedPort, PortId, PortRefused, PortSpec, Ports, PortsConfig, WorkerPorts};
pub use probe::BackendKind;
pub use remote::Remote;
pub(crate) use wake::Sleeper;
pub use wake::Waker;

use crate::batch::{Nanos, PacketBatch};
use crate::buffers::{BufferPool, SLOT_BYTES};
use crate::config::BackendChoice;
use mmsg::Mmsg;
use probe::Refusal;
use sim::Sim;
use std::net::{SocketAddr, UdpSocket};
use uring::Uring;

/// What a worker's io is opened with.
#[derive(Clone, Debug)]
pub struct IoConfig {
    /// Port 0 lets the kernel choose; [`Io::local_addr`] tells.
    pub addr: SocketAddr,
    pub backend: BackendChoice,
    /// Legs the worker may hold: sizes the buffer pool.
    pub legs_max: usize,
    /// Packet memory in huge pages, if the host has some to spare.
    pub huge_pages: bool,
    /// From [`Ports::open`].
    pub ports: WorkerPorts,
}

/// A worker's io and the batch that goes with it, from [`open`].
pub struct Opened {
    pub io: Io,
    pub batch: PacketBatch,
    pub kind: BackendKind,
    /// One line: why this backend.
    pub reason: String,
}

/// Totals since [`open`], written by one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounters {
    pub packets_received: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    /// System calls made.
    pub enters: u64,
    /// The receive had stopped, mostly for want of buffers, and was armed again.
    pub receive_rearmed: u64,
    /// Arrived on a port that is not open, or not any more: `DropReason::PortUnknown`.
    pub port_unknown: u64,
    /// Packets marked `Send` that the kernel refused, or whose port is not open: `DropReason::SendFailed`.
    pub send_failed: u64,
    /// Packets marked `Send` that found the socket's queue or ours full: `DropReason::SendExhausted`.
    pub send_exhausted: u64,
}

/// The way to the kernel. Bound to the thread that opened it, and to the batch it was opened with.
pub struct Io {
    backend: Backend,
    local_addr: SocketAddr,
}

/// Told apart once a batch, never once a packet.
enum Backend {
    Uring(Box<Uring>),
    Mmsg(Box<Mmsg>),
    Sim(Box<Sim>),
}

/// Binds the socket, picks a backend and maps packet memory. Call it on the thread that will use the result.
pub fn open(config: &IoConfig) -> Result<Opened, Fault> {
    let socket = socket::bind(config.addr)?;
    if config.backend == BackendChoice::Mmsg {
        return open_mmsg(socket, config, "asked for");
    }
    match open_uring(&socket, receive_buffers(config.legs_max), config)? {
        Ok(opened) => Ok(opened),
        Err(refusal) if config.backend == BackendChoice::Auto => open_mmsg(socket, config, &refusal.explain()),
        Err(refusal) => Err(Fault::UringUnavailable { reason: refusal.explain() }),
    }
}

/// The inner error is the host's refusal of io_uring, beside which all is well.
fn open_uring(socket: &UdpSocket, receive_buffers: usize, config: &IoConfig) -> Result<Result<Opened, Refusal>, Fault> {
    let local_addr = local_addr(socket)?;
    let mut pool = map_pool(Uring::pool_buffers(receive_buffers), config.huge_pages)?;
    Ok(Uring::open(socket, &config.ports, receive_buffers, &mut pool).map(|uring| Opened {
        io: Io { backend: Backend::Uring(Box::new(uring)), local_addr },
        batch: PacketBatch::new(pool),
        kind: BackendKind::Uring,
        reason: probe::uring_offer(),
    }))
}

fn open_mmsg(socket: UdpSocket, config: &IoConfig, reason: &str) -> Result<Opened, Fault> {
    let local_addr = local_addr(&socket)?;
    let pool = map_pool(Mmsg::POOL_BUFFERS, config.huge_pages)?;
    let mmsg = Mmsg::open(socket, &config.ports).map_err(|source| Fault::System { call: "eventfd", source })?;
    Ok(Opened {
        io: Io { backend: Backend::Mmsg(Box::new(mmsg)), local_addr },
        batch: PacketBatch::new(pool),
        kind: BackendKind::Mmsg,
        reason: reason.to_owned(),
    })
}

/// Buffers for what one enter may bring: a batch or two. The socket's queue holds what comes in between, so more legs need
/// more only as far as bursts grow; beyond about a thousand the buffers no longer fit a core's cache.
fn receive_buffers(legs_max: usize) -> usize {
    legs_max.clamp(256, 1024).next_power_of_two()
}

fn map_pool(buffers: usize, huge_pages: bool) -> Result<BufferPool, Fault> {
    BufferPool::new(buffers, huge_pages).map_err(|source| Fault::Memory { bytes: buffers * SLOT_BYTES, source })
}

fn local_addr(socket: &UdpSocket) -> Result<SocketAddr, Fault> {
    socket.local_addr().map_err(|source| Fault::System { call: "getsockname", source })
}

/// Of a send: the socket's or the interface's queue is full.
fn is_exhausted(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

impl Io {
    /// Fills the empty `batch` with up to `BATCH_PACKETS_MAX` packets, oldest first, and reads the clock once.
    ///
    /// Packets do not know yet which port they came to: see [`Io::resolve_ports`].
    ///
    /// Polls first. If nothing is there and `sleep_until` is given, sleeps until a packet comes, a [`Waker`] rings or
    /// that time is reached; it may also return early with nothing, so look at your queues and timers each time.
    pub fn harvest(&mut self, batch: &mut PacketBatch, sleep_until: Option<Nanos>) -> Result<(), Fault> {
        debug_assert!(batch.is_empty(), "the last batch was not submitted");
        match &mut self.backend {
            Backend::Uring(uring) => uring.harvest(batch, sleep_until),
            Backend::Mmsg(mmsg) => mmsg.harvest(batch, sleep_until),
            Backend::Sim(sim) => sim.harvest(batch),
        }
    }

    /// Says of each packet which port it came to, as the ports are open now. Call it once, when the ports that were to be
    /// opened or closed by the time of the harvest are. What came to no open port is dropped and counted.
    pub fn resolve_ports(&mut self, batch: &mut PacketBatch) {
        match &mut self.backend {
            Backend::Uring(uring) => uring.resolve_ports(batch),
            Backend::Mmsg(mmsg) => mmsg.resolve_ports(batch),
            Backend::Sim(sim) => sim.resolve_ports(batch),
        }
    }

    /// Sends each packet marked `Send` to its `remote`, in order, and empties the batch. With `uring` the packets
    /// reach the kernel with the next `harvest`, or when the io is dropped. Never waits: what the socket's queue cannot take is counted and gone.
    pub fn submit(&mut self, batch: &mut PacketBatch) {
        self.submit_from(0, batch);
    }

    /// The same for the packets from `first` on; those before stay.
    pub fn submit_from(&mut self, first: usize, batch: &mut PacketBatch) {
        match &mut self.backend {
            Backend::Uring(uring) => uring.submit(first, batch),
            Backend::Mmsg(mmsg) => mmsg.submit(first, batch),
            Backend::Sim(sim) => sim.submit(first, batch),
        }
        batch.truncate(first);
    }

    /// Opens a claimed port: packets to it arrive with this id, and packets with this id leave from it. Ids are small
    /// numbers that are given out again some time after [`Io::close_port`].
    pub fn open_port(&mut self, port: &PortSpec) -> Result<PortId, PortRefused> {
        match &mut self.backend {
            Backend::Uring(uring) => uring.open_port(port),
            Backend::Mmsg(mmsg) => mmsg.open_port(port),
            Backend::Sim(sim) => Ok(sim.open_port(port)),
        }
    }

    /// What packets from this port carry from now on (RFC 2474), where we write their headers; [`ports::ClaimedPort::mark`]
    /// does it where a socket does.
    pub fn mark_port(&mut self, port: PortId, tos: u8) {
        match &mut self.backend {
            Backend::Uring(uring) => uring.mark_port(port, tos),
            Backend::Mmsg(mmsg) => mmsg.mark_port(port, tos),
            Backend::Sim(_) => {}
        }
    }

    /// Nothing arrives with this id any more, not even what the kernel holds already; what is marked to be sent from it
    /// fails.
    pub fn close_port(&mut self, port: PortId) {
        match &mut self.backend {
            Backend::Uring(uring) => uring.close_port(port),
            Backend::Mmsg(mmsg) => mmsg.close_port(port),
            Backend::Sim(sim) => sim.close_port(port),
        }
    }

    /// For whoever queues something for this worker.
    pub fn waker(&self) -> Waker {
        match &self.backend {
            Backend::Uring(uring) => uring.waker(),
            Backend::Mmsg(mmsg) => mmsg.waker(),
            Backend::Sim(sim) => sim.waker(),
        }
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub fn counters(&self) -> IoCounters {
        match &self.backend {
            Backend::Uring(uring) => uring.counters(),
            Backend::Mmsg(mmsg) => mmsg.counters(),
            Backend::Sim(sim) => sim.counters(),
        }
    }

    /// Buffers that lie ready to receive into; with the batch's free ones these are all when nothing is under way.
    #[cfg(test)]
    fn buffers_idle(&self) -> usize {
        match &self.backend {
            Backend::Uring(uring) => uring.buffers_idle(),
            Backend::Mmsg(mmsg) => mmsg.buffers_idle(),
            Backend::Sim(_) => 0,
        }
    }
}
