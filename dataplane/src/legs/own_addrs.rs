//! The addresses that are ours, so that we never take one of them for a peer.
//!
//! Input: ports as they are opened and closed. Output: whether an address is one of them. Owns a count for each port
//! number and a few addresses; sized at start. When more addresses are in use than have a place, those are not known here.

use crate::io::Remote;
use std::net::{IpAddr, SocketAddr};

/// Addresses of one machine that RTP legs are opened on: a few interfaces, two families each.
const IPS_MAX: usize = 32;

pub struct OwnAddrs {
    ips: [Option<IpAddr>; IPS_MAX],
    /// By port number: how many of our addresses have it open.
    ports: Box<[u8; 1 << 16]>,
}

impl OwnAddrs {
    pub fn new() -> Self {
        OwnAddrs { ips: [None; IPS_MAX], ports: vec![0; 1 << 16].try_into().expect("as long as it says") }
    }

    pub fn insert(&mut self, addr: SocketAddr) {
        if !self.ips.contains(&Some(addr.ip()))
            && let Some(free) = self.ips.iter_mut().find(|ip| ip.is_none())
        {
            *free = Some(addr.ip());
        }
        let count = &mut self.ports[usize::from(addr.port())];
        *count = count.saturating_add(1);
    }

    pub fn remove(&mut self, addr: SocketAddr) {
        let count = &mut self.ports[usize::from(addr.port())];
        *count = count.saturating_sub(1);
    }

    #[inline]
    pub fn contain(&self, remote: Remote) -> bool {
        self.ports[usize::from(remote.port())] > 0 && self.ips.contains(&Some(remote.ip()))
    }
}

impl Default for OwnAddrs {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_ours_while_its_port_is_open() {
        let mut own = OwnAddrs::new();
        let (ours, other): (SocketAddr, SocketAddr) =
            ("192.0.2.1:40000".parse().expect("valid"), "192.0.2.2:40000".parse().expect("valid"));
        own.insert(ours);
        assert!(own.contain(ours.into()) && !own.contain(other.into()));
        own.insert(other);
        own.remove(ours);
        assert!(own.contain(other.into()));
        own.remove(other);
        assert!(!own.contain(ours.into()) && !own.contain(other.into()));
    }
}
