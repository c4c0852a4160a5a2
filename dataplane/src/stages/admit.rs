//! Lets in packets to a leg's own port by where they come from.
//!
//! Input: packets to own ports, with their leg. Output: the same, less those from sources that the leg does not listen to.
//! On a plain leg the source is all that vouches for a packet, so this is also where addresses are learnt and the peer is
//! taken to be alive; with SRTP that waits for `follow`, behind authentication. Owns nothing.

use crate::batch::PacketBatch;
use crate::clock;
use crate::counters::Counters;
use crate::io::{PortId, Remote};
use crate::leg::latch::{Heard, Reach};
use crate::leg::{Component, Ice, Leg, Ports, Protection};
use crate::legs::{LegTable, OwnAddrs};
use crate::outlets::Outlets;
use crate::stages::{DATAGRAM, DTLS, RTCP, RTP, STUN, is_media};
use crosspoint_contract::DropReason;
use crosspoint_wire::Nanos;

pub fn admit(batch: &mut PacketBatch, legs: &mut LegTable, outlets: &mut Outlets, counters: &Counters) {
    let now = clock::of(batch);
    for i in 0..batch.len() {
        let packet = batch.packet(i);
        if packet.port == PortId::SHARED || !packet.is_pending() || packet.kind == STUN {
            continue;
        }
        let (remote, kind, component) = (packet.remote, packet.kind, legs.component_of(packet.port));
        let Some((leg, own)) = legs.with_own_addrs(packet.leg) else { continue };
        leg.touch(counters);
        if let Err(reason) = admit_one(leg, own, remote, kind, component, now, outlets) {
            leg.figures.packets_dropped += 1;
            batch.drop_packet(i, reason, counters);
        }
    }
}

#[inline]
fn admit_one(
    leg: &mut Leg,
    own: &OwnAddrs,
    source: Remote,
    kind: u8,
    component: Component,
    now: Nanos,
    outlets: &mut Outlets,
) -> Result<(), DropReason> {
    let protection = leg.protection;
    let Some(ports) = leg.ports.as_mut().filter(|ports| ports.is_described) else {
        return Err(DropReason::SourceNotLearned);
    };
    match kind {
        DTLS if !ports.uses_dtls || component == Component::Rtcp => return Err(DropReason::DtlsUnexpected),
        RTP if component == Component::Rtcp => return Err(DropReason::RtcpMalformed),
        DATAGRAM if component == Component::Rtcp => return Err(DropReason::Unclassified),
        _ => {}
    }
    if ports.uses_ice {
        is_validated(leg.ice.as_mut(), source, component)?;
        if protection == Protection::Plain && is_media(kind) {
            heard(leg, now, outlets);
        }
        return Ok(());
    }
    // Only ICE says that the peer is of the other family.
    if !ports.is_first_family(source) {
        return Err(DropReason::SourceNotLearned);
    }
    match (kind, protection) {
        (DTLS, _) if source == leg.remote => Ok(()),
        // A ClientHello proves nothing: until there are keys a stranger may try, and moves nothing before he has them.
        (DTLS, _) if leg.keys.is_none() && !own.contain(source) && may_be_sought(ports, source) => Ok(()),
        (DTLS, _) => Err(DropReason::UnknownSource),
        (_, Protection::Srtp) => latch(ports, kind).may_try(source, &ports.learning),
        (_, Protection::Plain) => {
            judge(leg, own, source, kind, now, outlets)?;
            if leg.reach != Reach::Open {
                leg.update_reach();
            }
            Ok(())
        }
    }
}

fn is_validated(ice: Option<&mut Box<Ice>>, source: Remote, component: Component) -> Result<(), DropReason> {
    let validated = ice.is_some_and(|ice| ice.of(component).is_validated(source.into()));
    if validated { Ok(()) } else { Err(DropReason::UnknownSource) }
}

/// Whether the peer of a DTLS leg may be elsewhere than signaled.
fn may_be_sought(ports: &Ports, source: Remote) -> bool {
    let learning = &ports.learning;
    let may_move = learning.from != crosspoint_contract::LearnFrom::Nothing && !learning.strict_source;
    may_move && ports.latch.may_be_learnt(source)
}

/// The latch that a packet is judged by: RTCP has one where it has an address of its own.
#[inline]
pub fn latch(ports: &Ports, kind: u8) -> &crate::leg::latch::Latch {
    match &ports.rtcp_latch {
        Some(latch) if kind == RTCP => latch,
        _ => &ports.latch,
    }
}

/// Media and RTCP of a plain leg.
#[inline]
fn judge(
    leg: &mut Leg,
    own: &OwnAddrs,
    source: Remote,
    kind: u8,
    now: Nanos,
    outlets: &mut Outlets,
) -> Result<(), DropReason> {
    let Some(ports) = leg.ports.as_mut() else { return Ok(()) };
    if source == leg.remote {
        ports.latch.judge(source, &ports.learning, now)?;
        if is_media(kind) {
            heard(leg, now, outlets);
        }
        return Ok(());
    }
    // What we sent ourselves would go round for ever, unless signaling has joined two legs of ours: then it came from a party.
    if own.contain(source) && !latch(ports, kind).is_signaled(source) {
        return Err(DropReason::OwnAddress);
    }
    if kind == RTCP {
        return match &mut ports.rtcp_latch {
            // Many peers never report: late, only the host that RTP goes to may begin to.
            Some(latch) if latch.is_late(&ports.learning, now) && source.ip() != leg.remote.ip() => {
                Err(DropReason::SourceNotLearned)
            }
            Some(latch) => latch.judge(source, &ports.learning, now).map(|_| ports.hear_beside(source)),
            None => ports.latch.may_be_heard(source, &ports.learning, now).map(|()| ports.hear_beside(source)),
        };
    }
    let heard_from = ports.latch.judge(source, &ports.learning, now)?;
    leg.remote = ports.latch.in_use();
    // With `asymmetric` the peer is known to send from elsewhere.
    let stands_still = ports.learning.from == crosspoint_contract::LearnFrom::Nothing;
    if stands_still {
        ports.latch.vouch();
    }
    if heard_from == Heard::Peer || stands_still {
        heard(leg, now, outlets);
    }
    Ok(())
}

/// The peer is alive.
#[inline]
pub fn heard(leg: &mut Leg, now: Nanos, outlets: &mut Outlets) {
    leg.last_heard = now;
    if leg.silent || leg.told.remote != leg.remote {
        leg.silent = false;
        outlets.tell(leg, now);
    }
}
