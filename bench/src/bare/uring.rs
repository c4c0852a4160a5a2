//! The bare loop of io_uring: a socket a party, and one `io_uring_enter` a turn.
//!
//! Input: packets of parties. Output: the same packets to their other parties, out of the buffers they came into. Owns the
//! ring, the buffers and the sockets.
//!
//! ```text
//!   io_uring_enter(send what is queued, wait for one) ──> completions: (socket, buffer, length)
//!         ^                                                    │ SEND on socket ^ 1, MSG_DONTWAIT, silent on success
//!         └──── buffers of the turn before go back to the kernel ──┘
//! ```

use super::{BareArgs, announce};
use crate::load::address;
use anyhow::Context;
use io_uring::types::{BufRingEntry, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::alloc::Layout;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};

/// A power of two.
const BUFFERS: u16 = 1024;
const BUFFER_BYTES: usize = 2048;
const SUBMISSIONS: u32 = 1024;
const GROUP: u16 = 0;

/// `user_data` of a receive is its socket; of a send, which only fails visibly, this.
const SEND: u64 = u64::MAX;

pub fn run(args: &BareArgs) -> anyhow::Result<()> {
    let sockets =
        (0..args.parties).map(|party| socket_of(party, args.party_port)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(16_384)
        .build(SUBMISSIONS)
        .context("io_uring is not available here: the control needs kernel 6.1 and no seccomp filter")?;
    let descriptors: Vec<i32> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    ring.submitter().register_files(&descriptors).context("registering sockets")?;
    let mut buffers = Buffers::new();
    // SAFETY: the ring's memory is of this many entries, and what they point at is never freed: `buffers` lives until
    // the process ends, as does the io_uring.
    unsafe { ring.submitter().register_buf_ring_with_flags(buffers.address(), BUFFERS, GROUP, 0)? };
    for socket in 0..sockets.len() {
        push(&mut ring, &receive_on(socket))?;
    }
    announce(sockets.iter().map(|socket| socket.local_addr().map_or(0, |addr| addr.port())));
    swap(&mut ring, &mut buffers)
}

fn swap(ring: &mut IoUring, buffers: &mut Buffers) -> anyhow::Result<()> {
    let mut sent: Vec<u16> = Vec::with_capacity(usize::from(BUFFERS));
    let mut completed: Vec<(u64, i32, u32)> = Vec::with_capacity(usize::from(BUFFERS));
    loop {
        match ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => {}
            Err(error) => return Err(error.into()),
        }
        // What was queued has left: with MSG_DONTWAIT the kernel copies a packet as it takes the entry, or fails.
        sent.drain(..).for_each(|buffer| buffers.give(buffer));
        buffers.publish();
        completed.extend(ring.completion().map(|entry| (entry.user_data(), entry.result(), entry.flags())));
        for (socket, result, flags) in completed.drain(..) {
            if socket == SEND {
                continue;
            }
            if let (Some(buffer), Ok(bytes)) = (cqueue::buffer_select(flags), u32::try_from(result)) {
                push(ring, &send_on(socket as usize ^ 1, buffers.slot(buffer), bytes))?;
                sent.push(buffer);
            }
            if !cqueue::more(flags) {
                push(ring, &receive_on(socket as usize))?;
            }
        }
    }
}

fn socket_of(party: usize, port: u16) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .with_context(|| format!("socket {party}: fewer calls need fewer descriptors, see `ulimit -n`"))?;
    socket.connect((address::of_party(party), port))?;
    Ok(socket)
}

fn receive_on(socket: usize) -> squeue::Entry {
    opcode::RecvMulti::new(Fixed(socket as u32), GROUP).build().user_data(socket as u64)
}

fn send_on(socket: usize, packet: *const u8, bytes: u32) -> squeue::Entry {
    opcode::Send::new(Fixed(socket as u32), packet, bytes)
        .flags(libc::MSG_DONTWAIT)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
        .user_data(SEND)
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> anyhow::Result<()> {
    loop {
        // SAFETY: receives name registered sockets and a registered group; sends point at a buffer that is given back to
        // the kernel only after the entry was taken.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        ring.submit()?;
    }
}

/// Memory that packets are received into, and the ring that offers it to the kernel.
struct Buffers {
    ring: *mut BufRingEntry,
    memory: *mut u8,
    tail: u16,
}

impl Buffers {
    fn new() -> Buffers {
        let pages = |bytes| Layout::from_size_align(bytes, 4096).expect("a power of two");
        // SAFETY: both layouts have a size above zero. The memory is zeroed, thus initialised, and never freed.
        let (ring, memory) = unsafe {
            (
                std::alloc::alloc_zeroed(pages(usize::from(BUFFERS) * size_of::<BufRingEntry>())),
                std::alloc::alloc_zeroed(pages(usize::from(BUFFERS) * BUFFER_BYTES)),
            )
        };
        assert!(!ring.is_null() && !memory.is_null(), "two megabytes can be had");
        let mut buffers = Buffers { ring: ring.cast(), memory, tail: 0 };
        (0..BUFFERS).for_each(|buffer| buffers.give(buffer));
        buffers.publish();
        buffers
    }

    fn address(&self) -> u64 {
        self.ring.addr() as u64
    }

    fn slot(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < BUFFERS);
        // SAFETY: the buffer's number is below their count, so the offset stays within the memory.
        unsafe { self.memory.add(usize::from(buffer) * BUFFER_BYTES) }
    }

    fn give(&mut self, buffer: u16) {
        let address = self.slot(buffer).addr() as u64;
        // SAFETY: the masked index is below the number of entries; the entry is initialised, and the kernel does not read
        // it before the tail that covers it is published: at most BUFFERS are ever given.
        let entry = unsafe { &mut *self.ring.add(usize::from(self.tail & (BUFFERS - 1))) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the pointer is to the first entry of the ring, as `tail` demands; its tail is an aligned u16 that only
        // this thread writes.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.ring).cast_mut()) };
        // Release: the kernel must see the entries no later than the tail that covers them.
        tail.store(self.tail, Ordering::Release);
    }
}
