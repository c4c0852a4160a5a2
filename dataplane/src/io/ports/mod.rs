//! UDP ports of RTP legs, the link thread's half: which are in use, and by which worker.
//!
//! Input: addresses and a choice at start; then claims. Output: [`PortSpec`]s, with which a worker opens what was claimed
//! ([`crate::io::Io::open_port`]), and [`WorkerPorts`] for each worker's io. Owns a book of all claims. Does not choose
//! ports: control does, and lets a released one rest.
//!
//! ```text
//!   link thread   Ports::claim --> ClaimedPort ................................. drop: the port is free
//!                                      | spec                                    ^
//!   worker                             '--> Io::open_port --> PortId --> Io::close_port
//! ```

mod book;
mod bound;
mod bpf;
mod program;
mod steering;
#[cfg(test)]
mod tests;
mod worker_ports;

pub(crate) use steering::PORTS_PER_ADDRESS;
pub use worker_ports::WorkerPorts;

use crate::config::PortsChoice;
use crate::io::{Fault, socket};
use book::Book;
use crosspoint_contract::PortsHello;
use crosspoint_contract::limits::COMMANDS_PER_TICK_MAX;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use steering::Steering;
use thiserror::Error;

/// Places of a ring beyond the ports that may be open: with its own two, as many as the process may have descriptors in all,
/// because a ring is refused more (io_uring_register(2)).
const PLACES_SPARE: usize = book::DESCRIPTORS_KEPT as usize - 2;

/// What [`Ports::open`] is told.
#[derive(Clone, Debug)]
pub struct PortsConfig {
    /// Addresses on which ports may be claimed. None: nothing is set up.
    pub addrs: Vec<IpAddr>,
    pub choice: PortsChoice,
    pub workers: usize,
    /// Ports that one worker may have open.
    pub ports_max: usize,
}

/// A worker's name for one of its open ports: small numbers, given out again after a close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PortId(pub u32);

impl PortId {
    /// The socket that all WebRTC legs of a worker share; always open.
    pub const SHARED: PortId = PortId(0);
}

/// What a worker opens a claimed port with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PortSpec {
    pub(crate) addr: SocketAddr,
    /// The whole octet of the IP header (RFC 2474, RFC 3168).
    pub(crate) tos: u8,
    /// Nothing where ports are steered. The claim holds it too, so that a worker's is never the last.
    pub(crate) socket: Option<Arc<UdpSocket>>,
}

/// Why a port cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PortRefused {
    #[error("the port is in use")]
    Taken,
    #[error("RTP legs may not be opened on this address")]
    NoSuchAddress,
    #[error("as many ports are open as there may be")]
    Exhausted,
}

/// All ports of the process.
pub struct Ports {
    book: Arc<Book>,
    hello: PortsHello,
}

/// The right to a port. Drop it after the worker has closed the port, or is lost.
#[derive(Debug)]
pub struct ClaimedPort {
    spec: PortSpec,
    book: Arc<Book>,
}

impl Ports {
    /// Sets up what ports need, once for the process; the second half is for the io of each worker.
    pub fn open(config: &PortsConfig) -> Result<(Ports, Vec<WorkerPorts>), Fault> {
        let addrs = &config.addrs;
        if addrs.is_empty() {
            let ports =
                Ports::new(Book::default(), addrs, false, "RTP legs are off: no address is given for them".into());
            return Ok((ports, vec![WorkerPorts::default(); config.workers]));
        }
        addrs.iter().try_for_each(|addr| socket::bind(SocketAddr::new(*addr, 0)).map(drop))?;
        if config.choice == PortsChoice::Sockets {
            return Ok(Ports::with_sockets(config, "asked for"));
        }
        match Steering::open(addrs, config.workers) {
            Ok((steering, sockets)) => {
                let workers = sockets.into_iter().map(|sockets| WorkerPorts::steered(config.ports_max, sockets));
                let reason = format!("steered: kernel {} reads a table of ports", super::probe::kernel());
                Ok((Ports::new(Book::steered(steering), addrs, true, reason), workers.collect()))
            }
            Err(refusal) if config.choice == PortsChoice::Auto => Ok(Ports::with_sockets(config, &refusal.explain())),
            Err(refusal) => Err(Fault::SteeringUnavailable { reason: refusal.explain() }),
        }
    }

    fn with_sockets(config: &PortsConfig, reason: &str) -> (Ports, Vec<WorkerPorts>) {
        let descriptors = book::descriptors_for_ports();
        let reason = format!("sockets: {reason}; at most {descriptors} ports");
        let ports = Ports::new(Book::sockets(descriptors), &config.addrs, false, reason);
        // A ring gives the id of a closed port out again only when its receive has ended, which takes a turn.
        let wanted = config.ports_max.saturating_add(2 * COMMANDS_PER_TICK_MAX);
        let ports_max = wanted.min(descriptors.saturating_add(PLACES_SPARE));
        (ports, vec![WorkerPorts { ports_max, steered: None }; config.workers])
    }

    fn new(book: Book, addrs: &[IpAddr], steered: bool, reason: String) -> Ports {
        Ports { book: Arc::new(book), hello: PortsHello { addrs: addrs.to_vec(), steered, reason } }
    }

    /// For tests over a simulated network: a book and nothing else.
    pub fn simulated(addrs: &[IpAddr]) -> Ports {
        Ports::new(Book::simulated(), addrs, true, "sim: a test".into())
    }

    pub fn hello(&self) -> &PortsHello {
        &self.hello
    }

    /// Takes a port for a leg of `worker`, whose packets shall carry `tos`. From now on nobody else can claim it, and
    /// where ports are steered, what arrives waits for the worker.
    pub fn claim(&self, worker: usize, addr: SocketAddr, tos: u8) -> Result<ClaimedPort, PortRefused> {
        if !self.hello.addrs.contains(&addr.ip()) || addr.port() == 0 {
            return Err(PortRefused::NoSuchAddress);
        }
        let socket = self.book.enter(worker, addr, tos)?;
        Ok(ClaimedPort { spec: PortSpec { addr, tos, socket }, book: self.book.clone() })
    }
}

impl ClaimedPort {
    pub fn addr(&self) -> SocketAddr {
        self.spec.addr
    }

    /// What packets from there carry from now on. A steered port's headers are the worker's: [`crate::io::Io::mark_port`].
    pub fn mark(&mut self, tos: u8) {
        if self.spec.tos == tos {
            return;
        }
        self.spec.tos = tos;
        if let Some(socket) = &self.spec.socket
            && let Err(error) = socket::mark(socket.as_ref(), self.spec.addr, tos)
        {
            tracing::warn!(%error, addr = %self.spec.addr, tos, "the mark of a port could not be changed");
        }
    }

    /// For the order to the worker.
    pub fn spec(&self) -> PortSpec {
        self.spec.clone()
    }
}

impl Drop for ClaimedPort {
    fn drop(&mut self) {
        self.book.strike(self.spec.addr);
    }
}
