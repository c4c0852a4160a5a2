//! Chooses where a packet goes: the other leg of the bridge, and the payload type its peer knows the format by.
//!
//! Input: authentic RTP of a known payload type. Output: `Packet::leg`, `port` and `remote` are the other leg's, and the
//! payload type is the other's. Owns nothing. Touches stream state only for a packet that is dropped although its
//! neighbours are not: the receiver, who never agreed to such, is not to miss it.

use crate::batch::PacketBatch;
use crate::counters::Counters;
use crate::io::{PortId, Remote};
use crate::leg::{Leg, NO_SLOT, Slot, UNMAPPED};
use crate::legs::LegTable;
use crate::stages::RTP;
use crosspoint_contract::{DropReason, LegFailure};
use crosspoint_wire::rtp::{self, RtpHeader};

pub fn select(batch: &mut PacketBatch, legs: &mut LegTable, counters: &Counters) {
    for i in 0..batch.len() {
        if !batch.packet(i).awaits(RTP) {
            continue;
        }
        let Some(leg) = legs.get(batch.packet(i).leg) else { continue };
        let payload_type = batch.bytes(i)[1] & 0x7f;
        match choose(legs, leg, payload_type) {
            Ok(choice) => {
                rtp::set_payload_type(batch.bytes_mut(i), choice.payload_type);
                let packet = batch.packet_mut(i);
                (packet.leg, packet.port, packet.remote) = (choice.leg, choice.port, choice.remote);
            }
            Err(reason) => {
                if let Some(leg) = legs.get_mut(batch.packet(i).leg) {
                    leg.figures.packets_dropped += 1;
                }
                if reason == DropReason::PayloadTypeUnmapped {
                    withhold(legs, batch.packet(i).leg, batch.bytes(i));
                }
                batch.drop_packet(i, reason, counters);
            }
        }
    }
}

/// Closes the gap that the packet would leave in the other leg's stream.
#[cold]
fn withhold(legs: &mut LegTable, from: Slot, packet: &[u8]) {
    let session = legs.get(from).and_then(|leg| leg.part.session());
    let (Some(session), Ok(header)) = (session, RtpHeader::parse_protected(packet)) else { return };
    let medium = session.payload_types[usize::from(header.payload_type)].medium();
    if let Some(other) = legs.get_mut(session.other).and_then(|other| other.part.session_mut()) {
        other.outgoing(medium).continuity.withhold(header.ssrc, header.sequence_number);
    }
}

struct Choice {
    leg: Slot,
    port: PortId,
    remote: Remote,
    payload_type: u8,
}

#[inline]
fn choose(legs: &LegTable, leg: &Leg, payload_type: u8) -> Result<Choice, DropReason> {
    let session = leg.part.session().filter(|session| session.other != NO_SLOT).ok_or(DropReason::Unbridged)?;
    let other = legs.get(session.other).ok_or(DropReason::Unbridged)?;
    let medium = session.payload_types[usize::from(payload_type)].medium();
    if !leg.may_receive(medium) || !other.may_send(medium) {
        return Err(DropReason::DirectionForbids);
    }
    match other.failure {
        Some(LegFailure::ConsentExpired) => return Err(DropReason::ConsentExpired),
        Some(_) => return Err(DropReason::LegFailed),
        None if !other.is_ready() => return Err(DropReason::OtherLegNotReady),
        None => other.may_reach(true)?,
    }
    let (port, remote) = other.rtp_path();
    match session.outgoing_payload_types[usize::from(payload_type)] {
        UNMAPPED => Err(DropReason::PayloadTypeUnmapped),
        payload_type => Ok(Choice { leg: session.other, port, remote, payload_type }),
    }
}
