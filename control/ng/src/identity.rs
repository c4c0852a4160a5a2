//! Which two parties a request is about: by call-id, from-tag, to-tag and via-branch, as rtpengine 10.5 tells them apart.
//!
//! Input: a call and the names in a request. Output: two parties of it, made if need be. Owns nothing.
//!
//! ```text
//!   offer  f              a callee not yet named; the same one again until it is answered
//!   offer  f  branch b2   another callee of the same caller (parallel forking)
//!   answer f  t           names the callee that has the branch, or the one that waits; else a further callee
//!   offer  t  f           re-offer from the callee
//! ```

use crate::call::Call;
use crate::error::NgError;
use crate::options::Options;
use crate::party::{Deletion, PartyId};

/// Whose description it is, and whom it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialogue {
    pub from: PartyId,
    pub to: PartyId,
}

/// The parties of an offer: the from-tag's description goes to the other.
pub fn of_offer(call: &mut Call, options: &Options, now_us: u64) -> Result<Dialogue, NgError> {
    let from_tag = options.from_tag.as_deref().ok_or(NgError::NoFromTag)?;
    let via = options.via_branch.as_deref();
    let from = tagged(call, from_tag, now_us)?;
    let to = match options.to_tag.as_deref().filter(|tag| !tag.is_empty()) {
        Some(tag) => named(call, from, tag, via, now_us)?,
        None => unnamed(call, from, via, now_us)?,
    };
    join(call, from, to)
}

/// The parties of an answer: the to-tag's description goes to the from-tag.
pub fn of_answer(call: &mut Call, options: &Options, now_us: u64) -> Result<Dialogue, NgError> {
    let from_tag = options.from_tag.as_deref().ok_or(NgError::NoFromTag)?;
    let to_tag = options.to_tag.as_deref().filter(|tag| !tag.is_empty()).ok_or(NgError::NoToTag)?;
    let offerer = tagged(call, from_tag, now_us)?;
    let answerer = named(call, offerer, to_tag, options.via_branch.as_deref(), now_us)?;
    join(call, answerer, offerer)
}

fn tagged(call: &mut Call, tag: &str, now_us: u64) -> Result<PartyId, NgError> {
    call.party_by_tag(tag).map_or_else(|| call.add_party(tag, None, now_us), Ok)
}

fn join(call: &mut Call, from: PartyId, to: PartyId) -> Result<Dialogue, NgError> {
    if from == to {
        return Err(NgError::InvalidDialogue);
    }
    for party in [from, to] {
        // A deleted party that is heard of again lives on.
        if matches!(call.parties[party].deleted, Some(Deletion::At(_) | Deletion::Done)) {
            call.parties[party].deleted = None;
        }
    }
    call.associate(from, to);
    Ok(Dialogue { from, to })
}

/// The party of that tag: known, or waiting for a name, or new.
fn named(call: &mut Call, other: PartyId, tag: &str, via: Option<&str>, now_us: u64) -> Result<PartyId, NgError> {
    if let Some(known) = call.party_by_tag(tag) {
        return Ok(known);
    }
    let of_branch = via.and_then(|via| by_branch(call, other, via));
    let waiting = || call.partner(other).filter(|partner| call.parties[*partner].tag.is_empty());
    match of_branch.or_else(waiting) {
        Some(party) => {
            call.parties[party].tag = tag.into();
            Ok(party)
        }
        None => call.add_party(tag, via, now_us),
    }
}

/// Whom an offer without a to-tag is for.
fn unnamed(call: &mut Call, from: PartyId, via: Option<&str>, now_us: u64) -> Result<PartyId, NgError> {
    let known = match via {
        Some(via) => by_branch(call, from, via),
        None => call.partner(from),
    };
    known.map_or_else(|| call.add_party("", via, now_us), Ok)
}

fn by_branch(call: &Call, other: PartyId, via: &str) -> Option<PartyId> {
    let is_meant = |id: &PartyId| {
        let party = &call.parties[*id];
        *id != other && party.via_branch.as_deref() == Some(via) && call.parties[other].hears(*id)
    };
    (0..call.parties.len()).find(is_meant)
}
