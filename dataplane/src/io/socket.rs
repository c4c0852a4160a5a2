//! Opens the sockets of a worker, the same way for every backend.
//!
//! Input: an address. Output: a bound, non-blocking socket with large kernel queues, or a [`Fault`] that says what to do where
//! the address is somebody's choice.

use crate::io::fault::Fault;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

/// What the kernel may hold for a worker that is late: 10,000 streams of 50 packets a second, 768 bytes of kernel memory
/// each, for 40 ms.
const RECEIVE_QUEUE_BYTES: usize = 16 << 20;

/// What the kernel may hold for an interface that is late. More would only make voice late instead of lost.
const SEND_QUEUE_BYTES: usize = 4 << 20;

const LOCALHOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOCALHOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Binds `addr`; port 0 lets the kernel choose.
pub fn bind(addr: SocketAddr) -> Result<UdpSocket, Fault> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))
        .map_err(|source| Fault::System { call: "socket", source })?;
    configure(&socket, addr)
        .and_then(|()| grow_queues(&socket))
        .map_err(|source| Fault::System { call: "setsockopt", source })?;
    socket.bind(&addr.into()).map_err(|source| Fault::binding(addr, source))?;
    Ok(socket.into())
}

/// The socket of one port, for want of steering. Its queues are as long as the host has them by default.
pub(super) fn port(addr: SocketAddr, tos: u8) -> Result<UdpSocket, Fault> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))
        .map_err(|source| Fault::System { call: "socket", source })?;
    configure(&socket, addr)
        .and_then(|()| mark(&socket, addr, tos))
        .map_err(|source| Fault::System { call: "setsockopt", source })?;
    socket.bind(&addr.into()).map_err(|source| Fault::binding(addr, source))?;
    Ok(socket.into())
}

/// RFC 2474: what packets of this socket carry from now on.
pub(super) fn mark(socket: &impl AsRawFd, addr: SocketAddr, tos: u8) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    match addr {
        SocketAddr::V4(_) => set_option(fd, libc::IPPROTO_IP, libc::IP_TOS, tos.into()),
        SocketAddr::V6(_) => set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, tos.into()),
    }
}

/// A socket of this address's family to steer ports to. It tells where each datagram was sent to. It is bound, because only
/// then it may be steered to; to loopback, so that nobody else reaches it by the port it happened to get.
pub(super) fn steered_receiver(addr: IpAddr) -> io::Result<UdpSocket> {
    let addr = SocketAddr::new(if addr.is_ipv4() { LOCALHOST_V4 } else { LOCALHOST_V6 }, 0);
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    configure(&socket, addr)?;
    grow_queues(&socket)?;
    let fd = socket.as_raw_fd();
    // FREEBIND: a fresh network namespace has no loopback address.
    if addr.is_ipv4() {
        set_option(fd, libc::IPPROTO_IP, libc::IP_FREEBIND, 1)?;
        set_option(fd, libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR, 1)?;
    } else {
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, 1)?;
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR, 1)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// A socket that sends what already has its IP header. It receives nothing: no datagram has this protocol number.
pub(super) fn raw_sender(addr: IpAddr) -> io::Result<Socket> {
    let addr = SocketAddr::new(addr, 0);
    let socket = Socket::new(Domain::for_address(addr), Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
    socket.set_nonblocking(true)?;
    grow_queue(socket.as_raw_fd(), libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_QUEUE_BYTES)?;
    learn_no_mtu(&socket, addr)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn configure(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        // The other family has a socket of its own: a mapped address would be the same peer under another name.
        socket.set_only_v6(true)?;
    }
    learn_no_mtu(socket, addr)
}

fn learn_no_mtu(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    // OMIT: no path MTU is learnt, so a forged ICMP message cannot shrink ours, and DF stays clear. Media is below
    // any usual MTU; what is not, is fragmented instead of lost.
    match addr {
        SocketAddr::V4(_) => set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT),
        SocketAddr::V6(_) => set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT),
    }
}

fn grow_queues(socket: &Socket) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    grow_queue(fd, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_QUEUE_BYTES)?;
    grow_queue(fd, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_QUEUE_BYTES)
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
pub(super) mod tests {
    use super::*;

    /// Asks for the octet that each datagram is marked with.
    pub(in crate::io) fn tell_mark(socket: &UdpSocket, local: SocketAddr) {
        let (level, name) = match local {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVTOS),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
        };
        set_option(socket.as_raw_fd(), level, name, 1).expect("sets");
    }

    /// Receives a datagram and says what it was marked with.
    pub(in crate::io) fn received_mark(socket: &UdpSocket) -> u8 {
        let (mut payload, mut control) = ([0u8; 64], [0u64; 8]);
        let mut iovec = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
        // SAFETY: msghdr is plain data for which zeroes are valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&raw mut iovec, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
        // SAFETY: the message points at one vector and at control space, of the lengths it says, which outlive the call.
        assert!(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) } >= 0, "arrives");
        // A `cmsghdr` of 16 bytes, then one byte or a number: the mark is the first byte on this machine.
        assert!(message.msg_controllen > 16, "marked with nothing");
        control[2].to_ne_bytes()[0]
    }

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
