//! What a worker's io is given once, so that it can open ports later.
//!
//! Input: [`super::Ports::open`] makes it. Output: the io takes sockets from it. Shared, so that the successor of a worker
//! that was lost receives on the same sockets.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

/// The default has no ports.
#[derive(Clone, Debug, Default)]
pub struct WorkerPorts {
    /// Ports that may be open at once.
    pub(crate) ports_max: usize,
    /// Nothing where each port is a socket.
    pub(crate) steered: Option<Arc<SteeredSockets>>,
}

/// The sockets that all steered ports of one worker share.
#[derive(Debug)]
pub(crate) struct SteeredSockets {
    pub addrs: Vec<IpAddr>,
    /// One for each family that `addrs` has, IPv4 first.
    pub receivers: Vec<UdpSocket>,
    /// A raw socket for each of `addrs`, bound to it: routing looks at what a socket is bound to, not at our headers.
    pub senders: Vec<socket2::Socket>,
}

impl WorkerPorts {
    pub(super) fn steered(ports_max: usize, sockets: SteeredSockets) -> WorkerPorts {
        WorkerPorts { ports_max, steered: Some(Arc::new(sockets)) }
    }

    /// Whether each port has a socket of its own.
    pub(crate) fn are_sockets(&self) -> bool {
        self.ports_max > 0 && self.steered.is_none()
    }
}
