//! `offer` and `answer`: a description comes in, the same with us in its place goes out. How replies with descriptions of ours
//! are written, [`super::one_way`]'s too.
//!
//! Input: the options with the SDP. Output: orders, and a [`Setup`] from which the reply is written when the dataplane has
//! taken them: a port that somebody else has turns out then, and another takes its place.

use super::call_id;
use crate::call::{Call, Kit};
use crate::core::{NgCore, Outcome};
use crate::dictionary::Dict;
use crate::effect::{Peer, Turn};
use crate::error::NgError;
use crate::identity::{self, Dialogue};
use crate::negotiate;
use crate::options::Options;
use crate::party::PartyId;
use crate::plan::{self, Kind};
use crate::remote;
use crate::reply::Reply;
use crate::request::Request;
use crate::sdp::{self, Pointing, SdpError, SessionDescription};
use crosspoint_contract::CallKey;
use std::sync::Arc;

/// A description of ours whose legs are being opened.
pub(crate) struct Setup {
    pub key: CallKey,
    pub dialogue: Dialogue,
    pub description: SessionDescription,
    pub request: Arc<Request>,
    pub kind: Kind,
    /// Its call began with it.
    pub is_new: bool,
    /// What the reply says beside it.
    pub beside: Dict,
}

impl NgCore {
    pub(super) fn offer(&mut self, peer: &Peer, request: &Arc<Request>, turn: &mut Turn) -> Result<Outcome, NgError> {
        let options = &request.options;
        let id = call_id(options)?;
        options.from_tag.as_deref().ok_or(NgError::NoFromTag)?;
        if options.fragment {
            return self.take_fragment(id, options.from_tag.as_deref(), true, options, turn);
        }
        let mut description = read(options)?;
        if options.loop_protect && self.is_loop(&description) {
            return Ok(Outcome::Reply(Reply::sdp(options.sdp.as_deref().unwrap_or_default())));
        }
        self.check_addresses(&mut description, Some(id), options)?;
        let is_new = self.call_by_id(id).is_none();
        let key = self.call_or_new(id, peer, turn)?;
        let dialogue = self.negotiate(key, &mut description, options, Kind::Offer, turn);
        if is_new && dialogue.is_err() {
            // An offer that failed leaves no call behind.
            self.remove(key, turn);
        }
        let (request, kind) = (Arc::clone(request), Kind::Offer);
        let (dialogue, beside) = (dialogue?, Dict::new());
        Ok(Outcome::Setup(Box::new(Setup { key, dialogue, description, request, kind, is_new, beside })))
    }

    pub(super) fn answer_offer(&mut self, request: &Arc<Request>, turn: &mut Turn) -> Result<Outcome, NgError> {
        let options = &request.options;
        let id = call_id(options)?;
        options.from_tag.as_deref().ok_or(NgError::NoFromTag)?;
        options.to_tag.as_deref().ok_or(NgError::NoToTag)?;
        if options.fragment {
            return self.take_fragment(id, options.to_tag.as_deref(), false, options, turn);
        }
        let mut description = read(options)?;
        let key = self.call_by_id(id).ok_or(NgError::UnknownCallId)?;
        if options.loop_protect && self.is_loop(&description) {
            return Ok(Outcome::Reply(Reply::sdp(options.sdp.as_deref().unwrap_or_default())));
        }
        self.check_addresses(&mut description, Some(id), options)?;
        let dialogue = self.negotiate(key, &mut description, options, Kind::Answer, turn)?;
        let (request, kind) = (Arc::clone(request), Kind::Answer);
        let (is_new, beside) = (false, Dict::new());
        Ok(Outcome::Setup(Box::new(Setup { key, dialogue, description, request, kind, is_new, beside })))
    }

    /// RFC 8840 §4.4: further candidates of a party. They may overtake its description, even the one that begins the call.
    fn take_fragment(
        &mut self,
        id: &str,
        tag: Option<&str>,
        may_be_first: bool,
        options: &Options,
        turn: &mut Turn,
    ) -> Result<Outcome, NgError> {
        let text = options.sdp.as_deref().ok_or(NgError::NoSdp)?;
        let fragment = sdp::read_fragment(text).map_err(of_sdp)?;
        let key = self.call_by_id(id);
        if key.is_none() && !may_be_first {
            return Err(NgError::UnknownCallId);
        }
        let tag = tag.unwrap_or_default();
        let (mut kit, calls) = self.kit();
        let call = key.and_then(|key| calls.get_mut(&key));
        let known = call.and_then(|call| {
            let party = call.party_by_tag(tag)?;
            (!call.parties[party].media.is_empty()).then_some((call, party))
        });
        match known {
            Some((call, party)) => trickle(call, party, &fragment, &mut kit, turn),
            None => self.fragments.keep(id, tag, text, turn.now.monotonic_ms),
        }
        Ok(Outcome::Reply(Reply::ok(Dict::new())))
    }

    fn negotiate(
        &mut self,
        key: CallKey,
        description: &mut SessionDescription,
        options: &Options,
        kind: Kind,
        turn: &mut Turn,
    ) -> Result<Dialogue, NgError> {
        let now_us = turn.now.unix_us;
        let tag = if kind == Kind::Offer { &options.from_tag } else { &options.to_tag };
        let call_id = options.call_id.as_deref().unwrap_or_default();
        let early = self.fragments.take(call_id, tag.as_deref().unwrap_or_default(), turn.now.monotonic_ms);
        let (mut kit, calls) = self.kit();
        let call = calls.get_mut(&key).ok_or(NgError::UnknownCallId)?;
        call.last_signal_us = now_us;
        let dialogue = match kind == Kind::Offer {
            true => {
                let dialogue = identity::of_offer(call, options, now_us)?;
                negotiate::offer(call, dialogue, description, options, &mut kit, turn)?;
                add_early(call, dialogue, &early);
                dialogue
            }
            false => {
                let dialogue = identity::of_answer(call, options, now_us)?;
                negotiate::hold_to_offer(call, dialogue.from, description);
                negotiate::answer(call, dialogue, description, options, &mut kit, turn)?;
                add_early(call, dialogue, &early);
                negotiate::commit(call, dialogue, &mut kit, turn);
                dialogue
            }
        };
        call.parties[dialogue.from].description = options.sdp.as_deref().map(Box::from);
        if kind == Kind::Answer {
            self.set_expiry(key, turn);
        }
        self.count_silence_anew(key, turn);
        Ok(dialogue)
    }
}

/// Candidates that came before the description.
fn add_early(call: &mut Call, dialogue: Dialogue, early: &[Box<str>]) {
    for fragment in early.iter().filter_map(|text| sdp::read_fragment(text).ok()) {
        negotiate::trickle(call, dialogue.from, &fragment);
    }
}

/// The party's lines have these candidates too; the dataplane hears of them where it knows the party already.
fn trickle(call: &mut Call, party: PartyId, fragment: &SessionDescription, kit: &mut Kit, turn: &mut Turn) {
    for index in negotiate::trickle(call, party, fragment) {
        let media = &call.parties[party].media[index];
        if media.is_full_agent() && media.local.as_ref().is_some_and(|local| local.described) {
            call.describe(party, index, kit, turn);
        }
    }
}

impl NgCore {
    /// What a description is believed about is not a place where no party can be. A port of ours may be one, for `call`.
    pub(super) fn check_addresses(
        &self,
        description: &mut SessionDescription,
        call: Option<&str>,
        options: &Options,
    ) -> Result<(), NgError> {
        if options.trust_address == Some(false) {
            return Ok(());
        }
        for (index, line) in description.media.iter_mut().enumerate().filter(|(_, line)| !line.is_untouched()) {
            line.is_link = match remote::misdirection(line, &self.settings) {
                None => false,
                Some(Pointing::Ourselves) if call.is_some_and(|call| self.may_link(call, index, line)) => true,
                Some(_) => return Err(NgError::Misdirected),
            };
        }
        Ok(())
    }
}

/// The reply, once ports are sure.
pub(crate) fn write_setup(core: &mut NgCore, setup: &Setup) -> Result<Reply, NgError> {
    let Setup { key, dialogue, description, request, kind, beside, .. } = setup;
    let options = &request.options;
    let ours = core.ours(options).ok_or(NgError::LoadLimit)?;
    let call = core.calls.get_mut(key).ok_or(NgError::UnknownCallId)?;
    let plan = plan::session(call, *dialogue, description, options, *kind, &ours);
    let told = &mut call.parties[dialogue.to].continuity;
    let text = told.write(description, plan, options.replace).map_err(of_sdp)?;
    let mut dict = Dict::with_capacity(beside.len() + 2).with("sdp", text);
    beside.iter().for_each(|(key, value)| dict.push(key, value.clone()));
    Ok(Reply::ok(dict))
}

pub(super) fn read(options: &Options) -> Result<SessionDescription, NgError> {
    let text = options.sdp.as_deref().ok_or(NgError::NoSdp)?;
    if options.trust_address == Some(false) && options.received_from.is_none() {
        // The address of signalling is asked for, and nobody says it.
        return Err(NgError::IncompleteSdp);
    }
    sdp::read(text).map_err(of_sdp)
}

pub(super) fn of_sdp(error: SdpError) -> NgError {
    match error {
        SdpError::Malformed => NgError::BadSdp,
        SdpError::Incomplete => NgError::IncompleteSdp,
        SdpError::Unwritable => NgError::RewriteFailed,
    }
}
