//! The lobby's way to one worker: its ring, and what waits for room in it.
//!
//! Input: admissions. Output: the ring's entries, in order. Owns what waits. Never waits itself: a worker that does not
//! take its admissions holds up nobody else's handshake.

use crate::bell::Bell;
use crate::queues::{Admission, LobbyEnds};
use rtrb::PushError;
use std::collections::VecDeque;

pub struct Door {
    pub ends: LobbyEnds,
    bell: Bell,
    /// Keys and failures, which come once. At most two for each leg of the worker.
    waiting: VecDeque<Admission>,
}

impl Door {
    pub fn new(ends: LobbyEnds, bell: Bell) -> Self {
        Door { ends, bell, waiting: VecDeque::new() }
    }

    /// Passes something to the worker. A datagram that finds no room is lost, and sent again as any other; the rest
    /// waits.
    pub fn admit(&mut self, admission: Admission) {
        let refused = if self.waiting.is_empty() { self.push(admission) } else { Some(admission) };
        if let Some(admission) = refused.filter(|admission| !matches!(admission, Admission::Datagram { .. })) {
            self.waiting.push_back(admission);
        }
        self.bell.wake();
    }

    /// Gives what waited, as far as there is room; true when something still waits.
    pub fn give_waiting(&mut self) -> bool {
        while let Some(admission) = self.waiting.pop_front() {
            if let Some(refused) = self.push(admission) {
                self.waiting.push_front(refused);
                break;
            }
            self.bell.wake();
        }
        !self.waiting.is_empty()
    }

    /// What found no room.
    fn push(&mut self, admission: Admission) -> Option<Admission> {
        self.ends.to_worker.push(admission).err().map(|PushError::Full(admission)| admission)
    }
}
