//! `block`, `unblock`, `silence` and `unsilence`: what of a party's media passes, or of everybody's.
//!
//! Input: a call, and perhaps a party by tag, label or address. Output: filters for the dataplane. Owns nothing. As in
//! rtpengine, what is said of the whole call and what is said of a party are kept apart: either blocks.

use super::call_id;
use crate::call::Call;
use crate::core::{NgCore, Outcome};
use crate::dictionary::Dict;
use crate::effect::Turn;
use crate::error::NgError;
use crate::options::{DtmfSecurity, Options};
use crate::party::PartyId;
use crate::reply::Reply;
use crosspoint_contract::{CallKey, FlowFilter};
use std::net::IpAddr;

/// What a command switches, and which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    Media(bool),
    Digits(bool),
    Silence(bool),
}

impl Switch {
    fn apply(self, filter: &mut FlowFilter) {
        match self {
            Switch::Media(blocked) => filter.media_blocked = blocked,
            Switch::Digits(blocked) => filter.digits_blocked = blocked,
            Switch::Silence(silenced) => filter.silenced = silenced,
        }
    }
}

impl NgCore {
    pub(super) fn filter(&mut self, switch: Switch, options: &Options, turn: &mut Turn) -> Result<Outcome, NgError> {
        let key = self.call_by_id(call_id(options)?).ok_or(NgError::UnknownCallIdOfMedia)?;
        if switch == Switch::Digits(true) && options.dtmf.security.is_some_and(|mode| mode != DtmfSecurity::Drop) {
            // Replacing digits by tones needs a codec.
            return Err(NgError::NotSupported);
        }
        self.filter_call(key, switch, options, turn)?;
        Ok(Outcome::Reply(Reply::ok(Dict::new())))
    }

    fn filter_call(&mut self, key: CallKey, switch: Switch, options: &Options, turn: &mut Turn) -> Result<(), NgError> {
        let (mut kit, calls) = self.kit();
        let call = calls.get_mut(&key).ok_or(NgError::UnknownCallIdOfMedia)?;
        match party(call, options)? {
            Some(party) => match (switch, towards(call, options)) {
                (Switch::Media(blocked), Some(to)) => call.parties[party].blocks(to, blocked),
                _ => switch.apply(&mut call.parties[party].filter),
            },
            None => switch.apply(&mut call.filter),
        }
        call.forward(&mut kit, turn);
        Ok(())
    }
}

/// Whom a request selects: by label, by address, by tag. Nobody: all of the call.
pub(super) fn party(call: &Call, options: &Options) -> Result<Option<PartyId>, NgError> {
    if let Some(label) = options.label.as_deref() {
        return by_label(call, label).map(Some).ok_or(NgError::LabelNotFound);
    }
    if let Some(address) = options.address.as_deref() {
        let address: IpAddr = address.parse().map_err(|_| NgError::BadAddress)?;
        return by_address(call, address).map(Some).ok_or(NgError::AddressNotMatched);
    }
    match options.from_tag.as_deref().filter(|tag| !tag.is_empty()) {
        Some(tag) => call.party_by_tag(tag).map(Some).ok_or(NgError::NoSuchFromTag),
        None => Ok(None),
    }
}

fn by_label(call: &Call, label: &str) -> Option<PartyId> {
    call.parties.iter().position(|party| party.label.as_deref() == Some(label))
}

fn by_address(call: &Call, address: IpAddr) -> Option<PartyId> {
    let names = |party: &crate::party::Party| {
        party.media.iter().filter_map(|media| media.heard.as_ref()).any(|heard| heard.rtp.ip() == address)
    };
    call.parties.iter().position(names)
}

/// Of one flow only: to whom. An unknown to-tag, or one that is the only listener's, means all flows.
fn towards(call: &Call, options: &Options) -> Option<PartyId> {
    let by_tag = options.to_tag.as_deref().and_then(|tag| call.party_by_tag(tag));
    by_tag.or_else(|| options.to_label.as_deref().and_then(|label| by_label(call, label)))
}
