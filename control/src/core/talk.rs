//! Within a call: digits, messages to the other party, declining, hanging up.

use super::Core;
use super::call::LegState;
use super::ending::Ending;
use super::input::SessionId;
use super::limits::{CONTENT_BYTES_MAX, NAME_BYTES_MAX};
use super::message::{Dtmf, Message, Named, ToClient};
use super::orders::Purpose;
use super::record::LegRole;
use super::refusal::Refusal;
use super::turn::Turn;
use crosspoint_contract::limits::DIGITS_MAX;
use crosspoint_contract::{Command, LegId};

impl Core {
    pub(super) fn hang_up(&mut self, turn: &mut Turn, session: SessionId, named: Named) {
        // A call that has ended already crossed this on the wire.
        let Some(leg) = self.resolve(session, &named.callsid) else { return };
        match self.leg(leg).map(|l| (l.role, l.state)) {
            Some((LegRole::Callee, LegState::Opening | LegState::Waiting)) => self.decline(turn, leg),
            Some((LegRole::Caller, LegState::Opening | LegState::Waiting | LegState::Joining)) => {
                self.end_call_of_leg(turn, leg, |_| Ending::Canceled);
            }
            _ => self.end_call_of_leg(turn, leg, Ending::HungUp),
        }
    }

    pub(super) fn reject(&mut self, turn: &mut Turn, session: SessionId, named: Named) {
        let Some(leg) = self.resolve(session, &named.callsid) else { return };
        if self.leg(leg).is_some_and(|l| l.role == LegRole::Callee && l.state == LegState::Waiting) {
            self.decline(turn, leg);
        }
    }

    /// One instance declines; the others ring on.
    fn decline(&mut self, turn: &mut Turn, leg: LegId) {
        let key = self.legs.get(&leg).copied();
        if let Some(call) = key.and_then(|key| self.calls.get_mut(&key)) {
            call.declined = true;
        }
        self.drop_branch(turn, leg, None);
    }

    pub(super) fn dtmf(&mut self, turn: &mut Turn, session: SessionId, dtmf: Dtmf) {
        match self.check_dtmf(session, &dtmf) {
            Ok(other) => {
                let command = Command::SendDigits { leg: other, digits: dtmf.dtmf };
                let purpose = Purpose::Digits { session, call_sid: dtmf.callsid };
                self.orders.give(command, purpose, turn);
            }
            Err(refusal) => self.refuse_in_call(turn, session, dtmf.callsid, refusal, None),
        }
    }

    fn check_dtmf(&self, session: SessionId, dtmf: &Dtmf) -> Result<LegId, Refusal> {
        let other = self.other_party(session, &dtmf.callsid)?;
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D' | b'w');
        if self.orders.is_full() {
            return Err(Refusal::DigitsUnsent);
        }
        let sane = !dtmf.dtmf.is_empty() && dtmf.dtmf.len() <= DIGITS_MAX && dtmf.dtmf.bytes().all(is_digit);
        if sane { Ok(other) } else { Err(Refusal::MessageMalformed) }
    }

    fn other_party(&self, session: SessionId, callsid: &str) -> Result<LegId, Refusal> {
        let leg = self.resolve(session, callsid).ok_or(Refusal::CallUnknown)?;
        let call = self.legs.get(&leg).and_then(|key| self.calls.get(key)).ok_or(Refusal::CallUnknown)?;
        call.other_leg(leg).map(|other| other.id).ok_or(Refusal::CallState)
    }

    /// The dataplane could not send digits.
    pub(super) fn digits_refused(&mut self, turn: &mut Turn, session: SessionId, call_sid: String) {
        self.refuse_in_call(turn, session, call_sid, Refusal::DigitsUnsent, None);
    }

    pub(super) fn message(&mut self, turn: &mut Turn, session: SessionId, message: Message) {
        let (callsid, voiceeventsid) = (message.callsid.clone(), message.voiceeventsid.clone());
        match self.pass_message(turn, session, message) {
            Ok(()) => turn.send(session, &ToClient::Ack { callsid, voiceeventsid }),
            Err(refusal) => self.refuse_in_call(turn, session, callsid, refusal, voiceeventsid),
        }
    }

    fn pass_message(&mut self, turn: &mut Turn, session: SessionId, mut message: Message) -> Result<(), Refusal> {
        let other = self.other_party(session, &message.callsid)?;
        let names = [&message.contenttype, &message.messagetype, &message.voiceeventsid];
        if names.into_iter().flatten().any(|name| name.len() > NAME_BYTES_MAX) {
            return Err(Refusal::ParameterTooLong);
        }
        if message.content.to_string().len() > CONTENT_BYTES_MAX {
            return Err(Refusal::ContentTooLarge);
        }
        let other = self.leg(other).ok_or(Refusal::CallUnknown)?;
        let receiver = other.session.ok_or(Refusal::OtherPartyAway)?;
        message.callsid.clone_from(&other.sid);
        turn.send(receiver, &ToClient::Message(message));
        Ok(())
    }

    fn refuse_in_call(
        &mut self,
        turn: &mut Turn,
        session: SessionId,
        callsid: String,
        refusal: Refusal,
        voiceeventsid: Option<String>,
    ) {
        self.count(refusal);
        turn.send(session, &ToClient::Error { refusal, callsid: Some(callsid), voiceeventsid });
    }
}
