//! Follows the peer of an SRTP leg with own ports to where its authentic packets come from.
//!
//! Input: RTP and RTCP that `unprotect` has opened. Output: addresses in use, signs of life. Owns nothing, drops nothing.
//! Whoever holds the keys is the peer (RFC 3711 §3.3), wherever it is; with ICE only checks move the address.

use crate::batch::PacketBatch;
use crate::clock;
use crate::io::{PortId, Remote};
use crate::leg::latch::Reach;
use crate::leg::{Leg, Protection};
use crate::legs::{LegTable, OwnAddrs};
use crate::outlets::Outlets;
use crate::stages::admit::{heard, latch};
use crate::stages::{RTCP, RTP};
use crosspoint_wire::Nanos;

pub fn follow(batch: &PacketBatch, legs: &mut LegTable, outlets: &mut Outlets) {
    let now = clock::of(batch);
    for packet in batch.packets() {
        if packet.port == PortId::SHARED || !(packet.awaits(RTP) || packet.awaits(RTCP)) {
            continue;
        }
        if let Some((leg, own)) = legs.with_own_addrs(packet.leg)
            && leg.protection == Protection::Srtp
        {
            follow_one(leg, own, packet.remote, packet.kind, now, outlets);
        }
    }
}

#[inline]
fn follow_one(leg: &mut Leg, own: &OwnAddrs, source: Remote, kind: u8, now: Nanos, outlets: &mut Outlets) {
    let Some(ports) = &mut leg.ports else { return };
    // Of two legs of ours that signaling has joined, each is the other's peer.
    let is_peer = !own.contain(source) || latch(ports, kind).is_signaled(source);
    if !ports.uses_ice && is_peer {
        match (kind, &mut ports.rtcp_latch) {
            (RTCP, Some(latch)) => {
                latch.follow(source, &ports.learning, now);
                ports.hear_beside(source);
            }
            // RTCP says nothing about where RTP comes from, for it may have a port of its own.
            (RTCP, None) => ports.hear_beside(source),
            _ => {
                ports.latch.follow(source, &ports.learning, now);
                leg.remote = ports.latch.in_use();
            }
        }
    }
    if leg.reach != Reach::Open {
        leg.update_reach();
    }
    if kind == RTP {
        heard(leg, now, outlets);
    }
}
