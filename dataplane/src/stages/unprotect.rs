//! Authenticates and decrypts SRTP and SRTCP in place (RFC 3711, RFC 7714).
//!
//! Input: RTP and RTCP packets with their leg. Output: the same packets in the clear, or dropped. Owns nothing: contexts
//! are the leg's. Nothing before this stage may change a leg's state, and nothing unauthenticated passes it.
//!
//! RTP of a suite whose tag is computed apart is worked on in rounds of up to sixteen packets of as many legs; everything
//! else packet by packet.

use crate::batch::PacketBatch;
use crate::counters::Counters;
use crate::leg::{Leg, Protection};
use crate::legs::LegTable;
use crate::round::{Begun, Round};
use crate::stages::{RTCP, RTP};
use crate::suites::{BySuite, has_separate_tag};
use crosspoint_contract::DropReason;
use crosspoint_wire::srtp::{Opening, SrtpError};

pub fn unprotect(batch: &mut PacketBatch, legs: &mut LegTable, counters: &Counters) {
    let mut round = Round::default();
    for i in group(batch, legs, counters).iter() {
        let (slot, kind) = (batch.packet(i).leg, batch.packet(i).kind);
        let Some(leg) = legs.get_mut(slot) else { continue };
        if kind == RTP && leg.suite.is_some_and(has_separate_tag) {
            if round.must_end_before(slot) {
                end(&mut round, batch, legs, counters);
            }
            begin(&mut round, batch, i, legs, counters);
        } else {
            let opened = unprotect_one(batch, i, leg);
            conclude(batch, i, leg, counters, opened);
        }
    }
    end(&mut round, batch, legs, counters);
}

/// Drops what no key can open, sorts the rest by suite. What is not protected stays as it is.
fn group(batch: &mut PacketBatch, legs: &mut LegTable, counters: &Counters) -> BySuite {
    let mut by_suite = BySuite::new();
    for i in 0..batch.len() {
        let packet = batch.packet(i);
        if !packet.awaits(RTP) && !packet.awaits(RTCP) {
            continue;
        }
        let Some(leg) = legs.get_mut(packet.leg) else { continue };
        match (leg.suite, leg.failure) {
            (_, None) if leg.protection == Protection::Plain => {}
            (Some(suite), None) => by_suite.push(suite, i),
            (_, failure) => {
                leg.figures.packets_dropped += 1;
                let reason = if failure.is_some() { DropReason::LegFailed } else { DropReason::NoKeys };
                batch.drop_packet(i, reason, counters);
            }
        }
    }
    by_suite
}

/// A packet that may be new joins the round.
#[inline]
fn begin(round: &mut Round<Opening>, batch: &mut PacketBatch, i: usize, legs: &mut LegTable, counters: &Counters) {
    let slot = batch.packet(i).leg;
    let Some(leg) = legs.get_mut(slot) else { return };
    let begun = match &leg.keys {
        Some(keys) => keys.receiver.begin_rtp(batch.bytes_mut(i)).map_err(reason),
        None => Err(DropReason::NoKeys),
    };
    match begun {
        Ok(half) => round.push(Begun { i, leg: slot, half }),
        Err(reason) => conclude(batch, i, leg, counters, Err(reason)),
    }
}

/// Opens the packets of a round, in the order in which they came.
#[inline]
fn end(round: &mut Round<Opening>, batch: &mut PacketBatch, legs: &mut LegTable, counters: &Counters) {
    let tags = round.tags(batch, legs, |keys, opening, packet| keys.receiver.authenticated(opening, packet));
    for (Begun { i, leg, half }, tag) in round.take().zip(&tags) {
        let Some(leg) = legs.get_mut(leg) else { continue };
        let opened = match &mut leg.keys {
            Some(keys) => keys.receiver.finish_rtp(&half, tag, batch.bytes_mut(i)).map_err(reason),
            None => Err(DropReason::NoKeys),
        };
        conclude(batch, i, leg, counters, opened);
    }
}

#[inline]
fn unprotect_one(batch: &mut PacketBatch, i: usize, leg: &mut Leg) -> Result<usize, DropReason> {
    let keys = leg.keys.as_mut().ok_or(DropReason::NoKeys)?;
    let result = match batch.packet(i).kind {
        RTP => keys.receiver.unprotect_rtp(batch.bytes_mut(i)),
        _ => keys.receiver.unprotect_rtcp(batch.bytes_mut(i)),
    };
    result.map_err(reason)
}

#[inline]
fn conclude(batch: &mut PacketBatch, i: usize, leg: &mut Leg, counters: &Counters, opened: Result<usize, DropReason>) {
    match opened {
        Ok(len) => batch.set_len(i, len),
        Err(reason) => {
            leg.figures.packets_dropped += 1;
            batch.drop_packet(i, reason, counters);
        }
    }
}

fn reason(error: SrtpError) -> DropReason {
    match error {
        SrtpError::Malformed => DropReason::SrtpMalformed,
        SrtpError::Unauthentic => DropReason::SrtpUnauthentic,
        SrtpError::Replayed => DropReason::SrtpReplayed,
        SrtpError::Exhausted => DropReason::SrtpExhausted,
        SrtpError::TooManyStreams => DropReason::TooManyStreams,
    }
}
