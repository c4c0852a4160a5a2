//! Finds the leg a packet belongs to: by the port it came to, or, on the port that WebRTC legs share, by the address it came
//! from.
//!
//! Input: classified packets. Output: `Packet::leg`; what comes to the shared port from an address that no ICE check has
//! validated is dropped: media and DTLS from strangers reach nothing that keeps state. Owns nothing. Does not touch the leg.

use crate::batch::PacketBatch;
use crate::counters::Counters;
use crate::io::PortId;
use crate::legs::LegTable;
use crate::stages::STUN;
use crosspoint_contract::DropReason;

pub fn lookup(batch: &mut PacketBatch, legs: &LegTable, counters: &Counters) {
    for i in 0..batch.len() {
        let packet = batch.packet_mut(i);
        if !packet.is_pending() || packet.kind == STUN {
            continue;
        }
        let (found, reason) = match packet.port {
            PortId::SHARED => (legs.slot_by_address(packet.remote), DropReason::UnknownSource),
            port => (legs.slot_by_port(port), DropReason::PortUnknown),
        };
        match found {
            Some(slot) => packet.leg = slot,
            None => batch.drop_packet(i, reason, counters),
        }
    }
}
