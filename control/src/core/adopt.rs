//! Life and death of the two processes: calls found after a restart, the dataplane attached, detached, lost.
//!
//! ```text
//!   Restored ──▶ answered calls stand, their legs away ──DataplaneAttached──▶ same generation: go on
//!            │                                                             └─▶ another: legs are gone, calls end
//!            ├─▶ calls that were being joined stand likewise, if the snapshot shows their bridge
//!            └─▶ calls that had ended, or only rang, have their legs closed and get their record
//!   snapshot ──▶ legs of ours are checked ; legs of nobody are closed after the orphan grace
//! ```

use super::Core;
use super::call::{Call, CallState, Leg, LegState};
use super::directions::LegDirections;
use super::effect::Level;
use super::ending::Ending;
use super::limits::REPORTS_MS_MAX;
use super::orders::Purpose;
use super::record::{End, LegRole, LiveCall, LiveLeg};
use super::sdp::{self, Agreed, Description, Setup};
use super::timers::Timer;
use super::turn::Turn;
use crosspoint_contract::{
    BridgeId, Command, DataplaneHello, DtlsRole, Generation, LegFailure, LegId, LegSnapshot, LegState as MediaState,
    Snapshot,
};
use std::collections::{HashMap, HashSet};

impl Core {
    /// Calls of a process before this one.
    pub(super) fn restored(&mut self, turn: &mut Turn, calls: Vec<LiveCall>) {
        for live in calls {
            if self.calls.contains_key(&live.key) {
                continue;
            }
            if let Some(end) = live.end.clone() {
                self.bury(turn, live, end);
            } else if live.answered_unix_ms.or(live.joining_unix_ms).is_some() {
                self.adopt(turn, live);
            } else {
                // Before the answer neither side has a token to come back with.
                *self.counters.calls_ended.entry(Ending::Interrupted.reason()).or_default() += 1;
                self.bury(turn, live, Ending::Interrupted.end(turn.now.unix_ms));
            }
        }
        // Keys may have fallen while nobody was there to notice.
        self.end_fallen_legs(turn);
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
        self.hold_call(call);
        self.reindex(key);
        if lost {
            self.end_lost(turn, |call| call.key == key);
        }
    }

    /// A call that is over: its legs are closed, and its record is written as if we had ended it ourselves.
    fn bury(&mut self, turn: &mut Turn, live: LiveCall, end: End) {
        let key = live.key;
        let mut call = self.call_from(turn, live);
        call.state = CallState::Ended;
        call.end = Some(end);
        call.closing = call.legs.iter().map(|leg| leg.id).collect();
        for leg in &call.legs {
            let purpose = Purpose::Close { call: key, leg: leg.id };
            self.orders.give(Command::CloseLeg { leg: leg.id }, purpose, turn);
            self.tell_later(turn, leg.sid.clone(), None);
        }
        self.hold_call(call);
        self.timers.set(Timer::Reports(key), turn.now.monotonic_ms + REPORTS_MS_MAX);
    }

    fn call_from(&self, turn: &Turn, live: LiveCall) -> Call {
        let mut call = self.call_as_saved(turn, live);
        if call.is_doubtful {
            agree_anew(&mut call);
        }
        call
    }

    fn call_as_saved(&self, turn: &Turn, live: LiveCall) -> Call {
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
            answered_unix_ms: live.answered_unix_ms.or(live.joining_unix_ms),
            joining_unix_ms: live.joining_unix_ms,
            ends_unix_ms: live.ends_unix_ms,
            is_doubtful: live.answered_unix_ms.is_none() && live.joining_unix_ms.is_some(),
            declined: false,
            joining: 0,
            closing: Default::default(),
            end: None,
        }
    }

    fn leg_from(&self, live: LiveLeg) -> Leg {
        let remote = sdp::read(&live.remote_sdp).ok();
        let local = sdp::read(&live.local_sdp).ok();
        let agreed = local.as_ref().and_then(|local| agreed_between(local, remote.as_ref()?));
        let words = |said: &Option<Description>| said.as_ref().map(Description::directions).unwrap_or_default();
        let is_answer = remote.as_ref().is_some_and(|remote| remote.setup != Setup::ActPass);
        let directions = LegDirections::restored(words(&remote), words(&local), is_answer);
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
            directions,
            dtls_role: if live.dtls_client { DtlsRole::Client } else { DtlsRole::Server },
            ice_restarts: live.ice_restarts,
            media_gone: false,
            awaits_answer: false,
            offer_number: None,
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
        self.repeat_orders(turn);
        turn.note(
            Level::Info,
            "dataplane_attached",
            &[("process_id", &hello.process_id), ("workers", &hello.workers.len()), ("legs", &snapshot.legs.len())],
        );
        self.dataplane = Some(generation);
        self.end_lost(turn, |call| call.dataplane != generation);
        self.settle_doubts(turn, &snapshot);
        self.compare(turn, generation, snapshot);
        self.orders.attach(turn);
    }

    /// Calls found while their legs were being joined: those that were joined stand.
    fn settle_doubts(&mut self, turn: &mut Turn, snapshot: &Snapshot) {
        let bridges: HashSet<BridgeId> = snapshot.bridges.iter().map(|bridge| bridge.bridge).collect();
        let doubtful: Vec<_> = self.calls.values().filter(|call| call.is_doubtful).map(|call| call.key).collect();
        for key in doubtful {
            let Some(call) = self.calls.get_mut(&key) else { continue };
            call.is_doubtful = false;
            if bridges.contains(&call.bridge) {
                self.save(turn, key);
            } else {
                self.end_call(turn, key, Ending::Interrupted);
            }
        }
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
                Some(LegSnapshot { failure: Some(LegFailure::PeerClosed), .. }) => self.media_found_gone(turn, leg),
                Some(snapshot) => {
                    self.leg_failed(turn, leg, snapshot.failure.unwrap_or(LegFailure::WorkerLost));
                }
                // Legs vanish only with their worker, or on an order of ours, before which the end is saved.
                None => self.leg_failed(turn, leg, LegFailure::WorkerLost),
            }
        }
    }

    /// Its peer went while nobody listened. A client that is away has its time to come back with another peer
    /// connection, as after a reload; if it does not, it hung up.
    fn media_found_gone(&mut self, turn: &mut Turn, leg: LegId) {
        match self.leg_mut(leg).map(|entry| (entry.state, u64::from(entry.reconnect_seconds) * 1000)) {
            Some((LegState::Away, wait_ms)) => {
                self.set_media_gone(leg);
                self.timers.set(Timer::MediaGone(leg), turn.now.monotonic_ms + wait_ms);
            }
            _ => self.leg_failed(turn, leg, LegFailure::PeerClosed),
        }
    }

    fn recognise(&mut self, turn: &mut Turn, leg: LegId, snapshot: &LegSnapshot) {
        let Some(entry) = self.leg_mut(leg) else { return };
        entry.local = Some(snapshot.local.clone());
        entry.report = Some(snapshot.report.clone());
        self.set_connected(leg, snapshot.state == MediaState::Connected);
        let Some(entry) = self.leg_mut(leg) else { return };
        // Its client came back before the dataplane did.
        if entry.awaits_answer && entry.state == LegState::Up {
            self.send_answer(turn, leg);
        }
    }

    /// Media may flow on; orders wait.
    pub(super) fn detached(&mut self, turn: &mut Turn) {
        turn.note(Level::Warn, "dataplane_detached", &[("calls", &self.calls.len())]);
        self.repeat_orders(turn);
    }

    /// What the dataplane has not answered is asked again at the next attachment, but for digits.
    fn repeat_orders(&mut self, turn: &mut Turn) {
        for purpose in self.orders.detach() {
            self.order_failed(turn, purpose);
        }
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
            self.orders.give(Command::CloseLeg { leg }, Purpose::Nothing, turn);
        }
    }

    pub(super) fn client_did_not_return(&mut self, turn: &mut Turn, leg: LegId) {
        self.end_call_of_leg(turn, leg, |role: LegRole| Ending::Gone(role));
    }
}

/// The caller was not answered yet, so nothing that we told it says what was agreed.
fn agree_anew(call: &mut Call) {
    let described = |role| call.legs.iter().find(|leg| leg.role == role).and_then(|leg| leg.remote.as_ref());
    let (Some(caller), Some(callee)) = (described(LegRole::Caller), described(LegRole::Callee)) else { return };
    let video = call.branches().any(|leg| !leg.agreed.video.is_empty());
    let Some(pair) = sdp::agree(caller, callee, video) else { return };
    for leg in &mut call.legs {
        leg.agreed = match leg.role {
            LegRole::Caller => pair.caller.clone(),
            LegRole::Callee => pair.callee.clone(),
        };
    }
}

/// What we said with the payload types that the peer said.
fn agreed_between(local: &Description, remote: &Description) -> Option<Agreed> {
    sdp::agree_again(remote, &sdp::offered(local, true))
}
