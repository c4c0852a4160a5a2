//! Ports that were bound by other processes, or by our own shared sockets, when the first port was claimed.
//!
//! Input: `/proc/net/udp` and `udp6`, once. Output: whether a steered port may be taken. Owns a set of suspects. A suspect is
//! asked again by binding it, because a socket that once happened to have an ephemeral port is gone soon; all other
//! ports cost no system call.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};

/// Any address: which one a socket is bound to, the kernel tells when we bind.
#[derive(Debug)]
pub(super) struct BoundPorts {
    suspects: HashSet<u16>,
}

impl BoundPorts {
    /// Those of this thread's network namespace. What cannot be read has no suspects.
    pub(super) fn survey() -> BoundPorts {
        let files = ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"];
        let tables = files.map(|file| fs::read_to_string(file).unwrap_or_default());
        BoundPorts { suspects: tables.iter().flat_map(|table| table.lines().filter_map(local_port)).collect() }
    }

    /// Whether somebody has bound it.
    pub(super) fn holds(&mut self, addr: SocketAddr) -> bool {
        if !self.suspects.contains(&addr.port()) {
            return false;
        }
        // Bound to an address of ours elsewhere is not bound here; it stays a suspect.
        matches!(UdpSocket::bind(addr), Err(error) if error.kind() == ErrorKind::AddrInUse)
    }
}

/// `  12: 0100007F:4E20 00000000:0000 07 ...`: the port is in the second column, in hexadecimal digits.
fn local_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_that_somebody_has_bound_is_held_until_he_lets_go() {
        for addr in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let holder = UdpSocket::bind(addr).expect("binds");
            let port = holder.local_addr().expect("bound").port();
            let mut bound = BoundPorts::survey();
            let ip = if addr.starts_with('[') { [0, 0, 0, 0, 0, 0, 0, 1].into() } else { [127, 0, 0, 1].into() };
            let held = SocketAddr::new(ip, port);
            assert!(bound.holds(held), "{addr}");
            drop(holder);
            assert!(!bound.holds(held), "{addr}");
        }
    }

    #[test]
    fn header_and_noise_are_no_ports() {
        assert_eq!(local_port("   sl  local_address rem_address   st tx_queue"), None);
        assert_eq!(local_port(""), None);
        assert_eq!(local_port("  12: 0100007F:4E20 00000000:0000 07 00000000:00000000"), Some(20_000));
    }
}
