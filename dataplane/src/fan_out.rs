//! Copies of relayed packets for all sinks of a leg but the first: subscribers that listen beside the other party.
//!
//! Input: what `stages::relay` keeps here, at most one entry a received packet. Output: packets in the batch, once it is
//! empty again, ready for `protect`. Owns the bytes meanwhile. What finds no room is counted as not sent; the first sink,
//! which is the call itself, never waits for the others.

use crate::batch::PacketBatch;
use crate::counters::Counters;
use crate::leg::LegHandle;
use crate::legs::LegTable;
use crate::stages::RELAYED;
use crate::stages::relay::{count_sent, way_to};
use crosspoint_contract::DropReason;
use crosspoint_contract::limits::{BATCH_PACKETS_MAX, PACKET_BYTES_MAX};
use std::collections::VecDeque;

/// Packets that wait for their further sinks: two batches, so that one may come while another goes.
const WAITING_MAX: usize = 2 * BATCH_PACKETS_MAX;

struct Waiting {
    source: LegHandle,
    /// Where among the source's sinks to go on.
    next: usize,
    kind: u8,
    len: usize,
    bytes: [u8; PACKET_BYTES_MAX],
}

impl Default for Waiting {
    fn default() -> Self {
        Waiting { source: crate::leg::relay::NOBODY, next: 0, kind: 0, len: 0, bytes: [0; PACKET_BYTES_MAX] }
    }
}

pub struct FanOut {
    places: Box<[Waiting]>,
    /// Places in use, oldest first, and those that are free.
    order: VecDeque<usize>,
    free: Vec<usize>,
    /// Packets that found no place since this was last taken.
    pub refused: u64,
}

impl FanOut {
    pub fn new() -> Self {
        FanOut {
            places: (0..WAITING_MAX).map(|_| Waiting::default()).collect(),
            order: VecDeque::with_capacity(WAITING_MAX),
            free: (0..WAITING_MAX).collect(),
            refused: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Keeps a copy of a packet for the source's sinks from the `next`th on; false when there is no place.
    pub fn keep(&mut self, source: LegHandle, next: usize, kind: u8, packet: &[u8]) -> bool {
        let Some(at) = self.free.pop_if(|_| packet.len() <= PACKET_BYTES_MAX) else { return false };
        let place = &mut self.places[at];
        (place.source, place.next, place.kind, place.len) = (source, next, kind, packet.len());
        place.bytes[..packet.len()].copy_from_slice(packet);
        self.order.push_back(at);
        true
    }

    /// Puts as many copies as fit into the batch.
    pub fn fill(&mut self, batch: &mut PacketBatch, legs: &mut LegTable, counters: &Counters) {
        counters.drop_packets(DropReason::SendExhausted, std::mem::take(&mut self.refused));
        while let Some(&at) = self.order.front() {
            let place = &mut self.places[at];
            while let Some(sink) = sink(legs, place.source, place.next) {
                match way_to(legs, sink, place.kind) {
                    Ok((port, remote)) => {
                        let Some(i) = batch.push_new_from(port, remote) else { return };
                        batch.buffer_mut(i)[..place.len].copy_from_slice(&place.bytes[..place.len]);
                        batch.set_len(i, place.len);
                        let packet = batch.packet_mut(i);
                        (packet.leg, packet.kind) = (sink.slot, place.kind | RELAYED);
                        count_sent(legs, sink, place.kind, place.len, counters);
                    }
                    Err(reason) => counters.drop_packet(reason),
                }
                place.next += 1;
            }
            self.order.pop_front();
            self.free.push(at);
        }
    }
}

impl Default for FanOut {
    fn default() -> Self {
        Self::new()
    }
}

fn sink(legs: &LegTable, source: LegHandle, at: usize) -> Option<LegHandle> {
    legs.named(source)?.part.relay()?.sinks.get(at).copied()
}
