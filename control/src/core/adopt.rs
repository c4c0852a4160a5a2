//! Life and death of the two processes: calls found after a restart, the dataplane attached, detached, lost.
//!
//! ```text
//!   Restored ──▶ answered calls stand, their legs away ──DataplaneAttached──▶ same generation: go on
//!            └─▶ unanswered calls get their record                        └─▶ another: legs are gone, calls end
//!   snapshot ──▶ legs of ours are checked ; legs of nobody are closed after the orphan grace
//! ```

use super::Core;
use super::call::{Call, CallState, Leg, LegState};
use super::effect::{Effect, Level};
use super::ending::Ending;
use super::orders::Purpose;
use super::record::{LegRole, LiveCall, LiveLeg};
use super::sdp::{self, Agreed, Description};
use super::timers::Timer;
use super::turn::Turn;
use crosspoint_contract::{
    Command, DataplaneHello, DtlsRole, Generation, LegFailure, LegId, LegSnapshot, LegState as MediaState, Snapshot,
};
use std::collections::HashMap;

impl Core {
    /// Calls of a process before this one.
    pub(super) fn restored(&mut self, turn: &mut Turn, calls: Vec<LiveCall>) {
        for live in calls {
            if self.calls.contains_key(&live.key) {
                continue;
            }
            match live.answered_unix_ms {
                Some(_) => self.adopt(turn, live),
                None => self.bury(turn, live),
            }
        }
    }

    fn adopt(&mut self, turn: &mut Turn, live: LiveCall) {
        let key = live.key;
        turn.note(Level::Info, "call_adopted", &[("call_sid", &live.call_sid)]);
        self.counters.calls_adopted += 1;
        let call = self.call_from(turn, live);
        if let Some(ends) = call.ends_unix_ms {
            let left_ms = ends.saturating_sub(turn.now.unix_ms);
            self.timers.set(Timer::CallEnds(key), turn.now.monotonic_ms.saturating_add(left_ms));
        }
        // Nobody can have come back before we were there: the time begins now, and media flows meanwhile.
        let grace_ms = u64::from(self.config.restart_grace_s) * 1000;
        for leg in &call.legs {
            self.timers.set(Timer::Reconnect(leg.id), turn.now.monotonic_ms + grace_ms);
        }
        let lost = self.dataplane.is_some_and(|generation| generation != call.dataplane);
        self.calls.insert(key, call);
        self.reindex(key);
        if lost {
            self.end_lost(turn, |call| call.key == key);
        }
    }

    /// Before the answer neither side has a token to come back with.
    fn bury(&mut self, turn: &mut Turn, live: LiveCall) {
        for leg in &live.legs {
            self.orders.give(Command::CloseLeg { leg: leg.leg }, Purpose::Nothing, turn.effects);
        }
        let call = self.call_from(turn, live);
        let reason = Ending::Interrupted.reason();
        let record = call.to_record(turn.now.unix_ms, reason, "bridge", None);
        *self.counters.calls_ended.entry(reason).or_default() += 1;
        turn.effects.push(Effect::WriteRecord(Box::new(record)));
    }

    fn call_from(&self, turn: &Turn, live: LiveCall) -> Call {
        Call {
            key: live.key,
            sid: live.call_sid,
            account_sid: live.account_sid,
            from: live.from,
            to: live.to,
            params: String::new(),
            state: CallState::Up,
            legs: live.legs.into_iter().map(|leg| self.leg_from(leg)).collect(),
            bridge: live.bridge,
            dataplane: live.dataplane,
            path: Vec::new(),
            earlier_path: live.path,
            started_monotonic_ms: turn.now.monotonic_ms,
            started_unix_ms: live.started_unix_ms,
            answered_unix_ms: live.answered_unix_ms,
            ends_unix_ms: live.ends_unix_ms,
            declined: false,
            joining: 0,
            closing: Default::default(),
            record: None,
        }
    }

    fn leg_from(&self, live: LiveLeg) -> Leg {
        let remote = sdp::read(&live.remote_sdp).ok();
        let agreed = sdp::read(&live.local_sdp).ok().and_then(|local| agreed_between(&local, remote.as_ref()?));
        Leg {
            id: live.leg,
            sid: live.call_sid,
            client_sid: None,
            is_named: true,
            role: live.role,
            state: LegState::Away,
            session: None,
            identity: live.identity,
            instance: live.instance,
            key_sid: live.key_sid,
            gateway: self.config.gateway.clone(),
            region: self.config.region.clone(),
            reconnect_seconds: live.reconnect_seconds,
            max_call_seconds: None,
            video: self.config.video,
            ordered: true,
            connected: true,
            local: None,
            remote,
            remote_sdp: live.remote_sdp,
            local_sdp: live.local_sdp,
            // Versions must grow; a process does not describe a leg a million times.
            sdp_version: 1_000_000 + u64::from(live.ice_restarts),
            agreed: agreed.unwrap_or_default(),
            dtls_role: if live.dtls_client { DtlsRole::Client } else { DtlsRole::Server },
            ice_restarts: live.ice_restarts,
            awaits_answer: false,
            reoffer: None,
            report: None,
        }
    }

    pub(super) fn attached(&mut self, turn: &mut Turn, hello: DataplaneHello, snapshot: Snapshot) {
        let generation = hello.generation;
        let is_another = self.dataplane.is_some_and(|last| last != generation);
        if is_another {
            self.orders.forget();
        }
        turn.note(
            Level::Info,
            "dataplane_attached",
            &[("process_id", &hello.process_id), ("workers", &hello.workers.len()), ("legs", &snapshot.legs.len())],
        );
        self.dataplane = Some(generation);
        self.end_lost(turn, |call| call.dataplane != generation);
        self.compare(turn, generation, snapshot);
        self.orders.attach(turn.effects);
    }

    fn compare(&mut self, turn: &mut Turn, generation: Generation, snapshot: Snapshot) {
        let found: HashMap<LegId, LegSnapshot> = snapshot.legs.into_iter().map(|leg| (leg.leg, leg)).collect();
        let orphans = found.keys().filter(|leg| !self.legs.contains_key(leg));
        let orphan_ms = turn.now.monotonic_ms + u64::from(self.config.orphan_grace_s) * 1000;
        for leg in orphans.copied().collect::<Vec<_>>() {
            self.timers.set(Timer::Orphan(leg), orphan_ms);
        }
        let ours = self.calls.values().filter(|call| call.dataplane == generation).flat_map(|call| &call.legs);
        let ours: Vec<_> = ours.filter(|leg| leg.ordered && leg.state != LegState::Opening).map(|l| l.id).collect();
        for leg in ours {
            match found.get(&leg) {
                Some(snapshot) if snapshot.state != MediaState::Failed => self.recognise(turn, leg, snapshot),
                _ => self.leg_failed(turn, leg, LegFailure::WorkerLost),
            }
        }
    }

    fn recognise(&mut self, turn: &mut Turn, leg: LegId, snapshot: &LegSnapshot) {
        let Some(entry) = self.leg_mut(leg) else { return };
        entry.local = Some(snapshot.local.clone());
        entry.connected = snapshot.state == MediaState::Connected;
        entry.report = Some(snapshot.report.clone());
        // Its client came back before the dataplane did.
        if entry.awaits_answer && entry.state == LegState::Up {
            self.send_answer(turn, leg);
        }
    }

    /// Media may flow on; orders wait.
    pub(super) fn detached(&mut self, turn: &mut Turn) {
        turn.note(Level::Warn, "dataplane_detached", &[("calls", &self.calls.len())]);
        self.orders.detach();
    }

    pub(super) fn lost(&mut self, turn: &mut Turn, why: &str) {
        turn.note(Level::Warn, "dataplane_lost", &[("why", &why), ("calls", &self.calls.len())]);
        self.dataplane = None;
        self.orders.forget();
        self.end_lost(turn, |_| true);
    }

    /// A leg that no call has claimed in an hour.
    pub(super) fn orphan_overdue(&mut self, turn: &mut Turn, leg: LegId) {
        if !self.legs.contains_key(&leg) {
            turn.note(Level::Info, "orphan_closed", &[("leg", &leg)]);
            self.orders.give(Command::CloseLeg { leg }, Purpose::Nothing, turn.effects);
        }
    }

    pub(super) fn client_did_not_return(&mut self, turn: &mut Turn, leg: LegId) {
        self.end_call_of_leg(turn, leg, |role: LegRole| Ending::Gone(role));
    }
}

/// What we said with the payload types that the peer said.
fn agreed_between(local: &Description, remote: &Description) -> Option<Agreed> {
    sdp::agree_again(remote, &sdp::offered(local, true))
}
