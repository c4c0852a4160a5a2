//! The generator's socket: 64 packets a system call either way, sources chosen per packet, arrivals stamped by the kernel.
//!
//! Input: prepared packets by reference. Output: received packets with the time at which the kernel had them. Owns one UDP
//! socket, and a second one above it that swallows the RTCP which relays send, so that they do not meet ICMP errors.
//!
//! Arrival times are the kernel's (`SO_TIMESTAMPNS`, socket(7)), taken as the packet enters the receive path: the time it
//! then waits for the generator to read it is not the relay's and is not in the latency.

use anyhow::{Context, bail};
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

/// Packets one system call moves at most.
pub const BATCH_PACKETS: usize = 64;

/// Asked of the kernel, which gives what `net.core.rmem_max` or our privileges allow.
const BUFFER_BYTES: usize = 64 << 20;

const RECEIVE_BYTES: usize = 2048;

/// Room for one control message of either kind.
const CONTROL_BYTES: usize = 64;

/// Tries to find a free even port with a free one above it.
const PORT_TRIES: usize = 100;

/// How a flow's packets leave: from whom to whom.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Route {
    to: libc::sockaddr_in,
    source: [u8; 32],
}

impl Route {
    pub fn new(from: Ipv4Addr, to: SocketAddrV4) -> Route {
        // SAFETY: all-zero bytes are a valid in_pktinfo; it is plain data.
        let mut info: libc::in_pktinfo = unsafe { zeroed() };
        info.ipi_spec_dst.s_addr = u32::from(from).to_be();
        // SAFETY: all-zero bytes are a valid cmsghdr.
        let mut header: libc::cmsghdr = unsafe { zeroed() };
        header.cmsg_len = size_of::<libc::cmsghdr>() + size_of::<libc::in_pktinfo>();
        header.cmsg_level = libc::IPPROTO_IP;
        header.cmsg_type = libc::IP_PKTINFO;
        let mut source = [0; 32];
        let (head, rest) = source.split_at_mut(size_of::<libc::cmsghdr>());
        head.copy_from_slice(bytes_of(&header));
        rest[..size_of::<libc::in_pktinfo>()].copy_from_slice(bytes_of(&info));
        let to = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: to.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
            sin_zero: [0; 8],
        };
        Route { to, source }
    }
}

/// The bytes of a C structure without padding.
fn bytes_of<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: callers give `cmsghdr` and `in_pktinfo`, which have no padding on Linux, so all bytes are initialised; the
    // slice lives as long as the value it borrows.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

pub struct LoadSocket {
    socket: UdpSocket,
    /// Never read: what it cannot hold is dropped by the kernel.
    _rtcp: UdpSocket,
    port: u16,
    sending: Batch,
    queued: usize,
    receiving: Batch,
    received: usize,
    buffers: Box<[[u8; RECEIVE_BYTES]]>,
    controls: Box<[Control]>,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Message headers and the vectors they point at. Both are boxed, so their addresses hold when the owner moves.
struct Batch {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
}

// SAFETY: the pointers in a batch lead to memory that its owner owns (`buffers`, `controls`, `vectors`) or are written anew
// for each send and not read after it; nothing in it is bound to a thread.
unsafe impl Send for Batch {}

impl Batch {
    fn new() -> Batch {
        // SAFETY: all-zero bytes are a valid mmsghdr and a valid iovec: null pointers with length 0.
        let (header, vector) = unsafe { (zeroed::<libc::mmsghdr>(), zeroed::<libc::iovec>()) };
        let mut batch =
            Batch { headers: vec![header; BATCH_PACKETS].into(), vectors: vec![vector; BATCH_PACKETS].into() };
        for (header, vector) in batch.headers.iter_mut().zip(batch.vectors.iter_mut()) {
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        batch
    }
}

/// A packet that came back.
pub struct Arrival<'a> {
    pub bytes: &'a [u8],
    /// The kernel's wall clock.
    pub at_ns: Option<u64>,
}

impl LoadSocket {
    pub fn open() -> anyhow::Result<LoadSocket> {
        let (socket, rtcp) = pair_of_ports()?;
        let port = socket.local_addr()?.port();
        enlarge(&socket)?;
        stamp_arrivals(&socket).context("the kernel does not stamp arrivals (SO_TIMESTAMPNS)")?;
        let mut opened = LoadSocket {
            socket,
            _rtcp: rtcp,
            port,
            sending: Batch::new(),
            queued: 0,
            receiving: Batch::new(),
            received: 0,
            buffers: vec![[0; RECEIVE_BYTES]; BATCH_PACKETS].into(),
            controls: vec![Control([0; CONTROL_BYTES]); BATCH_PACKETS].into(),
        };
        opened.aim_receives();
        Ok(opened)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn aim_receives(&mut self) {
        let batch = self.receiving.headers.iter_mut().zip(self.receiving.vectors.iter_mut());
        let memory = self.buffers.iter_mut().zip(self.controls.iter_mut());
        for ((header, vector), (buffer, control)) in batch.zip(memory) {
            *vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: RECEIVE_BYTES };
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES;
        }
    }

    /// Queues a packet for the next [`Self::flush`].
    ///
    /// # Safety
    /// `packet` and `route` must stay where they are, unchanged, until `flush` has returned.
    pub unsafe fn queue(&mut self, packet: &[u8], route: &Route) {
        let header = &mut self.sending.headers[self.queued].msg_hdr;
        self.sending.vectors[self.queued] =
            libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
        header.msg_name = std::ptr::from_ref(&route.to).cast_mut().cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        header.msg_control = route.source.as_ptr().cast_mut().cast();
        header.msg_controllen = route.source.len();
        self.queued += 1;
    }

    pub fn is_full(&self) -> bool {
        self.queued == BATCH_PACKETS
    }

    /// Sends what is queued; gives how many the kernel refused.
    pub fn flush(&mut self) -> u64 {
        let (mut done, mut refused) = (0, 0);
        while done < self.queued {
            let rest = &mut self.sending.headers[done..self.queued];
            // SAFETY: `rest` are initialised headers whose vectors, names and control messages are valid: those of `queue`,
            // whose caller keeps them until now. Their number is the slice's length.
            let sent = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
            // An error is that of the first message left; the others are tried again.
            let advanced = usize::try_from(sent).unwrap_or(0);
            refused += u64::from(advanced == 0);
            done += advanced.max(1);
        }
        self.queued = 0;
        refused
    }

    /// Reads what is there, up to [`BATCH_PACKETS`]; gives how many.
    pub fn receive(&mut self) -> usize {
        for header in &mut self.receiving.headers[..self.received] {
            header.msg_hdr.msg_controllen = CONTROL_BYTES;
        }
        let headers = &mut self.receiving.headers;
        // SAFETY: the headers point at buffers and control memory of the lengths they say, owned by `self` and borrowed by
        // nobody, since arrivals borrow `self`. No timeout is given.
        let got = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH_PACKETS as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        self.received = usize::try_from(got).unwrap_or(0);
        self.received
    }

    /// Those of the last [`Self::receive`].
    pub fn arrivals(&self) -> impl Iterator<Item = Arrival<'_>> {
        (0..self.received).map(|i| {
            let bytes = (self.receiving.headers[i].msg_len as usize).min(RECEIVE_BYTES);
            Arrival { bytes: &self.buffers[i][..bytes], at_ns: stamp(&self.controls[i]) }
        })
    }

    /// Packets that came back but found no room here, since the socket was opened.
    pub fn overflowed(&self) -> u64 {
        let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
        let local = format!(":{:04X} ", self.port);
        let line = table
            .lines()
            .find(|line| line.split_whitespace().nth(1).is_some_and(|at| local.trim().ends_with(&at[8..])));
        line.and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap_or(0)
    }
}

/// The time in the control message, if it is one of the kernel's stamps.
fn stamp(control: &Control) -> Option<u64> {
    let word = |at: usize| i64::from_ne_bytes(control.0[at..at + 8].try_into().expect("eight bytes"));
    let kind = u64::from_ne_bytes(control.0[8..16].try_into().expect("eight bytes"));
    let expected = libc::SOL_SOCKET as u64 | (libc::SCM_TIMESTAMPNS as u64) << 32;
    (kind == expected).then(|| word(16) as u64 * 1_000_000_000 + word(24) as u64)
}

// The layout that `stamp` reads: length, level, type, then a timespec; in the byte order of this machine.
const _: () =
    assert!(size_of::<libc::cmsghdr>() == 16 && size_of::<libc::timespec>() == 16 && cfg!(target_endian = "little"));

/// RFC 3550 §11: RTP on an even port, its RTCP on the next one.
fn pair_of_ports() -> anyhow::Result<(UdpSocket, UdpSocket)> {
    for _ in 0..PORT_TRIES {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let port = socket.local_addr()?.port();
        if port % 2 == 0
            && let Ok(above) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port + 1))
        {
            return Ok((socket, above));
        }
    }
    bail!("found no two neighbouring free UDP ports in {PORT_TRIES} tries")
}

fn enlarge(socket: &UdpSocket) -> std::io::Result<()> {
    let options = socket2::SockRef::from(socket);
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        // Without CAP_NET_ADMIN the ordinary limit has to do.
        let _ = set_option(socket, option, BUFFER_BYTES as i32 / 2);
    }
    if options.recv_buffer_size()? < BUFFER_BYTES / 2 {
        options.set_recv_buffer_size(BUFFER_BYTES)?;
        options.set_send_buffer_size(BUFFER_BYTES)?;
    }
    Ok(())
}

fn stamp_arrivals(socket: &UdpSocket) -> std::io::Result<()> {
    set_option(socket, libc::SO_TIMESTAMPNS, 1)
}

fn set_option(socket: &UdpSocket, option: libc::c_int, value: libc::c_int) -> std::io::Result<()> {
    let bytes = size_of::<libc::c_int>() as u32;
    let value = std::ptr::from_ref(&value).cast();
    // SAFETY: the value is an int on this stack frame, and its length is given.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, bytes) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::address;

    #[test]
    fn packets_leave_from_the_address_of_their_party_and_arrivals_are_stamped() {
        let mut socket = LoadSocket::open().expect("loopback");
        let peer = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let std::net::SocketAddr::V4(to) = peer.local_addr().expect("bound") else { panic!("IPv4") };
        let routes = [Route::new(address::of_party(4), to), Route::new(address::of_party(70_000), to)];
        for route in &routes {
            // SAFETY: the packet is static and the routes outlive the flush below.
            unsafe { socket.queue(b"packet", route) };
        }
        assert_eq!(socket.flush(), 0);
        let mut buffer = [0; 16];
        for party in [4, 70_000] {
            let (bytes, from) = peer.recv_from(&mut buffer).expect("arrives");
            assert_eq!((&buffer[..bytes], from.ip()), (&b"packet"[..], address::of_party(party).into()));
            peer.send_to(b"back", from).expect("loopback");
        }
        let mut came = 0;
        while came < 2 {
            came += socket.receive();
            assert!(socket.arrivals().all(|arrival| arrival.bytes == b"back" && arrival.at_ns.is_some()));
        }
        assert_eq!(socket.overflowed(), 0);
    }
}
