//! Finds the leg a packet belongs to by the address it came from.
//!
//! Input: classified packets. Output: `Packet::leg`; what comes from an address that no ICE check has validated is
//! dropped: media and DTLS from strangers reach nothing that keeps state. Owns nothing. Does not touch the leg.

use crate::batch::PacketBatch;
use crate::counters::Counters;
use crate::legs::LegTable;
use crate::stages::STUN;
use crosspoint_contract::DropReason;

pub fn lookup(batch: &mut PacketBatch, legs: &LegTable, counters: &Counters) {
    for i in 0..batch.len() {
        let packet = batch.packet_mut(i);
        if !packet.is_pending() || packet.kind == STUN {
            continue;
        }
        match legs.slot_by_address(packet.remote) {
            Some(slot) => packet.leg = slot,
            None => batch.drop_packet(i, DropReason::UnknownSource, counters),
        }
    }
}
