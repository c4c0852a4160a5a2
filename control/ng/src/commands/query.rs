//! `query` and `list`: what there is, and how it fares.
//!
//! Input: a call, and perhaps a party. Output: figures that the dataplane says now. Owns nothing.

use super::call_id;
use super::delete::told_with;
use crate::core::{NgCore, Outcome};
use crate::dictionary::{Dict, Value};
use crate::effect::Turn;
use crate::error::NgError;
use crate::options::Options;
use crate::reply::Reply;

/// Calls that `list` names unless told otherwise.
const LISTED: i64 = 32;

impl NgCore {
    pub(super) fn query(&mut self, options: &Options, turn: &mut Turn) -> Result<Outcome, NgError> {
        let key = self.call_by_id(call_id(options)?).ok_or(NgError::UnknownCallId)?;
        let call = self.calls.get(&key).ok_or(NgError::UnknownCallId)?;
        let tag = options.to_tag.as_deref().filter(|tag| !tag.is_empty()).or(options.from_tag.as_deref());
        let parties = tag.map(|tag| call.party_by_tag(tag).map_or(Vec::new(), |party| told_with(call, party)));
        Ok(self.tell_figures(key, parties, Vec::new(), turn))
    }

    pub(super) fn list(&mut self, options: &Options) -> Result<Outcome, NgError> {
        let limit = usize::try_from(options.limit.unwrap_or(LISTED)).map_err(|_| NgError::InvalidLimit)?;
        let ids = self.calls.values().take(limit).map(|call| Value::from(call.id.as_str()));
        Ok(Outcome::Reply(Reply::ok(Dict::new().with("calls", Value::List(ids.collect())))))
    }
}
