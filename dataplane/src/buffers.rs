//! The packet memory of one worker: equal slots in one mapping, handed out by index.
//!
//! Input: a number of buffers, once, at start. Output: [`Buffer`]s, each the sole right to one slot. Owns the
//! mapping; allocates nothing after [`BufferPool::new`]. Does not know what a packet is.
//!
//! ```text
//!   slot  |<-- HEADROOM_BYTES -->|<------------- BUFFER_BYTES ------------->|
//!         | addresses, as the    | packet (up to PACKET_BYTES_MAX)| tailroom |
//!         | kernel writes them,  |                                |          |
//!         | or headers of ours   |                                |          |
//!         ^ cache line           ^ cache line                                ^ cache line
//! ```

use crosspoint_contract::limits::{BUFFER_BYTES, PACKET_BYTES_MAX, TAILROOM_BYTES};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::{self, NonNull};
use std::rc::Rc;

/// Room in front of each packet, two cache lines: the sender's address in the first and the address it was sent to in the
/// second, as a multishot receive puts them before the payload; later the address the packet is sent to in the first, and in
/// the second an IP and a UDP header where we write those ourselves.
pub const HEADROOM_BYTES: usize = 128;

/// Distance from one buffer to the next.
pub const SLOT_BYTES: usize = HEADROOM_BYTES + BUFFER_BYTES;

const _: () = assert!(HEADROOM_BYTES.is_multiple_of(64) && SLOT_BYTES.is_multiple_of(64));
const _: () = assert!(PACKET_BYTES_MAX + TAILROOM_BYTES <= BUFFER_BYTES);

/// The sole right to one slot. It can be neither copied nor cloned, so two packets never share bytes.
#[derive(Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Buffer(u32);

impl Buffer {
    /// Stands where a packet has no buffer.
    pub(crate) const NONE: Buffer = Buffer(u32::MAX);

    pub(crate) fn index(&self) -> u32 {
        self.0
    }

    /// Takes back the right that the kernel held under this index.
    pub(crate) fn returned_by_kernel(index: u32) -> Buffer {
        Buffer(index)
    }
}

/// All buffers of one worker, and the list of those nobody holds.
pub struct BufferPool {
    memory: Rc<PoolMemory>,
    /// Last in, first out: the buffer that was used last is the likeliest to be in the cache.
    free: Vec<Buffer>,
}

impl BufferPool {
    /// Maps and touches memory for `buffers` slots, in huge pages if asked and available.
    pub fn new(buffers: usize, huge_pages: bool) -> io::Result<BufferPool> {
        let memory = Rc::new(PoolMemory::map(buffers, huge_pages)?);
        let free = (0..buffers as u32).rev().map(Buffer).collect();
        Ok(BufferPool { memory, free })
    }

    pub fn take(&mut self) -> Option<Buffer> {
        self.free.pop()
    }

    pub fn give(&mut self, buffer: Buffer) {
        debug_assert!(self.free.len() < self.memory.buffers, "a buffer came back twice");
        self.free.push(buffer);
    }

    /// All buffers, held or not.
    #[allow(clippy::len_without_is_empty)] // a pool has at least one
    pub fn len(&self) -> usize {
        self.memory.buffers
    }

    /// Buffers that nobody holds.
    pub fn free_len(&self) -> usize {
        self.free.len()
    }

    /// Whether the mapping got the huge pages it asked for.
    pub fn has_huge_pages(&self) -> bool {
        self.memory.huge_pages
    }

    /// The packet's room: from its first byte to the end of the tailroom.
    pub fn bytes(&self, buffer: &Buffer) -> &[u8; BUFFER_BYTES] {
        let packet = self.memory.packet(buffer.0);
        // SAFETY: `packet` checked that the slot lies in the mapping, which lives as long as `self`; bytes have no
        // invalid values and alignment 1; nobody writes while `self` is borrowed, because the one `Buffer` of
        // this slot is not with the kernel when we are shown it.
        unsafe { packet.cast().as_ref() }
    }

    /// As [`BufferPool::bytes`], to write in.
    pub fn bytes_mut(&mut self, buffer: &Buffer) -> &mut [u8; BUFFER_BYTES] {
        let packet = self.memory.packet(buffer.0);
        // SAFETY: as in `bytes`; and the borrow of `self` is exclusive, so no other reference into the pool exists.
        unsafe { packet.cast().as_mut() }
    }

    /// The room in front of the packet, and the packet's own.
    pub(crate) fn split_mut(&mut self, buffer: &Buffer) -> (&mut [u8; HEADROOM_BYTES], &mut [u8; BUFFER_BYTES]) {
        let mut headroom = self.memory.slot(buffer.0).cast::<[u8; HEADROOM_BYTES]>();
        let mut packet = self.memory.packet(buffer.0).cast::<[u8; BUFFER_BYTES]>();
        // SAFETY: as in `bytes_mut`, and headroom and packet are the two parts of one slot, so they do not overlap.
        unsafe { (headroom.as_mut(), packet.as_mut()) }
    }

    /// Where the packet begins with `headers_bytes` of the room in front of it; for the kernel.
    pub(crate) fn start(&self, buffer: &Buffer, headers_bytes: usize) -> NonNull<u8> {
        assert!(headers_bytes <= HEADROOM_BYTES);
        // SAFETY: the packet has HEADROOM_BYTES of its slot in front of it, so this stays in the mapping.
        unsafe { self.memory.packet(buffer.0).sub(headers_bytes) }
    }

    /// The mapping, for a backend that gives parts of it to the kernel and must keep it alive meanwhile.
    pub(crate) fn memory(&self) -> &Rc<PoolMemory> {
        &self.memory
    }
}

/// The slots. Shared by the pool and a backend, so that neither can unmap what the other uses.
pub(crate) struct PoolMemory {
    mapping: Mapping,
    buffers: usize,
    huge_pages: bool,
}

impl PoolMemory {
    fn map(buffers: usize, huge_pages: bool) -> io::Result<PoolMemory> {
        assert!(buffers > 0 && buffers < u32::MAX as usize, "a pool has between 1 and 2^32 - 2 buffers");
        let bytes = buffers * SLOT_BYTES;
        if huge_pages && let Ok(mapping) = Mapping::new_huge(bytes) {
            return Ok(PoolMemory { mapping, buffers, huge_pages: true });
        }
        Ok(PoolMemory { mapping: Mapping::new(bytes)?, buffers, huge_pages: false })
    }

    /// Start of a slot, headroom included.
    pub(crate) fn slot(&self, index: u32) -> NonNull<u8> {
        assert!((index as usize) < self.buffers, "a buffer of another pool");
        // SAFETY: index < buffers, so the offset stays within the mapping of at least buffers * SLOT_BYTES bytes.
        unsafe { self.mapping.base().add(index as usize * SLOT_BYTES) }
    }

    /// Start of the packet in a slot.
    pub(crate) fn packet(&self, index: u32) -> NonNull<u8> {
        // SAFETY: HEADROOM_BYTES < SLOT_BYTES, so this stays in the slot that `slot` has checked.
        unsafe { self.slot(index).add(HEADROOM_BYTES) }
    }
}

/// Memory of whole pages. What is private is zeroed, and touched at once so that no packet pays for a page fault.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    pub(crate) fn new(bytes: usize) -> io::Result<Mapping> {
        Mapping::with_flags(bytes, 0)
    }

    fn new_huge(bytes: usize) -> io::Result<Mapping> {
        const HUGE_PAGE_BYTES: usize = 2 << 20;
        Mapping::with_flags(bytes.next_multiple_of(HUGE_PAGE_BYTES), libc::MAP_HUGETLB)
    }

    /// Memory that the kernel shares with us under this descriptor.
    pub(crate) fn shared(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<Mapping> {
        Mapping::map(bytes, libc::MAP_SHARED, fd.as_raw_fd())
    }

    fn with_flags(bytes: usize, flags: libc::c_int) -> io::Result<Mapping> {
        Mapping::map(bytes, flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE, -1)
    }

    fn map(bytes: usize, flags: libc::c_int, fd: RawFd) -> io::Result<Mapping> {
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Mapping { base, bytes })
    }

    /// Aligned to a page.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

// SAFETY: a mapping is an address and a length, valid in every thread; what it holds is reached only through pointers, whose
// users answer for how they share it.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` gives the address away and nothing else.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `bytes` are those of the successful mmap; whoever points into the mapping owns it or
        // borrows from its owner, so no pointer into it is used any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_distinct_aligned_and_run_out_at_the_bound() {
        let mut pool = BufferPool::new(3, true).expect("maps");
        let held: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(held.len(), 3);
        for (i, buffer) in held.iter().enumerate() {
            assert!(pool.bytes(buffer).as_ptr().addr().is_multiple_of(64));
            pool.bytes_mut(buffer).fill(i as u8 + 1);
        }
        for (i, buffer) in held.iter().enumerate() {
            assert!(pool.bytes(buffer).iter().all(|b| *b == i as u8 + 1), "buffer {i} was overwritten");
        }
        held.into_iter().for_each(|buffer| pool.give(buffer));
        assert_eq!(pool.free_len(), 3);
    }

    #[test]
    #[should_panic(expected = "a buffer of another pool")]
    fn index_beyond_the_pool_is_our_bug() {
        BufferPool::new(1, false).expect("maps").bytes(&Buffer(1));
    }
}
