//! Takes STUN on the worker: checks are answered here, because they are cheap and consent must not wait behind handshakes,
//! and so are answers to checks of our own.
//!
//! Input: STUN packets of a batch. Output: answers, written over the checks and sent back; addresses that were validated,
//! in the leg table; where packets go. Owns nothing: what a leg answers is [`IceLite`], what it asks is
//! `wire::ice_checks`, and [`CheckDesk`] sends that. RFC 8489, RFC 8445 §7.2.5 and §7.3, RFC 7675.
//!
//! [`IceLite`]: crosspoint_wire::ice_lite::IceLite

use crate::batch::{Disposition, PacketBatch};
use crate::check_desk::CheckDesk;
use crate::clock;
use crate::counters::Counters;
use crate::io::{PortId, Remote};
use crate::leg::{Component, Ice, Slot};
use crate::legs::{LegTable, OwnAddrs};
use crate::outlets::Outlets;
use crate::stages::STUN;
use crosspoint_contract::{DropReason, LegFailure, LegState};
use crosspoint_wire::Nanos;
use crosspoint_wire::ice_checks::reflexive_priority;
use crosspoint_wire::ice_lite::{Check, Outcome, StunRefusal};
use crosspoint_wire::stun::{BINDING, Class, Message};
use std::net::SocketAddr;

/// Longest answer: header, mapped address, error text, integrity, fingerprint.
const REPLY_BYTES_MAX: usize = 256;

pub fn take_stun(
    batch: &mut PacketBatch,
    legs: &mut LegTable,
    checks: &mut CheckDesk,
    outlets: &mut Outlets,
    counters: &Counters,
) {
    let now = clock::of(batch);
    for i in 0..batch.len() {
        if !batch.packet(i).awaits(STUN) {
            continue;
        }
        let (source, port) = (SocketAddr::from(batch.packet(i).remote), batch.packet(i).port);
        let mut reply = [0; REPLY_BYTES_MAX];
        let taken =
            Message::parse(batch.bytes(i)).map_err(|_| DropReason::StunMalformed).and_then(|message| match port {
                PortId::SHARED => check(&message, source, now, legs, &mut reply),
                port => take_on_port(&message, source, port, now, legs, &mut reply),
            });
        match taken {
            Ok((slot, outcome)) => {
                move_to_pair_in_use(slot, port, now, legs, outlets);
                if let Some(leg) = legs.get_mut(slot) {
                    checks.wake(leg, now);
                }
                answer(batch, i, &reply, outcome, counters);
            }
            Err(reason) => batch.drop_packet(i, reason, counters),
        }
    }
}

/// Finds the leg that a check is for and lets its ICE state judge it.
fn check(
    message: &Message<'_>,
    source: SocketAddr,
    now: Nanos,
    legs: &mut LegTable,
    reply: &mut [u8],
) -> Result<(Slot, Outcome), DropReason> {
    if !is_check(message) {
        return Err(DropReason::StunUnexpected);
    }
    let (ufrag, _) = message.username().ok_or(DropReason::StunMalformed)?;
    let slot = legs.slot_by_ufrag(ufrag).ok_or(DropReason::StunUnknownUser)?;
    let leg = legs.get_mut(slot).ok_or(DropReason::StunUnknownUser)?;
    if leg.failure.is_some() {
        return Err(DropReason::LegFailed);
    }
    let ice = leg.ice.as_ref().ok_or(DropReason::StunUnknownUser)?;
    let outcome = ice.rtp.handle(source, message, None, reply);
    // Whom we do not send to has no use for an answer.
    match outcome.check {
        Some(check) if !legs.note_check(slot, check, now) => Err(DropReason::AddressTaken),
        _ => Ok((slot, outcome)),
    }
}

/// The same on a port of its own, which is one leg's whatever the check names; and answers to the leg's own checks.
fn take_on_port(
    message: &Message<'_>,
    source: SocketAddr,
    port: PortId,
    now: Nanos,
    legs: &mut LegTable,
    reply: &mut [u8],
) -> Result<(Slot, Outcome), DropReason> {
    let (slot, component) = (legs.slot_by_port(port).ok_or(DropReason::PortUnknown)?, legs.component_of(port));
    let (leg, own) = legs.with_own_addrs(slot).ok_or(DropReason::PortUnknown)?;
    if leg.state == LegState::Failed {
        return Err(DropReason::LegFailed);
    }
    let ice = leg.ice.as_mut().ok_or(DropReason::StunUnexpected)?;
    if message.method() == BINDING && matches!(message.class(), Class::Success | Class::Error) {
        return hear_answer(ice, component, source, message, now).map(|()| (slot, Outcome::default()));
    }
    if !is_check(message) {
        return Err(DropReason::StunUnexpected);
    }
    let role = ice.checks.as_mut().map(|checks| &mut checks.role);
    let agent = if component == Component::Rtcp { ice.rtcp.as_mut().unwrap_or(&mut ice.rtp) } else { &mut ice.rtp };
    let outcome = agent.handle(source, message, role, reply);
    if let Some(check) = outcome.check {
        agent.note(now, check);
        hear_check(ice, component, check, own, now);
    }
    Ok((slot, outcome))
}

fn is_check(message: &Message<'_>) -> bool {
    message.method() == BINDING && message.class() == Class::Request
}

/// RFC 8445 §7.3.1.4: the peer is checked where it has just been.
fn hear_check(ice: &mut Ice, component: Component, check: Check, own: &OwnAddrs, now: Nanos) {
    let nominates = check.nominates(ice.of(component));
    let number = component as usize;
    let Some(checks) = ice.checks.as_mut().filter(|_| !own.contain(check.addr().into())) else { return };
    let priority = check.priority().unwrap_or_else(|| reflexive_priority(number));
    if let Some(proof) = checks.hear_check(number, check.addr(), priority, nominates, now) {
        ice.of(component).confirm(proof);
    }
}

fn hear_answer(
    ice: &mut Ice,
    component: Component,
    source: SocketAddr,
    message: &Message<'_>,
    now: Nanos,
) -> Result<(), DropReason> {
    let checks = ice.checks.as_mut().ok_or(DropReason::StunUnexpected)?;
    if let Some(proof) = checks.hear_answer(component as usize, source, message, now).map_err(drop_reason)? {
        ice.of(component).confirm(proof);
    }
    Ok(())
}

/// Writes the answer over the check; counts a refusal.
fn answer(batch: &mut PacketBatch, i: usize, reply: &[u8], outcome: Outcome, counters: &Counters) {
    match outcome.refused {
        Some(refusal) => counters.drop_packet(drop_reason(refusal)),
        None if outcome.reply_len > 0 => counters.stun_checks_answered.add(1),
        None => {}
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
    let agent = ice.of(component);
    let Some(addr) = agent.in_use() else { return };
    let consents = agent.has_consent(now);
    if let Some(ports) = &mut leg.ports {
        if !ports.uses_ice {
            return;
        }
        if component == Component::Rtcp {
            if ports.is_muxed {
                return;
            }
            ports.rtcp_latch.get_or_insert_default().set_in_use(addr.into());
            return;
        }
        if consents {
            // The peer consents again (RFC 7675 §5.1).
            leg.failure.take_if(|why| *why == LegFailure::ConsentExpired);
            leg.told.unreachable = None;
        }
        ports.latch.set_in_use(addr.into());
        leg.update_reach();
    }
    leg.remote = Remote::from(addr);
    outlets.tell(leg, now);
}
