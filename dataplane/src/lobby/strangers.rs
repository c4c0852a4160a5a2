//! Strangers at the ports of legs without ICE: who they are, how long they may stay, and how one becomes the peer.
//!
//! Input: knocks from other addresses than a leg's own. Output: guests of their own, few and for a short time. Owns their
//! names; their handshakes are guests like all others. RFC 8122 §6.2: the certificate says who the peer is, not the address.

use super::guest::{Guest, Stage};
use super::{GuestId, Lobby, STRANGER_AGE_MAX, STRANGERS_MAX, STRANGERS_PER_LEG_MAX};
use crosspoint_contract::{DtlsRole, LegId};
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// By leg, oldest first, each with the end of his time.
#[derive(Default)]
pub(super) struct Strangers {
    by_leg: HashMap<LegId, VecDeque<(GuestId, Instant)>>,
    len: usize,
}

impl Strangers {
    /// When he has to go; nothing for a peer.
    pub fn until(&self, id: GuestId) -> Option<Instant> {
        id.stranger?;
        self.by_leg.get(&id.leg)?.iter().find(|(known, _)| *known == id).map(|(_, until)| *until)
    }

    fn insert(&mut self, id: GuestId, until: Instant) {
        self.by_leg.entry(id.leg).or_default().push_back((id, until));
        self.len += 1;
    }

    pub fn remove(&mut self, id: GuestId) {
        let Some(of_leg) = self.by_leg.get_mut(&id.leg) else { return };
        let before = of_leg.len();
        of_leg.retain(|(known, _)| *known != id);
        self.len -= before - of_leg.len();
        if of_leg.is_empty() {
            self.by_leg.remove(&id.leg);
        }
    }

    fn of_leg(&self, leg: LegId) -> Vec<GuestId> {
        self.by_leg.get(&leg).into_iter().flatten().map(|(id, _)| *id).collect()
    }
}

impl Lobby {
    /// Whether a stranger may knock: while we wait for a peer to begin the handshake, and there is room.
    pub(super) fn admit_stranger(&mut self, id: GuestId, now: Instant) -> bool {
        if self.guests.contains_key(&id) {
            return true;
        }
        let peer = self.guests.get(&GuestId::peer(id.leg));
        let Some(peer) = peer.filter(|peer| !matches!(peer.stage, Stage::In(_) | Stage::Failed)) else { return false };
        let expected = peer.expected.clone().filter(|expected| expected.patient && expected.role == DtlsRole::Server);
        let Some(expected) = expected else { return false };
        let of_leg = self.strangers.of_leg(id.leg);
        if of_leg.len() >= STRANGERS_PER_LEG_MAX {
            self.forget(of_leg[0]);
        }
        if self.strangers.len >= STRANGERS_MAX {
            self.page.refused.add(1);
            return false;
        }
        let until = now + STRANGER_AGE_MAX;
        self.strangers.insert(id, until);
        self.guests.insert(id, Guest { expected: Some(expected), ..Guest::new() });
        self.call_at(id, Some(until));
        true
    }

    pub(super) fn forget_strangers(&mut self, leg: LegId) {
        self.strangers.of_leg(leg).into_iter().for_each(|id| self.forget(id));
    }

    /// Whoever has shown the certificate is the peer; the others need not try any more. Nothing when the leg has one.
    pub(super) fn take_for_peer(&mut self, id: GuestId) -> Option<GuestId> {
        let peer = GuestId::peer(id.leg);
        if id.stranger.is_some() {
            let guest = self.guests.remove(&id)?;
            if let Some(due) = guest.due {
                self.timeouts.remove(&(due, id));
            }
            self.strangers.remove(id);
            let before = self.guests.get(&peer).filter(|before| !matches!(before.stage, Stage::In(_)));
            let was_shaking = before.map(Guest::is_shaking);
            let Some(was_shaking) = was_shaking else {
                self.count_half_open(-1);
                return None;
            };
            if was_shaking {
                self.page.failed.add(1);
                self.count_half_open(-1);
            }
            self.call_at(peer, None);
            self.guests.insert(peer, Guest { due: None, ..guest });
        }
        self.forget_strangers(id.leg);
        Some(peer)
    }
}
