//! What one worker counts, and what it is told beside its orders. One writer a cell, any readers, no locks.
//!
//! Input: increments by the worker that owns the page; one cell is the link thread's. Output: [`WorkerCounters`] for the
//! link thread. Owns the page.
//! Each cell is an atomic only so that another thread may read it: the owner loads, adds and stores, which compiles to
//! plain moves; there is no read-modify-write.

use crate::board::BoardView;
use crosspoint_contract::{DropReason, WorkerCounters, WorkerId};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A total that only its worker writes.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The page of one worker, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Counters {
    pub packets_received: Cell,
    pub bytes_received: Cell,
    pub packets_sent: Cell,
    pub bytes_sent: Cell,
    pub batches: Cell,
    pub enters: Cell,
    pub receive_rearmed: Cell,
    pub stun_checks_answered: Cell,
    pub stun_checks_sent: Cell,
    pub legs: Cell,
    pub events_dropped: Cell,
    /// Packets that waited for a promised command.
    pub packets_early: Cell,
    dropped: PerReason,
    /// Orders with somebody who waits for the answer: the one cell that the link thread writes. While there are none,
    /// answers need not wake it.
    pub answers_awaited: Cell,
    /// What control has promised; where it sees which legs have figures.
    pub board: BoardView,
}

/// Packets that left the path without being sent.
#[derive(Debug)]
struct PerReason([Cell; DropReason::COUNT]);

impl Default for PerReason {
    fn default() -> Self {
        PerReason(std::array::from_fn(|_| Cell::default()))
    }
}

impl Counters {
    pub fn on(board: BoardView) -> Self {
        Counters { board, ..Counters::default() }
    }

    /// One packet left the path.
    #[inline]
    pub fn drop_packet(&self, reason: DropReason) {
        self.dropped.0[reason as usize].add(1);
    }

    pub fn drop_packets(&self, reason: DropReason, packets: u64) {
        self.dropped.0[reason as usize].add(packets);
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.0[reason as usize].get()
    }

    /// A copy for control; what only the link thread knows is left at zero. Cells are read one by one, so sums may be
    /// a packet apart.
    pub fn read(&self, worker: WorkerId) -> WorkerCounters {
        WorkerCounters {
            worker: Some(worker),
            packets_received: self.packets_received.get(),
            bytes_received: self.bytes_received.get(),
            packets_sent: self.packets_sent.get(),
            bytes_sent: self.bytes_sent.get(),
            packets_dropped: self.dropped.0.iter().map(Cell::get).collect(),
            stun_checks_answered: self.stun_checks_answered.get(),
            stun_checks_sent: self.stun_checks_sent.get(),
            batches: self.batches.get(),
            enters: self.enters.get(),
            receive_rearmed: self.receive_rearmed.get(),
            legs: self.legs.get() as u32,
            events_dropped: self.events_dropped.get(),
            packets_early: self.packets_early.get(),
            ..WorkerCounters::default()
        }
    }
}
