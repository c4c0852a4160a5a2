//! What each command of the protocol does.
//!
//! Input: a request with its options. Output: a reply, or what it waits for; orders for the dataplane on the way. Owns nothing: calls live in [`crate::core`].

mod delete;
mod query;
mod setup;

pub(crate) use setup::{Setup, write_setup};

use crate::core::{NgCore, Outcome};
use crate::effect::{Peer, Turn};
use crate::error::NgError;
use crate::limits::NAME_BYTES_MAX;
use crate::options::Options;
use crate::reply::Reply;
use crate::request::{Command, Request};

impl NgCore {
    pub(crate) fn run(&mut self, peer: &Peer, request: &Request, turn: &mut Turn) -> Result<Outcome, NgError> {
        let options = &request.options;
        match request.command {
            Command::Ping => Ok(Outcome::Reply(Reply::pong())),
            Command::Offer => self.offer(peer, options, turn),
            Command::Answer => self.answer_offer(options, turn),
            Command::Delete => self.delete(options, turn),
            Command::Query => self.query(options, turn),
            Command::List => self.list(options),
            _ => Err(NgError::NotSupported),
        }
    }
}

/// The call-id of a request: there, not empty, not absurd.
fn call_id(options: &Options) -> Result<&str, NgError> {
    options.call_id.as_deref().filter(|id| !id.is_empty() && id.len() <= NAME_BYTES_MAX).ok_or(NgError::NoCallId)
}
