//! Packets whose SRTP tags are computed together: at most one of a leg, at most one a lane.
//!
//! Input: packets of a batch that a stage has begun. Output: their tags, when the round is full, meets a leg for the second
//! time, or the batch ends. Owns what a packet waits with. Does not know which half of SRTP it serves.
//!
//! One packet of a leg only, because the index of the next depends on whether this one is authentic.

use crate::batch::PacketBatch;
use crate::leg::{Keys, Slot};
use crate::legs::LegTable;
use crosspoint_wire::srtp::{self, Authenticated, Engine, HmacStates, LANES};

static NO_STATES: HmacStates = HmacStates { inner: [0; 5], outer: [0; 5] };

/// Stands in lanes without a packet.
const NOTHING: Authenticated<'static> = Authenticated { states: &NO_STATES, message: &[], trailer: &[] };

pub struct Round<T> {
    packets: [Option<Begun<T>>; LANES],
    len: usize,
}

/// A packet that waits for its tag.
#[derive(Clone, Copy)]
pub struct Begun<T> {
    /// Its place in the batch.
    pub i: usize,
    pub leg: Slot,
    /// What the first half left for the second.
    pub half: T,
}

impl<T: Copy> Default for Round<T> {
    fn default() -> Self {
        Round { packets: [None; LANES], len: 0 }
    }
}

impl<T: Copy> Round<T> {
    /// Whether the round has to be worked off before a packet of `leg` may join it.
    #[inline]
    pub fn must_end_before(&self, leg: Slot) -> bool {
        self.len == LANES || self.packets[..self.len].iter().flatten().any(|begun| begun.leg == leg)
    }

    /// Only where [`must_end_before`](Self::must_end_before) says no.
    #[inline]
    pub fn push(&mut self, begun: Begun<T>) {
        self.packets[self.len] = Some(begun);
        self.len += 1;
    }

    /// The tags of all packets in the round; `covered` says what the tag of one covers.
    #[inline]
    pub fn tags<'a>(
        &'a self,
        batch: &'a PacketBatch,
        legs: &'a LegTable,
        covered: impl Fn(&'a Keys, &'a T, &'a [u8]) -> Option<Authenticated<'a>>,
    ) -> [[u8; 20]; LANES] {
        let mut lanes = [NOTHING; LANES];
        for (lane, begun) in lanes.iter_mut().zip(self.packets[..self.len].iter().flatten()) {
            let keys = legs.get(begun.leg).and_then(|leg| leg.keys.as_deref());
            let covered = keys.and_then(|keys| covered(keys, &begun.half, batch.bytes(begun.i)));
            *lane = covered.unwrap_or(NOTHING);
        }
        let mut tags = [[0; 20]; LANES];
        srtp::tags(Engine::chosen(), &lanes[..self.len], &mut tags);
        tags
    }

    /// The packets, oldest first; the round is empty afterwards.
    #[inline]
    pub fn take(&mut self) -> impl Iterator<Item = Begun<T>> + use<T> {
        let len = std::mem::take(&mut self.len);
        self.packets.into_iter().take(len).flatten()
    }
}
