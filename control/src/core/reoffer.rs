//! A client describes its leg anew: it holds, restarts ICE, comes back, or comes back with another peer connection.
//!
//! | what differs | orders | then |
//! |---|---|---|
//! | nothing | none | `answer` with our side as it is |
//! | directions or codecs | `SetRemote` | `answer`; `reinvite` to the other party, if it takes one |
//! | ICE credentials | `RestartIce`, `SetRemote` | `answer` with new credentials |
//! | certificate | `OpenLeg` for a replacement, `SetRemote`, `Bridge`, `CloseLeg` of the old | `answer` |
//!
//! The other leg's media is never touched: its client notices nothing but a gap, and a direction that changes is what a
//! `reinvite` of ours tells it (`directions`). A newer description overtakes an older one that is still in work.
//!
//! One offer of ours is open at a time. It is completed by the answer, void when the client offers itself, and overdue
//! after `OFFER_ANSWER_MS_MAX`: then what has changed since is offered, and only that offer may still be answered. A
//! call never ends for want of an answer. A description that the dataplane refuses is replaced by the last it took.

use super::Core;
use super::answer::role_against;
use super::call::{LegState, Redescription, Reoffer, Replacement};
use super::clients::ClientName;
use super::input::SessionId;
use super::limits::OFFER_ANSWER_MS_MAX;
use super::message::{Described, ToClient};
use super::orders::Purpose;
use super::refusal::Refusal;
use super::sdp::{self, Agreed, Description, Ours, Setup};
use super::timers::Timer;
use super::turn::Turn;
use crosspoint_contract::{BridgeId, CallKey, Command, Directions, LegId, LocalDescription, TransportRequest};

impl Core {
    pub(super) fn reinvite(&mut self, turn: &mut Turn, session: SessionId, reinvite: Described) {
        let Described { callsid, sdp, offer } = reinvite;
        let Some(leg) = self.resolve(session, &callsid) else {
            return self.refuse_invite(turn, session, &callsid, Refusal::CallUnknown);
        };
        // A client that is away comes back with its token first.
        let may_offer = self.leg(leg).is_some_and(|entry| entry.session == Some(session) && entry.client_may_offer());
        match if may_offer { self.read_sdp(&sdp) } else { Err(Refusal::CallState) } {
            Ok(description) => self.redescribe(turn, leg, description, sdp, Redescription::Offer(offer)),
            Err(refusal) => {
                self.refuse_reoffer(turn, session, &callsid, refusal, offer);
                self.own_offer_crossed(leg);
                self.offer_news(turn, leg);
            }
        }
    }

    /// The call goes on as it was.
    fn refuse_reoffer(
        &mut self,
        turn: &mut Turn,
        session: SessionId,
        callsid: &str,
        refusal: Refusal,
        offer: Option<u64>,
    ) {
        self.count(refusal);
        turn.send(session, &ToClient::Refused { refusal, callsid: callsid.to_owned(), offer });
    }

    /// RFC 3264 §4: whoever has an offer outstanding rejects one that arrives. The client does so without a word, so ours
    /// is void as soon as one of its own is here.
    fn own_offer_crossed(&mut self, leg: LegId) {
        if let Some(entry) = self.leg_mut(leg) {
            entry.directions.offer_void();
        }
    }

    pub(super) fn redescribe(
        &mut self,
        turn: &mut Turn,
        leg: LegId,
        description: Description,
        sdp: String,
        is: Redescription,
    ) {
        self.own_offer_crossed(leg);
        let (serial, is_full) = (self.draw(), self.orders.is_full());
        let Some(entry) = self.leg_mut(leg) else { return };
        // While another description is in work, the dataplane may know that already.
        if entry.reoffer.is_none() && entry.remote.as_ref() == Some(&description) {
            return self.answer_unchanged(turn, leg, is);
        }
        let agreed = sdp::agree_again(&description, &entry.agreed).ok_or(Refusal::MediaUnacceptable);
        match agreed.and_then(|agreed| if is_full { Err(Refusal::Overloaded) } else { Ok(agreed) }) {
            Ok(agreed) => {
                let reoffer = Reoffer { serial, description, sdp, agreed, is, replacement: None };
                self.take_reoffer(turn, leg, reoffer);
            }
            Err(refusal) => {
                self.refuse_redescription(turn, leg, is, refusal);
                self.offer_news(turn, leg);
            }
        }
    }

    fn refuse_redescription(&mut self, turn: &mut Turn, leg: LegId, is: Redescription, refusal: Refusal) {
        self.await_media(turn, leg);
        let told = self.leg(leg).and_then(|entry| Some((entry.session?, entry.sid.clone())));
        let number = if let Redescription::Offer(number) = is { number } else { None };
        if let Some((session, sid)) = told {
            self.refuse_reoffer(turn, session, &sid, refusal, number);
        }
    }

    /// Nothing is new to the dataplane. What was an answer when it came first is none the less not all that its client wants.
    fn answer_unchanged(&mut self, turn: &mut Turn, leg: LegId, is: Redescription) {
        self.await_media(turn, leg);
        let Some(key) = self.legs.get(&leg).copied() else { return };
        let Some(entry) = self.leg_mut(leg) else { return };
        match is {
            Redescription::Resumption => {
                let told = entry.directions.told();
                self.answer_resumption(turn, leg, told);
            }
            is => {
                let words = entry.remote.as_ref().map(Description::directions).unwrap_or_default();
                entry.directions.client_offered(words);
                self.answer_offer(turn, leg, is);
            }
        }
        self.save(turn, key);
        self.offer_news_to_both(turn, leg);
    }

    fn answer_offer(&mut self, turn: &mut Turn, leg: LegId, is: Redescription) {
        if let (Some(entry), Redescription::Offer(number)) = (self.leg_mut(leg), is) {
            entry.offer_number = number;
        }
        self.send_answer(turn, leg);
    }

    /// A client whose last exchange is complete has no use for the description in our answer: it still knows what it
    /// knew, and hears of what has changed by an offer.
    fn answer_resumption(&mut self, turn: &mut Turn, leg: LegId, told: Directions) {
        self.send_answer(turn, leg);
        if let Some(entry) = self.leg_mut(leg).filter(|entry| entry.directions.takes_offers) {
            entry.directions.we_said(told);
        }
    }

    fn take_reoffer(&mut self, turn: &mut Turn, leg: LegId, reoffer: Reoffer) {
        let (serial, replacement) = (reoffer.serial, self.draw_leg());
        let Some(key) = self.legs.get(&leg).copied() else { return };
        let Some(entry) = self.leg_mut(leg) else { return };
        let restart = entry.ice_restarts + 1;
        let known = entry.remote.as_ref();
        let is_new_peer = known.is_none_or(|known| known.fingerprint != reoffer.description.fingerprint);
        let is_new_ice = known.is_none_or(|known| known.ice != reoffer.description.ice);
        entry.reoffer = Some(reoffer);
        if is_new_peer {
            self.timers.cancel(Timer::MediaGone(leg));
            let transport = TransportRequest::WebRtc;
            let command = Command::OpenLeg { leg: replacement, call: key, transport };
            self.orders.give(command, Purpose::Replace { leg, replacement, serial }, turn);
        } else if is_new_ice {
            let command = Command::RestartIce { leg, restart };
            self.orders.give(command, Purpose::Restart { leg, serial }, turn);
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
        self.orders.give(command, Purpose::Reoffer { leg, serial }, turn);
    }

    fn remote_of_reoffer(&self, leg: LegId, serial: u64) -> Option<Command> {
        let entry = self.leg(leg)?;
        let reoffer = entry.reoffer.as_ref().filter(|r| r.serial == serial)?;
        Some(Command::SetRemote { leg, remote: reoffer.description.to_remote(&reoffer.agreed, entry.dtls_role) })
    }

    pub(super) fn is_in_work(&self, leg: LegId, serial: u64) -> bool {
        self.leg(leg).and_then(|entry| entry.reoffer.as_ref()).is_some_and(|reoffer| reoffer.serial == serial)
    }

    fn reoffer_mut(&mut self, leg: LegId, serial: u64) -> Option<&mut Reoffer> {
        self.leg_mut(leg)?.reoffer.as_mut().filter(|reoffer| reoffer.serial == serial)
    }

    /// The replacement exists: it learns of its peer.
    pub(super) fn replacement_opened(
        &mut self,
        turn: &mut Turn,
        leg: LegId,
        replacement: LegId,
        serial: u64,
        local: LocalDescription,
    ) {
        let bridge = BridgeId(self.draw());
        let Some(reoffer) = self.reoffer_mut(leg, serial) else {
            return self.abandon_replacement(turn, leg, replacement);
        };
        let dtls_role = role_against(&reoffer.description);
        reoffer.replacement = Some(Replacement { local, dtls_role, bridge, joined_with: None });
        let remote = reoffer.description.to_remote(&reoffer.agreed, dtls_role);
        let command = Command::SetRemote { leg: replacement, remote };
        self.orders.give(command, Purpose::Replace { leg, replacement, serial }, turn);
    }

    /// It knows its peer, or is joined with the other leg: next it is joined, or takes the leg's name.
    pub(super) fn replacement_advanced(&mut self, turn: &mut Turn, leg: LegId, replacement: LegId, serial: u64) {
        let other = self.other_of(leg);
        let made = self.reoffer_mut(leg, serial).and_then(|reoffer| reoffer.replacement.as_mut());
        let (Some(made), Some(other)) = (made, other) else {
            return self.abandon_replacement(turn, leg, replacement);
        };
        // The other leg may have been replaced meanwhile; then it is joined anew.
        if made.joined_with.replace(other) == Some(other) {
            return self.replace_leg(turn, leg, replacement, serial);
        }
        let command = Command::Bridge { bridge: made.bridge, legs: [replacement, other] };
        self.orders.give(command, Purpose::Replace { leg, replacement, serial }, turn);
    }

    fn replace_leg(&mut self, turn: &mut Turn, leg: LegId, replacement: LegId, serial: u64) {
        let made = self.reoffer_mut(leg, serial).and_then(|reoffer| reoffer.replacement.take());
        let (Some(key), Some(made)) = (self.legs.get(&leg).copied(), made) else { return };
        self.rename_leg(key, leg, replacement, made.bridge);
        if let Some(entry) = self.leg_mut(replacement) {
            entry.local = Some(made.local);
            entry.dtls_role = made.dtls_role;
            entry.ice_restarts = 0;
            entry.media_gone = false;
        }
        self.set_connected(replacement, false);
        self.orders.give(Command::CloseLeg { leg }, Purpose::Nothing, turn);
        self.reoffered(turn, replacement, serial);
    }

    fn rename_leg(&mut self, key: CallKey, leg: LegId, replacement: LegId, bridge: BridgeId) {
        self.legs.remove(&leg);
        self.handshakes.remove(&leg);
        self.timers.cancel(Timer::MediaGone(leg));
        self.timers.rename(Timer::Reconnect(leg), Timer::Reconnect(replacement));
        // The client's offer has made ours void.
        self.timers.cancel(Timer::Offer(leg));
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.bridge = bridge;
        let Some(entry) = call.leg_mut(leg) else { return };
        entry.id = replacement;
        let identity = entry.identity.clone();
        if let Some(session) = entry.session.and_then(|session| self.sessions.get_mut(&session)) {
            session.legs.remove(&leg);
        }
        self.clients.remove_leg(&ClientName::new(&call.account_sid, &identity), leg);
        self.reindex(key);
    }

    /// A replacement that was overtaken, refused, or whose call ended: the leg stays, or takes its place again.
    pub(super) fn abandon_replacement(&mut self, turn: &mut Turn, leg: LegId, replacement: LegId) {
        self.orders.give(Command::CloseLeg { leg: replacement }, Purpose::Nothing, turn);
        let call = self.legs.get(&leg).and_then(|key| self.calls.get(key));
        if let Some((bridge, other)) = call.and_then(|call| Some((call.bridge, call.other_leg(leg)?.id))) {
            self.orders.give(Command::Bridge { bridge, legs: [leg, other] }, Purpose::Nothing, turn);
        }
    }

    fn other_of(&self, leg: LegId) -> Option<LegId> {
        let call = self.calls.get(self.legs.get(&leg)?)?;
        call.other_leg(leg).map(|other| other.id)
    }

    /// The dataplane knows the new description: the client gets its answer.
    pub(super) fn reoffered(&mut self, turn: &mut Turn, leg: LegId, serial: u64) {
        let Some(key) = self.legs.get(&leg).copied() else { return };
        let Some(entry) = self.leg_mut(leg) else { return };
        let Some(reoffer) = entry.reoffer.take_if(|r| r.serial == serial) else { return };
        let words = reoffer.description.directions();
        let is_same_peer =
            entry.remote.as_ref().is_some_and(|known| known.fingerprint == reoffer.description.fingerprint);
        let is_answer = is_same_peer && reoffer.description.setup != Setup::ActPass;
        entry.remote = Some(reoffer.description);
        entry.remote_sdp = reoffer.sdp;
        entry.agreed = reoffer.agreed;
        match reoffer.is {
            Redescription::Answer(offer) => entry.directions.client_answered(offer, words),
            // Its answer was lost with its socket, and comes now.
            Redescription::Resumption if is_answer => {
                let told = Directions::from_fn(|medium| sdp::mirrored(*words.of(medium)));
                self.answer_resumption(turn, leg, told);
            }
            Redescription::Offer(_) | Redescription::Resumption => {
                entry.directions.client_offered(words);
                self.answer_offer(turn, leg, reoffer.is);
            }
            Redescription::PutBack => {}
        }
        self.save(turn, key);
        self.offer_news_to_both(turn, leg);
    }

    /// An exchange with one party may be news to either.
    fn offer_news_to_both(&mut self, turn: &mut Turn, leg: LegId) {
        self.offer_news(turn, leg);
        if let Some(other) = self.other_of(leg) {
            self.offer_news(turn, other);
        }
    }

    pub(super) fn our_directions(&self, leg: LegId) -> Directions {
        let call = self.legs.get(&leg).and_then(|key| self.calls.get(key));
        call.map(|call| call.our_directions(leg)).unwrap_or_default()
    }

    /// Whether its client may have an offer of ours to answer.
    pub(super) fn takes_offers(&self, leg: LegId) -> bool {
        self.leg(leg).is_some_and(|entry| entry.state == LegState::Up && entry.directions.takes_offers)
    }

    /// Offers a leg's client what the other party now does and wants, if it was told otherwise. While an exchange is in
    /// progress it waits: whatever completes that asks again.
    pub(super) fn offer_news(&mut self, turn: &mut Turn, leg: LegId) {
        let directions = self.our_directions(leg);
        if !self.takes_offers(leg) {
            return;
        }
        let Some(entry) = self.leg_mut(leg).filter(|entry| entry.reoffer.is_none() && !entry.awaits_answer) else {
            return;
        };
        let (Some(news), Some(session)) = (entry.directions.news(directions), entry.session) else { return };
        let (Some(local), Some(remote)) = (entry.local.as_ref(), entry.remote.as_ref()) else { return };
        entry.sdp_version += 1;
        let ours = Ours { local, session_id: entry.session_id(), version: entry.sdp_version };
        entry.local_sdp = sdp::write_offer_again(ours, remote, &entry.agreed, news);
        let (callsid, sdp, offer) = (entry.sid.clone(), entry.local_sdp.clone(), entry.sdp_version);
        entry.directions.we_offered(offer, news);
        turn.send(session, &ToClient::Reinvite { callsid, sdp, offer });
        self.timers.set(Timer::Offer(leg), turn.now.monotonic_ms + OFFER_ANSWER_MS_MAX);
    }

    /// Our offer has waited its time. The call goes on as it is; what has changed meanwhile is offered instead.
    pub(super) fn offer_overdue(&mut self, turn: &mut Turn, leg: LegId) {
        let Some(entry) = self.leg_mut(leg) else { return };
        entry.directions.offer_overdue();
        self.offer_news(turn, leg);
    }

    /// A client's answer to an offer of ours.
    pub(super) fn offer_answered(&mut self, turn: &mut Turn, session: SessionId, leg: LegId, answer: Described) {
        let described = self.read_sdp(&answer.sdp);
        let serial = self.draw();
        let Some(entry) = self.leg_mut(leg) else { return };
        // It crossed an offer of the client's, which has been answered instead; or another offer of ours has followed.
        let Some(offer) = entry.directions.take_answered(answer.offer) else {
            return self.refuse_reoffer(turn, session, &answer.callsid, Refusal::CallState, None);
        };
        match described.and_then(|description| accepted(description, entry.remote.as_ref(), &entry.agreed)) {
            Ok((description, agreed)) => {
                let (sdp, is) = (answer.sdp, Redescription::Answer(offer));
                entry.reoffer = Some(Reoffer { serial, description, sdp, agreed, is, replacement: None });
                self.set_remote_anew(turn, leg, serial);
            }
            Err(refusal) => {
                entry.directions.client_answered_unusably(offer);
                self.refuse_reoffer(turn, session, &answer.callsid, refusal, None);
                self.offer_news(turn, leg);
            }
        }
    }

    /// The dataplane refused a part of it.
    pub(super) fn reoffer_failed(&mut self, turn: &mut Turn, leg: LegId, serial: u64) {
        let Some(entry) = self.leg_mut(leg) else { return };
        let Some(failed) = entry.reoffer.take_if(|r| r.serial == serial) else { return };
        match failed.is {
            Redescription::Offer(_) | Redescription::Resumption => {}
            // For its client the exchange is complete.
            Redescription::Answer(offer) => entry.directions.client_answered(offer, failed.description.directions()),
            Redescription::PutBack => return self.offer_news_to_both(turn, leg),
        }
        self.refuse_redescription(turn, leg, failed.is, Refusal::MediaFailed);
        self.put_back(turn, leg);
    }

    /// The dataplane may know a description that the failed one overtook, so it is told again what was taken last.
    fn put_back(&mut self, turn: &mut Turn, leg: LegId) {
        let serial = self.draw();
        let Some(entry) = self.leg_mut(leg) else { return };
        let Some(description) = entry.remote.clone() else { return };
        let (sdp, agreed) = (entry.remote_sdp.clone(), entry.agreed.clone());
        entry.reoffer =
            Some(Reoffer { serial, description, sdp, agreed, is: Redescription::PutBack, replacement: None });
        self.set_remote_anew(turn, leg, serial);
    }
}

/// An answer to an offer with nothing new but directions has nothing else new either.
fn accepted(
    answer: Description,
    known: Option<&Description>,
    agreed: &Agreed,
) -> Result<(Description, Agreed), Refusal> {
    let is_same_peer = known.is_some_and(|known| known.same_transport(&answer));
    let agreed = sdp::agree_again(&answer, agreed).filter(|_| is_same_peer).ok_or(Refusal::MediaUnacceptable)?;
    Ok((answer, agreed))
}
