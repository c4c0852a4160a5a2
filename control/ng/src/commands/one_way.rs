//! `publish`, `subscribe request`, `subscribe answer`, `unsubscribe`: media that flows one way, to as many as like it.
//!
//! ```text
//!   publish (sendonly)         ─▶ our recvonly answer
//!   subscribe request          ◀─ our sendonly offer, made of what its sources said
//!   subscribe answer           ─▶ packets flow
//! ```
//!
//! Input: descriptions and tags. Output: descriptions of ours, legs, who hears whom. Owns nothing.

use super::call_id;
use super::media::party as selected;
use super::setup::{Setup, of_sdp, read};
use crate::call::Call;
use crate::core::{NgCore, Outcome};
use crate::dictionary::{Dict, Value};
use crate::effect::{Peer, Turn};
use crate::error::NgError;
use crate::identity::Dialogue;
use crate::limits::PARTIES_MAX;
use crate::negotiate;
use crate::options::{All, Options};
use crate::party::{PartyId, Source};
use crate::plan::Kind;
use crate::reply::Reply;
use crate::request::Request;
use crate::sdp::{self, Line, MEDIA_MAX, MediaDescription, SessionDescription};
use crosspoint_contract::CallKey;
use std::fmt::Write;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

impl NgCore {
    pub(super) fn publish(&mut self, peer: &Peer, request: &Arc<Request>, turn: &mut Turn) -> Result<Outcome, NgError> {
        let options = &request.options;
        let mut description = read(options)?;
        self.check_addresses(&mut description, None, options)?;
        let id = call_id(options)?;
        let tag = options.from_tag.as_deref().ok_or(NgError::NoFromTag)?;
        let is_new = self.call_by_id(id).is_none();
        let key = self.call_or_new(id, peer, turn)?;
        let published = self.take_publication(key, tag, &description, options, turn);
        if is_new && published.is_err() {
            self.remove(key, turn);
        }
        let (publisher, description) = published?;
        self.set_expiry(key, turn);
        self.count_silence_anew(key, turn);
        let dialogue = Dialogue { from: publisher, to: publisher };
        let (request, kind, beside) = (Arc::clone(request), Kind::Publication, Dict::new());
        Ok(Outcome::Setup(Box::new(Setup { key, dialogue, description, request, kind, is_new, beside })))
    }

    /// Who publishes, and the blank answer.
    fn take_publication(
        &mut self,
        key: CallKey,
        tag: &str,
        description: &SessionDescription,
        options: &Options,
        turn: &mut Turn,
    ) -> Result<(PartyId, SessionDescription), NgError> {
        let origin = self.draw.number() >> 1;
        let software = self.settings.software.clone();
        let (mut kit, calls) = self.kit();
        let call = calls.get_mut(&key).ok_or(NgError::UnknownCallId)?;
        call.last_signal_us = turn.now.unix_us;
        call.answered = true;
        let publisher = match call.party_by_tag(tag) {
            Some(party) => party,
            None => call.add_party(tag, None, turn.now.unix_us)?,
        };
        call.parties[publisher].description = options.sdp.as_deref().map(Box::from);
        negotiate::publish(call, publisher, description, options, &mut kit, turn)?;
        Ok((publisher, blank_answer(description, call, publisher, &software, origin)?))
    }

    pub(super) fn subscribe(&mut self, request: &Arc<Request>, turn: &mut Turn) -> Result<Outcome, NgError> {
        let options = &request.options;
        let key = self.call_by_id(call_id(options)?).ok_or(NgError::UnknownCallIdOfMedia)?;
        let ours = self.ours(options).ok_or(NgError::LoadLimit)?;
        let tag = match options.to_tag.as_deref().filter(|tag| !tag.is_empty()) {
            Some(tag) => tag.to_owned(),
            None => self.draw.hexadecimal(32),
        };
        let (origin, software) = (self.draw.number() >> 1, self.settings.software.clone());
        let (mut kit, calls) = self.kit();
        let call = calls.get_mut(&key).ok_or(NgError::UnknownCallIdOfMedia)?;
        let sources = sources(call, options)?;
        let (mut description, places) = joined(call, &sources)?;
        if sources.len() > 1 {
            speak_for_ourselves(&mut description, &software, origin, ours.address)?;
        }
        let subscriber = match call.party_by_tag(&tag) {
            Some(party) => party,
            None => call.add_party(&tag, None, turn.now.unix_us).map_err(|_| NgError::SubscriptionFailed)?,
        };
        if sources.contains(&subscriber) {
            return Err(NgError::SubscriptionFailed);
        }
        if let Some(label) = &options.set_label {
            call.parties[subscriber].label = Some(label.clone());
        }
        call.parties[subscriber].sources = sources
            .iter()
            .zip(&places)
            .map(|(party, lines)| Source { party: *party, by_dialogue: false, lines: lines.clone() })
            .collect();
        let dialogue = Dialogue { from: sources[0], to: subscriber };
        negotiate::subscribe(call, subscriber, &description, options, &mut kit, turn)?;
        call.last_signal_us = turn.now.unix_us;
        let tag_of = |party: &PartyId| Value::from(call.parties[*party].tag.as_str());
        let mut beside = Dict::with_capacity(3);
        if let [only] = &sources[..] {
            beside.push("from-tag", tag_of(only));
        }
        beside.push("from-tags", Value::List(sources.iter().map(tag_of).collect()));
        beside.push("to-tag", tag.as_str());
        let (request, kind, is_new) = (Arc::clone(request), Kind::Subscription, false);
        Ok(Outcome::Setup(Box::new(Setup { key, dialogue, description, request, kind, is_new, beside })))
    }

    pub(super) fn subscribe_answer(&mut self, options: &Options, turn: &mut Turn) -> Result<Outcome, NgError> {
        let id = call_id(options)?;
        let tag = options.to_tag.as_deref().ok_or(NgError::NoToTag)?;
        let mut description = read(options)?;
        self.check_addresses(&mut description, None, options)?;
        let key = self.call_by_id(id).ok_or(NgError::UnknownCallIdOfMedia)?;
        let (mut kit, calls) = self.kit();
        let call = calls.get_mut(&key).ok_or(NgError::UnknownCallIdOfMedia)?;
        let subscriber = call.party_by_tag(tag).ok_or(NgError::ToTagNotFound)?;
        if call.parties[subscriber].sources.iter().all(|source| source.by_dialogue) {
            return Err(NgError::SubscriptionAnswerFailed);
        }
        call.last_signal_us = turn.now.unix_us;
        negotiate::subscription_answered(call, subscriber, &description, options, &mut kit, turn)?;
        self.count_silence_anew(key, turn);
        Ok(Outcome::Reply(Reply::ok(Dict::new())))
    }

    pub(super) fn unsubscribe(&mut self, options: &Options, turn: &mut Turn) -> Result<Outcome, NgError> {
        let id = call_id(options)?;
        let tag = options.to_tag.as_deref().ok_or(NgError::NoToTag)?;
        let key = self.call_by_id(id).ok_or(NgError::UnknownCallIdOfMedia)?;
        self.drop_subscriptions(key, tag, turn)?;
        Ok(Outcome::Reply(Reply::ok(Dict::new())))
    }

    /// A subscriber that hears nobody any longer gives its ports back.
    fn drop_subscriptions(&mut self, key: CallKey, tag: &str, turn: &mut Turn) -> Result<(), NgError> {
        let (mut kit, calls) = self.kit();
        let call = calls.get_mut(&key).ok_or(NgError::UnknownCallIdOfMedia)?;
        let Some(subscriber) = call.party_by_tag(tag) else { return Ok(()) };
        call.parties[subscriber].sources.retain(|source| source.by_dialogue);
        if call.parties[subscriber].sources.is_empty() {
            for index in 0..call.parties[subscriber].media.len() {
                call.close(subscriber, index, &mut kit, turn);
            }
        }
        call.forward(&mut kit, turn);
        self.count_silence_anew(key, turn);
        Ok(())
    }
}

/// Whom a subscription is to.
fn sources(call: &Call, options: &Options) -> Result<Vec<PartyId>, NgError> {
    let speaks = |id: &PartyId| call.parties[*id].description.is_some() && !call.parties[*id].is_gone();
    let sources: Vec<PartyId> = match options.all {
        All::None if !options.from_tags.is_empty() => {
            let by_tag = options.from_tags.iter().map(|tag| call.party_by_tag(tag).ok_or(NgError::NoSuchFromTag));
            by_tag.collect::<Result<_, _>>()?
        }
        All::None => selected(call, options)?.into_iter().collect(),
        _ => (0..call.parties.len()).collect(),
    };
    match sources.into_iter().filter(speaks).collect::<Vec<_>>() {
        none if none.is_empty() => Err(NgError::NoPartiesMatched),
        some => Ok(some),
    }
}

/// One description of all that the sources say, and which of its lines are whose.
fn joined(call: &Call, sources: &[PartyId]) -> Result<(SessionDescription, Vec<Range<usize>>), NgError> {
    let mut joined: Option<SessionDescription> = None;
    let mut places = Vec::new();
    for source in sources {
        let text = call.parties[*source].description.as_deref().ok_or(NgError::SubscriptionFailed)?;
        let mut description = sdp::read(text).map_err(of_sdp)?;
        for (line, media) in description.media.iter_mut().zip(&call.parties[*source].media) {
            line.codecs = negotiate::flowing_codecs(call, *source, line, media);
        }
        let first_line = joined.as_ref().map_or(0, |first| first.media.len());
        let behind = first_line + description.media.len();
        if behind > MEDIA_MAX || places.len() == PARTIES_MAX {
            return Err(NgError::SubscriptionFailed);
        }
        places.push(first_line..behind);
        match &mut joined {
            None => joined = Some(description),
            Some(first) => first.media.append(&mut description.media),
        }
    }
    joined.map(|joined| (joined, places)).ok_or(NgError::NoPartiesMatched)
}

/// Of several parties none can speak for the session: its lines are ours, and each m-line says its own address.
fn speak_for_ourselves(
    description: &mut SessionDescription,
    software: &str,
    origin: u64,
    address: IpAddr,
) -> Result<(), NgError> {
    let family = if address.is_ipv6() { "IP6" } else { "IP4" };
    let connection = format!("IN {family} {address}");
    let text =
        format!("v=0\no=- {origin} {origin} {connection}\ns={software}\nt=0 0\nm=audio 0 RTP/AVP 0\nc={connection}\n");
    let media = std::mem::take(&mut description.media);
    *description = SessionDescription { media, ..sdp::read(&text).map_err(of_sdp)? };
    for line in description.media.iter_mut().filter(|line| !line.has_connection) {
        line.lines.insert(0, Line { letter: b'c', value: connection.clone() });
        line.has_connection = true;
    }
    Ok(())
}

/// A description of ours with the lines of a publication and nothing of its own, for the writer to fill.
fn blank_answer(
    published: &SessionDescription,
    call: &Call,
    publisher: PartyId,
    software: &str,
    origin: u64,
) -> Result<SessionDescription, NgError> {
    let address = call.parties[publisher].legs().next().ok_or(NgError::RewriteFailed)?.advertised;
    let family = if address.is_ipv6() { "IP6" } else { "IP4" };
    let mut text = format!("v=0\r\no=- {origin} {origin} IN {family} {address}\r\ns={software}\r\nt=0 0\r\n");
    for (line, media) in published.media.iter().zip(&call.parties[publisher].media) {
        let accepted = media.heard.as_ref().map_or(&[][..], |heard| &heard.codecs);
        let port = if negotiate::is_relayed(line) { 9 } else { 0 };
        write_blank(&mut text, line, accepted, port);
        _ = write!(text, "c=IN {family} {address}\r\n");
        for codec in line.codecs.iter().filter(|codec| is_among(codec, accepted)) {
            _ = write!(text, "a=rtpmap:{} {}/{}", codec.payload_type, codec.name, codec.clock_rate_hz);
            text += &if codec.channels > 1 { format!("/{}\r\n", codec.channels) } else { "\r\n".into() };
            if let Some(fmtp) = &codec.fmtp {
                _ = write!(text, "a=fmtp:{} {fmtp}\r\n", codec.payload_type);
            }
        }
        if let Some(mid) = &line.mid {
            _ = write!(text, "a=mid:{mid}\r\n");
        }
    }
    sdp::read(&text).map_err(of_sdp)
}

fn write_blank(text: &mut String, line: &MediaDescription, accepted: &[sdp::Codec], port: u16) {
    _ = write!(text, "m={} {port} {}", line.kind.as_str(), line.protocol.as_str());
    match accepted.is_empty() {
        true => line.formats.iter().for_each(|format| _ = write!(text, " {format}")),
        false => accepted.iter().for_each(|codec| _ = write!(text, " {}", codec.payload_type)),
    }
    text.push_str("\r\n");
}

fn is_among(codec: &sdp::Codec, accepted: &[sdp::Codec]) -> bool {
    accepted.iter().any(|other| other.payload_type == codec.payload_type)
}
