//! What each command of the protocol does.
//!
//! Input: a request with its options. Output: a reply, or what it waits for; orders for the dataplane on the way. Owns nothing: calls live in [`crate::core`].

mod delete;
mod media;
mod one_way;
mod query;
mod setup;
pub(crate) mod statistics;

pub(crate) use setup::{Setup, write_setup};

use crate::core::{NgCore, Outcome};
use crate::dictionary::Dict;
use crate::effect::{Peer, Turn};
use crate::error::NgError;
use crate::limits::NAME_BYTES_MAX;
use crate::options::Options;
use crate::reply::Reply;
use crate::request::{Command, Request};
use media::Switch;
use std::sync::Arc;

impl NgCore {
    pub(crate) fn run(&mut self, peer: &Peer, request: &Arc<Request>, turn: &mut Turn) -> Result<Outcome, NgError> {
        let options = &request.options;
        names_fit(options)?;
        match request.command {
            Command::Ping => Ok(Outcome::Reply(Reply::pong())),
            Command::Offer => self.offer(peer, request, turn),
            Command::Answer => self.answer_offer(request, turn),
            Command::Delete => self.delete(options, turn),
            Command::Query => self.query(options, turn),
            Command::List => self.list(options),
            Command::Statistics => Ok(Outcome::Reply(self.tell_statistics(turn))),
            Command::BlockMedia => self.filter(Switch::Media(true), options, turn),
            Command::UnblockMedia => self.filter(Switch::Media(false), options, turn),
            Command::BlockDtmf => self.filter(Switch::Digits(true), options, turn),
            Command::UnblockDtmf => self.filter(Switch::Digits(false), options, turn),
            Command::SilenceMedia => self.filter(Switch::Silence(true), options, turn),
            Command::UnsilenceMedia => self.filter(Switch::Silence(false), options, turn),
            Command::Publish => self.publish(peer, request, turn),
            Command::SubscribeRequest => self.subscribe(request, turn),
            Command::SubscribeAnswer => self.subscribe_answer(options, turn),
            Command::Unsubscribe => self.unsubscribe(options, turn),
            Command::StopRecording | Command::StopForwarding | Command::StopMedia => self.stop(options),
            Command::PlayMedia => self.play(options),
            Command::StartRecording | Command::StartForwarding | Command::PlayDtmf => {
                self.call_by_id(call_id(options)?).ok_or(NgError::UnknownCallId)?;
                Err(NgError::NotSupported)
            }
        }
    }

    /// What never began is stopped.
    fn stop(&self, options: &Options) -> Result<Outcome, NgError> {
        self.call_by_id(call_id(options)?).ok_or(NgError::UnknownCallId)?;
        Ok(Outcome::Reply(Reply::ok(Dict::new())))
    }

    fn play(&self, options: &Options) -> Result<Outcome, NgError> {
        self.call_by_id(call_id(options)?).ok_or(NgError::UnknownCallIdOfMedia)?;
        let played = &options.playback;
        let names_nothing = played.file.is_none() && played.blob.is_none() && played.blob64.is_none();
        Err(match names_nothing && played.database_id.is_none() {
            true => NgError::NoMediaFile,
            false => NgError::NotSupported,
        })
    }
}

/// The call-id of a request: there, and not empty.
fn call_id(options: &Options) -> Result<&str, NgError> {
    options.call_id.as_deref().filter(|id| !id.is_empty()).ok_or(NgError::NoCallId)
}

/// Names are kept as long as their call: none is absurd.
fn names_fit(options: &Options) -> Result<(), NgError> {
    let is_long = |name: &String| name.len() > NAME_BYTES_MAX;
    let any_is_long = |names: &[&Option<String>]| names.iter().copied().flatten().any(is_long);
    match () {
        () if any_is_long(&[&options.call_id]) => Err(NgError::NoCallId),
        () if any_is_long(&[&options.from_tag]) || options.from_tags.iter().any(is_long) => Err(NgError::NoFromTag),
        () if any_is_long(&[&options.to_tag]) => Err(NgError::NoToTag),
        () if any_is_long(&[&options.via_branch, &options.label, &options.set_label, &options.to_label]) => {
            Err(NgError::NoParty)
        }
        () => Ok(()),
    }
}
