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
    /// What its client wants to do, whatever the other party does.
    wish: Directions,
    /// What it left of the last offer that it answered.
    reduced: Option<Reduced>,
    /// What its last exchange came to, in our words.
    told: Directions,
    offered: Option<Offered>,
    /// Its client answers offers of ours. One that does not is never told to stop its voice: nobody could tell it to go on.
    pub takes_offers: bool,
}

/// What a client wants for as long as it would be offered the same again.
#[derive(Clone, Debug)]
struct Reduced {
    offer: Directions,
    wish: Directions,
}

/// Our offer that a leg's client has yet to answer.
#[derive(Clone, Debug)]
struct Offered {
    number: u64,
    /// In our words.
    words: Directions,
    /// It has waited its time: another may follow, and an answer to it still counts until one does.
    is_overdue: bool,
    /// It followed one that was overdue, so an answer without a number may be to either.
    is_second: bool,
}

impl LegDirections {
    /// A leg whose client offered, or will answer its first offer.
    pub fn new(wish: Directions, takes_offers: bool) -> LegDirections {
        LegDirections { wish, takes_offers, ..LegDirections::default() }
    }

    /// As far as the last descriptions tell. Who answered `ours` may have left of it what was missing only for then.
    pub fn restored(theirs: Directions, ours: Directions, is_answer: bool) -> LegDirections {
        let mut directions = LegDirections { wish: theirs, told: ours, ..LegDirections::default() };
        if is_answer {
            directions.wish = Directions::default();
            directions.client_answered(ours, theirs);
        }
        directions
    }

    /// An offer says all that its sender wants. Offers that cross are settled in favour of the client's: it does not
    /// answer ours, and our answer tells it the same.
    pub fn client_offered(&mut self, words: Directions) {
        (self.wish, self.reduced, self.offered) = (words, None, None);
    }

    /// RFC 3264 §6.1: an answer can only take from the offer, so it says nothing of what was not offered. And one that
    /// takes from less than everything may do so because of what is missing: who answers a hold by `inactive` will hear
    /// again after it. So that holds for this offer, and the wish stands.
    pub fn client_answered(&mut self, offer: Directions, words: Directions) {
        let wish = Directions::from_fn(|medium| {
            let (offer, words, before) = (offer.of(medium), words.of(medium), self.wish.of(medium));
            let sends = if offer.receives() { words.sends() } else { before.sends() };
            let receives = if offer.sends() { words.receives() } else { before.receives() };
            Direction::new(sends, receives)
        });
        self.wish = Directions::from_fn(|medium| {
            let was_offered_all = *offer.of(medium) == Direction::SendReceive;
            if was_offered_all { *wish.of(medium) } else { *self.wish.of(medium) }
        });
        self.reduced = Some(Reduced { offer, wish });
        self.told = Directions::from_fn(|medium| met(*offer.of(medium), *words.of(medium)));
    }

    /// It has heard our offer, and what it made of that we do not know: the same need not be said again.
    pub fn client_answered_unusably(&mut self, offer: Directions) {
        self.told = offer;
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
        let known = match &self.offered {
            None => self.told,
            Some(offered) if offered.is_overdue => offered.words,
            Some(_) => return None,
        };
        (self.takes_offers && directions != known).then_some(directions)
    }

    pub fn we_offered(&mut self, number: u64, words: Directions) {
        let is_second = self.offered.is_some();
        self.offered = Some(Offered { number, words, is_overdue: false, is_second });
    }

    pub fn offer_overdue(&mut self) {
        if let Some(offered) = &mut self.offered {
            offered.is_overdue = true;
        }
    }

    /// Its client will not answer what we offered: an offer of its own crossed it, or it has another socket.
    pub fn offer_void(&mut self) {
        self.offered = None;
    }

    /// What an answer with this number is to.
    pub fn take_answered(&mut self, number: Option<u64>) -> Option<Directions> {
        let is_it = |offered: &mut Offered| number.map_or(!offered.is_second, |number| number == offered.number);
        self.offered.take_if(is_it).map(|offered| offered.words)
    }

    /// What its client wants when that is what we would offer.
    fn wish_for(&self, offer: Directions) -> Directions {
        Directions::from_fn(|medium| match &self.reduced {
            Some(reduced) if reduced.offer.of(medium) == offer.of(medium) => *reduced.wish.of(medium),
            _ => *self.wish.of(medium),
        })
    }
}

impl Call {
    /// What we may say to this leg's client, now that both parties are known.
    pub fn our_directions(&self, id: LegId) -> Directions {
        let Some(leg) = self.leg(id) else { return Directions::default() };
        let other = self.other_leg(id).map(|other| other.carried(self.present_wish(other))).unwrap_or_default();
        leg.met_by(other, self.present_wish(leg))
    }

    /// What a leg's client wants, given what the other party's wishes let us offer it.
    fn present_wish(&self, leg: &Leg) -> Directions {
        let other = self.other_leg(leg.id).map(|other| other.carried(other.directions.wish)).unwrap_or_default();
        leg.directions.wish_for(leg.met_by(other, leg.directions.wish))
    }

    /// What the first offer to a callee says, whose wishes are not known yet.
    pub fn first_directions(&self, takes_offers: bool) -> Directions {
        let caller = self.caller().and_then(|caller| caller.remote.as_ref());
        speaking_for(caller.map(|remote| remote.directions()).unwrap_or_default(), takes_offers)
    }
}

impl Leg {
    /// Of its client's wish, what concerns media that were agreed.
    fn carried(&self, wish: Directions) -> Directions {
        Directions::from_fn(
            |medium| {
                if self.agreed.of(medium).is_empty() { Direction::Inactive } else { *wish.of(medium) }
            },
        )
    }

    /// What we say to its client, which wishes `wish`, in the name of one that wishes `other`.
    fn met_by(&self, other: Directions, wish: Directions) -> Directions {
        let speak = speaking_for(other, self.directions.takes_offers);
        Directions::from_fn(|medium| met(*speak.of(medium), *wish.of(medium)))
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
        for (offer, words, present, lasting) in [
            (SendReceive, ReceiveOnly, ReceiveOnly, ReceiveOnly),
            (SendReceive, Inactive, Inactive, Inactive),
            (ReceiveOnly, SendOnly, SendReceive, SendReceive),
            (ReceiveOnly, Inactive, ReceiveOnly, SendReceive),
            (SendOnly, Inactive, SendOnly, SendReceive),
            (Inactive, Inactive, SendReceive, SendReceive),
        ] {
            let mut directions = LegDirections::default();
            directions.client_answered(video_only(offer), video_only(words));
            assert_eq!(directions.wish_for(video_only(offer)), video_only(present), "{words:?} to {offer:?}");
            assert_eq!(directions.wish, video_only(lasting), "{words:?} to {offer:?}, afterwards");
        }
    }

    #[test]
    fn an_answer_is_to_the_offer_whose_number_it_bears_or_to_the_only_one() {
        let offers = [video_only(SendOnly), video_only(SendReceive)];
        let mut directions = LegDirections::new(Directions::default(), true);
        directions.we_offered(1, offers[0]);
        assert_eq!(directions.clone().take_answered(None), Some(offers[0]));
        assert_eq!(directions.news(offers[1]), None, "one at a time");
        directions.offer_overdue();
        assert_eq!(directions.news(offers[0]), None, "that has been said");
        assert_eq!(directions.clone().take_answered(Some(1)), Some(offers[0]), "late");
        assert_eq!(directions.news(offers[1]), Some(offers[1]));
        directions.we_offered(2, offers[1]);
        assert_eq!((directions.take_answered(Some(1)), directions.take_answered(None)), (None, None));
        assert_eq!(directions.take_answered(Some(2)), Some(offers[1]));
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
