//! The IP and UDP headers of what leaves by a raw socket.
//!
//! Input: where from, where to, the payload. Output: header bytes right in front of the payload. Owns nothing. No options,
//! no fragments: what does not fit the interface is refused by the kernel. RFC 791, RFC 8200, RFC 768.

use crate::io::remote::Remote;
use std::net::{IpAddr, SocketAddr};

const UDP_BYTES: usize = 8;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;

/// Of the longer family.
pub(crate) const HEADERS_BYTES_MAX: usize = IPV6_BYTES + UDP_BYTES;

/// As the kernel's own sockets (RFC 1700).
const HOPS_MAX: u8 = 64;
const UDP: u8 = libc::IPPROTO_UDP as u8;

/// Where a datagram comes from, and what it is marked with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    ip: [u8; 16],
    port: u16,
    tos: u8,
    is_ipv4: bool,
}

impl Source {
    pub(crate) fn new(addr: SocketAddr, tos: u8) -> Source {
        let ip = match addr.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Source { ip, port: addr.port(), tos, is_ipv4: addr.is_ipv4() }
    }

    pub(crate) fn mark(&mut self, tos: u8) {
        self.tos = tos;
    }

    pub(crate) fn addr(&self) -> Remote {
        Remote::new(self.ip, self.port)
    }

    /// Writes both headers to the end of `room`; says how many bytes they are. Nothing when no datagram can go from here to
    /// there: the families differ, or the port is 0.
    pub(crate) fn write(&self, to: &Remote, payload: &[u8], room: &mut [u8; HEADERS_BYTES_MAX]) -> Option<usize> {
        if self.is_ipv4 != to.is_ipv4() || to.port() == 0 {
            return None;
        }
        let (ip, udp) = room.split_at_mut(IPV6_BYTES);
        let bytes = (UDP_BYTES + payload.len()) as u16;
        udp[0..2].copy_from_slice(&self.port.to_be_bytes());
        udp[2..4].copy_from_slice(&to.port().to_be_bytes());
        udp[4..6].copy_from_slice(&bytes.to_be_bytes());
        udp[6..8].fill(0);
        let checksum = self.checksum(to, udp, payload);
        udp[6..8].copy_from_slice(&checksum.to_ne_bytes());
        if self.is_ipv4 {
            self.write_ipv4(to, bytes, &mut ip[IPV6_BYTES - IPV4_BYTES..]);
            Some(IPV4_BYTES + UDP_BYTES)
        } else {
            self.write_ipv6(to, bytes, ip);
            Some(IPV6_BYTES + UDP_BYTES)
        }
    }

    /// Identification, total length and checksum are the kernel's: raw(7). DF is clear, as on our sockets.
    fn write_ipv4(&self, to: &Remote, udp_bytes: u16, ip: &mut [u8]) {
        ip.fill(0);
        ip[0] = 0x45;
        ip[1] = self.tos;
        ip[2..4].copy_from_slice(&(IPV4_BYTES as u16 + udp_bytes).to_be_bytes());
        ip[8] = HOPS_MAX;
        ip[9] = UDP;
        ip[12..16].copy_from_slice(&self.ip[12..]);
        ip[16..20].copy_from_slice(&to.octets()[12..]);
    }

    fn write_ipv6(&self, to: &Remote, udp_bytes: u16, ip: &mut [u8]) {
        // RFC 8200 §3: version 6, the traffic class, and no flow label.
        ip[0..4].copy_from_slice(&(6u32 << 28 | u32::from(self.tos) << 20).to_be_bytes());
        ip[4..6].copy_from_slice(&udp_bytes.to_be_bytes());
        ip[6] = UDP;
        ip[7] = HOPS_MAX;
        ip[8..24].copy_from_slice(&self.ip);
        ip[24..40].copy_from_slice(to.octets());
    }

    /// RFC 768, and RFC 8200 §8.1 for the longer pseudo-header. RFC 1122 §4.1.3.4: checksums are on by default, so IPv4 gets
    /// one too. In the order of memory: RFC 1071 §2 (B).
    fn checksum(&self, to: &Remote, udp: &[u8], payload: &[u8]) -> u16 {
        let first = if self.is_ipv4 { 12 } else { 0 };
        let length_and_protocol =
            u64::from(u16::from_ne_bytes([udp[4], udp[5]])) + u64::from(u16::from_ne_bytes([0, UDP]));
        let sum = sum(&self.ip[first..]) + sum(&to.octets()[first..]) + length_and_protocol + sum(udp) + sum(payload);
        match !fold(sum) {
            // RFC 768: a checksum that comes to zero is sent as all ones.
            0 => 0xffff,
            checksum => checksum,
        }
    }
}

/// Sum of 32-bit words, the last filled up with zeroes. Folding makes one of 16-bit words of it, because 2^16 is 1 in
/// one's complement.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum::<u64>() + u64::from(u32::from_ne_bytes(last))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As RFC 1071 §4.1 writes it.
    fn slow_fold(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// What a receiver adds up comes to all ones.
    fn receiver_accepts(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
        let mut room = [0xaa; HEADERS_BYTES_MAX];
        let bytes = Source::new(from, 0).write(&to.into(), payload, &mut room).expect("one family");
        let headers = &room[HEADERS_BYTES_MAX - bytes..];
        let (addrs, udp) = (&headers[if from.is_ipv4() { 12 } else { 8 }..bytes - 8], &headers[bytes - 8..]);
        let mut all = [addrs, &[0, UDP], &udp[4..6], udp].concat();
        all.extend_from_slice(payload);
        udp[6..8] != [0, 0] && slow_fold(&all) == 0xffff
    }

    proptest! {
        #[test]
        fn checksum_is_what_the_slow_receiver_computes(
            from: [u8; 16], to: [u8; 16], ports: (u16, u16), payload in prop::collection::vec(any::<u8>(), 0..300)
        ) {
            let (from_port, to_port) = (ports.0.max(1), ports.1.max(1));
            let v6 = |ip: [u8; 16], port| SocketAddr::from(([0xfd].into_iter().chain(ip).take(16).collect::<Vec<_>>().try_into().unwrap_or(ip), port));
            let v4 = |ip: [u8; 16], port| SocketAddr::from(([ip[0], ip[1], ip[2], ip[3]], port));
            prop_assert!(receiver_accepts(v4(from, from_port), v4(to, to_port), &payload));
            prop_assert!(receiver_accepts(v6(from, from_port), v6(to, to_port), &payload));
        }
    }

    #[test]
    fn headers_are_those_of_a_captured_datagram() {
        let mut room = [0; HEADERS_BYTES_MAX];
        let from = Source::new("192.0.2.1:5004".parse().expect("an address"), 0xb8);
        let to = Remote::from("198.51.100.7:6000".parse::<SocketAddr>().expect("an address"));
        assert_eq!(from.write(&to, b"abc", &mut room), Some(28));
        let ip = [0x45, 0xb8, 0, 31, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7];
        assert_eq!(room[20..40], ip);
        assert_eq!(room[40..46], [0x13, 0x8c, 0x17, 0x70, 0, 11]);
    }

    #[test]
    fn other_family_and_port_zero_cannot_be_sent_to() {
        let from = Source::new("192.0.2.1:5004".parse().expect("an address"), 0);
        for to in ["[2001:db8::1]:5004", "198.51.100.7:0"] {
            let to = Remote::from(to.parse::<SocketAddr>().expect("an address"));
            assert_eq!(from.write(&to, b"", &mut [0; HEADERS_BYTES_MAX]), None);
        }
    }
}
