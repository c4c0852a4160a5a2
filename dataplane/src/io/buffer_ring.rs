//! The ring through which a worker gives the kernel buffers to receive into.
//!
//! Input: free [`Buffer`]s. Output: the kernel takes them in order and names each by its id in a completion. Owns the
//! ring's memory and counts what the kernel holds. Does not register itself: see [`crate::io::uring`].
//!
//! ```text
//!   kernel takes here          we put here    tail: published once a batch
//!        v                         v
//!   | id 7 | id 2 | id 9 | id 4 |      |      |    entries: a power of two
//! ```

use crate::buffers::{Buffer, BufferPool, HEADROOM_BYTES, Mapping, PoolMemory};
use crosspoint_contract::limits::PACKET_BYTES_MAX;
use io_uring::types::BufRingEntry;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The kernel's bound on the entries of one ring.
const BUFFER_RING_ENTRIES_MAX: usize = 1 << 15;

/// What the kernel may write of a slot: everything before the tailroom.
const RECEIVE_BYTES: u32 = (HEADROOM_BYTES + PACKET_BYTES_MAX) as u32;

pub(crate) struct BufferRing {
    entries: Mapping,
    memory: Rc<PoolMemory>,
    mask: u16,
    /// Where the next buffer goes; counts on without end.
    tail: u16,
    /// Buffers that the kernel holds.
    held: usize,
}

impl BufferRing {
    /// A ring of `entries` (a power of two), filled from the pool.
    pub(crate) fn new(entries: usize, pool: &mut BufferPool) -> io::Result<BufferRing> {
        assert!(entries.is_power_of_two() && entries <= BUFFER_RING_ENTRIES_MAX);
        let mut ring = BufferRing {
            entries: Mapping::new(entries * size_of::<BufRingEntry>())?,
            memory: pool.memory().clone(),
            mask: (entries - 1) as u16,
            tail: 0,
            held: 0,
        };
        for _ in 0..entries {
            let buffer = pool.take().expect("the pool is larger than the ring");
            ring.put(buffer);
        }
        ring.publish();
        Ok(ring)
    }

    pub(crate) fn address(&self) -> u64 {
        self.entries.base().as_ptr().addr() as u64
    }

    pub(crate) fn len(&self) -> u16 {
        self.mask + 1
    }

    /// Buffers that the kernel holds.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Gives a free buffer to the kernel if the ring has room, else to the pool. The kernel sees it after `publish`.
    pub(crate) fn put_or_pool(&mut self, buffer: Buffer, pool: &mut BufferPool) {
        if self.held <= usize::from(self.mask) {
            self.put(buffer);
        } else {
            pool.give(buffer);
        }
    }

    fn put(&mut self, buffer: Buffer) {
        let entry = self.entry(self.tail & self.mask);
        let slot = self.memory.slot(buffer.index());
        // SAFETY: `entry` points at one of our entries, zeroed or written before, thus initialised. The kernel does not
        // read it: it reads entries up to the published tail only, and `held` < entries says it is done with this one.
        let entry = unsafe { &mut *entry };
        entry.set_addr(slot.as_ptr().addr() as u64);
        entry.set_len(RECEIVE_BYTES);
        entry.set_bid(buffer.index() as u16);
        self.tail = self.tail.wrapping_add(1);
        self.held += 1;
    }

    /// Lets the kernel see what was put.
    pub(crate) fn publish(&mut self) {
        // SAFETY: `entry(0)` is the start of the ring, as `tail` demands, and initialised.
        let tail = unsafe { BufRingEntry::tail(self.entry(0)) };
        // SAFETY: the tail is an aligned u16 in our mapping that only this thread writes and the kernel reads; no
        // reference to it exists, since entries are borrowed only within `put`.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: the kernel must see the entries no later than the tail that covers them.
        tail.store(self.tail, Ordering::Release);
    }

    /// The kernel filled the buffer with this id and gave it back.
    pub(crate) fn taken(&mut self, id: u16) -> Buffer {
        self.held -= 1;
        Buffer::returned_by_kernel(u32::from(id))
    }

    fn entry(&self, i: u16) -> *mut BufRingEntry {
        // SAFETY: callers give i <= mask, so the offset stays within the mapping of mask + 1 entries.
        unsafe { self.entries.base().cast::<BufRingEntry>().add(usize::from(i)).as_ptr() }
    }
}
