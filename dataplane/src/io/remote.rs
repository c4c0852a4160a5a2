//! A peer's address in 24 bytes, and its form in the kernel's `sockaddr`.
//!
//! Input: `sockaddr` bytes as the kernel writes them, or a [`SocketAddr`]. Output: the other one. IPv4 addresses are
//! kept as IPv4-mapped IPv6 ones (RFC 4291 §2.5.5.2), so that comparing and hashing need no branch.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Who sent a packet, or who gets it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Remote {
    ip: [u8; 16],
    /// Interface of a link-local address, else 0.
    scope_id: u32,
    port: u16,
}

const _: () = assert!(size_of::<Remote>() == 24);

/// Bytes of the longest `sockaddr` there is for UDP.
pub(crate) const SOCKADDR_BYTES: usize = size_of::<libc::sockaddr_in6>();
const SOCKADDR_V4_BYTES: usize = size_of::<libc::sockaddr_in>();

// The layouts that `encode` and `decode` write out by hand.
const _: () = assert!(SOCKADDR_V4_BYTES == 16 && SOCKADDR_BYTES == 28);
const _: () = assert!(std::mem::offset_of!(libc::sockaddr_in, sin_port) == 2);
const _: () = assert!(std::mem::offset_of!(libc::sockaddr_in, sin_addr) == 4);
const _: () = assert!(std::mem::offset_of!(libc::sockaddr_in6, sin6_port) == 2);
const _: () = assert!(std::mem::offset_of!(libc::sockaddr_in6, sin6_addr) == 8);
const _: () = assert!(std::mem::offset_of!(libc::sockaddr_in6, sin6_scope_id) == 24);

const MAPPED_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

impl Remote {
    pub const UNSPECIFIED: Remote = Remote { ip: [0; 16], scope_id: 0, port: 0 };

    /// Of an address without a scope; IPv4 addresses mapped.
    pub(crate) fn new(ip: [u8; 16], port: u16) -> Remote {
        Remote { ip, scope_id: 0, port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn ip(&self) -> IpAddr {
        Ipv6Addr::from(self.ip).to_canonical()
    }

    /// The IPv6 address, or the IPv4 address mapped into one: then the last four bytes are it.
    pub(crate) fn octets(&self) -> &[u8; 16] {
        &self.ip
    }

    /// The same host, with no port: how raw sockets want it.
    pub(crate) fn without_port(&self) -> Remote {
        Remote { port: 0, ..*self }
    }

    pub(crate) fn is_ipv4(&self) -> bool {
        self.ip[..12] == MAPPED_PREFIX
    }

    /// Reads what the kernel wrote; `None` for a family that is not IP.
    pub(crate) fn decode(sockaddr: &[u8; SOCKADDR_BYTES]) -> Option<Remote> {
        let mut remote = Remote { port: u16::from_be_bytes([sockaddr[2], sockaddr[3]]), ..Remote::UNSPECIFIED };
        match i32::from(u16::from_ne_bytes([sockaddr[0], sockaddr[1]])) {
            libc::AF_INET => {
                remote.ip[..12].copy_from_slice(&MAPPED_PREFIX);
                remote.ip[12..].copy_from_slice(&sockaddr[4..8]);
            }
            libc::AF_INET6 => {
                remote.ip.copy_from_slice(&sockaddr[8..24]);
                remote.scope_id = u32::from_ne_bytes([sockaddr[24], sockaddr[25], sockaddr[26], sockaddr[27]]);
            }
            _ => return None,
        }
        Some(remote)
    }

    /// Writes the address for the kernel and says how many bytes of it count.
    pub(crate) fn encode(&self, sockaddr: &mut [u8; SOCKADDR_BYTES]) -> u32 {
        sockaddr[2..4].copy_from_slice(&self.port.to_be_bytes());
        if self.is_ipv4() {
            sockaddr[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            sockaddr[4..8].copy_from_slice(&self.ip[12..]);
            sockaddr[8..16].fill(0);
            SOCKADDR_V4_BYTES as u32
        } else {
            sockaddr[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            sockaddr[4..8].fill(0);
            sockaddr[8..24].copy_from_slice(&self.ip);
            sockaddr[24..28].copy_from_slice(&self.scope_id.to_ne_bytes());
            SOCKADDR_BYTES as u32
        }
    }
}

impl From<SocketAddr> for Remote {
    fn from(addr: SocketAddr) -> Remote {
        let (ip, scope_id) = match addr {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
            // A mapped address is an IPv4 address, which has no scope.
            SocketAddr::V6(v6) => (*v6.ip(), if v6.ip().to_ipv4_mapped().is_some() { 0 } else { v6.scope_id() }),
        };
        Remote { ip: ip.octets(), scope_id, port: addr.port() }
    }
}

impl From<Remote> for SocketAddr {
    fn from(remote: Remote) -> SocketAddr {
        match remote.ip() {
            IpAddr::V4(v4) => SocketAddr::new(v4.into(), remote.port),
            IpAddr::V6(v6) => SocketAddrV6::new(v6, remote.port, 0, remote.scope_id).into(),
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_address_survives_the_way_through_the_kernels_form(addr: SocketAddr) {
            let remote = Remote::from(addr);
            let mut sockaddr = [0xaa; SOCKADDR_BYTES];
            remote.encode(&mut sockaddr);
            prop_assert_eq!(Remote::decode(&sockaddr), Some(remote));
        }
    }

    #[test]
    fn kernels_form_is_that_of_the_socket_library() {
        for addr in ["192.0.2.1:5004", "[fe80::1%7]:5004", "[2001:db8::1]:1"] {
            let addr: SocketAddr = addr.parse().expect("an address");
            let mut ours = [0; SOCKADDR_BYTES];
            let bytes = Remote::from(addr).encode(&mut ours);
            let theirs = socket2::SockAddr::from(addr);
            assert_eq!(bytes, theirs.len());
            // SAFETY: `as_ptr` points at `len` initialised bytes that live as long as `theirs`.
            let theirs = unsafe { std::slice::from_raw_parts(theirs.as_ptr().cast::<u8>(), bytes as usize) };
            assert_eq!(&ours[..bytes as usize], theirs);
        }
    }

    #[test]
    fn other_families_are_no_peer() {
        assert_eq!(Remote::decode(&[0; SOCKADDR_BYTES]), None);
    }
}
