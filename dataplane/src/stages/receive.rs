//! Takes in what an authentic RTP packet says about its stream and its sender.
//!
//! Input: RTP in the clear. Output: reception statistics, signs of life, digits heard, as events where control should
//! know. Owns nothing. Does not decide where the packet goes; drops only what its leg's description does not name.

use crate::batch::PacketBatch;
use crate::clock;
use crate::counters::Counters;
use crate::leg::Leg;
use crate::legs::LegTable;
use crate::outlets::Outlets;
use crate::stages::RTP;
use crosspoint_contract::{DropReason, Event};
use crosspoint_wire::Nanos;
use crosspoint_wire::rtp::RtpHeader;

pub fn receive(batch: &mut PacketBatch, legs: &mut LegTable, outlets: &mut Outlets, counters: &Counters) {
    let now = clock::of(batch);
    for i in 0..batch.len() {
        if !batch.packet(i).awaits(RTP) {
            continue;
        }
        let Some(leg) = legs.get_mut(batch.packet(i).leg) else { continue };
        if let Err(reason) = receive_one(leg, batch.bytes(i), now, outlets, counters) {
            leg.figures.packets_dropped += 1;
            batch.drop_packet(i, reason, counters);
        }
    }
}

#[inline]
fn receive_one(
    leg: &mut Leg,
    packet: &[u8],
    now: Nanos,
    outlets: &mut Outlets,
    counters: &Counters,
) -> Result<(), DropReason> {
    let header = RtpHeader::parse(packet).map_err(|_| DropReason::RtpMalformed)?;
    heard(leg, header.payload_len, now, outlets);
    let Some(session) = leg.part.session_mut() else { return Ok(()) };
    let payload_type = session.payload_types[usize::from(header.payload_type & 0x7f)];
    if !payload_type.is_known() {
        return Err(DropReason::PayloadTypeUnknown);
    }
    let stream = session.stream(header.ssrc);
    stream.last_heard = now;
    stream.video = payload_type.is_video();
    stream.clock_rate_hz = payload_type.clock_rate_hz();
    stream.reception.on_packet(header.sequence_number, header.timestamp, now, stream.clock_rate_hz);
    if payload_type.is_telephone_event()
        && let Some(digit) = session.digits_heard.on_packet(&header, header.payload(packet))
    {
        outlets.fact(leg, Event::DigitHeard { leg: leg.id, digit }, counters);
    }
    Ok(())
}

/// The peer is alive: it sent something that only it can send.
#[inline]
fn heard(leg: &mut Leg, payload_bytes: usize, now: Nanos, outlets: &mut Outlets) {
    leg.figures.packets_received += 1;
    leg.figures.payload_bytes_received += payload_bytes as u64;
    // On a port of its own the source has a say in this: see `admit` and `follow`.
    if leg.ports.is_some() {
        return;
    }
    leg.last_heard = now;
    if leg.silent {
        leg.silent = false;
        outlets.tell(leg, now);
    }
}
