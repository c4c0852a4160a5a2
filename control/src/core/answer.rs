//! A callee's instance answers: the others stop ringing, the legs are joined, the caller is told.

use super::Core;
use super::call::{CallEvent, CallState, LegEvent, LegState};
use super::effect::Level;
use super::ending::Ending;
use super::input::SessionId;
use super::message::{Described, ToClient};
use super::orders::Purpose;
use super::path::{self, Place};
use super::record::LegRole;
use super::refusal::Refusal;
use super::sdp::{self, Description, Ours, Pair, Setup};
use super::session::Session;
use super::timers::Timer;
use super::turn::Turn;
use crosspoint_contract::{CallKey, Command, DtlsRole, LegId};

impl Core {
    pub(super) fn answer(&mut self, turn: &mut Turn, session: SessionId, answer: Described) {
        let resolved = self.resolve(session, &answer.callsid);
        if let Some(leg) = resolved.filter(|leg| self.takes_offers(*leg)) {
            return self.offer_answered(turn, session, leg, answer);
        }
        let Some(leg) = resolved.filter(|leg| self.is_ringing(*leg)) else {
            return self.refuse_invite(turn, session, &answer.callsid, Refusal::CallUnknown);
        };
        // A token that ran out while it rang still answers.
        let bearer = self.sessions.get(&session).and_then(Session::bearer);
        if let Err(refusal) = bearer.ok_or(Refusal::NotListening).and_then(|grant| self.check_answer(grant)) {
            self.refuse_invite(turn, session, &answer.callsid, refusal);
            return self.drop_branch(turn, leg, Some(Ending::Busy));
        }
        let described = self.read_sdp(&answer.sdp).and_then(|d| match d.setup {
            // RFC 8842 §5.3: an answerer has chosen.
            Setup::ActPass => Err(Refusal::MediaUnacceptable),
            Setup::Active => Ok((d, DtlsRole::Server)),
            Setup::Passive => Ok((d, DtlsRole::Client)),
        });
        match described {
            Ok((description, role)) => self.answered(turn, leg, description, answer.sdp, role),
            Err(refusal) => self.answer_unusable(turn, leg, refusal),
        }
    }

    pub(super) fn is_ringing(&self, leg: LegId) -> bool {
        let Some(call) = self.legs.get(&leg).and_then(|key| self.calls.get(key)) else { return false };
        let waits = call.leg(leg).is_some_and(|l| l.role == LegRole::Callee && l.state == LegState::Waiting);
        waits && call.state == CallState::Ringing
    }

    pub(super) fn read_sdp(&self, text: &str) -> Result<Description, Refusal> {
        if text.len() > self.config.limits.sdp_bytes_max {
            return Err(Refusal::ParameterTooLong);
        }
        sdp::read(text)
    }

    /// This instance cannot take the call; others may.
    fn answer_unusable(&mut self, turn: &mut Turn, leg: LegId, refusal: Refusal) {
        let told = self.leg(leg).and_then(|l| Some((l.session?, l.sid.clone())));
        if let Some((session, callsid)) = told {
            self.refuse_invite(turn, session, &callsid, refusal);
        }
        self.drop_branch(turn, leg, Some(Ending::NoCommonMedia));
    }

    /// The first instance to answer has the call. `sdp` is its answer to our offer, or its own offer.
    pub(super) fn answered(
        &mut self,
        turn: &mut Turn,
        leg: LegId,
        description: Description,
        sdp: String,
        dtls_role: DtlsRole,
    ) {
        let Some(key) = self.legs.get(&leg).copied() else { return };
        let Some(pair) = self.agree_with_caller(key, leg, &description) else {
            return self.answer_unusable(turn, leg, Refusal::MediaUnacceptable);
        };
        let Some(call) = self.calls.get_mut(&key) else { return };
        if !call.advance(CallEvent::CalleeAnswered) {
            return;
        }
        let losers: Vec<_> = call.branches().map(|b| b.id).filter(|id| *id != leg).collect();
        if let Some(entry) = call.leg_mut(leg) {
            let (words, first_offer) = (description.directions(), entry.directions.told());
            if entry.awaits_answer {
                entry.directions.client_offered(words);
            } else {
                entry.directions.client_answered(first_offer, words);
            }
            entry.remote = Some(description);
            entry.remote_sdp = sdp;
            entry.dtls_role = dtls_role;
        }
        for loser in losers {
            self.cancel_branch(turn, key, loser);
        }
        self.join(turn, key, leg, pair);
    }

    fn agree_with_caller(&self, key: CallKey, leg: LegId, callee: &Description) -> Option<Pair> {
        let call = self.calls.get(&key)?;
        let (caller, entry) = (call.caller()?, call.leg(leg)?);
        sdp::agree(caller.remote.as_ref()?, callee, caller.video && entry.video)
    }

    fn join(&mut self, turn: &mut Turn, key: CallKey, callee: LegId, pair: Pair) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let Some(caller) = call.caller().map(|leg| leg.id) else { return };
        let mut commands = Vec::new();
        for (id, agreed) in [(callee, pair.callee), (caller, pair.caller)] {
            let Some(leg) = call.leg_mut(id) else { continue };
            leg.advance(LegEvent::Answered);
            // The caller offered actpass or active: the answerer, we, waits for its ClientHello unless it cannot.
            if id == caller {
                leg.dtls_role = leg.remote.as_ref().map_or(DtlsRole::Server, role_against);
            }
            leg.agreed = agreed;
            if let Some(remote) = &leg.remote {
                commands.push(Command::SetRemote { leg: id, remote: remote.to_remote(&leg.agreed, leg.dtls_role) });
            }
        }
        commands.push(Command::Bridge { bridge: call.bridge, legs: [caller, callee] });
        call.joining = commands.len() as u8;
        call.joining_unix_ms = Some(turn.now.unix_ms);
        self.limit_length(turn, key);
        self.note_path(key);
        // The caller holds a token as soon as it is answered: whoever comes after us must know the call by then.
        self.save(turn, key);
        for leg in [caller, callee] {
            let connected = self.leg(leg).is_some_and(|entry| entry.connected);
            self.set_connected(leg, connected);
        }
        for command in commands {
            self.orders.give(command, Purpose::Join(key), turn);
        }
    }

    /// One of the orders that join is done; after the last, both sides are told.
    pub(super) fn joined(&mut self, turn: &mut Turn, key: CallKey) {
        let Some(call) = self.calls.get_mut(&key).filter(|call| call.state == CallState::Joining) else { return };
        call.joining = call.joining.saturating_sub(1);
        if call.joining > 0 || !call.advance(CallEvent::Joined) {
            return;
        }
        call.answered_unix_ms = Some(turn.now.unix_ms);
        self.calls_answered += 1;
        let legs: Vec<_> = call.legs.iter().map(|leg| leg.id).collect();
        for leg in &mut call.legs {
            leg.advance(LegEvent::Joined);
        }
        self.counters.calls_answered += 1;
        self.counters.setup_ms_sum += turn.now.monotonic_ms - call.started_monotonic_ms;
        turn.note(Level::Info, "call_answered", &[("call_sid", &call.sid)]);
        self.timers.cancel(Timer::Ring(key));
        for leg in legs {
            if self.leg(leg).is_some_and(|l| l.awaits_answer) {
                self.send_answer(turn, leg);
            }
            self.offer_news(turn, leg);
        }
        self.save(turn, key);
    }

    fn limit_length(&mut self, turn: &mut Turn, key: CallKey) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let Some(seconds) = call.legs.iter().filter_map(|leg| leg.max_call_seconds).min() else { return };
        let milliseconds = seconds.saturating_mul(1000);
        call.ends_unix_ms = Some(turn.now.unix_ms.saturating_add(milliseconds));
        self.timers.set(Timer::CallEnds(key), turn.now.monotonic_ms.saturating_add(milliseconds));
    }

    fn note_path(&mut self, key: CallKey) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let mut places = call.legs.iter().map(|leg| Place { gateway: &leg.gateway, region: &leg.region });
        if let (Some(caller), Some(callee)) = (places.next(), places.next()) {
            let path = path::choose(caller, callee);
            call.path.push(path);
        }
    }

    /// Answers a leg's client with our side as it is now, or as soon as an attached dataplane says what it is.
    pub(super) fn send_answer(&mut self, turn: &mut Turn, leg: LegId) {
        let reconnect = self.seal(turn, leg);
        let directions = self.our_directions(leg);
        let Some(entry) = self.leg_mut(leg) else { return };
        entry.awaits_answer = true;
        let (Some(local), Some(remote)) = (entry.local.as_ref(), entry.remote.as_ref()) else { return };
        entry.sdp_version += 1;
        entry.awaits_answer = false;
        let ours = Ours { local, session_id: entry.session_id(), version: entry.sdp_version };
        entry.local_sdp = sdp::write_answer(ours, remote, &entry.agreed, entry.dtls_role, directions);
        entry.directions.we_said(directions);
        let (callsid, sdp, offer) = (entry.sid.clone(), entry.local_sdp.clone(), entry.offer_number.take());
        let answer = ToClient::Answer { callsid, sdp, reconnect, offer };
        if let Some(session) = entry.session {
            turn.send(session, &answer);
        }
    }
}

/// RFC 8842 §5.3: against an offer we are passive unless the offerer insists on it.
pub fn role_against(offer: &Description) -> DtlsRole {
    match offer.setup {
        Setup::ActPass | Setup::Active => DtlsRole::Server,
        Setup::Passive => DtlsRole::Client,
    }
}
