//! Messages in the form that `recvmmsg` and `sendmmsg` want: headers that point at vectors, names and control space.
//!
//! Input: where packets lie. Output: what the kernel made of them. Owns the arrays, not the packets: whoever points a message at
//! a packet holds the right to it until the call is over.

use crate::io::port_table::CONTROL_BYTES;
use crate::io::remote::SOCKADDR_BYTES;
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::ptr::{self, NonNull};

/// `N` messages in the kernel's form. Always boxed, so the pointers from `headers` to the other arrays stay valid.
pub(super) struct Messages<const N: usize> {
    headers: [libc::mmsghdr; N],
    iovecs: [libc::iovec; N],
    pub names: [[u8; SOCKADDR_BYTES]; N],
    /// Received messages only.
    pub controls: [[u8; CONTROL_BYTES]; N],
}

impl<const N: usize> Messages<N> {
    pub(super) fn new() -> Box<Messages<N>> {
        // SAFETY: mmsghdr is plain data for which zeroes (null pointers, no lengths) are valid.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        Box::new(Messages {
            headers: [header; N],
            iovecs: [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; N],
            names: [[0; SOCKADDR_BYTES]; N],
            controls: [[0; CONTROL_BYTES]; N],
        })
    }

    /// Makes message `i` one of `bytes` bytes at `packet`, with `name_bytes` of `names[i]`.
    pub(super) fn point(&mut self, i: usize, packet: NonNull<u8>, bytes: usize, name_bytes: u32) {
        self.iovecs[i] = libc::iovec { iov_base: packet.as_ptr().cast(), iov_len: bytes };
        let header = &mut self.headers[i].msg_hdr;
        header.msg_iov = &raw mut self.iovecs[i];
        header.msg_iovlen = 1;
        header.msg_name = (&raw mut self.names[i]).cast();
        header.msg_namelen = name_bytes;
    }

    /// Lets message `i` take control messages, which those that are sent do not have.
    pub(super) fn take_control(&mut self, i: usize) {
        let header = &mut self.headers[i].msg_hdr;
        header.msg_control = (&raw mut self.controls[i]).cast();
        header.msg_controllen = CONTROL_BYTES;
    }

    pub(super) fn receive(&mut self, socket: RawFd, range: Range<usize>) -> io::Result<usize> {
        let headers = &mut self.headers[range];
        let (first, count) = (headers.as_mut_ptr(), headers.len() as libc::c_uint);
        // SAFETY: these headers were pointed at `iovecs`, `names` and `controls` of this box and at PACKET_BYTES_MAX bytes of
        // a pool buffer each, which `Mmsg::ready` holds the right to; the mapping lives as long as the caller's batch.
        let count = unsafe { libc::recvmmsg(socket, first, count, libc::MSG_DONTWAIT, ptr::null_mut()) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Bytes of received message `i`, and whether there were more.
    pub(super) fn received(&self, i: usize) -> (usize, bool) {
        let header = &self.headers[i];
        (header.msg_len as usize, header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0)
    }

    /// Bytes of control messages that came with message `i`.
    pub(super) fn control_bytes(&self, i: usize) -> usize {
        self.headers[i].msg_hdr.msg_controllen
    }

    pub(super) fn send(&mut self, socket: RawFd, range: Range<usize>) -> io::Result<usize> {
        let headers = &mut self.headers[range];
        // SAFETY: the headers were pointed by `lay_out` at `iovecs` and `names` of this box and at packets of the batch
        // that is being submitted; the kernel copies all of it before it returns.
        let count =
            unsafe { libc::sendmmsg(socket, headers.as_mut_ptr(), headers.len() as libc::c_uint, libc::MSG_DONTWAIT) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Sum of the payloads of sent messages.
    pub(super) fn bytes(&self, range: Range<usize>) -> u64 {
        self.headers[range].iter().map(|header| u64::from(header.msg_len)).sum()
    }
}
