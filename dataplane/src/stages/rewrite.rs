//! Makes a packet part of the stream its receiver knows: one SSRC a medium, numbers and times without a jump.
//!
//! Input: RTP on its way to `Packet::leg`, with that leg's payload type. Output: the same packet with the leg's SSRC,
//! sequence number and timestamp, and with no header extension but the receiver's own `mid`. Owns nothing. Does not
//! touch the payload. RFC 3550 §5.1, RFC 8285 §4.2.

use crate::batch::PacketBatch;
use crate::clock;
use crate::counters::Counters;
use crate::leg::{Leg, MidExtension};
use crate::legs::LegTable;
use crate::stages::RTP;
use crosspoint_contract::limits::PACKET_BYTES_MAX;
use crosspoint_contract::{DropReason, Medium};
use crosspoint_wire::Nanos;
use crosspoint_wire::rtp::{self, RtpHeader};

pub fn rewrite(batch: &mut PacketBatch, legs: &mut LegTable, counters: &Counters) {
    let now = clock::of(batch);
    for i in 0..batch.len() {
        if !batch.packet(i).awaits(RTP) {
            continue;
        }
        let Some(leg) = legs.get_mut(batch.packet(i).leg) else { continue };
        let (packet, room) = batch.split_mut(i);
        match rewrite_one(leg, room, packet.len(), now) {
            Ok(len) => batch.set_len(i, len),
            Err(reason) => {
                leg.figures.packets_dropped += 1;
                batch.drop_packet(i, reason, counters);
            }
        }
    }
}

/// Returns the packet's new length.
#[inline]
fn rewrite_one(leg: &mut Leg, room: &mut [u8], len: usize, now: Nanos) -> Result<usize, DropReason> {
    let header = RtpHeader::parse_protected(&room[..len]).map_err(|_| DropReason::RtpMalformed)?;
    let session = leg.part.session_mut().ok_or(DropReason::Unbridged)?;
    let format = session.payload_types[usize::from(header.payload_type)];
    let medium = format.medium();
    let mid = *session.mids.of(medium);
    let extension_bytes = mid.as_ref().map_or(0, MidExtension::bytes);
    if len + extension_bytes > PACKET_BYTES_MAX {
        return Err(DropReason::Truncated);
    }
    let stream = session.outgoing(medium);
    let clock_rate_hz = format.clock_rate_hz();
    let mapped = stream
        .continuity
        .map(header.ssrc, header.sequence_number, header.timestamp, header.marker, now, clock_rate_hz)
        .ok_or(DropReason::OutOfSequence)?;
    stream.source_ssrc = header.ssrc;
    stream.sequence_offset = mapped.sequence_number.wrapping_sub(header.sequence_number);
    stream.clock_rate_hz = clock_rate_hz;
    stream.count_sent(header.payload_len, now);
    rtp::set_sequence_number(room, mapped.sequence_number);
    rtp::set_timestamp(room, mapped.timestamp);
    // In audio it begins a talkspurt, which a change of source is (RFC 3551 §4.1). In video it ends a frame (RFC 7741
    // §4.1, RFC 6184 §5.1): set by us on the first packet of a key frame, it would cut the frame short.
    if medium == Medium::Audio {
        rtp::set_marker(room, mapped.marker);
    }
    rtp::set_ssrc(room, stream.continuity.ssrc());
    leg.count_reach(true);
    leg.figures.packets_sent += 1;
    leg.figures.payload_bytes_sent += header.payload_len as u64;
    Ok(replace_extension(room, len, &header, mid.as_ref()))
}

/// Both peers number their extensions by their own SDP, so none is passed on; the receiver's `mid` takes their place.
#[inline]
fn replace_extension(room: &mut [u8], len: usize, header: &RtpHeader, mid: Option<&MidExtension>) -> usize {
    let start = rtp::FIXED_BYTES + 4 * usize::from(header.csrc_count);
    let end = start + mid.map_or(0, MidExtension::bytes);
    if header.payload_offset != end {
        room.copy_within(header.payload_offset..len, end);
    }
    match mid {
        Some(mid) => {
            room[0] |= 0x10;
            mid.write(&mut room[start..end]);
        }
        None => room[0] &= !0x10,
    }
    len - header.payload_offset + end
}
