//! Sealed tokens at work: a client comes back to its call, or answers a held one, from the token alone.
//!
//! ```text
//!   invite {reconnect: TOKEN, sdp} ──open──▶ whose? ──leg rings──▶ answered, the client being the offerer
//!                                               └────leg is up───▶ the leg moves to this session, then a re-offer
//! ```

use super::Core;
use super::answer::role_against;
use super::call::{LegEvent, LegState, Redescription};
use super::effect::Level;
use super::input::SessionId;
use super::message::{Invite, ToClient};
use super::refusal::Refusal;
use super::sdp::Description;
use super::timers::Timer;
use super::turn::Turn;
use crosspoint_contract::LegId;

/// Why nothing is resumed.
enum Denied {
    Refused(Refusal),
    /// The call ended while its client had no socket; with this error, if it was one.
    Ended(Option<Refusal>),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Denied {
        Denied::Refused(refusal)
    }
}

impl Core {
    pub(super) fn resume(&mut self, turn: &mut Turn, session: SessionId, invite: Invite) {
        match self.check_resume(turn, session, &invite) {
            Ok((leg, description)) if self.is_ringing(leg) => {
                let role = role_against(&description);
                self.move_leg(turn, leg, session);
                if let Some(entry) = self.leg_mut(leg) {
                    entry.awaits_answer = true;
                }
                self.answered(turn, leg, description, invite.sdp, role);
            }
            Ok((leg, description)) => {
                self.counters.calls_resumed += 1;
                self.note_leg(turn, Level::Info, "leg_resumed", leg, &[]);
                self.move_leg(turn, leg, session);
                self.redescribe(turn, leg, description, invite.sdp, Redescription::Resumption);
            }
            Err(Denied::Refused(refusal)) => self.refuse_invite(turn, session, &invite.callsid, refusal),
            Err(Denied::Ended(refusal)) => {
                turn.send(session, &ToClient::HangUp { callsid: invite.callsid, refusal, reason: None });
            }
        }
    }

    fn check_resume(&self, turn: &Turn, session: SessionId, invite: &Invite) -> Result<(LegId, Description), Denied> {
        let grant = self.sessions.get(&session).ok_or(Refusal::NotListening)?.grant()?;
        let text = invite.reconnect.as_deref().ok_or(Refusal::BridgeTokenInvalid)?;
        let token = self.sealer.open(text, turn.now.unix_ms)?;
        // A token that leaked is worth nothing to another client.
        if (&token.identity, &token.account_sid) != (&grant.identity, &grant.account_sid) {
            return Err(Refusal::BridgeTokenForeign.into());
        }
        if token.node != self.config.node {
            return Err(Refusal::BridgeTokenOtherNode.into());
        }
        let Some(leg) = self.sids.get(&token.call_sid).copied() else {
            let ended = self.departed.recall(&token.call_sid, turn.now.monotonic_ms);
            return Err(ended.map_or(Denied::Refused(Refusal::CallUnknown), Denied::Ended));
        };
        let state = self.leg(leg).map(|leg| leg.state);
        let answers = self.is_ringing(leg);
        if answers {
            self.check_answer(grant)?;
        }
        if !answers && !matches!(state, Some(LegState::Up | LegState::Away)) {
            return Err(Refusal::CallState.into());
        }
        Ok((leg, self.read_sdp(&invite.sdp)?))
    }

    /// From now on this session speaks for the leg.
    fn move_leg(&mut self, turn: &mut Turn, leg: LegId, session: SessionId) {
        let Some(entry) = self.leg_mut(leg) else { return };
        let earlier = entry.session.replace(session).filter(|earlier| *earlier != session);
        let (rings, callsid) = (entry.state == LegState::Waiting, entry.sid.clone());
        entry.advance(LegEvent::SocketBack);
        self.timers.cancel(Timer::Reconnect(leg));
        if let Some(earlier) = earlier {
            self.disown(turn, earlier, leg, rings, callsid);
        }
        let Some(owner) = self.sessions.get_mut(&session) else { return };
        owner.legs.insert(leg);
        let (instance, reconnect_seconds) = (owner.instance.clone(), owner.reconnect_seconds);
        let takes_offers = owner.takes_offers;
        let key_sid = owner.bearer().map(|g| g.key_sid.clone()).unwrap_or_default();
        if let Some(entry) = self.leg_mut(leg) {
            (entry.instance, entry.reconnect_seconds, entry.key_sid) = (instance, reconnect_seconds, key_sid);
            entry.directions.takes_offers = takes_offers;
            entry.directions.offer_void();
        }
    }

    /// Another socket of the client has taken the leg: the one that had it, if it still listens, stops.
    fn disown(&mut self, turn: &mut Turn, earlier: SessionId, leg: LegId, rings: bool, callsid: String) {
        if let Some(entry) = self.sessions.get_mut(&earlier) {
            entry.legs.remove(&leg);
        }
        let farewell = if rings {
            ToClient::Cancel { callsid, answered_elsewhere: false }
        } else {
            ToClient::HangUp { callsid, refusal: None, reason: None }
        };
        turn.send(earlier, &farewell);
    }
}
