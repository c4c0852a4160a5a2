//! A worker's outlets: events and answers to the link thread, DTLS to the lobby.
//!
//! Input: what stages, doors, timers and commands have to say. Output: entries in the worker's rings, and at most one
//! wake per receiving thread and turn. Owns nothing but the note of who has to be woken. Never waits: a full ring drops
//! an event or a datagram and counts it; answers always have room because orders are only taken when they do.

use crate::counters::Counters;
use crate::io::Waker;
use crate::leg::LegHandle;
use crate::queues::{Answered, Datagram, Knock, WorkerEnds, WorkerNote};
use crosspoint_contract::Event;
use crosspoint_contract::limits::{COMMANDS_PER_TICK_MAX, WORKER_TO_CONTROL_MAX};

/// Places that events leave free, so that a tick's answers always fit.
const ANSWERS_RESERVED: usize = COMMANDS_PER_TICK_MAX;

const _: () = assert!(ANSWERS_RESERVED * 4 < WORKER_TO_CONTROL_MAX);

pub struct Outlets<'ends> {
    pub ends: &'ends mut WorkerEnds,
    wakers: Wakers,
    link_told: bool,
    lobby_told: bool,
}

/// Of the two threads that a worker talks to.
#[derive(Clone)]
pub struct Wakers {
    pub link: Waker,
    pub lobby: Waker,
}

impl<'ends> Outlets<'ends> {
    pub fn new(ends: &'ends mut WorkerEnds, wakers: Wakers) -> Self {
        Outlets { ends, wakers, link_told: false, lobby_told: false }
    }

    /// A fact for control.
    pub fn event(&mut self, event: Event, counters: &Counters) {
        if self.ends.to_link.slots() <= ANSWERS_RESERVED || !self.note(WorkerNote::Happened(event)) {
            counters.events_dropped.add(1);
        }
    }

    /// Whether there is room for the answer to one more order.
    pub fn may_answer(&self) -> bool {
        self.ends.to_link.slots() > 0
    }

    pub fn answer(&mut self, answered: Answered) {
        let said = self.note(WorkerNote::Answered(answered));
        debug_assert!(said, "an order was taken without room for its answer");
    }

    fn note(&mut self, note: WorkerNote) -> bool {
        self.link_told = true;
        self.ends.to_link.push(note).is_ok()
    }

    /// A DTLS datagram for the lobby; false when the ring is full.
    pub fn knock(&mut self, leg: LegHandle, bytes: &[u8]) -> bool {
        self.lobby_told = true;
        Datagram::new(bytes).is_some_and(|datagram| self.ends.to_lobby.push(Knock::Datagram { leg, datagram }).is_ok())
    }

    /// The leg has its first validated pair.
    pub fn reachable(&mut self, leg: LegHandle) {
        self.lobby_told = true;
        // When it is full, the peer's own flight or the next check tells the lobby.
        let _ = self.ends.to_lobby.push(Knock::Reachable { leg });
    }

    /// Wakes whoever was told something since the last call.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.link_told) {
            self.wakers.link.wake();
        }
        if std::mem::take(&mut self.lobby_told) {
            self.wakers.lobby.wake();
        }
    }
}
