//! Packets that came before the commands that were promised to be done by then.
//!
//! Input: packets to a port whose leg cannot pass them on yet, while a promise is open (see [`crate::board`]). Output: the
//! same packets, in their order, as if they had come when it is kept. Owns copies of them meanwhile: a bounded number, for a
//! bounded time. What finds no place goes its way at once, and is dropped with the reason that holds now.

use crate::batch::{Disposition, PacketBatch};
use crate::board::BoardView;
use crate::counters::Counters;
use crate::io::{PortId, Remote};
use crate::leg::{Leg, LegHandle};
use crate::legs::LegTable;
use crosspoint_contract::DropReason;
use crosspoint_contract::limits::{BATCH_PACKETS_MAX, PACKET_BYTES_MAX};
use crosspoint_wire::Nanos;

/// All fit into one batch.
const PLACES: usize = BATCH_PACKETS_MAX;

/// A promise is kept within microseconds, unless our own processes wait for a core. Longer than this no packet is worth
/// waiting for.
const WAIT_MAX: Nanos = Nanos::from_millis(20);

/// Between two looks whether it is kept, when nobody wakes the worker: the commands may be another worker's.
pub const LOOK_PAUSE: Nanos = Nanos::from_millis(1);

struct Place {
    leg: LegHandle,
    port: PortId,
    remote: Remote,
    len: usize,
    bytes: [u8; PACKET_BYTES_MAX],
}

impl Default for Place {
    fn default() -> Self {
        let (leg, remote) = (crate::leg::relay::NOBODY, Remote::UNSPECIFIED);
        Place { leg, port: PortId::SHARED, remote, len: 0, bytes: [0; PACKET_BYTES_MAX] }
    }
}

pub struct EarlyPackets {
    places: Box<[Place]>,
    used: usize,
    /// How many promises the last of them waits for, and when the first came.
    promised: u64,
    since: Nanos,
}

impl EarlyPackets {
    pub fn new() -> Self {
        EarlyPackets {
            places: (0..PLACES).map(|_| Place::default()).collect(),
            used: 0,
            promised: 0,
            since: Nanos::ZERO,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Takes what has to wait out of the batch.
    pub fn take(&mut self, batch: &mut PacketBatch, legs: &LegTable, promised: u64, now: Nanos, counters: &Counters) {
        for i in 0..batch.len() {
            let packet = batch.packet(i);
            if packet.port == PortId::SHARED || !packet.is_pending() {
                continue;
            }
            let leg = legs.slot_by_port(packet.port).and_then(|slot| legs.get(slot));
            let Some(leg) = leg.filter(|leg| self.holds(leg) || !is_settled(leg, legs)) else { continue };
            if self.keep(leg.handle(), batch, i) {
                (self.promised, self.since) = match self.used {
                    1 => (promised, now),
                    _ => (self.promised.max(promised), self.since),
                };
                batch.packet_mut(i).disposition = Disposition::Taken;
                counters.packets_early.add(1);
            }
        }
    }

    /// What comes to it now must not overtake what waits.
    fn holds(&self, leg: &Leg) -> bool {
        self.places[..self.used].iter().any(|place| place.leg == leg.handle())
    }

    fn keep(&mut self, leg: LegHandle, batch: &PacketBatch, i: usize) -> bool {
        let (packet, bytes) = (batch.packet(i), batch.bytes(i));
        let Some(place) = self.places.get_mut(self.used).filter(|_| bytes.len() <= PACKET_BYTES_MAX) else {
            return false;
        };
        (place.leg, place.port, place.remote, place.len) = (leg, packet.port, packet.remote, bytes.len());
        place.bytes[..bytes.len()].copy_from_slice(bytes);
        self.used += 1;
        true
    }

    /// What they wait for is in the ring, or they have waited long enough.
    pub fn are_due(&self, board: &BoardView, now: Nanos) -> bool {
        board.is_kept(self.promised) || self.are_late(now)
    }

    pub fn are_late(&self, now: Nanos) -> bool {
        now.since(self.since).0 >= WAIT_MAX.0
    }

    /// Puts all of them into the empty batch, as received from where they came.
    pub fn give_back(&mut self, batch: &mut PacketBatch, legs: &LegTable, counters: &Counters) {
        for place in &self.places[..std::mem::take(&mut self.used)] {
            // The port may be another leg's by now.
            let is_theirs = legs.slot_by_port(place.port) == Some(place.leg.slot) && legs.named(place.leg).is_some();
            if !is_theirs {
                counters.drop_packet(DropReason::PortUnknown);
                continue;
            }
            let Some(i) = batch.push_new_from(place.port, place.remote) else {
                counters.drop_packet(DropReason::SendExhausted);
                continue;
            };
            batch.buffer_mut(i)[..place.len].copy_from_slice(&place.bytes[..place.len]);
            batch.set_len(i, place.len);
        }
    }
}

impl Default for EarlyPackets {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether all is known that it takes to pass on what comes to the leg: no first description and no first sink of it can be
/// under way.
fn is_settled(leg: &Leg, legs: &LegTable) -> bool {
    let Some(relay) = leg.part.relay() else { return true };
    is_described(leg)
        && !relay.sinks.is_empty()
        && relay.sinks.iter().all(|sink| legs.named(*sink).is_some_and(is_described))
}

fn is_described(leg: &Leg) -> bool {
    leg.ports.as_ref().is_none_or(|ports| ports.is_described)
}
