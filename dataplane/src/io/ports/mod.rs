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

use crate::config::PortsChoice;
use crate::io::{Fault, socket};
use crosspoint_contract::PortsHello;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

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

/// What every worker's io needs to know before a port can be opened; the default has none.
#[derive(Clone, Debug, Default)]
pub struct WorkerPorts {
    /// Ports that may be open at once.
    pub(crate) ports_max: usize,
}

/// All ports of the process.
pub struct Ports {
    book: Arc<Book>,
    hello: PortsHello,
}

/// The right to a port. Drop it after the worker has closed the port.
#[derive(Debug)]
pub struct ClaimedPort {
    spec: PortSpec,
    book: Arc<Book>,
}

/// Who has what.
#[derive(Debug, Default)]
struct Book {
    claimed: Mutex<HashSet<SocketAddr>>,
    binds: bool,
}

impl Ports {
    /// Sets up what ports need, once for the process, and says so for each worker.
    pub fn open(config: &PortsConfig) -> Result<(Ports, Vec<WorkerPorts>), Fault> {
        let hello = PortsHello { addrs: config.addrs.clone(), steered: false, reason: "a socket for each port".into() };
        let book = Arc::new(Book { binds: true, ..Book::default() });
        Ok((Ports { book, hello }, vec![WorkerPorts { ports_max: config.ports_max }; config.workers]))
    }

    /// For tests over a simulated network: a book and nothing else.
    pub fn simulated(addrs: &[IpAddr]) -> Ports {
        let hello = PortsHello { addrs: addrs.to_vec(), steered: true, reason: "sim: a test".into() };
        Ports { book: Arc::default(), hello }
    }

    pub fn hello(&self) -> &PortsHello {
        &self.hello
    }

    /// Takes a port for a leg of `worker`, whose packets shall carry `tos`. From now on nobody else can claim it.
    pub fn claim(&self, worker: usize, addr: SocketAddr, tos: u8) -> Result<ClaimedPort, PortRefused> {
        let _ = worker;
        if !self.hello.addrs.contains(&addr.ip()) || addr.port() == 0 {
            return Err(PortRefused::NoSuchAddress);
        }
        if !self.book.lock().insert(addr) {
            return Err(PortRefused::Taken);
        }
        let mut claimed = ClaimedPort { spec: PortSpec { addr, tos, socket: None }, book: self.book.clone() };
        if self.book.binds {
            claimed.spec.socket = Some(Arc::new(bind(addr)?));
        }
        Ok(claimed)
    }
}

fn bind(addr: SocketAddr) -> Result<UdpSocket, PortRefused> {
    socket::bind(addr).map_err(|fault| match fault {
        Fault::AddressNotHere { .. } => PortRefused::NoSuchAddress,
        Fault::PortInUse { .. } | Fault::PortForbidden { .. } => PortRefused::Taken,
        Fault::Bind { source, .. } if source.kind() == ErrorKind::PermissionDenied => PortRefused::Taken,
        _ => PortRefused::Exhausted,
    })
}

impl Book {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<SocketAddr>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClaimedPort {
    pub fn addr(&self) -> SocketAddr {
        self.spec.addr
    }

    /// For the order to the worker.
    pub fn spec(&self) -> PortSpec {
        self.spec.clone()
    }
}

impl Drop for ClaimedPort {
    fn drop(&mut self) {
        self.book.lock().remove(&self.spec.addr);
    }
}
