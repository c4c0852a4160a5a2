//! What an earlier control plane left in the dataplane: calls that go on as ours, and legs that are nobody's.
//!
//! ```text
//!   snapshot ── notes ──▶ calls, as they were ── a leg is missing, or was told something else ──▶ said anew
//!       '────── legs of no call ──▶ orphans: until they fall silent, or for an hour
//! ```
//!
//! Input: the snapshot of an attachment. Output: calls, notes about calls for the next control plane. Owns the orphans.
//! rtpengine keeps its calls in Redis for this; here they are where their legs are, and end with them.

use super::NgCore;
use crate::call::{Call, Kit, call_of, legs_of};
use crate::effect::{Level, Turn};
use crate::limits::ORPHANS_KEPT_MS;
use crate::note;
use crate::orders::Purpose;
use crate::party::Deletion;
use crate::timers::Timer;
use crosspoint_contract::{CallKey, Command, LegId, LegSnapshot, Snapshot};
use std::collections::HashMap;
use std::net::SocketAddr;

/// A leg that is nobody's.
pub(crate) struct Orphan {
    /// Of RTP, in the first family and in the other.
    ports: [Option<SocketAddr>; 2],
    silent: bool,
    /// Its party is not expected to send.
    is_held: bool,
}

type Found<'a> = HashMap<LegId, &'a LegSnapshot>;

impl NgCore {
    /// The call in words, for the control plane after us.
    pub(super) fn note_call(&mut self, key: CallKey, turn: &mut Turn) {
        let note = self.calls.get(&key).and_then(|call| note::write(call, turn.now));
        if let Some(note) = note {
            self.orders.promise(Command::Note { call: key, note }, Purpose::Change { call: key }, turn);
        }
    }

    pub(super) fn adopt(&mut self, snapshot: Snapshot, turn: &mut Turn) {
        let found: Found = snapshot.legs.iter().map(|leg| (leg.leg, leg)).collect();
        self.compare(&found);
        let left = snapshot.notes.iter().filter_map(|left| {
            let call = note::read(&left.note, turn.now).filter(|call| call.key == left.call)?;
            let is_known = self.calls.contains_key(&call.key) || self.keys_by_id.contains_key(&call.id);
            let is_new = !is_known && !self.is_of_this_process(call.key);
            (is_new && call.legs().any(|local| found.contains_key(&local.leg))).then_some(call)
        });
        let left: Vec<Call> = left.collect();
        if !left.is_empty() {
            let text = format!("{} calls of an earlier control plane go on", left.len());
            turn.note(Level::Info, "calls_adopted", None, text);
        }
        left.into_iter().for_each(|call| self.adopt_call(call, &found, turn));
        self.find_orphans(&snapshot.legs, turn);
    }

    /// If the call is not there, it has ended.
    fn is_of_this_process(&self, key: CallKey) -> bool {
        (self.first_key + 1..=self.last_key).contains(&key.0)
    }

    fn adopt_call(&mut self, mut call: Call, found: &Found, turn: &mut Turn) {
        let key = call.key;
        let is_as_told = call.media_indices().into_iter().all(|(party, index)| {
            let mut legs = call.parties[party].media[index].legs();
            legs.all(|local| found.get(&local.leg).is_some_and(|leg| is_as_told(leg, local)))
        });
        for local in call.legs() {
            local.pairs().for_each(|(address, rtp)| self.ports.reserve(address, rtp));
        }
        compare(&mut call, found, &mut self.kit().0);
        let deletions = call.parties.iter().filter_map(|party| match party.deleted {
            Some(Deletion::At(at_ms)) => Some(at_ms),
            _ => None,
        });
        if let Some(at_ms) = deletions.min() {
            self.timers.set(Timer::Delete(key), at_ms);
        }
        self.last_key = self.last_key.max(key.0);
        self.keys_by_id.insert(call.id.clone(), key);
        self.calls.insert(key, call);
        self.statistics.sessions_managed(self.calls.len());
        self.set_expiry(key, turn);
        if !is_as_told {
            self.repair(key, turn);
        }
        self.end_if_silent(key, turn);
    }

    /// What has become of the legs of our own calls meanwhile.
    fn compare(&mut self, found: &Found) {
        let (mut kit, calls) = self.kit();
        for call in calls.values_mut() {
            compare(call, found, &mut kit);
        }
    }

    /// Legs of ours that no call has. Those of an earlier process may be somebody's: their ports are not free. Those of a call
    /// that goes on, or that ended while nobody was there to hear it, are of no use.
    fn find_orphans(&mut self, legs: &[LegSnapshot], turn: &mut Turn) {
        self.forget_orphans(|_| true, turn);
        for found in legs {
            let (Some(key), Some(rtp)) = (call_of(found.leg), &found.rtp) else { continue };
            let call = self.calls.get(&key);
            if call.is_some_and(|call| call.legs().any(|local| local.leg == found.leg)) {
                continue;
            }
            if call.is_some() || self.is_of_this_process(key) {
                self.close_unknown(found.leg, turn);
                continue;
            }
            let is_held = rtp.remote.as_ref().is_some_and(|remote| !remote.direction.receives());
            // Of a leg that was not told of its party nothing is ever said.
            let silent = found.silent || rtp.remote.is_none();
            let ports = [Some(rtp.request.rtp), rtp.request.other_family.map(|pair| pair.rtp)];
            self.orphans.insert(found.leg, Orphan { ports, silent, is_held });
            ports.into_iter().flatten().for_each(|rtp| self.ports.reserve(rtp.ip(), rtp.port()));
        }
        if !self.orphans.is_empty() {
            self.timers.set(Timer::Orphans, turn.now.monotonic_ms + ORPHANS_KEPT_MS);
            let text = format!("{} legs of an earlier control plane go on until they fall silent", self.orphans.len());
            turn.note(Level::Info, "legs_found", None, text);
        }
        for leg in self.orphans.keys().copied().collect::<Vec<_>>() {
            self.close_silent_orphans(leg, turn);
        }
    }

    /// Nothing was heard on it for the timeout, or something is.
    pub(super) fn orphan_is_silent(&mut self, leg: LegId, silent: bool, turn: &mut Turn) {
        let Some(orphan) = self.orphans.get_mut(&leg) else { return };
        orphan.silent = silent;
        self.close_silent_orphans(leg, turn);
    }

    /// A call that nobody noted ends when all of its legs are silent, and none of them because it is held.
    fn close_silent_orphans(&mut self, leg: LegId, turn: &mut Turn) {
        let Some(legs) = call_of(leg).map(legs_of) else { return };
        if self.orphans.range(legs.clone()).all(|(_, orphan)| orphan.silent && !orphan.is_held) {
            for leg in self.forget_orphans(|leg| legs.contains(&leg), turn) {
                self.close_unknown(leg, turn);
            }
        }
    }

    /// Their ports rest.
    pub(super) fn forget_orphans(&mut self, which: impl Fn(LegId) -> bool, turn: &Turn) -> Vec<LegId> {
        let gone: Vec<LegId> = self.orphans.keys().copied().filter(|leg| which(*leg)).collect();
        let orphans: Vec<Orphan> = gone.iter().filter_map(|leg| self.orphans.remove(leg)).collect();
        for rtp in orphans.into_iter().flat_map(|orphan| orphan.ports).flatten() {
            self.ports.release(rtp.ip(), rtp.port(), turn.now.monotonic_ms, self.settings.port_rest_ms);
        }
        gone
    }

    pub(super) fn close_orphans(&mut self, turn: &mut Turn) {
        for leg in self.forget_orphans(|_| true, turn) {
            self.close_unknown(leg, turn);
        }
    }

    fn close_unknown(&mut self, leg: LegId, turn: &mut Turn) {
        self.orders.give(Command::CloseLeg { leg }, Purpose::Close { leg }, turn);
    }

    /// The dataplane was too busy for these.
    pub(super) fn close_again(&mut self, turn: &mut Turn) {
        for leg in std::mem::take(&mut self.unclosed) {
            self.close_unknown(leg, turn);
        }
    }
}

/// Whether a leg is silent is what the dataplane says; one that it does not have is lost.
fn compare(call: &mut Call, found: &Found, kit: &mut Kit) {
    for leg in call.legs().map(|local| local.leg).collect::<Vec<_>>() {
        match (found.get(&leg), call.local_mut(leg)) {
            (Some(found), Some(local)) => (local.silent, local.connected_to) = (found.silent, found.report.remote_addr),
            _ => call.lose(leg, kit),
        }
    }
}

/// Whether the dataplane has what the note says it was told.
fn is_as_told(leg: &LegSnapshot, local: &crate::party::Local) -> bool {
    leg.rtp.as_ref().is_some_and(|rtp| {
        rtp.request.rtp == local.rtp_address()
            && rtp.request.other_family == local.other_family.map(|pair| pair.ports())
            && rtp.remote.is_some() == local.described
            && local.sinks.as_ref() == Some(&rtp.sinks)
            && local.filter == Some(rtp.filter)
    })
}
