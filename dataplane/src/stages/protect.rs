//! Encrypts and authenticates what leaves, in place (RFC 3711, RFC 7714).
//!
//! Input: clear RTP and RTCP whose `Packet::leg` is the receiver. Output: packets marked to be sent, or dropped. Owns
//! nothing: contexts are the leg's.

use crate::batch::{Disposition, PacketBatch};
use crate::counters::Counters;
use crate::leg::{Leg, Protection};
use crate::legs::LegTable;
use crate::stages::{DATAGRAM, RELAYED, RTCP, RTP};
use crate::suites::BySuite;
use crosspoint_contract::DropReason;
use crosspoint_wire::srtp::SrtpError;

pub fn protect(batch: &mut PacketBatch, legs: &mut LegTable, counters: &Counters) {
    for i in group(batch, legs, counters).iter() {
        let Some(leg) = legs.get_mut(batch.packet(i).leg) else { continue };
        match protect_one(batch, i, leg) {
            Ok(len) => {
                batch.set_len(i, len);
                batch.packet_mut(i).disposition = Disposition::Send;
            }
            Err(reason) => {
                leg.figures.packets_dropped += 1;
                batch.drop_packet(i, reason, counters);
            }
        }
    }
}

/// Drops what no key can close, sorts the rest by suite. What goes out unprotected is ready.
fn group(batch: &mut PacketBatch, legs: &LegTable, counters: &Counters) -> BySuite {
    let mut by_suite = BySuite::new();
    for i in 0..batch.len() {
        let packet = batch.packet(i);
        let kind = packet.kind & !RELAYED;
        if !packet.is_pending() || !matches!(kind, RTP | RTCP | DATAGRAM) {
            continue;
        }
        match legs.get(packet.leg).map(|leg| (leg.protection, leg.suite, leg.failure)) {
            Some((_, _, Some(_))) => batch.drop_packet(i, DropReason::LegFailed, counters),
            Some((Protection::Plain, _, None)) => batch.packet_mut(i).disposition = Disposition::Send,
            Some((_, Some(suite), None)) if kind != DATAGRAM => by_suite.push(suite, i),
            _ => batch.drop_packet(i, DropReason::OtherLegNotReady, counters),
        }
    }
    by_suite
}

#[inline]
fn protect_one(batch: &mut PacketBatch, i: usize, leg: &mut Leg) -> Result<usize, DropReason> {
    let keys = leg.keys.as_mut().ok_or(DropReason::OtherLegNotReady)?;
    let (packet, room) = batch.split_mut(i);
    let result = match packet.kind & !RELAYED {
        RTP => keys.sender.protect_rtp(room, packet.len()),
        _ => keys.sender.protect_rtcp(room, packet.len()),
    };
    result.map_err(|error| match error {
        SrtpError::Exhausted => DropReason::SrtpExhausted,
        SrtpError::Replayed => DropReason::SrtpReplayed,
        SrtpError::Malformed | SrtpError::Unauthentic => DropReason::SrtpMalformed,
    })
}
