//! Tells STUN, DTLS, RTP and RTCP apart (RFC 7983, RFC 5761 §4).
//!
//! Input: received packets. Output: `Packet::kind`; what is none of the four, or was cut, is dropped. On a port whose leg is
//! opaque all is a datagram but STUN, where ICE is spoken. Owns nothing. Does not look further than the first two bytes.

use crate::batch::PacketBatch;
use crate::counters::Counters;
use crate::legs::LegTable;
use crate::stages::DATAGRAM;
use crosspoint_contract::DropReason;
use crosspoint_wire::classify::{self, Kind};

pub fn classify(batch: &mut PacketBatch, legs: &LegTable, counters: &Counters) {
    for i in 0..batch.len() {
        if !batch.packet(i).is_pending() {
            continue;
        }
        if batch.packet(i).is_truncated() {
            batch.drop_packet(i, DropReason::Truncated, counters);
            continue;
        }
        if legs.passes_as_it_is(batch.packet(i).port, batch.bytes(i)) {
            batch.packet_mut(i).kind = DATAGRAM;
            continue;
        }
        match classify::classify(batch.bytes(i)) {
            Kind::Unknown => batch.drop_packet(i, DropReason::Unclassified, counters),
            kind => batch.packet_mut(i).kind = kind as u8,
        }
    }
}
