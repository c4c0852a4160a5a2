//! The bare loop of `recvmmsg` and `sendmmsg`: one socket, up to 64 packets a call, back out of the buffers they came into.
//!
//! Input: packets of parties. Output: the same packets to their other parties. Owns one socket.

use super::{BareArgs, announce};
use crate::load::address;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

const BATCH: usize = 64;
const BUFFER_BYTES: usize = 2048;

pub fn run(args: &BareArgs) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(4 << 20)?;
    let port = socket.local_addr()?.port();
    announce(std::iter::repeat_n(port, args.parties));
    let mut buffers = vec![[0u8; BUFFER_BYTES]; BATCH];
    // SAFETY: all-zero bytes are valid values of these C structures.
    let (mut names, mut headers, mut vectors) = unsafe {
        (
            vec![zeroed::<libc::sockaddr_in>(); BATCH],
            vec![zeroed::<libc::mmsghdr>(); BATCH],
            vec![zeroed::<libc::iovec>(); BATCH],
        )
    };
    for i in 0..BATCH {
        vectors[i].iov_base = buffers[i].as_mut_ptr().cast();
        headers[i].msg_hdr.msg_iov = &mut vectors[i];
        headers[i].msg_hdr.msg_iovlen = 1;
        headers[i].msg_hdr.msg_name = (&raw mut names[i]).cast();
    }
    loop {
        for (header, vector) in headers.iter_mut().zip(&mut vectors) {
            vector.iov_len = BUFFER_BYTES;
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        // Sleeps for the first, then takes what is there.
        // SAFETY: the headers point at buffers and names of the lengths they say, which live as long as the loop and are
        // not borrowed now.
        let got = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        let Ok(got) = usize::try_from(got) else { continue };
        for i in 0..got {
            let from = Ipv4Addr::from(u32::from_be(names[i].sin_addr.s_addr));
            names[i].sin_addr.s_addr = u32::from(address::of_other_party(from)).to_be();
            vectors[i].iov_len = headers[i].msg_len as usize;
        }
        let mut sent = 0;
        while sent < got {
            let rest = &mut headers[sent..got];
            // SAFETY: as above; the vectors now say how much was received.
            let result = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
            sent += usize::try_from(result).unwrap_or(1).max(1);
        }
    }
}
