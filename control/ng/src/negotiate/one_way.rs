//! Media that flows one way: a publication is answered by us alone, a subscriber is offered what others say.
//!
//! Input: descriptions of publishers and subscribers. Output: as [`super::offer`] and [`super::answer`], for one side. Owns
//! nothing.

use super::*;
use crate::sdp::Codec;

/// The publisher's lines are settled at once: there is nobody to ask.
pub fn publish(
    call: &mut Call,
    publisher: PartyId,
    description: &SessionDescription,
    options: &Options,
    kit: &mut Kit,
    turn: &mut Turn,
) -> Result<(), NgError> {
    prepare(call, [publisher, publisher], description, options, kit);
    for (index, line) in description.media.iter().enumerate() {
        if !is_relayed(line) {
            call.close(publisher, index, kit, turn);
            continue;
        }
        hear(call, publisher, index, line, options);
        let media = &mut call.parties[publisher].media[index];
        consider_offer(media, line, options, kit);
        if let Some(heard) = &mut media.heard {
            heard.codecs = accepted(line, options);
        }
        settle_offerer(media, &Settled { suite: None, mux: true, ice: None }, options, kit);
        let family = line.connection.is_some_and(|connection| connection.address.is_ipv6());
        let place = Place { asked_for: None, fallback: family, other: None, stays: true };
        open(call, publisher, index, place, kit, turn)?;
        call.describe(publisher, index, kit, turn);
    }
    call.forward(kit, turn);
    Ok(())
}

/// Of what is published we take what the request names, else the first format of media.
fn accepted(line: &MediaDescription, options: &Options) -> Vec<Codec> {
    let named = |codec: &&Codec| options.codecs.accept.iter().any(|name| codec.is_called(name));
    let named: Vec<Codec> = line.codecs.iter().filter(named).map(without_parameters).collect();
    match named.is_empty() {
        true => line.codecs.iter().find(|codec| !codec.is_supplement()).map(without_parameters).into_iter().collect(),
        false => named,
    }
}

/// What really flows from a party: what its partner has agreed to, or what was accepted of its publication.
pub fn flowing_codecs(call: &Call, party: PartyId, line: &MediaDescription, media: &Media) -> Vec<Codec> {
    let index = call.parties[party].media.iter().position(|other| std::ptr::eq(other, media)).unwrap_or(0);
    let agreed = match call.partner(party) {
        Some(partner) => call.parties[partner].media.get(index).and_then(|media| media.heard.as_ref()),
        None => media.heard.as_ref(),
    };
    let Some(agreed) = agreed else { return line.codecs.clone() };
    let is_agreed = |codec: &&Codec| agreed.codecs.iter().any(|other| other.payload_type == codec.payload_type);
    let common: Vec<Codec> = line.codecs.iter().filter(is_agreed).cloned().collect();
    if common.is_empty() { line.codecs.clone() } else { common }
}

/// What a subscriber is offered.
pub fn subscribe(
    call: &mut Call,
    subscriber: PartyId,
    description: &SessionDescription,
    options: &Options,
    kit: &mut Kit,
    turn: &mut Turn,
) -> Result<(), NgError> {
    prepare(call, [subscriber, subscriber], description, options, kit);
    for (index, line) in description.media.iter().enumerate().filter(|(_, line)| is_relayed(line)) {
        let wish = Wish::read(line, options, false);
        let media = &mut call.parties[subscriber].media[index];
        media.direction = Direction::ReceiveOnly;
        decide(media, &wish, options, kit);
        let family = line.connection.is_some_and(|connection| connection.address.is_ipv6());
        let asked_for = options.address_family.map(|family| family == Family::Ip6);
        let place = Place { asked_for, fallback: family, other: None, stays: true };
        open(call, subscriber, index, place, kit, turn)?;
    }
    Ok(())
}

/// What a subscriber answered; from now on it hears.
pub fn subscription_answered(
    call: &mut Call,
    subscriber: PartyId,
    description: &SessionDescription,
    options: &Options,
    kit: &mut Kit,
    turn: &mut Turn,
) -> Result<(), NgError> {
    for (index, line) in description.media.iter().enumerate().take(call.parties[subscriber].media.len()) {
        if !is_relayed(line) {
            call.close(subscriber, index, kit, turn);
            continue;
        }
        hear(call, subscriber, index, line, options);
        let media = &mut call.parties[subscriber].media[index];
        settle_answerer(media, line);
        // Whatever it says, nobody hears a subscriber.
        media.direction = Direction::new(false, media.direction.receives());
        call.describe(subscriber, index, kit, turn);
        note_unsettled(call, subscriber, index, turn);
    }
    call.forward(kit, turn);
    Ok(())
}
