//! Which way each medium flows on a leg: what its client wishes, what the other party does, what we say of it.
//!
//! ```text
//!   caller's words ──▶ its wish ──what we may say──▶ offer or answer to the callee ──▶ its words ──▶ its wish ─┐
//!        ▲                                                                                                   │
//!        └──────────────── answer to the caller, or an offer when it has changed since ◀──what we may say────┘
//! ```
//!
//! Towards one party we speak for the other: we send what that one sends, and want what that one wants. Input: the
//! directions of descriptions, read or about to be written. Output: the directions to write. Owns what one leg's client
//! wished and was told. Deliberately not here: what is forwarded, which follows each client's own words (`SetRemote`).
//! RFC 3264 §6.1 and §8.

use super::call::{Call, Leg};
use super::sdp::mirrored;
use crosspoint_contract::{Direction, Directions, LegId};

/// One leg's side of it.
#[derive(Clone, Debug, Default)]
pub struct LegDirections {
    /// What its client wants to do.
    wish: Directions,
    /// What its last exchange came to, in our words.
    told: Directions,
    /// Our offer that its client has yet to answer, in our words.
    pub offered: Option<Directions>,
    /// Its client answers offers of ours. One that does not is never told to stop its voice: nobody could tell it to go on.
    pub takes_offers: bool,
}

impl LegDirections {
    /// A leg whose client offered, or will answer its first offer.
    pub fn new(wish: Directions, takes_offers: bool) -> LegDirections {
        LegDirections { wish, takes_offers, ..LegDirections::default() }
    }

    /// As far as the last descriptions tell.
    pub fn restored(theirs: Directions, told: Directions) -> LegDirections {
        LegDirections { wish: theirs, told, ..LegDirections::default() }
    }

    /// An offer says all that its sender wants. Offers that cross are settled in favour of the client's: it does not
    /// answer ours, and our answer tells it the same.
    pub fn client_offered(&mut self, words: Directions) {
        (self.wish, self.offered) = (words, None);
    }

    /// RFC 3264 §6.1: an answer can only take from the offer, so it says nothing of what was not offered.
    pub fn client_answered(&mut self, offer: Directions, words: Directions) {
        let before = self.wish;
        self.wish = Directions::from_fn(|medium| {
            let (offer, words, before) = (offer.of(medium), words.of(medium), before.of(medium));
            let sends = if offer.receives() { words.sends() } else { before.sends() };
            let receives = if offer.sends() { words.receives() } else { before.receives() };
            Direction::new(sends, receives)
        });
        self.offered = None;
        self.told = Directions::from_fn(|medium| met(*offer.of(medium), *words.of(medium)));
    }

    pub fn we_said(&mut self, directions: Directions) {
        self.told = directions;
    }

    /// What the first offer to it said.
    pub fn told(&self) -> Directions {
        self.told
    }

    /// What to offer when we may say `directions`; nothing when that is what its client knows, or it cannot be told.
    pub fn news(&self, directions: Directions) -> Option<Directions> {
        (self.takes_offers && self.offered.is_none() && directions != self.told).then_some(directions)
    }
}

impl Call {
    /// What we may say to this leg's client, now that both parties are known.
    pub fn our_directions(&self, id: LegId) -> Directions {
        let Some(leg) = self.leg(id) else { return Directions::default() };
        let other = self.other_leg(id).map(Leg::wishes).unwrap_or_default();
        let speak = speaking_for(other, leg.directions.takes_offers);
        Directions::from_fn(|medium| met(*speak.of(medium), *leg.directions.wish.of(medium)))
    }

    /// What the first offer to a callee says, whose wishes are not known yet.
    pub fn first_directions(&self, takes_offers: bool) -> Directions {
        let caller = self.caller().and_then(|caller| caller.remote.as_ref());
        speaking_for(caller.map(|remote| remote.directions()).unwrap_or_default(), takes_offers)
    }
}

impl Leg {
    fn wishes(&self) -> Directions {
        Directions::from_fn(|medium| {
            if self.agreed.of(medium).is_empty() { Direction::Inactive } else { *self.directions.wish.of(medium) }
        })
    }
}

fn speaking_for(other: Directions, takes_offers: bool) -> Directions {
    Directions { audio: if takes_offers { other.audio } else { Direction::SendReceive }, video: other.video }
}

/// What is left of our words when theirs are heard: we send what they receive, and the reverse.
fn met(ours: Direction, theirs: Direction) -> Direction {
    let theirs = mirrored(theirs);
    Direction::new(ours.sends() && theirs.sends(), ours.receives() && theirs.receives())
}

/// Voice flows both ways, pictures so.
#[cfg(test)]
pub fn video_only(video: Direction) -> Directions {
    Directions { audio: Direction::SendReceive, video }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Inactive, ReceiveOnly, SendOnly, SendReceive};

    #[test]
    fn an_answer_tells_no_wish_about_what_was_not_offered() {
        for (offer, words, wish) in [
            (SendReceive, ReceiveOnly, ReceiveOnly),
            (SendReceive, Inactive, Inactive),
            (ReceiveOnly, SendOnly, SendReceive),
            (SendOnly, Inactive, SendOnly),
            (Inactive, Inactive, SendReceive),
        ] {
            let mut directions = LegDirections::default();
            directions.client_answered(video_only(offer), video_only(words));
            assert_eq!(directions.wish, video_only(wish), "{words:?} to {offer:?}");
        }
    }

    #[test]
    fn the_narrower_of_two_words_holds() {
        for (ours, theirs, left) in [
            (SendReceive, SendReceive, SendReceive),
            (SendReceive, ReceiveOnly, SendOnly),
            (SendReceive, SendOnly, ReceiveOnly),
            (SendOnly, SendOnly, Inactive),
            (ReceiveOnly, SendOnly, ReceiveOnly),
            (Inactive, SendReceive, Inactive),
        ] {
            assert_eq!(met(ours, theirs), left, "{theirs:?} to {ours:?}");
        }
    }
}
