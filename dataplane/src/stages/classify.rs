//! Tells STUN, DTLS, RTP and RTCP apart (RFC 7983, RFC 5761 §4).
//!
//! Input: received packets. Output: `Packet::kind`; what is none of the four, or was cut, is dropped. Owns nothing.
//! Does not look further than the first two bytes.

use crate::batch::PacketBatch;
use crate::counters::Counters;
use crosspoint_contract::DropReason;
use crosspoint_wire::classify::{self, Kind};

pub fn classify(batch: &mut PacketBatch, counters: &Counters) {
    for i in 0..batch.len() {
        if !batch.packet(i).is_pending() {
            continue;
        }
        if batch.packet(i).is_truncated() {
            batch.drop_packet(i, DropReason::Truncated, counters);
            continue;
        }
        match classify::classify(batch.bytes(i)) {
            Kind::Unknown => batch.drop_packet(i, DropReason::Unclassified, counters),
            kind => batch.packet_mut(i).kind = kind as u8,
        }
    }
}
