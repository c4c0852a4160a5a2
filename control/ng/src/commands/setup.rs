//! `offer` and `answer`: a description comes in, the same with us in its place goes out.
//!
//! Input: the options with the SDP. Output: the rewritten SDP, at once; if the dataplane's ports may be taken by others, after
//! it has opened them. Owns a [`Setup`] meanwhile.

use super::call_id;
use crate::core::{Await, Later, NgCore, Outcome};
use crate::effect::{Peer, Turn};
use crate::error::NgError;
use crate::identity::{self, Dialogue};
use crate::limits::PARTIES_MAX;
use crate::negotiate;
use crate::options::Options;
use crate::plan::{self, Kind};
use crate::remote;
use crate::reply::Reply;
use crate::sdp::{self, SdpError, SessionDescription};
use crosspoint_contract::CallKey;

/// An offer or answer whose legs are being opened.
pub(crate) struct Setup {
    pub key: CallKey,
    dialogue: Dialogue,
    description: SessionDescription,
    options: Options,
    kind: Kind,
}

impl NgCore {
    pub(super) fn offer(&mut self, peer: &Peer, options: &Options, turn: &mut Turn) -> Result<Outcome, NgError> {
        let id = call_id(options)?;
        options.from_tag.as_deref().ok_or(NgError::NoFromTag)?;
        let description = read(options)?;
        if options.loop_protect && self.is_loop(&description) {
            return Ok(Outcome::Reply(Reply::sdp(options.sdp.as_deref().unwrap_or_default())));
        }
        self.check_addresses(&description, options)?;
        let is_new = self.call_by_id(id).is_none();
        let key = self.call_or_new(id, peer, turn)?;
        let outcome = self.negotiate(key, description, options, Kind::Offer, turn);
        if is_new && outcome.is_err() {
            // An offer that failed leaves no call behind.
            self.remove(key, turn);
        }
        outcome
    }

    pub(super) fn answer_offer(&mut self, options: &Options, turn: &mut Turn) -> Result<Outcome, NgError> {
        let id = call_id(options)?;
        options.from_tag.as_deref().ok_or(NgError::NoFromTag)?;
        options.to_tag.as_deref().ok_or(NgError::NoToTag)?;
        let description = read(options)?;
        let key = self.call_by_id(id).ok_or(NgError::UnknownCallId)?;
        if options.loop_protect && self.is_loop(&description) {
            return Ok(Outcome::Reply(Reply::sdp(options.sdp.as_deref().unwrap_or_default())));
        }
        self.check_addresses(&description, options)?;
        self.negotiate(key, description, options, Kind::Answer, turn)
    }

    fn negotiate(
        &mut self,
        key: CallKey,
        mut description: SessionDescription,
        options: &Options,
        kind: Kind,
        turn: &mut Turn,
    ) -> Result<Outcome, NgError> {
        let now_us = turn.now.unix_us;
        let (mut kit, calls) = self.kit();
        let call = calls.get_mut(&key).ok_or(NgError::UnknownCallId)?;
        if call.parties.len() >= PARTIES_MAX {
            return Err(NgError::InvalidDialogue);
        }
        call.last_signal_us = now_us;
        let orders_before = turn.effects.len();
        let dialogue = match kind == Kind::Offer {
            true => {
                let dialogue = identity::of_offer(call, options, now_us)?;
                negotiate::offer(call, dialogue, &description, options, &mut kit, turn)?;
                dialogue
            }
            false => {
                let dialogue = identity::of_answer(call, options, now_us)?;
                negotiate::hold_to_offer(call, dialogue.from, &mut description);
                negotiate::answer(call, dialogue, &description, options, &mut kit, turn)?;
                negotiate::commit(call, dialogue, &mut kit, turn);
                dialogue
            }
        };
        call.parties[dialogue.from].description = options.sdp.as_deref().map(Box::from);
        if kind == Kind::Answer {
            self.set_expiry(key, turn);
        }
        let opened = opened_since(orders_before, turn);
        if opened == 0 || self.dataplane.as_ref().is_none_or(|dataplane| dataplane.steered) {
            return write(self, key, dialogue, &description, options, kind).map(Outcome::Reply);
        }
        let setup = Setup { key, dialogue, description, options: options.clone(), kind };
        let what = Await::Ports { setup: Box::new(setup), tries: 0 };
        Ok(Outcome::Later(Box::new(Later { id: self.next_wait(), remaining: opened, what })))
    }
}

impl NgCore {
    /// Somebody says where to send, and it is not a place where no party can be.
    pub(super) fn check_addresses(&self, description: &SessionDescription, options: &Options) -> Result<(), NgError> {
        match (options.trust_address == Some(false), options.received_from) {
            (true, None) => Err(NgError::IncompleteSdp),
            (true, Some(_)) => Ok(()),
            (false, _) if remote::is_misdirected(description, &self.settings) => Err(NgError::Misdirected),
            (false, _) => Ok(()),
        }
    }
}

/// Legs that this entry has ordered.
fn opened_since(effects_before: usize, turn: &Turn) -> usize {
    use crate::effect::Effect;
    use crosspoint_contract::Command;
    let opens =
        |effect: &&Effect| matches!(effect, Effect::Order(order) if matches!(order.command, Command::OpenLeg { .. }));
    turn.effects[effects_before..].iter().filter(opens).count()
}

/// The reply, once ports are sure.
pub(crate) fn write_setup(core: &mut NgCore, setup: &Setup) -> Result<Reply, NgError> {
    write(core, setup.key, setup.dialogue, &setup.description, &setup.options, setup.kind)
}

fn write(
    core: &mut NgCore,
    key: CallKey,
    dialogue: Dialogue,
    description: &SessionDescription,
    options: &Options,
    kind: Kind,
) -> Result<Reply, NgError> {
    let ours = core.ours(options).ok_or(NgError::LoadLimit)?;
    let call = core.calls.get_mut(&key).ok_or(NgError::UnknownCallId)?;
    let plan = plan::session(call, dialogue, description, options, kind, &ours);
    let told = &mut call.parties[dialogue.to].continuity;
    told.write(description, plan, options.replace).map(Reply::sdp).map_err(of_sdp)
}

pub(super) fn read(options: &Options) -> Result<SessionDescription, NgError> {
    let text = options.sdp.as_deref().ok_or(NgError::NoSdp)?;
    sdp::read(text).map_err(of_sdp)
}

pub(super) fn of_sdp(error: SdpError) -> NgError {
    match error {
        SdpError::Malformed => NgError::BadSdp,
        SdpError::Incomplete => NgError::IncompleteSdp,
        SdpError::Unwritable => NgError::RewriteFailed,
    }
}
