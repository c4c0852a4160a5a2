//! May this session place this call?
//!
//! Input: an invite, the grant it comes under, how many calls its bearer has. Output: what was asked for, read and
//! checked, or the refusal. A pure function: refusing is cheap and leaves no trace.

use super::config::CoreConfig;
use super::destination::Destination;
use super::form;
use super::message::Invite;
use super::refusal::Refusal;
use super::sdp::{self, Description};
use super::token::Grant;
use crosspoint_contract::Medium;

/// An invite that may proceed.
#[derive(Debug, PartialEq)]
pub struct Admitted {
    pub destination: Destination,
    /// Form-encoded, `To` taken out.
    pub params: String,
    pub offer: Description,
}

pub fn admit(
    invite: &Invite,
    grant: &Grant,
    calls_of_bearer: usize,
    config: &CoreConfig,
    unix_ms: u64,
) -> Result<Admitted, Refusal> {
    check_sizes(invite, config)?;
    check_grant(grant, calls_of_bearer, config, unix_ms)?;
    let (destination, params) = read_params(&invite.twilio.params)?;
    if !grant.limits.allows_destination(&destination.to_string()) {
        return Err(Refusal::DestinationNotGranted);
    }
    let offer = sdp::read(&invite.sdp)?;
    check_mediums(&offer, grant)?;
    Ok(Admitted { destination, params, offer })
}

fn check_sizes(invite: &Invite, config: &CoreConfig) -> Result<(), Refusal> {
    let limits = &config.limits;
    let fits = invite.sdp.len() <= limits.sdp_bytes_max && invite.twilio.params.len() <= limits.params_bytes_max;
    if fits { Ok(()) } else { Err(Refusal::ParameterTooLong) }
}

fn check_grant(grant: &Grant, calls_of_bearer: usize, config: &CoreConfig, unix_ms: u64) -> Result<(), Refusal> {
    if !grant.outgoing {
        return Err(Refusal::NoOutgoingGrant);
    }
    if !grant.limits.allows_region(&config.region) {
        return Err(Refusal::RegionNotGranted);
    }
    if !grant.limits.hours.as_ref().is_none_or(|hours| hours.contains(unix_ms)) {
        return Err(Refusal::HourNotGranted);
    }
    if calls_of_bearer >= calls_max(grant, config) {
        return Err(Refusal::TooManyCalls);
    }
    Ok(())
}

/// Calls that the bearer of `grant` may take part in.
pub fn calls_max(grant: &Grant, config: &CoreConfig) -> usize {
    grant.limits.max_calls.map_or(config.limits.calls_per_identity_max, |n| n as usize)
}

fn read_params(text: &str) -> Result<(Destination, String), Refusal> {
    let (to, customs): (Vec<_>, Vec<_>) = form::parse(text).into_iter().partition(|(name, _)| name == "To");
    let to = to.into_iter().map(|(_, value)| value).find(|value| !value.trim().is_empty());
    let destination = Destination::parse(&to.ok_or(Refusal::DestinationMissing)?)?;
    Ok((destination, form::write(&customs)))
}

fn check_mediums(offer: &Description, grant: &Grant) -> Result<(), Refusal> {
    // Audio is the least: a grant without it allows no call. Video that is not granted is refused as a line.
    let audio = offer.line(Medium::Audio).is_some() && grant.limits.allows_medium("audio");
    if audio { Ok(()) } else { Err(Refusal::MediumNotGranted) }
}
