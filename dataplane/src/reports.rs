//! Reads the RTCP that crosses a translating leg, for figures; it crosses whole.
//!
//! Input: authentic compound packets. Output: round trips, and what receivers say of a stream, kept with the stream: the
//! blocks that one leg's peer sends are about streams that another leg's peer sent. Owns nothing. RFC 3550 §6.4, §7.2.

use crate::leg::{Leg, Slot};
use crate::legs::LegTable;
use crosspoint_contract::DropReason;
use crosspoint_wire::Nanos;
use crosspoint_wire::rtcp::{self, Packet, ReportBlock};

pub fn take_in(compound: &[u8], slot: Slot, legs: &mut LegTable, now: Nanos) -> Result<(), DropReason> {
    let packets = rtcp::parse(compound).map_err(|_| DropReason::RtcpMalformed)?;
    let Some(leg) = legs.get_mut(slot) else { return Ok(()) };
    leg.figures.rtcp_packets_received += 1;
    leg.figures.rtcp_bytes_received += compound.len() as u64;
    for packet in packets {
        match packet {
            Packet::SenderReport { info, reports } => {
                note_sender(legs, slot, info.ssrc, info.ntp, now);
                reports.for_each(|block| note_block(legs, slot, &block, now));
            }
            Packet::ReceiverReport { reports, .. } => reports.for_each(|block| note_block(legs, slot, &block, now)),
            _ => {}
        }
    }
    Ok(())
}

fn note_sender(legs: &mut LegTable, slot: Slot, ssrc: u32, ntp: u64, now: Nanos) {
    let relay = legs.get_mut(slot).and_then(|leg| leg.part.relay_mut());
    if let Some(stream) = relay.and_then(|relay| relay.known_stream(ssrc)) {
        stream.note_sender_report(ntp, now);
    }
}

/// The peer of the leg at `slot` reports about a stream that it gets from the leg's source.
fn note_block(legs: &mut LegTable, slot: Slot, block: &ReportBlock, now: Nanos) {
    let Some(source) = legs.get(slot).and_then(|leg| Some(leg.part.relay()?.source)) else { return };
    let Some(source_leg) = legs.of(source) else { return };
    let (opened, beyond) = (source_leg.opened, source_leg.figures.round_trip_us);
    let Some(stream) = stream_of(source_leg, block.ssrc) else { return };
    let here = stream.round_trip(block, now);
    let clock_rate_hz = stream.format.map_or(8000, |format| format.clock_rate_hz);
    // The way from one end to the other is the way on both sides of us.
    let whole = here.unwrap_or(Nanos::ZERO) + Nanos::from_micros(beyond.into());
    let at_ms = u32::try_from(now.since(opened).as_millis()).unwrap_or(u32::MAX);
    stream.note_report(block, whole, at_ms);
    let Some(leg) = legs.get_mut(slot) else { return };
    if let Some(here) = here {
        leg.figures.round_trip_us = u32::try_from(here.as_micros()).unwrap_or(u32::MAX);
    }
    leg.figures.remote_packets_lost = block.cumulative_lost.into();
    leg.figures.remote_jitter_us =
        u32::try_from(u64::from(block.jitter) * 1_000_000 / u64::from(clock_rate_hz)).unwrap_or(u32::MAX);
}

fn stream_of(leg: &mut Leg, ssrc: u32) -> Option<&mut crate::leg::relay::RelayStream> {
    leg.part.relay_mut()?.known_stream(ssrc)
}
