//! Calls that pass this relay twice: a description that names a port of ours.
//!
//! ```text
//!   caller ── leg 1 ═ call X ═ leg 2 ──▶ proxy, B2BUA ──▶ leg 3 ═ call Y ═ leg 4 ── callee
//!                                └──────── link ────────────┘
//! ```
//!
//! Carriers route a call through one relay twice, and then each side's SDP names a leg of the other. Anybody may write such
//! a description, so a port of ours is believed only where
//! - it is that of an open leg of another call, RTP and RTCP alike;
//! - that leg's party has not said yet where it is, or has named a leg of this call in turn: who is in a call cannot be
//!   drawn into another;
//! - no ring of calls comes about, in which packets would go round for ever.
//!
//! One-sided links carry nothing: a leg hears a port of ours only if that is where it sends. Input: an m-line, the calls.
//! Output: whether it may be believed. Owns nothing.

use crate::core::NgCore;
use crate::party::{Local, Media};
use crate::sdp::MediaDescription;
use crosspoint_contract::CallKey;
use std::net::SocketAddr;

/// One m-line of a call: what its legs receive, its other legs send.
type Node = (CallKey, usize);

/// A leg that a description names.
struct Target<'a> {
    node: Node,
    media: &'a Media,
    local: &'a Local,
}

impl NgCore {
    /// Whether the m-line with this index may name ports of ours in a description of this call.
    pub(crate) fn may_link(&self, call: &str, index: usize, line: &MediaDescription) -> bool {
        let (Some(rtp), Some(rtcp)) = (line.rtp_destination(), line.rtcp_destination()) else { return false };
        let Some(target) = self.leg_at(rtp) else { return false };
        let key = self.call_by_id(call);
        let has_rtcp = [Some(target.local.rtp), target.local.rtcp].contains(&Some(rtcp.port()));
        let is_elsewhere = key != Some(target.node.0);
        is_elsewhere
            && has_rtcp
            && self.is_free_for(&target, key)
            && !self.makes_ring(&target, key.map(|key| (key, index)))
    }

    /// Its party has said nothing yet, or has named a leg of that call.
    fn is_free_for(&self, target: &Target, key: Option<CallKey>) -> bool {
        let Some(heard) = &target.media.heard else { return true };
        key.is_some() && self.leg_at(heard.rtp).map(|leg| leg.node.0) == key
    }

    /// The two are joined already, by other legs than this one.
    fn makes_ring(&self, target: &Target, node: Option<Node>) -> bool {
        let Some(node) = node else { return false };
        let edges: Vec<(Node, Node)> = self
            .links()
            .filter(|(from, to)| !from.is(target) && !to.is(target))
            .map(|(from, to)| (from.node, to.node))
            .collect();
        let (mut reached, mut at) = (vec![target.node], 0);
        while let Some(&from) = reached.get(at) {
            at += 1;
            for &(a, b) in &edges {
                let next = if a == from {
                    b
                } else if b == from {
                    a
                } else {
                    continue;
                };
                if !reached.contains(&next) {
                    reached.push(next);
                }
            }
        }
        reached.contains(&node)
    }

    /// Legs, and the legs of ours that their parties have named.
    fn links(&self) -> impl Iterator<Item = (Target<'_>, Target<'_>)> {
        self.all_legs().filter_map(|from| {
            let heard = from.media.heard.as_ref().filter(|heard| heard.is_link)?;
            let to = self.leg_at(heard.rtp)?;
            Some((from, to))
        })
    }

    fn leg_at(&self, rtp: SocketAddr) -> Option<Target<'_>> {
        let home = SocketAddr::new(self.settings.home_of(rtp.ip())?, rtp.port());
        self.all_legs().find(|leg| leg.local.rtp_address() == home)
    }

    fn all_legs(&self) -> impl Iterator<Item = Target<'_>> {
        self.calls.iter().flat_map(|(&key, call)| {
            let medias = call.parties.iter().flat_map(|party| party.media.iter().enumerate());
            medias.flat_map(move |(index, media)| {
                media.legs().map(move |local| Target { node: (key, index), media, local })
            })
        })
    }
}

impl Target<'_> {
    fn is(&self, other: &Target) -> bool {
        self.local.leg == other.local.leg
    }
}
