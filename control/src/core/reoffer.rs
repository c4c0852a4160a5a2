//! A client describes its leg anew: it holds, restarts ICE, comes back, or comes back with another peer connection.
//!
//! | what differs | orders | then |
//! |---|---|---|
//! | nothing | none | `answer` with our side as it is |
//! | direction or codecs | `SetRemote` | `answer` |
//! | ICE credentials | `RestartIce`, `SetRemote` | `answer` with new credentials |
//! | certificate | `OpenLeg` for a replacement, `SetRemote`, `Bridge`, `CloseLeg` of the old | `answer` |
//!
//! The other leg is never touched, so its client notices nothing but a gap. A newer description overtakes an older
//! one that is still in work.

use super::Core;
use super::answer::role_against;
use super::call::{LegState, Reoffer};
use super::input::SessionId;
use super::message::{Described, ToClient};
use super::orders::Purpose;
use super::refusal::Refusal;
use super::sdp::{self, Description};
use super::timers::Timer;
use super::turn::Turn;
use crosspoint_contract::{BridgeId, Command, LegId, LocalDescription, TransportRequest};

impl Core {
    pub(super) fn reinvite(&mut self, turn: &mut Turn, session: SessionId, reinvite: Described) {
        let Some(leg) = self.resolve(session, &reinvite.callsid) else {
            return self.refuse_invite(turn, session, &reinvite.callsid, Refusal::CallUnknown);
        };
        let is_up = self.leg(leg).is_some_and(|l| matches!(l.state, LegState::Up | LegState::Away));
        let described = if is_up { self.read_sdp(&reinvite.sdp) } else { Err(Refusal::CallState) };
        match described {
            Ok(description) => self.redescribe(turn, leg, description, reinvite.sdp),
            Err(refusal) => self.refuse_reoffer(turn, session, &reinvite.callsid, refusal),
        }
    }

    /// The call goes on as it was.
    fn refuse_reoffer(&mut self, turn: &mut Turn, session: SessionId, callsid: &str, refusal: Refusal) {
        self.count(refusal);
        turn.send(session, &ToClient::Error { refusal, callsid: Some(callsid.to_owned()), voiceeventsid: None });
    }

    pub(super) fn redescribe(&mut self, turn: &mut Turn, leg: LegId, description: Description, sdp: String) {
        let serial = self.draw();
        let replacement = LegId(self.draw());
        let Some(key) = self.legs.get(&leg).copied() else { return };
        let Some(entry) = self.leg_mut(leg) else { return };
        let Some(remote) = entry.remote.clone() else { return };
        if remote == description {
            entry.reoffer = None;
            self.send_answer(turn, leg);
            return self.save(turn, key);
        }
        let Some(agreed) = sdp::agree_again(&description, &entry.agreed) else {
            let told = entry.session.map(|session| (session, entry.sid.clone()));
            if let Some((session, sid)) = told {
                self.refuse_reoffer(turn, session, &sid, Refusal::MediaUnacceptable);
            }
            return;
        };
        let restart = entry.ice_restarts + 1;
        let (new_peer, new_ice) = (remote.fingerprint != description.fingerprint, remote.ice != description.ice);
        entry.reoffer = Some(Reoffer { serial, description, sdp, agreed });
        if new_peer {
            self.timers.cancel(Timer::MediaGone(leg));
            let transport = TransportRequest::WebRtc;
            let command = Command::OpenLeg { leg: replacement, call: key, transport };
            self.orders.give(command, Purpose::Replace { leg, replacement, serial }, turn.effects);
        } else if new_ice {
            let command = Command::RestartIce { leg, restart };
            self.orders.give(command, Purpose::Restart { leg, serial }, turn.effects);
        } else {
            self.set_remote_anew(turn, leg, serial);
        }
    }

    /// We have new local credentials for the leg.
    pub(super) fn restarted(&mut self, turn: &mut Turn, leg: LegId, serial: u64, local: LocalDescription) {
        let Some(entry) = self.leg_mut(leg) else { return };
        // Also when overtaken: the dataplane has drawn them, and numbers restarts.
        entry.ice_restarts += 1;
        entry.local = Some(local);
        self.set_remote_anew(turn, leg, serial);
    }

    fn set_remote_anew(&mut self, turn: &mut Turn, leg: LegId, serial: u64) {
        let Some(command) = self.remote_of_reoffer(leg, serial) else { return };
        self.orders.give(command, Purpose::Reoffer { leg, serial }, turn.effects);
    }

    fn remote_of_reoffer(&self, leg: LegId, serial: u64) -> Option<Command> {
        let entry = self.leg(leg)?;
        let reoffer = entry.reoffer.as_ref().filter(|r| r.serial == serial)?;
        Some(Command::SetRemote { leg, remote: reoffer.description.to_remote(&reoffer.agreed, entry.dtls_role) })
    }

    /// The replacement exists: it takes the leg's place in the bridge, and its name here.
    pub(super) fn replaced(
        &mut self,
        turn: &mut Turn,
        leg: LegId,
        replacement: LegId,
        serial: u64,
        local: LocalDescription,
    ) {
        let bridge = BridgeId(self.draw());
        let key = self.legs.get(&leg).copied();
        let other = key.and_then(|key| self.calls.get(&key)?.other_leg(leg).map(|o| o.id));
        let current = self.leg(leg).is_some_and(|l| l.reoffer.as_ref().is_some_and(|r| r.serial == serial));
        let (Some(key), Some(other), true) = (key, other, current) else {
            self.orders.give(Command::CloseLeg { leg: replacement }, Purpose::Nothing, turn.effects);
            return;
        };
        self.rename_leg(key, leg, replacement, bridge);
        if let Some(entry) = self.leg_mut(replacement) {
            entry.local = Some(local);
            entry.connected = false;
            entry.ice_restarts = 0;
            entry.dtls_role = entry.reoffer.as_ref().map_or(entry.dtls_role, |r| role_against(&r.description));
        }
        if let Some(command) = self.remote_of_reoffer(replacement, serial) {
            self.orders.give(command, Purpose::Nothing, turn.effects);
        }
        let command = Command::Bridge { bridge, legs: [replacement, other] };
        self.orders.give(command, Purpose::Reoffer { leg: replacement, serial }, turn.effects);
        self.orders.give(Command::CloseLeg { leg }, Purpose::Nothing, turn.effects);
        self.save(turn, key);
    }

    fn rename_leg(&mut self, key: crosspoint_contract::CallKey, leg: LegId, replacement: LegId, bridge: BridgeId) {
        self.legs.remove(&leg);
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.bridge = bridge;
        let Some(entry) = call.leg_mut(leg) else { return };
        entry.id = replacement;
        let session = entry.session.and_then(|session| self.sessions.get_mut(&session));
        if let Some(session) = session {
            session.legs.remove(&leg);
        }
        self.reindex(key);
    }

    /// The dataplane knows the new description: the client gets its answer.
    pub(super) fn reoffered(&mut self, turn: &mut Turn, leg: LegId, serial: u64) {
        let Some(key) = self.legs.get(&leg).copied() else { return };
        let Some(entry) = self.leg_mut(leg) else { return };
        let Some(reoffer) = entry.reoffer.take_if(|r| r.serial == serial) else { return };
        entry.remote = Some(reoffer.description);
        entry.remote_sdp = reoffer.sdp;
        entry.agreed = reoffer.agreed;
        self.send_answer(turn, leg);
        self.save(turn, key);
    }

    /// The dataplane refused a part of it.
    pub(super) fn reoffer_failed(&mut self, turn: &mut Turn, leg: LegId, serial: u64) {
        let Some(entry) = self.leg_mut(leg) else { return };
        if entry.reoffer.take_if(|r| r.serial == serial).is_none() {
            return;
        }
        if let Some((session, sid)) = entry.session.map(|session| (session, entry.sid.clone())) {
            self.refuse_reoffer(turn, session, &sid, Refusal::MediaFailed);
        }
    }
}
