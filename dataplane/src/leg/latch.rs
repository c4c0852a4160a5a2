//! Symmetric RTP (RFC 4961): where the packets of one component of a leg go, when that may follow where they come from.
//!
//! Input: the signaled address, the rules for learning, and the source of each packet. Output: whether the packet is the
//! peer's, and the address in use. Owns both addresses and the learning window. Does not know keys: a caller with SRTP asks
//! [`Latch::follow`] only once a packet has proved authentic.
//!
//! ```text
//!   describe -> window open ----------------------------------------------> window over
//!               the rule of `LearnFrom` moves the address in use            it stands (or, media handover, follows)
//!               every source is heard                                       strict source: no other source is heard
//! ```

use crate::io::Remote;
use crosspoint_contract::{DropReason, LearnFrom, Learning};
use crosspoint_wire::Nanos;

/// What a packet's source means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The address in use, perhaps since this packet.
    Peer,
    /// Another one that is listened to; it moves nothing, and is no sign of the peer's life.
    Elsewhere,
}

/// How well a source matches the signaled address ([`LearnFrom::BestMatch`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    Nothing,
    Neither,
    Port,
    Address,
    Both,
}

#[derive(Clone, Copy, Debug)]
pub struct Latch {
    signaled: Remote,
    in_use: Remote,
    window_until: Nanos,
    /// The best source heard since the window opened.
    heard: Match,
}

impl Default for Latch {
    fn default() -> Self {
        Latch {
            signaled: Remote::UNSPECIFIED,
            in_use: Remote::UNSPECIFIED,
            window_until: Nanos::ZERO,
            heard: Match::Nothing,
        }
    }
}

impl Latch {
    /// The peer's address was signaled, perhaps again: the window opens. What was learnt stays in use while the signaled
    /// address is the same.
    pub fn describe(&mut self, signaled: Remote, learning: &Learning, now: Nanos) {
        if signaled != self.signaled || self.in_use == Remote::UNSPECIFIED || learning.from == LearnFrom::Nothing {
            self.in_use = signaled;
        }
        self.signaled = signaled;
        self.window_until = now + Nanos::from_millis(learning.window_ms.into());
        self.heard = Match::Nothing;
    }

    /// Where packets go.
    #[inline]
    pub fn in_use(&self) -> Remote {
        self.in_use
    }

    /// Another rule than this one decided: ICE.
    pub fn set_in_use(&mut self, remote: Remote) {
        self.in_use = remote;
    }

    /// A packet that nothing but its source vouches for.
    #[inline]
    pub fn judge(&mut self, source: Remote, learning: &Learning, now: Nanos) -> Result<Heard, DropReason> {
        if source == self.in_use {
            if self.heard == Match::Nothing {
                self.heard = self.match_of(source);
            }
            return Ok(Heard::Peer);
        }
        self.judge_stranger(source, learning, now)
    }

    #[cold]
    fn judge_stranger(&mut self, source: Remote, learning: &Learning, now: Nanos) -> Result<Heard, DropReason> {
        if !self.may_be_learnt(source) {
            return Err(DropReason::SourceNotLearned);
        }
        let matches = self.match_of(source);
        let is_open = now < self.window_until;
        let moves = match learning.from {
            LearnFrom::Nothing => false,
            LearnFrom::FirstPacket => is_open && self.heard == Match::Nothing,
            LearnFrom::LastPacketOfWindow => is_open,
            LearnFrom::BestMatch => is_open && matches >= self.heard,
        };
        let is_confirmed = match learning.from {
            LearnFrom::Nothing => true,
            LearnFrom::FirstPacket => !is_open || self.heard != Match::Nothing,
            LearnFrom::LastPacketOfWindow | LearnFrom::BestMatch => !is_open,
        };
        let hands_over = is_confirmed && learning.media_handover && learning.from != LearnFrom::Nothing;
        if moves || (hands_over && !learning.strict_source) {
            self.in_use = source;
            self.heard = self.heard.max(matches);
            return Ok(Heard::Peer);
        }
        let is_deaf = self.in_use == Remote::UNSPECIFIED || (learning.strict_source && is_confirmed);
        if is_deaf { Err(DropReason::SourceNotLearned) } else { Ok(Heard::Elsewhere) }
    }

    /// Before authentication: whether it is worth trying. A strict leg that has heard its peer listens to no other address.
    #[inline]
    pub fn may_try(&self, source: Remote, learning: &Learning) -> Result<(), DropReason> {
        let is_deaf = learning.strict_source && (self.heard != Match::Nothing || learning.from == LearnFrom::Nothing);
        if source == self.in_use || !(is_deaf || self.other_family(source)) {
            Ok(())
        } else {
            Err(DropReason::SourceNotLearned)
        }
    }

    /// An authentic packet came from here: whoever holds the keys may move at any time.
    #[inline]
    pub fn follow(&mut self, source: Remote, learning: &Learning) {
        self.heard = Match::Both;
        if source != self.in_use && learning.from != LearnFrom::Nothing && self.may_be_learnt(source) {
            self.in_use = source;
        }
    }

    fn may_be_learnt(&self, source: Remote) -> bool {
        source.port() != 0 && !source.ip().is_multicast() && !self.other_family(source)
    }

    fn other_family(&self, source: Remote) -> bool {
        self.signaled != Remote::UNSPECIFIED && self.signaled.ip().is_ipv4() != source.ip().is_ipv4()
    }

    fn match_of(&self, source: Remote) -> Match {
        match (source.ip() == self.signaled.ip(), source.port() == self.signaled.port()) {
            (true, true) => Match::Both,
            (true, false) => Match::Address,
            (false, true) => Match::Port,
            (false, false) => Match::Neither,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    const SIGNALED: &str = "192.0.2.7:4000";
    const SAME_ADDRESS: &str = "192.0.2.7:4444";
    const SAME_PORT: &str = "198.51.100.1:4000";
    const OTHER: &str = "203.0.113.5:9999";
    const SIXTH: &str = "[2001:db8::1]:4000";

    const WINDOW: Nanos = Nanos::from_secs(3);

    fn remote(text: &str) -> Remote {
        text.parse::<SocketAddr>().expect("an address").into()
    }

    fn learning(from: LearnFrom) -> Learning {
        Learning { from, window_ms: 3000, strict_source: false, media_handover: false }
    }

    fn strict(from: LearnFrom) -> Learning {
        Learning { strict_source: true, ..learning(from) }
    }

    fn handover(from: LearnFrom) -> Learning {
        Learning { media_handover: true, ..learning(from) }
    }

    /// Packets at seconds from these sources; gives what each meant, and the address in use at the end.
    fn play(learning: Learning, packets: &[(u64, &str)]) -> (String, Remote) {
        let mut latch = Latch::default();
        latch.describe(remote(SIGNALED), &learning, Nanos::from_secs(100));
        let meant = packets.iter().map(|&(at, source)| {
            match latch.judge(remote(source), &learning, Nanos::from_secs(100 + at)) {
                Ok(Heard::Peer) => 'p',
                Ok(Heard::Elsewhere) => 'e',
                Err(_) => 'x',
            }
        });
        (meant.collect(), latch.in_use())
    }

    #[test]
    fn each_rule_of_learning_moves_the_address_as_it_says() {
        use LearnFrom::{BestMatch, FirstPacket, LastPacketOfWindow, Nothing};
        let after = WINDOW.0 / 1_000_000_000 + 1;
        let cases = [
            (learning(Nothing), vec![(0, OTHER), (0, SIGNALED)], "ep", SIGNALED),
            (strict(Nothing), vec![(0, OTHER), (0, SIGNALED)], "xp", SIGNALED),
            (learning(FirstPacket), vec![(0, OTHER), (0, SIGNALED)], "pe", OTHER),
            (learning(FirstPacket), vec![(0, SIGNALED), (0, OTHER)], "pe", SIGNALED),
            (strict(FirstPacket), vec![(0, OTHER), (1, SIGNALED)], "px", OTHER),
            (learning(FirstPacket), vec![(after, OTHER)], "e", SIGNALED),
            (strict(FirstPacket), vec![(after, OTHER)], "x", SIGNALED),
            (learning(LastPacketOfWindow), vec![(0, OTHER), (1, SAME_PORT), (after, OTHER)], "ppe", SAME_PORT),
            (strict(LastPacketOfWindow), vec![(0, OTHER), (1, SAME_PORT), (after, OTHER)], "ppx", SAME_PORT),
            (handover(LastPacketOfWindow), vec![(0, OTHER), (after, SAME_PORT)], "pp", SAME_PORT),
            (learning(BestMatch), vec![(0, OTHER), (0, SAME_PORT), (0, OTHER)], "ppe", SAME_PORT),
            (learning(BestMatch), vec![(0, SAME_PORT), (0, SAME_ADDRESS), (0, SAME_PORT)], "ppe", SAME_ADDRESS),
            (learning(BestMatch), vec![(0, SIGNALED), (0, SAME_ADDRESS), (0, SIGNALED)], "pep", SIGNALED),
            (strict(BestMatch), vec![(0, OTHER), (after, SAME_ADDRESS)], "px", OTHER),
            (learning(FirstPacket), vec![(0, SIXTH), (0, OTHER)], "xp", OTHER),
        ];
        for (learning, packets, meant, in_use) in cases {
            assert_eq!(play(learning, &packets), (meant.to_owned(), remote(in_use)), "{learning:?} {packets:?}");
        }
    }

    #[test]
    fn nothing_is_sent_or_heard_before_an_address_is_known_unless_one_may_be_learnt() {
        for (from, expected) in [(LearnFrom::Nothing, None), (LearnFrom::FirstPacket, Some(OTHER))] {
            let (mut latch, learning) = (Latch::default(), learning(from));
            latch.describe(Remote::UNSPECIFIED, &learning, Nanos::from_secs(1));
            let heard = latch.judge(remote(OTHER), &learning, Nanos::from_secs(2));
            assert_eq!(heard.is_ok(), expected.is_some(), "{from:?}");
            assert_eq!(latch.in_use(), expected.map_or(Remote::UNSPECIFIED, remote));
        }
    }

    #[test]
    fn repeated_signaling_keeps_what_was_learnt_and_opens_the_window_again() {
        let (mut latch, learning) = (Latch::default(), learning(LearnFrom::FirstPacket));
        latch.describe(remote(SIGNALED), &learning, Nanos::from_secs(1));
        assert_eq!(latch.judge(remote(OTHER), &learning, Nanos::from_secs(1)), Ok(Heard::Peer));
        latch.describe(remote(SIGNALED), &learning, Nanos::from_secs(60));
        assert_eq!(latch.in_use(), remote(OTHER));
        assert_eq!(latch.judge(remote(SAME_PORT), &learning, Nanos::from_secs(61)), Ok(Heard::Peer));
        latch.describe(remote(SAME_ADDRESS), &learning, Nanos::from_secs(90));
        assert_eq!(latch.in_use(), remote(SAME_ADDRESS), "another signaled address is used at once");
    }

    #[test]
    fn an_authentic_packet_moves_the_address_at_any_time_unless_told_not_to() {
        for (learning, tried, in_use) in [
            (learning(LearnFrom::FirstPacket), true, OTHER),
            (learning(LearnFrom::Nothing), true, SIGNALED),
            (strict(LearnFrom::FirstPacket), false, SIGNALED),
        ] {
            let mut latch = Latch::default();
            latch.describe(remote(SIGNALED), &learning, Nanos::from_secs(1));
            latch.follow(remote(SIGNALED), &learning);
            assert_eq!(latch.may_try(remote(OTHER), &learning).is_ok(), tried, "{learning:?}");
            if tried {
                latch.follow(remote(OTHER), &learning);
            }
            assert_eq!(latch.in_use(), remote(in_use), "{learning:?}");
        }
    }
}
