//! Passes on what the peer of a translating leg sends, as it is (RFC 3550 §7.2).
//!
//! Input: RTP and RTCP in the clear whose leg is a translator, and datagrams of opaque ones. Output: `Packet::leg`, `remote` and `port` are the first
//! sink's and the kind is relayed, so that only `protect` looks at the packet again; further sinks are left to `fan_out`.
//! Figures of streams, digits heard, silence written over audio. Owns nothing.

use crate::batch::PacketBatch;
use crate::clock;
use crate::counters::Counters;
use crate::fan_out::FanOut;
use crate::io::{PortId, Remote};
use crate::leg::relay::{Content, RelayFormat};
use crate::leg::{Leg, LegHandle, Slot};
use crate::legs::LegTable;
use crate::outlets::Outlets;
use crate::reports;
use crate::stages::{DATAGRAM, RELAYED, RTCP, RTP, is_media};
use crosspoint_contract::{DropReason, Event, LegFailure};
use crosspoint_wire::Nanos;
use crosspoint_wire::rtp::RtpHeader;

pub fn relay(
    batch: &mut PacketBatch,
    legs: &mut LegTable,
    fan_out: &mut FanOut,
    outlets: &mut Outlets,
    counters: &Counters,
) {
    let now = clock::of(batch);
    for i in 0..batch.len() {
        let packet = batch.packet(i);
        if packet.port == PortId::SHARED || ![RTP, RTCP, DATAGRAM].iter().any(|&kind| packet.awaits(kind)) {
            continue;
        }
        let (slot, kind) = (packet.leg, packet.kind);
        if legs.get(slot).is_none_or(|leg| leg.part.relay().is_none()) {
            continue;
        }
        let result = match kind {
            RTP => take_in_rtp(batch.bytes_mut(i), slot, legs, now, outlets, counters),
            DATAGRAM => take_in_datagram(batch.bytes(i), slot, legs),
            _ => reports::take_in(batch.bytes(i), slot, legs, now),
        };
        if let Err(reason) = result.and_then(|()| pass_on(batch, i, legs, fan_out, counters)) {
            if let Some(leg) = legs.get_mut(slot) {
                leg.figures.packets_dropped += 1;
            }
            batch.drop_packet(i, reason, counters);
        }
    }
}

/// Figures, digits, filters.
#[inline]
fn take_in_rtp(
    packet: &mut [u8],
    slot: Slot,
    legs: &mut LegTable,
    now: Nanos,
    outlets: &mut Outlets,
    counters: &Counters,
) -> Result<(), DropReason> {
    // Padding is the receiver's to judge.
    let header = RtpHeader::parse_protected(packet).map_err(|_| DropReason::RtpMalformed)?;
    let known = legs.get_mut(slot).and_then(|leg| note(leg, &header, now));
    let format = known.unwrap_or_else(|| learn_format(legs, slot, &header));
    let Some(leg) = legs.get_mut(slot) else { return Ok(()) };
    let Some(relay) = leg.part.relay_mut() else { return Ok(()) };
    let stream = relay.stream(header.ssrc);
    stream.reception.on_packet(header.sequence_number, header.timestamp, now, format.clock_rate_hz);
    if format.content == Content::TelephoneEvent
        && let Some(digit) = relay.digits_heard.on_packet(&header, header.payload(packet))
    {
        outlets.fact(leg, Event::DigitHeard { leg: leg.id, digit }, counters);
    }
    withhold(leg, packet, &header, format.content)
}

/// Counts what nobody here can read. Digits and silence it knows none.
#[cold]
fn take_in_datagram(datagram: &[u8], slot: Slot, legs: &mut LegTable) -> Result<(), DropReason> {
    let Some(leg) = legs.get_mut(slot) else { return Ok(()) };
    leg.figures.packets_received += 1;
    leg.figures.payload_bytes_received += datagram.len() as u64;
    let Some(relay) = leg.part.relay() else { return Ok(()) };
    match (leg.may_receive(relay.medium), relay.filter.media_blocked) {
        (false, _) => Err(DropReason::DirectionForbids),
        (_, true) => Err(DropReason::MediaBlocked),
        _ => Ok(()),
    }
}

/// Counts a packet; gives what its payload type is, unless that has to be looked up.
#[inline]
fn note(leg: &mut Leg, header: &RtpHeader, now: Nanos) -> Option<RelayFormat> {
    leg.figures.packets_received += 1;
    leg.figures.payload_bytes_received += header.payload_len as u64;
    let stream = leg.part.relay_mut()?.stream(header.ssrc);
    stream.packets += 1;
    stream.payload_bytes += header.payload_len as u64;
    stream.last_heard = now;
    stream.format.filter(|format| format.payload_type == header.payload_type)
}

#[cold]
fn learn_format(legs: &mut LegTable, slot: Slot, header: &RtpHeader) -> RelayFormat {
    let sink = legs.get(slot).and_then(|leg| leg.part.relay()?.sinks.first().copied());
    let sink = sink.and_then(|sink| legs.named(sink)?.part.relay()).map_or(&[][..], |sink| &sink.formats);
    let own = legs.get(slot).and_then(|leg| leg.part.relay());
    let format = match own {
        Some(own) => RelayFormat::find(header.payload_type, sink, &own.formats, own.medium),
        None => RelayFormat::find(header.payload_type, sink, &[], crosspoint_contract::Medium::Audio),
    };
    if let Some(relay) = legs.get_mut(slot).and_then(|leg| leg.part.relay_mut()) {
        relay.stream(header.ssrc).format = Some(format);
    }
    format
}

/// What the leg's filter and direction do not let pass.
#[inline]
fn withhold(leg: &Leg, packet: &mut [u8], header: &RtpHeader, content: Content) -> Result<(), DropReason> {
    let Some(relay) = leg.part.relay() else { return Ok(()) };
    if !leg.may_receive(relay.medium) {
        return Err(DropReason::DirectionForbids);
    }
    match (relay.filter.media_blocked, content) {
        (true, _) => Err(DropReason::MediaBlocked),
        (_, Content::TelephoneEvent) if relay.filter.digits_blocked => Err(DropReason::DigitsBlocked),
        (_, Content::Silenceable(silence)) if relay.filter.silenced => {
            packet[header.payload_range()].fill(silence);
            Ok(())
        }
        // Where silence cannot be written, nothing is heard either.
        (_, Content::Other) if relay.filter.silenced => Err(DropReason::MediaBlocked),
        _ => Ok(()),
    }
}

/// Turns the packet to its first sink that takes it; the others get copies.
#[inline]
fn pass_on(
    batch: &mut PacketBatch,
    i: usize,
    legs: &mut LegTable,
    fan_out: &mut FanOut,
    counters: &Counters,
) -> Result<(), DropReason> {
    let (slot, kind, len) = (batch.packet(i).leg, batch.packet(i).kind, batch.packet(i).len());
    let Some(leg) = legs.get(slot) else { return Err(DropReason::LegFailed) };
    let sinks = leg.part.relay().map_or(&[][..], |relay| &relay.sinks);
    let mut reason = DropReason::Unbridged;
    for (at, &sink) in sinks.iter().enumerate() {
        match way_to(legs, sink, kind) {
            Ok((port, remote)) => {
                if at + 1 < sinks.len() && !fan_out.keep(leg.handle(), at + 1, kind, batch.bytes(i)) {
                    fan_out.refused += 1;
                }
                count_sent(legs, sink, kind, len, counters);
                let packet = batch.packet_mut(i);
                (packet.leg, packet.port, packet.remote) = (sink.slot, port, remote);
                packet.kind = kind | RELAYED;
                return Ok(());
            }
            Err(why) => reason = why,
        }
    }
    Err(reason)
}

/// Where a packet leaves for this sink's peer, if it may.
#[inline]
pub fn way_to(legs: &LegTable, sink: LegHandle, kind: u8) -> Result<(PortId, Remote), DropReason> {
    let leg = legs.named(sink).ok_or(DropReason::Unbridged)?;
    let relay = leg.part.relay().ok_or(DropReason::Unbridged)?;
    match leg.failure {
        Some(LegFailure::ConsentExpired) => return Err(DropReason::ConsentExpired),
        Some(_) => return Err(DropReason::LegFailed),
        // Nobody translates between fax and speech.
        None if relay.is_opaque != (kind == DATAGRAM) => return Err(DropReason::OtherLegNotReady),
        None if !leg.may_protect() => return Err(DropReason::OtherLegNotReady),
        None => leg.may_reach(is_media(kind))?,
    }
    if is_media(kind) && !leg.may_send(relay.medium) {
        return Err(DropReason::DirectionForbids);
    }
    let (port, remote) = if is_media(kind) { leg.rtp_path() } else { leg.rtcp_path() };
    if remote == Remote::UNSPECIFIED { Err(DropReason::OtherLegNotReady) } else { Ok((port, remote)) }
}

#[inline]
pub fn count_sent(legs: &mut LegTable, sink: LegHandle, kind: u8, len: usize, counters: &Counters) {
    let Some(leg) = legs.get_mut(sink.slot) else { return };
    leg.count_reach(is_media(kind));
    if is_media(kind) {
        let header_bytes = if kind == RTP { crosspoint_wire::rtp::FIXED_BYTES } else { 0 };
        leg.touch(counters);
        leg.figures.packets_sent += 1;
        leg.figures.payload_bytes_sent += len.saturating_sub(header_bytes) as u64;
    }
}
