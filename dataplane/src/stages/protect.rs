//! Encrypts and authenticates what leaves, in place (RFC 3711, RFC 7714).
//!
//! Input: clear RTP and RTCP whose `Packet::leg` is the receiver. Output: packets marked to be sent, or dropped. Owns
//! nothing: contexts are the leg's. RTP of a suite whose tag is computed apart goes in rounds, as in `unprotect`.

use crate::batch::{Disposition, PacketBatch};
use crate::counters::Counters;
use crate::leg::{Leg, Protection};
use crate::legs::LegTable;
use crate::round::{Begun, Round};
use crate::stages::{DATAGRAM, RELAYED, RTCP, RTP};
use crate::suites::{BySuite, has_separate_tag};
use crosspoint_contract::DropReason;
use crosspoint_wire::srtp::{Sealing, SrtpError};

pub fn protect(batch: &mut PacketBatch, legs: &mut LegTable, counters: &Counters) {
    let mut round = Round::default();
    for i in group(batch, legs, counters).iter() {
        let (slot, kind) = (batch.packet(i).leg, batch.packet(i).kind);
        let Some(leg) = legs.get_mut(slot) else { continue };
        if kind & !RELAYED == RTP && leg.suite.is_some_and(has_separate_tag) {
            if round.must_end_before(slot) {
                end(&mut round, batch, legs, counters);
            }
            begin(&mut round, batch, i, legs, counters);
        } else {
            let sealed = protect_one(batch, i, leg);
            conclude(batch, i, leg, counters, sealed);
        }
    }
    end(&mut round, batch, legs, counters);
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

/// Encrypts a packet, which then waits for its tag.
#[inline]
fn begin(round: &mut Round<Sealing>, batch: &mut PacketBatch, i: usize, legs: &mut LegTable, counters: &Counters) {
    let slot = batch.packet(i).leg;
    let Some(leg) = legs.get_mut(slot) else { return };
    let begun = match &leg.keys {
        Some(keys) => {
            let (packet, room) = batch.split_mut(i);
            keys.sender.begin_rtp(room, packet.len()).map_err(reason)
        }
        None => Err(DropReason::OtherLegNotReady),
    };
    match begun {
        Ok(half) => round.push(Begun { i, leg: slot, half }),
        Err(reason) => conclude(batch, i, leg, counters, Err(reason)),
    }
}

/// Puts the tags behind the packets of a round.
#[inline]
fn end(round: &mut Round<Sealing>, batch: &mut PacketBatch, legs: &mut LegTable, counters: &Counters) {
    let tags = round.tags(batch, legs, |keys, sealing, packet| keys.sender.authenticated(sealing, packet));
    for (Begun { i, leg, half }, tag) in round.take().zip(&tags) {
        let Some(leg) = legs.get_mut(leg) else { continue };
        let sealed = match &mut leg.keys {
            Some(keys) => keys.sender.finish_rtp(&half, tag, batch.buffer_mut(i)).map_err(reason),
            None => Err(DropReason::OtherLegNotReady),
        };
        conclude(batch, i, leg, counters, sealed);
    }
}

#[inline]
fn protect_one(batch: &mut PacketBatch, i: usize, leg: &mut Leg) -> Result<usize, DropReason> {
    let keys = leg.keys.as_mut().ok_or(DropReason::OtherLegNotReady)?;
    let (packet, room) = batch.split_mut(i);
    let result = match packet.kind & !RELAYED {
        RTP => keys.sender.protect_rtp(room, packet.len()),
        _ => keys.sender.protect_rtcp(room, packet.len()),
    };
    result.map_err(reason)
}

#[inline]
fn conclude(batch: &mut PacketBatch, i: usize, leg: &mut Leg, counters: &Counters, sealed: Result<usize, DropReason>) {
    match sealed {
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

fn reason(error: SrtpError) -> DropReason {
    match error {
        SrtpError::Exhausted => DropReason::SrtpExhausted,
        SrtpError::TooManyStreams => DropReason::TooManyStreams,
        SrtpError::Replayed => DropReason::SrtpReplayed,
        SrtpError::Malformed | SrtpError::Unauthentic => DropReason::SrtpMalformed,
    }
}
