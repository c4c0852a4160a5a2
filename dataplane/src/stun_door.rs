//! Answers STUN checks on the worker: they are cheap, and consent must not wait behind handshakes.
//!
//! Input: STUN packets of a batch. Output: the answer, written over the check and sent back; addresses that were
//! validated, in the leg table. Owns nothing: each leg's ICE state is [`IceLite`]. Does not send checks: we are the lite
//! side (RFC 8445 §2.5). RFC 8489, RFC 8445 §7.3, RFC 7675.

use crate::batch::{Disposition, PacketBatch};
use crate::clock;
use crate::counters::Counters;
use crate::io::{PortId, Remote};
use crate::leg::{Component, Slot};
use crate::legs::LegTable;
use crate::outlets::Outlets;
use crate::stages::STUN;
use crosspoint_contract::{DropReason, LegFailure, LegState};
use crosspoint_wire::Nanos;
use crosspoint_wire::ice_lite::{Outcome, StunRefusal};
use crosspoint_wire::stun::{BINDING, Class, Message};
use std::net::SocketAddr;

/// Longest answer: header, mapped address, error text, integrity, fingerprint.
const REPLY_BYTES_MAX: usize = 256;

pub fn answer_checks(batch: &mut PacketBatch, legs: &mut LegTable, outlets: &mut Outlets, counters: &Counters) {
    let now = clock::of(batch);
    for i in 0..batch.len() {
        if !batch.packet(i).awaits(STUN) {
            continue;
        }
        let (source, port) = (SocketAddr::from(batch.packet(i).remote), batch.packet(i).port);
        let mut reply = [0; REPLY_BYTES_MAX];
        let checked = match port {
            PortId::SHARED => check(batch.bytes(i), source, now, legs, &mut reply),
            port => check_on_port(batch.bytes(i), source, port, now, legs, &mut reply),
        };
        match checked {
            Ok((slot, outcome)) => {
                move_to_pair_in_use(slot, port, now, legs, outlets);
                answer(batch, i, &reply, outcome, counters);
            }
            Err(reason) => batch.drop_packet(i, reason, counters),
        }
    }
}

/// Finds the leg that a check is for and lets its ICE state judge it.
fn check(
    bytes: &[u8],
    source: SocketAddr,
    now: Nanos,
    legs: &mut LegTable,
    reply: &mut [u8],
) -> Result<(Slot, Outcome), DropReason> {
    let message = request(bytes)?;
    let (ufrag, _) = message.username().ok_or(DropReason::StunMalformed)?;
    let slot = legs.slot_by_ufrag(ufrag).ok_or(DropReason::StunUnknownUser)?;
    let leg = legs.get_mut(slot).ok_or(DropReason::StunUnknownUser)?;
    if leg.failure.is_some() {
        return Err(DropReason::LegFailed);
    }
    let ice = leg.ice.as_ref().ok_or(DropReason::StunUnknownUser)?;
    let outcome = ice.rtp.handle(source, &message, reply);
    // Whom we do not send to has no use for an answer.
    match outcome.check {
        Some(check) if !legs.note_check(slot, check, now) => Err(DropReason::AddressTaken),
        _ => Ok((slot, outcome)),
    }
}

/// The same on a port of its own, which is one leg's whatever the check names.
fn check_on_port(
    bytes: &[u8],
    source: SocketAddr,
    port: PortId,
    now: Nanos,
    legs: &mut LegTable,
    reply: &mut [u8],
) -> Result<(Slot, Outcome), DropReason> {
    let message = request(bytes)?;
    let (slot, component) = (legs.slot_by_port(port).ok_or(DropReason::PortUnknown)?, legs.component_of(port));
    let leg = legs.get_mut(slot).ok_or(DropReason::PortUnknown)?;
    if leg.state == LegState::Failed {
        return Err(DropReason::LegFailed);
    }
    let ice = leg.ice.as_mut().ok_or(DropReason::StunUnexpected)?.of(component);
    let outcome = ice.handle(source, &message, reply);
    if let Some(check) = outcome.check {
        ice.note(now, check);
    }
    Ok((slot, outcome))
}

fn request(bytes: &[u8]) -> Result<Message<'_>, DropReason> {
    let message = Message::parse(bytes).map_err(|_| DropReason::StunMalformed)?;
    let is_check = message.method() == BINDING && message.class() == Class::Request;
    is_check.then_some(message).ok_or(DropReason::StunUnexpected)
}

/// Writes the answer over the check; counts a refusal.
fn answer(batch: &mut PacketBatch, i: usize, reply: &[u8], outcome: Outcome, counters: &Counters) {
    match outcome.refused {
        Some(refusal) => counters.drop_packet(drop_reason(refusal)),
        None => counters.stun_checks_answered.add(1),
    }
    if outcome.reply_len == 0 {
        batch.packet_mut(i).disposition = Disposition::Dropped;
        return;
    }
    batch.buffer_mut(i)[..outcome.reply_len].copy_from_slice(&reply[..outcome.reply_len]);
    batch.set_len(i, outcome.reply_len);
    batch.packet_mut(i).disposition = Disposition::Send;
}

fn drop_reason(refusal: StunRefusal) -> DropReason {
    match refusal {
        StunRefusal::Malformed => DropReason::StunMalformed,
        StunRefusal::UnknownUser => DropReason::StunUnknownUser,
        StunRefusal::Unauthentic => DropReason::StunUnauthentic,
        StunRefusal::RoleConflict | StunRefusal::Unexpected => DropReason::StunUnexpected,
    }
}

/// Packets go where ICE says.
fn move_to_pair_in_use(slot: Slot, port: PortId, now: Nanos, legs: &mut LegTable, outlets: &mut Outlets) {
    let component = legs.component_of(port);
    let Some(leg) = legs.get_mut(slot) else { return };
    let Some(ice) = &mut leg.ice else { return };
    let Some(addr) = ice.of(component).in_use() else { return };
    if let Some(ports) = &mut leg.ports {
        if !ports.uses_ice {
            return;
        }
        // The peer consents again (RFC 7675 §5.1).
        leg.failure.take_if(|why| *why == LegFailure::ConsentExpired && component == Component::Rtp);
        if component == Component::Rtcp {
            if ports.is_muxed {
                return;
            }
            ports.rtcp_latch.get_or_insert_default().set_in_use(addr.into());
            return;
        }
        ports.latch.set_in_use(addr.into());
        leg.update_reach();
    }
    leg.remote = Remote::from(addr);
    outlets.tell(leg, now);
}
