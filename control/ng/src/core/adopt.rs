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
use crate::call::Call;
use crate::effect::{Level, Turn};
use crate::limits::ORPHANS_KEPT_MS;
use crate::note;
use crate::orders::Purpose;
use crate::party::Deletion;
use crate::timers::Timer;
use crosspoint_contract::{CallKey, Command, LegId, LegSnapshot, Snapshot};
use std::collections::HashMap;

type Found<'a> = HashMap<LegId, &'a LegSnapshot>;

impl NgCore {
    /// The call in words, for the control plane after us.
    pub(super) fn note_call(&mut self, key: CallKey, turn: &mut Turn) {
        let note = self.calls.get(&key).and_then(|call| note::write(call, turn.now));
        if let Some(note) = note {
            self.orders.give(Command::Note { call: key, note }, Purpose::Nothing, turn);
        }
    }

    pub(super) fn adopt(&mut self, snapshot: Snapshot, turn: &mut Turn) {
        let found: Found = snapshot.legs.iter().map(|leg| (leg.leg, leg)).collect();
        let left = snapshot.notes.iter().filter_map(|left| {
            let call = note::read(&left.note, turn.now).filter(|call| call.key == left.call)?;
            let is_new = !self.calls.contains_key(&call.key) && !self.keys_by_id.contains_key(&call.id);
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

    fn adopt_call(&mut self, mut call: Call, found: &Found, turn: &mut Turn) {
        let key = call.key;
        let is_as_told = call.media_indices().into_iter().all(|(party, index)| {
            let mut legs = call.parties[party].media[index].legs();
            legs.all(|local| found.get(&local.leg).is_some_and(|leg| is_as_told(leg, local)))
        });
        for local in call.parties.iter_mut().flat_map(|party| &mut party.media).flat_map(|media| media.legs_mut()) {
            self.ports.reserve(local.address, local.rtp);
            if let Some(leg) = found.get(&local.leg) {
                (local.silent, local.connected_to) = (leg.silent, leg.report.remote_addr);
            }
        }
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

    /// Legs of ours that no call has: their ports are not free. Those of a call that goes on are of no use to it.
    fn find_orphans(&mut self, legs: &[LegSnapshot], turn: &mut Turn) {
        self.orphans.clear();
        let mut useless = Vec::new();
        for found in legs {
            let (Some(key), Some(rtp)) = (crate::call::call_of(found.leg), &found.rtp) else { continue };
            let call = self.calls.get(&key);
            if call.is_some_and(|call| call.legs().any(|local| local.leg == found.leg)) {
                continue;
            }
            useless.extend(call.map(|_| found.leg));
            self.orphans.insert(found.leg, rtp.request.rtp);
            self.ports.reserve(rtp.request.rtp.ip(), rtp.request.rtp.port());
        }
        useless.into_iter().for_each(|leg| self.close_orphan(leg, turn));
        if !self.orphans.is_empty() {
            self.timers.set(Timer::Orphans, turn.now.monotonic_ms + ORPHANS_KEPT_MS);
            let text = format!("{} legs of an earlier control plane go on until they fall silent", self.orphans.len());
            turn.note(Level::Info, "legs_found", None, text);
        }
    }

    pub(super) fn close_orphan(&mut self, leg: LegId, turn: &mut Turn) {
        let Some(address) = self.orphans.remove(&leg) else { return };
        self.orders.give(Command::CloseLeg { leg }, Purpose::Nothing, turn);
        let (now_ms, rest_ms) = (turn.now.monotonic_ms, self.settings.port_rest_ms);
        self.ports.release(address.ip(), address.port() & !1, now_ms, rest_ms);
    }

    pub(super) fn close_orphans(&mut self, turn: &mut Turn) {
        let legs: Vec<LegId> = self.orphans.keys().copied().collect();
        legs.into_iter().for_each(|leg| self.close_orphan(leg, turn));
    }
}

/// Whether the dataplane has what the note says it was told.
fn is_as_told(leg: &LegSnapshot, local: &crate::party::Local) -> bool {
    leg.rtp.as_ref().is_some_and(|rtp| {
        rtp.request.rtp == local.rtp_address()
            && rtp.remote.is_some() == local.described
            && rtp.sinks == local.sinks
            && rtp.filter == local.filter
    })
}
