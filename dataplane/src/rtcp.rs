//! RTCP ends at each leg: reports are read and made here, and only feedback about video crosses, translated.
//!
//! Input: RTCP in the clear; the timers' wish to report. Output: round trip and remote loss in the leg; clear RTCP packets
//! that `protect` closes. Owns nothing. RFC 3550 §6, RFC 4585 §6, RFC 5104 §4.3.

use crate::batch::{Disposition, PacketBatch};
use crate::clock;
use crate::counters::Counters;
use crate::io::Remote;
use crate::leg::{Figures, IncomingStream, Leg, NO_SLOT, OutgoingStream, Session, Slot};
use crate::legs::LegTable;
use crate::stages::RTCP;
use crosspoint_contract::limits::STREAMS_PER_LEG_MAX;
use crosspoint_contract::{DropReason, Medium};
use crosspoint_wire::Nanos;
use crosspoint_wire::reception;
use crosspoint_wire::rtcp::{self, Packet, ReportBlock, RtcpError, SenderInfo};

/// Lost packets that one NACK may ask for again; more is a key frame's business.
const MISSING_MAX: usize = 64;

/// A stream that has sent nothing for this long is no sender any more (RFC 3550 §6.4: two report intervals).
const SENDER_IDLE_MAX: Nanos = Nanos::from_secs(5);

/// What the peer wants of the video it gets.
struct Wishes {
    key_frame: bool,
    /// Our sequence numbers, as the peer saw them.
    missing: [u16; MISSING_MAX],
    missing_len: usize,
}

impl Wishes {
    const NONE: Wishes = Wishes { key_frame: false, missing: [0; MISSING_MAX], missing_len: 0 };
}

/// Reads the batch's RTCP.
pub fn receive(batch: &mut PacketBatch, legs: &mut LegTable, ntp_origin: Nanos, counters: &Counters) {
    let now = clock::of(batch);
    for i in 0..batch.len() {
        if !batch.packet(i).awaits(RTCP) {
            continue;
        }
        let slot = batch.packet(i).leg;
        let Some(leg) = legs.get_mut(slot) else { continue };
        match read(leg, batch.bytes(i), now, ntp_origin) {
            Ok(wishes) => {
                batch.packet_mut(i).disposition = Disposition::Taken;
                pass_on(batch, legs, slot, &wishes, counters);
            }
            Err(_) => {
                leg.figures.packets_dropped += 1;
                batch.drop_packet(i, DropReason::RtcpMalformed, counters);
            }
        }
    }
}

fn read(leg: &mut Leg, compound: &[u8], now: Nanos, ntp_origin: Nanos) -> Result<Wishes, RtcpError> {
    let mut wishes = Wishes::NONE;
    let packets = rtcp::parse(compound)?;
    leg.figures.rtcp_packets_received += 1;
    leg.figures.rtcp_bytes_received += compound.len() as u64;
    let (Some(session), figures) = (leg.part.session_mut(), &mut leg.figures) else { return Ok(wishes) };
    let video_ssrc = session.video.continuity.ssrc();
    for packet in packets {
        match packet {
            Packet::SenderReport { info, reports } => {
                if let Some(stream) = session.streams.iter_mut().find(|s| s.in_use && s.ssrc == info.ssrc) {
                    stream.reception.on_sender_report(info.ntp, now);
                }
                reports.for_each(|block| read_block(session, figures, &block, now + ntp_origin));
            }
            Packet::ReceiverReport { reports, .. } => {
                reports.for_each(|block| read_block(session, figures, &block, now + ntp_origin));
            }
            Packet::Pli { media_ssrc, .. } if media_ssrc == video_ssrc => wishes.key_frame = true,
            // RFC 5104 §4.3.1: FIR names its target in its entries; of us the peer sees one video stream only.
            Packet::Fir { .. } => wishes.key_frame = true,
            Packet::Nack { media_ssrc, missing, .. } if media_ssrc == video_ssrc => {
                for (place, number) in wishes.missing[wishes.missing_len..].iter_mut().zip(missing) {
                    *place = number;
                    wishes.missing_len += 1;
                }
            }
            _ => {}
        }
    }
    Ok(wishes)
}

/// What the peer says about a stream of ours.
fn read_block(session: &mut Session, figures: &mut Figures, block: &ReportBlock, ntp_now: Nanos) {
    let video = block.ssrc == session.video.continuity.ssrc();
    if !video && block.ssrc != session.audio.continuity.ssrc() {
        return;
    }
    let round_trip = reception::round_trip(block, ntp_now);
    let medium = if video { Medium::Video } else { Medium::Audio };
    let clock_rate_hz = session.outgoing(medium).clock_rate_hz.max(1);
    if let Some(round_trip) = round_trip {
        figures.round_trip_us = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
    }
    // The figures that people look at are those of the voice.
    if !video {
        figures.remote_packets_lost = i64::from(block.cumulative_lost);
        figures.remote_jitter_us =
            u32::try_from(u64::from(block.jitter) * 1_000_000 / u64::from(clock_rate_hz)).unwrap_or(u32::MAX);
    }
}

/// Tells the source of the video what its receiver wants, in the source's own SSRC and sequence numbers.
fn pass_on(batch: &mut PacketBatch, legs: &mut LegTable, slot: Slot, wishes: &Wishes, counters: &Counters) {
    if !wishes.key_frame && wishes.missing_len == 0 {
        return;
    }
    let Some(session) = legs.get(slot).and_then(|leg| leg.part.session()) else { return };
    let (source_ssrc, offset) = (session.video.source_ssrc, session.video.sequence_offset);
    let Some(leg) = legs.get(session.other).filter(|leg| session.other != NO_SLOT && leg.is_ready()) else { return };
    let Some(source) = leg.part.session() else { return };
    let our_ssrc = source.video.continuity.ssrc();
    push(batch, leg, counters, |room| {
        // RFC 4585 §3.1: feedback travels behind a report and a CNAME.
        let mut len = rtcp::write_report(room, our_ssrc, None, &[], &source.cname)?;
        if wishes.key_frame {
            len += rtcp::write_pli(&mut room[len..], our_ssrc, source_ssrc)?;
        }
        let mut missing = &wishes.missing[..wishes.missing_len];
        while let Some((first, mask, rest)) = next_nack(missing) {
            len += rtcp::write_nack(&mut room[len..], our_ssrc, source_ssrc, first.wrapping_sub(offset), mask)?;
            missing = rest;
        }
        Ok(len)
    });
}

/// RFC 4585 §6.2.1: one missing packet, and a mask of those among the 16 behind it.
fn next_nack(missing: &[u16]) -> Option<(u16, u16, &[u16])> {
    let (&first, mut rest) = missing.split_first()?;
    let mut mask = 0;
    while let Some((&number, behind)) = rest.split_first()
        && let distance @ 1..=16 = number.wrapping_sub(first)
    {
        mask |= 1 << (distance - 1);
        rest = behind;
    }
    Some((first, mask, rest))
}

/// Sends our reports to the leg's peer: one compound packet for each of our SSRCs that sends, at least one.
pub fn report(batch: &mut PacketBatch, leg: &mut Leg, now: Nanos, ntp_origin: Nanos, counters: &Counters) {
    let Some(session) = leg.part.session_mut() else { return };
    let mut blocks = [ReportBlock::default(); STREAMS_PER_LEG_MAX];
    let mut blocks_len = 0;
    for stream in session.streams.iter_mut().filter(|stream| is_heard(stream, now)) {
        blocks[blocks_len] = stream.reception.report_block(stream.ssrc, now);
        blocks_len += 1;
    }
    let Some(session) = leg.part.session() else { return };
    let audio = sender_info(&session.audio, now, ntp_origin);
    let video = sender_info(&session.video, now, ntp_origin);
    let audio_ssrc = session.audio.continuity.ssrc();
    push(batch, leg, counters, |room| {
        rtcp::write_report(room, audio_ssrc, audio.as_ref(), &blocks[..blocks_len], &session.cname)
    });
    if video.is_some() {
        let video_ssrc = session.video.continuity.ssrc();
        push(batch, leg, counters, |room| rtcp::write_report(room, video_ssrc, video.as_ref(), &[], &session.cname));
    }
}

/// RFC 3550 §6.4: a block for each source heard since the last report.
fn is_heard(stream: &IncomingStream, now: Nanos) -> bool {
    stream.in_use && now.since(stream.last_heard) < SENDER_IDLE_MAX
}

/// RFC 3550 §6.4.1: the RTP timestamp is of the same instant as the NTP time.
fn sender_info(stream: &OutgoingStream, now: Nanos, ntp_origin: Nanos) -> Option<SenderInfo> {
    stream.last_sent.filter(|&sent| now.since(sent) < SENDER_IDLE_MAX)?;
    Some(SenderInfo {
        ssrc: stream.continuity.ssrc(),
        ntp: (now + ntp_origin).as_ntp(),
        rtp_timestamp: stream.continuity.timestamp_at(now, stream.clock_rate_hz),
        packet_count: stream.packets_sent,
        octet_count: stream.payload_bytes_sent,
    })
}

/// Tells the peer that our streams end (RFC 3550 §6.6). Protected here, because the leg is about to go.
pub fn say_bye(batch: &mut PacketBatch, leg: &mut Leg, counters: &Counters) {
    let Some(session) = leg.part.session().filter(|_| leg.is_ready()) else { return };
    let ssrc = session.audio.continuity.ssrc();
    let pushed = push(batch, leg, counters, |room| {
        let len = rtcp::write_report(room, ssrc, None, &[], &session.cname)?;
        Ok(len + rtcp::write_bye(&mut room[len..], ssrc)?)
    });
    let Some(i) = pushed else { return };
    let Some(keys) = leg.keys.as_mut() else {
        batch.packet_mut(i).disposition = Disposition::Send;
        return;
    };
    let (packet, room) = batch.split_mut(i);
    match keys.sender.protect_rtcp(room, packet.len()) {
        Ok(len) => {
            batch.set_len(i, len);
            batch.packet_mut(i).disposition = Disposition::Send;
        }
        Err(_) => batch.drop_packet(i, DropReason::SrtpExhausted, counters),
    }
}

/// Adds a clear RTCP packet for `leg`, which `write` fills.
fn push(
    batch: &mut PacketBatch,
    leg: &Leg,
    counters: &Counters,
    write: impl FnOnce(&mut [u8]) -> Result<usize, RtcpError>,
) -> Option<usize> {
    let (port, remote) = leg.rtcp_path();
    if remote == Remote::UNSPECIFIED {
        return None;
    }
    let Some(i) = batch.push_new_from(port, remote) else {
        counters.drop_packet(DropReason::SendExhausted);
        return None;
    };
    match write(batch.buffer_mut(i)) {
        Ok(len) => {
            batch.set_len(i, len);
            let packet = batch.packet_mut(i);
            (packet.leg, packet.kind) = (leg.slot, RTCP);
            Some(i)
        }
        Err(_) => {
            batch.drop_packet(i, DropReason::RtcpMalformed, counters);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_packets_are_asked_for_seventeen_at_a_time() {
        let missing = [65_534, 65_535, 0, 14, 15, 400];
        let (first, mask, rest) = next_nack(&missing).expect("some are missing");
        assert_eq!((first, mask), (65_534, 0b1000_0000_0000_0011));
        assert_eq!(rest, [15, 400]);
        assert_eq!(next_nack(&[15, 400]), Some((15, 0, &[400][..])));
        assert_eq!(next_nack(&[]), None);
    }
}
