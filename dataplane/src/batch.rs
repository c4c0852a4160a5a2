//! What travels through the stages: up to 64 received packets, and those made on the way, over one buffer pool.
//!
//! Input: [`crate::io::Io::harvest`] fills it, [`PacketBatch::push_new`] adds locally made packets. Output:
//! [`crate::io::Io::submit`] sends what is marked [`Disposition::Send`] and empties it. Owns the pool; packets own
//! their buffers. Decides nothing: stages do.

use crate::buffers::{Buffer, BufferPool, HEADROOM_BYTES};
use crate::io::{PortId, Remote};
use crosspoint_contract::limits::{BATCH_PACKETS_MAX, BUFFER_BYTES};
use std::ptr::NonNull;

/// Received packets and as many locally made ones again.
pub const BATCH_CAPACITY: usize = 2 * BATCH_PACKETS_MAX;

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Later than any time: a sleep until then ends by a packet or a wake only.
    pub const MAX: Nanos = Nanos(u64::MAX);

    pub fn now() -> Nanos {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid timespec to write to, and CLOCK_MONOTONIC exists on every Linux.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
        Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    pub const fn saturating_add_ns(self, ns: u64) -> Nanos {
        Nanos(self.0.saturating_add(ns))
    }

    /// The way from `earlier` to this, as the kernel wants time-outs: none if this is not later.
    pub(crate) fn timespec_from(self, earlier: Nanos) -> libc::timespec {
        let ns = self.since(earlier);
        libc::timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
    }

    /// Nanoseconds from `earlier` to this; 0 if it is not earlier.
    pub const fn since(self, earlier: Nanos) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What becomes of a packet when its batch is submitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Disposition {
    /// No stage has decided yet; a bug if it is still so at `submit`.
    #[default]
    Pending,
    /// Goes to its `remote`.
    Send,
    /// A stage dropped it and counted why.
    Dropped,
    /// A stage made use of it: copied it to the lobby, or consumed what it said.
    Taken,
}

/// One packet: where its bytes are, who sent it or shall get it, and what the stages found out so far.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Packet {
    buffer: Buffer,
    len: u16,
    truncated: bool,
    pub disposition: Disposition,
    /// Sender when received; a stage that forwards it writes the receiver here.
    pub remote: Remote,
    /// Where it arrived; a stage that forwards it writes where it leaves from.
    pub port: PortId,
    /// Index in the worker's leg table, once looked up.
    pub leg: u32,
    /// What `classify` takes it for; the meaning is the stages'.
    pub kind: u8,
}

const _: () = assert!(size_of::<Packet>() == 64 && align_of::<Packet>() == 64);
const _: () = assert!(BUFFER_BYTES <= u16::MAX as usize);

impl Packet {
    const EMPTY: Packet = Packet {
        buffer: Buffer::NONE,
        len: 0,
        truncated: false,
        disposition: Disposition::Pending,
        remote: Remote::UNSPECIFIED,
        port: PortId::SHARED,
        leg: u32::MAX,
        kind: 0,
    };

    #[allow(clippy::len_without_is_empty)] // an empty datagram is a packet like any other
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The datagram was longer than `PACKET_BYTES_MAX` and the kernel cut it.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// A stage below may still look at it.
    pub fn is_pending(&self) -> bool {
        self.disposition == Disposition::Pending
    }
}

/// The packets of one turn of the worker's loop, oldest first.
pub struct PacketBatch {
    now: Nanos,
    len: usize,
    packets: Box<[Packet; BATCH_CAPACITY]>,
    pool: BufferPool,
}

impl PacketBatch {
    pub fn new(pool: BufferPool) -> PacketBatch {
        let packets = Box::new([const { Packet::EMPTY }; BATCH_CAPACITY]);
        PacketBatch { now: Nanos::default(), len: 0, packets, pool }
    }

    /// The one clock reading of this batch.
    pub fn now(&self) -> Nanos {
        self.now
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn packets(&self) -> &[Packet] {
        &self.packets[..self.len]
    }

    pub fn packets_mut(&mut self) -> &mut [Packet] {
        &mut self.packets[..self.len]
    }

    pub fn packet(&self, i: usize) -> &Packet {
        &self.packets()[i]
    }

    pub fn packet_mut(&mut self, i: usize) -> &mut Packet {
        &mut self.packets_mut()[i]
    }

    /// The packet's bytes.
    pub fn bytes(&self, i: usize) -> &[u8] {
        let packet = self.packet(i);
        &self.pool.bytes(&packet.buffer)[..packet.len()]
    }

    pub fn bytes_mut(&mut self, i: usize) -> &mut [u8] {
        let len = self.packet(i).len();
        &mut self.buffer_mut(i)[..len]
    }

    /// The packet's bytes and all the room behind them, in which it may grow (see [`PacketBatch::set_len`]).
    pub fn buffer_mut(&mut self, i: usize) -> &mut [u8; BUFFER_BYTES] {
        self.split_mut(i).1
    }

    /// A packet and its whole room at once, for a stage that writes both.
    pub fn split_mut(&mut self, i: usize) -> (&mut Packet, &mut [u8; BUFFER_BYTES]) {
        let packet = &mut self.packets[..self.len][i];
        let room = self.pool.bytes_mut(&packet.buffer);
        (packet, room)
    }

    /// Says how many bytes of the room are the packet now.
    pub fn set_len(&mut self, i: usize, len: usize) {
        assert!(len <= BUFFER_BYTES, "a packet does not outgrow its buffer");
        self.packet_mut(i).len = len as u16;
    }

    /// Adds an empty, pending packet from the shared port to `remote`; the caller fills it. `None` when the batch is full or no buffer
    /// is free; the caller counts that as `DropReason::SendExhausted`.
    pub fn push_new(&mut self, remote: Remote) -> Option<usize> {
        self.push_new_from(PortId::SHARED, remote)
    }

    /// As [`PacketBatch::push_new`], from any port.
    pub fn push_new_from(&mut self, port: PortId, remote: Remote) -> Option<usize> {
        if self.len == BATCH_CAPACITY {
            return None;
        }
        let buffer = self.pool.take()?;
        Some(self.push(Packet { buffer, remote, port, ..Packet::EMPTY }))
    }

    /// Buffers that neither the batch nor the kernel holds.
    pub fn free_buffers(&self) -> usize {
        self.pool.free_len()
    }

    fn push(&mut self, packet: Packet) -> usize {
        let i = self.len;
        self.packets[i] = packet;
        self.len += 1;
        i
    }
}

/// What backends may do and stages may not.
impl PacketBatch {
    pub(crate) fn pool_mut(&mut self) -> &mut BufferPool {
        &mut self.pool
    }

    pub(crate) fn set_now(&mut self, now: Nanos) {
        self.now = now;
    }

    /// Adds a datagram that lies in `buffer` already.
    pub(crate) fn push_received(&mut self, buffer: Buffer, remote: Remote, port: PortId, len: usize, truncated: bool) {
        debug_assert!(len <= BUFFER_BYTES && self.len < BATCH_PACKETS_MAX);
        self.push(Packet { buffer, remote, port, len: len as u16, truncated, ..Packet::EMPTY });
    }

    /// The room in front of packet `i`, and its own.
    pub(crate) fn headroom_mut(&mut self, i: usize) -> (&mut [u8; HEADROOM_BYTES], &mut [u8; BUFFER_BYTES]) {
        self.pool.split_mut(&self.packets[..self.len][i].buffer)
    }

    /// Where packet `i` begins with `headers_bytes` in front of it.
    pub(crate) fn start(&self, i: usize, headers_bytes: usize) -> NonNull<u8> {
        self.pool.start(&self.packet(i).buffer, headers_bytes)
    }

    /// Takes the right to the bytes of packet `i` from it.
    pub(crate) fn take_buffer(&mut self, i: usize) -> Buffer {
        debug_assert!(!self.packet(i).is_pending(), "a packet passed all stages undecided");
        std::mem::replace(&mut self.packet_mut(i).buffer, Buffer::NONE)
    }

    /// Forgets all packets from `first` on; their buffers must have been taken.
    pub(crate) fn truncate(&mut self, first: usize) {
        debug_assert!(
            self.packets()[first..].iter().all(|packet| packet.buffer == Buffer::NONE),
            "a buffer would leak"
        );
        self.len = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(buffers: usize) -> PacketBatch {
        PacketBatch::new(BufferPool::new(buffers, false).expect("maps"))
    }

    #[test]
    fn locally_made_packets_end_with_the_buffers_and_with_the_batch() {
        let mut few = batch(2);
        assert_eq!(few.push_new(Remote::UNSPECIFIED), Some(0));
        assert_eq!(few.push_new(Remote::UNSPECIFIED), Some(1));
        assert_eq!(few.push_new(Remote::UNSPECIFIED), None);
        let mut many = batch(BATCH_CAPACITY + 1);
        for i in 0..BATCH_CAPACITY {
            assert_eq!(many.push_new(Remote::UNSPECIFIED), Some(i));
        }
        assert_eq!(many.push_new(Remote::UNSPECIFIED), None);
        assert_eq!(many.free_buffers(), 1);
    }

    #[test]
    fn packet_grows_into_its_tailroom_and_no_further() {
        let mut batch = batch(1);
        let i = batch.push_new(Remote::UNSPECIFIED).expect("room");
        batch.buffer_mut(i).fill(7);
        batch.set_len(i, BUFFER_BYTES);
        assert_eq!(batch.bytes(i), [7; BUFFER_BYTES]);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| batch.set_len(i, BUFFER_BYTES + 1))).is_err());
    }
}
