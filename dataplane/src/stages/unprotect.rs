//! Authenticates and decrypts SRTP and SRTCP in place (RFC 3711, RFC 7714).
//!
//! Input: RTP and RTCP packets with their leg. Output: the same packets in the clear, or dropped. Owns nothing: contexts
//! are the leg's. Nothing before this stage may change a leg's state, and nothing unauthenticated passes it.

use crate::batch::PacketBatch;
use crate::counters::Counters;
use crate::leg::{Leg, Protection};
use crate::legs::LegTable;
use crate::stages::{RTCP, RTP};
use crate::suites::BySuite;
use crosspoint_contract::DropReason;
use crosspoint_wire::srtp::SrtpError;

pub fn unprotect(batch: &mut PacketBatch, legs: &mut LegTable, counters: &Counters) {
    for i in group(batch, legs, counters).iter() {
        let Some(leg) = legs.get_mut(batch.packet(i).leg) else { continue };
        match unprotect_one(batch, i, leg) {
            Ok(len) => batch.set_len(i, len),
            Err(reason) => {
                leg.figures.packets_dropped += 1;
                batch.drop_packet(i, reason, counters);
            }
        }
    }
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

#[inline]
fn unprotect_one(batch: &mut PacketBatch, i: usize, leg: &mut Leg) -> Result<usize, DropReason> {
    let keys = leg.keys.as_mut().ok_or(DropReason::NoKeys)?;
    let result = match batch.packet(i).kind {
        RTP => keys.receiver.unprotect_rtp(batch.bytes_mut(i)),
        _ => keys.receiver.unprotect_rtcp(batch.bytes_mut(i)),
    };
    result.map_err(|error| match error {
        SrtpError::Malformed => DropReason::SrtpMalformed,
        SrtpError::Unauthentic => DropReason::SrtpUnauthentic,
        SrtpError::Replayed => DropReason::SrtpReplayed,
        SrtpError::Exhausted => DropReason::SrtpExhausted,
    })
}
