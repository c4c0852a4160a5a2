//! How calls end: who is told what, and what the record says.
//!
//! ```text
//!   ending          record          caller is told     ringing callee   answered callee
//!   NotRegistered   not_found       hangup 31404       -                -
//!   Busy            busy            hangup 31486       -                -
//!   NoDataplane     failed          hangup 53405       cancel           -
//!   Declined        declined        hangup 31603       -                -
//!   NoAnswer        no_answer       hangup 31480       cancel           -
//!   NoCommonMedia   failed          hangup 53405       cancel           hangup 53405
//!   Canceled        canceled        -                  cancel           hangup
//!   HungUp(role)    completed       hangup, or - for whoever did it     hangup, or -
//!   Gone(role)      connection_lost hangup, or - for whoever is gone    hangup, or -
//!   MediaFailed(r)  media_failed    hangup 53405 for whose media failed, hangup for the other
//!   DataplaneLost   media_failed    hangup 53405       cancel           hangup 53405
//!   LengthLimit     length_limit    hangup, with that reason            hangup, with that reason
//!   KeyFallen(r)    revoked         hangup 20101 for the bearer, hangup for the other
//!   Operator        operator        hangup             cancel           hangup
//!   Interrupted     interrupted     control restarted before the answer; nobody can be told
//!   ShutDown        shut_down       hangup 53001       cancel           hangup 53001
//! ```
//!
//! Input: the flows name an [`Ending`]. Output: messages, orders that close the legs, and exactly one record, written
//! when the last reports are in or overdue.

use super::Core;
use super::call::{Call, CallEvent, Leg, LegEvent, LegState};
use super::clients::ClientName;
use super::effect::{Effect, Level};
use super::input::SessionId;
use super::limits::REPORTS_MS_MAX;
use super::message::ToClient;
use super::orders::Purpose;
use super::record::{End, LegRole};
use super::refusal::Refusal;
use super::timers::Timer;
use super::turn::Turn;
use crosspoint_contract::{CallKey, Command, LegId, LegReport};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    NotRegistered,
    Busy,
    NoDataplane,
    Declined,
    NoAnswer,
    NoCommonMedia,
    Canceled,
    HungUp(LegRole),
    Gone(LegRole),
    MediaFailed(LegRole),
    DataplaneLost,
    LengthLimit,
    KeyFallen(LegRole, Refusal),
    Operator,
    Interrupted,
    ShutDown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Plainly,
    Error(Refusal),
}

impl Told {
    fn refusal(self) -> Option<Refusal> {
        match self {
            Told::Error(refusal) => Some(refusal),
            Told::Nothing | Told::Plainly => None,
        }
    }
}

impl Ending {
    /// `CallRecord::end_reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Ending::NotRegistered => "not_found",
            Ending::Busy => "busy",
            Ending::NoDataplane | Ending::NoCommonMedia => "failed",
            Ending::Declined => "declined",
            Ending::NoAnswer => "no_answer",
            Ending::Canceled => "canceled",
            Ending::HungUp(_) => "completed",
            Ending::Gone(_) => "connection_lost",
            Ending::MediaFailed(_) | Ending::DataplaneLost => "media_failed",
            Ending::LengthLimit => "length_limit",
            Ending::KeyFallen(..) => "revoked",
            Ending::Operator => "operator",
            Ending::Interrupted => "interrupted",
            Ending::ShutDown => "shut_down",
        }
    }

    /// `CallRecord::ended_by`.
    fn by(self) -> &'static str {
        match self {
            Ending::Canceled => "caller",
            Ending::Declined => "callee",
            Ending::HungUp(role) | Ending::Gone(role) | Ending::MediaFailed(role) => match role {
                LegRole::Caller => "caller",
                LegRole::Callee => "callee",
            },
            _ => "bridge",
        }
    }

    pub fn end(self, unix_ms: u64) -> End {
        let code = self.refusal().map(Refusal::code);
        End { unix_ms, reason: self.reason().to_owned(), by: self.by().to_owned(), code }
    }

    fn refusal(self) -> Option<Refusal> {
        match self {
            Ending::NotRegistered => Some(Refusal::CalleeNotRegistered),
            Ending::Busy => Some(Refusal::CalleeBusy),
            Ending::NoDataplane => Some(Refusal::NoDataplane),
            Ending::Declined => Some(Refusal::Declined),
            Ending::NoAnswer => Some(Refusal::NoAnswer),
            Ending::NoCommonMedia => Some(Refusal::MediaUnacceptable),
            Ending::MediaFailed(_) | Ending::DataplaneLost => Some(Refusal::MediaFailed),
            Ending::KeyFallen(_, refusal) => Some(refusal),
            Ending::ShutDown => Some(Refusal::ShuttingDown),
            Ending::Canceled | Ending::HungUp(_) | Ending::Gone(_) => None,
            Ending::LengthLimit | Ending::Operator | Ending::Interrupted => None,
        }
    }

    fn told(self, role: LegRole) -> Told {
        match self {
            Ending::HungUp(by) | Ending::Gone(by) if by == role => Told::Nothing,
            Ending::Canceled if role == LegRole::Caller => Told::Nothing,
            Ending::MediaFailed(at) | Ending::KeyFallen(at, _) if at != role => Told::Plainly,
            _ => self.refusal().map_or(Told::Plainly, Told::Error),
        }
    }

    /// What a leg's client hears; `None` when it knows, or never knew of the call.
    fn farewell(self, leg: &Leg) -> Option<ToClient> {
        let callsid = leg.known_sid().to_owned();
        match (self.told(leg.role), leg.role, leg.state) {
            (Told::Nothing, ..) | (_, LegRole::Callee, LegState::Opening) => None,
            (_, LegRole::Callee, LegState::Waiting) => Some(ToClient::Cancel { callsid, answered_elsewhere: false }),
            (Told::Plainly, ..) => {
                // Nobody pressed anything: its client would take it for the other party's doing.
                let reason = matches!(self, Ending::LengthLimit).then_some(self.reason());
                Some(ToClient::HangUp { callsid, refusal: None, reason })
            }
            (Told::Error(refusal), ..) => Some(ToClient::HangUp { callsid, refusal: Some(refusal), reason: None }),
        }
    }
}

/// Under which a leg can be found.
struct Names {
    leg: LegId,
    sid: String,
    client: ClientName,
    session: Option<SessionId>,
}

impl Names {
    fn of(leg: &Leg, account_sid: &str) -> Names {
        let client = ClientName::new(account_sid, &leg.identity);
        Names { leg: leg.id, sid: leg.sid.clone(), client, session: leg.session }
    }
}

impl Core {
    /// Ends a call, whatever state it is in; ending it again does nothing.
    pub(super) fn end_call(&mut self, turn: &mut Turn, key: CallKey, ending: Ending) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        if !call.advance(CallEvent::Ended) {
            return;
        }
        let farewells: Vec<_> = call.legs.iter().filter_map(|l| Some((l.session?, ending.farewell(l)?))).collect();
        let away = call.legs.iter().filter(|leg| leg.state == LegState::Away);
        let away: Vec<_> = away.map(|leg| (leg.sid.clone(), ending.told(leg.role))).collect();
        call.end = Some(ending.end(turn.now.unix_ms));
        turn.note(
            Level::Info,
            "call_ended",
            &[("call_sid", &call.sid), ("reason", &ending.reason()), ("by", &ending.by())],
        );
        *self.counters.calls_ended.entry(ending.reason()).or_default() += 1;
        for (session, farewell) in farewells {
            turn.send(session, &farewell);
        }
        for (sid, told) in away {
            self.tell_later(turn, sid, told.refusal());
        }
        self.close_legs(turn, key);
    }

    /// A client without a socket hears of the end when it asks for the call.
    pub(super) fn tell_later(&mut self, turn: &Turn, sid: String, refusal: Option<Refusal>) {
        let wait_s = self.config.reconnect_seconds_max.max(self.config.restart_grace_s);
        let now_ms = turn.now.monotonic_ms;
        self.departed.remember(sid, refusal, now_ms, now_ms + u64::from(wait_s) * 1000);
    }

    pub(super) fn end_call_of_leg(&mut self, turn: &mut Turn, leg: LegId, ending: impl Fn(LegRole) -> Ending) {
        let Some(key) = self.legs.get(&leg).copied() else { return };
        if let Some(role) = self.leg(leg).map(|leg| leg.role) {
            self.end_call(turn, key, ending(role));
        }
    }

    fn close_legs(&mut self, turn: &mut Turn, key: CallKey) {
        self.timers.cancel(Timer::Ring(key));
        self.timers.cancel(Timer::CallEnds(key));
        let Some(call) = self.calls.get_mut(&key) else { return };
        let account_sid = call.account_sid.clone();
        let mut legs = Vec::new();
        for leg in &mut call.legs {
            leg.advance(LegEvent::Closed);
            legs.push((Names::of(leg, &account_sid), leg.ordered));
            leg.session = None;
        }
        call.closing = legs.iter().filter(|(_, ordered)| *ordered).map(|(names, _)| names.leg).collect();
        if self.reports_are_due(key)
            && let Some(call) = self.calls.get(&key)
        {
            turn.effects.push(Effect::SaveCall(Box::new(call.to_live())));
        }
        for (names, ordered) in legs {
            let leg = names.leg;
            self.release(names);
            if ordered {
                let purpose = Purpose::Close { call: key, leg };
                self.orders.give(Command::CloseLeg { leg }, purpose, turn);
            }
        }
        self.write_record_if_complete(turn, key);
    }

    /// The names of a leg lose their meaning, its timers stop.
    fn release(&mut self, Names { leg, sid, client, session }: Names) {
        self.sids.remove(&sid);
        self.legs.remove(&leg);
        self.handshakes.remove(&leg);
        self.clients.remove_leg(&client, leg);
        self.timers.cancel(Timer::Reconnect(leg));
        self.timers.cancel(Timer::MediaGone(leg));
        self.timers.cancel(Timer::Offer(leg));
        if let Some(session) = session.and_then(|s| self.sessions.get_mut(&s)) {
            session.legs.remove(&leg);
        }
    }

    pub(super) fn leg_closed(&mut self, turn: &mut Turn, key: CallKey, leg: LegId, report: Option<LegReport>) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.closing.remove(&leg);
        if let (Some(leg), Some(report)) = (call.leg_mut(leg), report) {
            leg.report = Some(report);
        }
        self.write_record_if_complete(turn, key);
    }

    fn write_record_if_complete(&mut self, turn: &mut Turn, key: CallKey) {
        if !self.reports_are_due(key) {
            self.write_record(turn, key);
        } else if !self.timers.is_set(Timer::Reports(key)) {
            self.timers.set(Timer::Reports(key), turn.now.monotonic_ms + REPORTS_MS_MAX);
        }
    }

    fn reports_are_due(&self, key: CallKey) -> bool {
        self.orders.is_attached() && self.calls.get(&key).is_some_and(|call| !call.closing.is_empty())
    }

    /// Exactly once: the call is forgotten with it.
    pub(super) fn write_record(&mut self, turn: &mut Turn, key: CallKey) {
        self.timers.cancel(Timer::Reports(key));
        let Some(mut call) = self.calls.remove(&key) else { return };
        self.calls_answered -= usize::from(call.is_answered());
        let Some(end) = call.end.take() else { return };
        turn.effects.push(Effect::WriteRecord(Box::new(call.to_record(end))));
    }

    /// Takes a ringing instance out of its call. With the last one the call ends: declined if anybody declined, else
    /// as `otherwise` says.
    pub(super) fn drop_branch(&mut self, turn: &mut Turn, leg: LegId, otherwise: Option<Ending>) {
        let Some(key) = self.legs.get(&leg).copied() else { return };
        self.close_branch(turn, key, leg);
        let Some(call) = self.calls.get(&key) else { return };
        if call.branches().next().is_none() {
            let ending = if call.declined { Ending::Declined } else { otherwise.unwrap_or(Ending::NoAnswer) };
            self.end_call(turn, key, ending);
        } else {
            self.save(turn, key);
        }
    }

    /// Removes a branch without a word to its client.
    pub(super) fn close_branch(&mut self, turn: &mut Turn, key: CallKey, leg: LegId) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let Some(index) = call.legs.iter().position(|l| l.id == leg) else { return };
        let branch = call.legs.remove(index);
        let names = Names::of(&branch, &call.account_sid);
        self.release(names);
        if branch.ordered {
            self.orders.give(Command::CloseLeg { leg }, Purpose::Nothing, turn);
        }
    }

    /// As `close_branch`, and its client stops ringing.
    pub(super) fn cancel_branch(&mut self, turn: &mut Turn, key: CallKey, leg: LegId) {
        self.stop_ringing(turn, key, leg, true);
        self.close_branch(turn, key, leg);
    }

    /// As `drop_branch`, and its client stops ringing.
    pub(super) fn cancel_branch_and_go_on(&mut self, turn: &mut Turn, key: CallKey, leg: LegId) {
        self.stop_ringing(turn, key, leg, false);
        self.drop_branch(turn, leg, None);
    }

    fn stop_ringing(&mut self, turn: &mut Turn, key: CallKey, leg: LegId, answered_elsewhere: bool) {
        let branch = self.calls.get(&key).and_then(|call| call.leg(leg));
        if let Some((session, LegState::Waiting, callsid)) =
            branch.and_then(|b| Some((b.session?, b.state, b.sid.clone())))
        {
            turn.send(session, &ToClient::Cancel { callsid, answered_elsewhere });
        }
    }

    /// A leg's client has no socket any more.
    pub(super) fn leg_lost_socket(&mut self, turn: &mut Turn, leg: LegId) {
        let Some(key) = self.legs.get(&leg).copied() else { return };
        let Some(entry) = self.leg_mut(leg) else { return };
        entry.session = None;
        let (role, before, wait_ms) = (entry.role, entry.state, u64::from(entry.reconnect_seconds) * 1000);
        match before {
            LegState::Up if wait_ms > 0 => {
                entry.advance(LegEvent::SocketLost);
                self.timers.cancel(Timer::MediaGone(leg));
                self.timers.set(Timer::Reconnect(leg), turn.now.monotonic_ms + wait_ms);
                self.note_leg(turn, Level::Info, "leg_away", leg, &[("wait_ms", &wait_ms)]);
            }
            LegState::Opening | LegState::Waiting if role == LegRole::Caller => {
                self.end_call(turn, key, Ending::Canceled)
            }
            LegState::Opening | LegState::Waiting => self.drop_branch(turn, leg, None),
            _ => self.end_call(turn, key, Ending::Gone(role)),
        }
    }

    pub(super) fn end_all(&mut self, turn: &mut Turn, ending: Ending) {
        let keys: Vec<_> = self.calls.keys().copied().collect();
        for key in keys {
            self.end_call(turn, key, ending);
        }
    }

    /// Calls whose legs the dataplane has lost: nothing is left to close.
    pub(super) fn end_lost(&mut self, turn: &mut Turn, is_lost: impl Fn(&Call) -> bool) {
        let keys: Vec<_> = self.calls.values().filter(|call| is_lost(call)).map(|call| call.key).collect();
        for key in keys {
            if let Some(call) = self.calls.get_mut(&key) {
                call.legs.iter_mut().for_each(|leg| leg.ordered = false);
                call.closing.clear();
            }
            self.end_call(turn, key, Ending::DataplaneLost);
            // One that had ended already waits for reports that will not come.
            self.write_record(turn, key);
        }
    }
}
