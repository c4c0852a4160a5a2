//! Opens the UDP socket of a worker, the same way for every backend.
//!
//! Input: an address. Output: a bound, non-blocking socket with large kernel queues, or a [`Fault`] that says what to do.

use crate::io::fault::Fault;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

/// What the kernel may hold for a worker that is late: 10,000 streams of 50 packets a second, 768 bytes of kernel memory
/// each, for 40 ms.
const RECEIVE_QUEUE_BYTES: usize = 16 << 20;

/// What the kernel may hold for an interface that is late. More would only make voice late instead of lost.
const SEND_QUEUE_BYTES: usize = 4 << 20;

/// Binds `addr`; port 0 lets the kernel choose.
pub fn bind(addr: SocketAddr) -> Result<UdpSocket, Fault> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))
        .map_err(|source| Fault::System { call: "socket", source })?;
    configure(&socket, addr).map_err(|source| Fault::System { call: "setsockopt", source })?;
    socket.bind(&addr.into()).map_err(|source| Fault::binding(addr, source))?;
    Ok(socket.into())
}

fn configure(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        // The other family has a socket of its own: a mapped address would be the same peer under another name.
        socket.set_only_v6(true)?;
    }
    let fd = socket.as_raw_fd();
    grow_queue(fd, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_QUEUE_BYTES)?;
    grow_queue(fd, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_QUEUE_BYTES)?;
    // OMIT: no path MTU is learnt, so a forged ICMP message cannot shrink ours, and DF stays clear. Media is below
    // any usual MTU; what is not, is fragmented instead of lost.
    match addr {
        SocketAddr::V4(_) => set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT),
        SocketAddr::V6(_) => set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT),
    }
}

/// Beyond `net.core.[rw]mem_max` with `CAP_NET_ADMIN`, up to it without.
fn grow_queue(fd: RawFd, forced: libc::c_int, ordinary: libc::c_int, bytes: usize) -> io::Result<()> {
    let bytes = bytes as libc::c_int;
    set_option(fd, libc::SOL_SOCKET, forced, bytes).or_else(|_| set_option(fd, libc::SOL_SOCKET, ordinary, bytes))
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let bytes = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer and length are those of `value`, which outlives the call.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), bytes) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_in_use_is_named_with_the_next_command() {
        let holder = bind("127.0.0.1:0".parse().expect("address")).expect("binds");
        let addr = holder.local_addr().expect("bound");
        let message = bind(addr).expect_err("taken").to_string();
        assert!(message.contains(&addr.to_string()), "{message}");
        assert!(message.contains(&format!("ss -ulpn 'sport = :{}'", addr.port())), "{message}");
    }

    #[test]
    fn foreign_address_is_named_with_the_next_command() {
        let message = bind("192.0.2.1:0".parse().expect("address")).expect_err("not ours").to_string();
        assert!(message.contains("192.0.2.1") && message.contains("ip -brief address"), "{message}");
    }

    #[test]
    fn both_families_bind_the_same_port() {
        let v6 = bind("[::1]:0".parse().expect("address")).expect("binds");
        let port = v6.local_addr().expect("bound").port();
        bind(SocketAddr::new([127, 0, 0, 1].into(), port)).expect("the other family's port is free");
    }
}
