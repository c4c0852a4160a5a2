//! Symmetric RTP (RFC 4961): where the packets of one component of a leg go, when that may follow where they come from.
//!
//! Input: the signaled address, the rules for learning, and the source of each packet. Output: whether the packet is the
//! peer's, the address in use, and whether it may be sent to. Owns both addresses, the learning window, and the count of
//! what goes to an address that has yet to speak. Does not know keys: a caller with SRTP asks [`Latch::follow`] only once a
//! packet has proved authentic.
//!
//! ```text
//!   described --> open ------------------------------------> over ---------------------------> over and confirmed
//!                 a newcomer is followed as `LearnFrom`       nobody was heard: the next        no other source is heard;
//!                 says, if the address in use is quiet;       newcomer opens it again           the signaled one may come
//!                 the signaled address, heard, is confirmed                                     back when the other is quiet
//! ```
//!
//! The rules are written down for users at [`Learning`].

use crate::io::Remote;
use crosspoint_contract::{DropReason, LearnFrom, Learning};
use crosspoint_wire::Nanos;

/// An address in use that did not speak for so long may be left for another. Long beside the 20 ms between two packets of
/// speech, short beside a window of seconds.
const QUIET: Nanos = Nanos::from_millis(300);

/// An address that was not signaled must have spoken for so long to be confirmed: one stray packet is not the peer.
const STREAM: Nanos = Nanos::from_millis(100);

/// Of [`Latch::credit`]: the address in use spoke, so nothing is counted.
const HEARD: u32 = u32::MAX;

/// Whether packets may go to the address in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reach {
    Open,
    /// It has not spoken yet: each packet is [counted](Latch::count_sent).
    Counted,
    /// It never spoke and has had its share.
    Spent,
    /// Its peer asked for nothing to be sent.
    Held,
}

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
    Neither,
    Port,
    Address,
    Both,
}

#[derive(Clone, Copy, Debug)]
pub struct Latch {
    signaled: Remote,
    in_use: Remote,
    /// When the window opened.
    opened: Nanos,
    /// When the address in use first spoke, and when last; zero: it never did.
    since: Nanos,
    last: Nanos,
    /// Packets that the address in use may still get without having spoken, or [`HEARD`].
    credit: u32,
    is_held: bool,
}

impl Default for Latch {
    fn default() -> Self {
        Latch {
            signaled: Remote::UNSPECIFIED,
            in_use: Remote::UNSPECIFIED,
            opened: Nanos::ZERO,
            since: Nanos::ZERO,
            last: Nanos::ZERO,
            credit: 0,
            is_held: false,
        }
    }
}

impl Latch {
    /// The peer's address was signaled, perhaps again: the window opens. What was learnt stays in use while the signaled
    /// address is the same.
    pub fn describe(&mut self, signaled: Remote, learning: &Learning, now: Nanos) {
        // RFC 3264 §8.4: hold as it once was. It says nothing of where the peer is, so that stays as it is known.
        self.is_held = signaled == Remote::UNSPECIFIED && self.signaled != Remote::UNSPECIFIED;
        if self.is_held {
            self.opened = now;
            return;
        }
        let stays = signaled == self.signaled && self.in_use != Remote::UNSPECIFIED;
        if !stays || learning.from == LearnFrom::Nothing {
            self.use_from_now(signaled);
        }
        self.signaled = signaled;
        self.opened = now;
    }

    /// Whether signaling named this address.
    pub fn is_signaled(&self, source: Remote) -> bool {
        source == self.signaled
    }

    /// The address in use gets so many packets without having spoken; 0: as many as there are.
    pub fn grant(&mut self, unheard_packets_max: u32) {
        if self.credit != HEARD {
            self.credit = if unheard_packets_max == 0 { HEARD } else { unheard_packets_max };
        }
    }

    /// Whoever is behind the address in use was heard in another way than from there.
    pub fn vouch(&mut self) {
        self.credit = HEARD;
    }

    pub fn reach(&self) -> Reach {
        match self.credit {
            _ if self.is_held => Reach::Held,
            HEARD => Reach::Open,
            0 => Reach::Spent,
            _ => Reach::Counted,
        }
    }

    /// A packet goes to the address in use.
    pub fn count_sent(&mut self) {
        if self.credit != HEARD {
            self.credit = self.credit.saturating_sub(1);
        }
    }

    /// Where packets go.
    #[inline]
    pub fn in_use(&self) -> Remote {
        self.in_use
    }

    /// Another rule than this one decided: ICE.
    pub fn set_in_use(&mut self, remote: Remote) {
        self.use_from_now(remote);
        (self.credit, self.is_held) = (HEARD, false);
    }

    /// The window is over and nobody is confirmed: the next newcomer is learnt all the same, and opens it again.
    pub fn is_late(&self, learning: &Learning, now: Nanos) -> bool {
        learning.from != LearnFrom::Nothing && !self.is_open(learning, now) && !self.is_confirmed(learning, now)
    }

    /// A packet that nothing but its source vouches for.
    #[inline]
    pub fn judge(&mut self, source: Remote, learning: &Learning, now: Nanos) -> Result<Heard, DropReason> {
        if source == self.in_use {
            self.spoke(now);
            return Ok(Heard::Peer);
        }
        self.judge_newcomer(source, learning, now)
    }

    #[cold]
    fn judge_newcomer(&mut self, source: Remote, learning: &Learning, now: Nanos) -> Result<Heard, DropReason> {
        if self.may_be_learnt(source) && self.is_followed(source, learning, now) {
            if self.is_late(learning, now) {
                self.opened = now;
            }
            self.use_from_now(source);
            self.spoke(now);
            return Ok(Heard::Peer);
        }
        self.may_be_heard(source, learning, now).map(|()| Heard::Elsewhere)
    }

    fn is_followed(&self, source: Remote, learning: &Learning, now: Nanos) -> bool {
        let (is_open, is_confirmed) = (self.is_open(learning, now), self.is_confirmed(learning, now));
        let is_quiet = now.since(self.last) >= QUIET;
        match learning.from {
            LearnFrom::Nothing => false,
            _ if learning.media_handover && !learning.strict_source => true,
            _ if source == self.signaled => is_open || !is_confirmed || is_quiet && !learning.strict_source,
            _ if is_confirmed => false,
            LearnFrom::BestMatch if self.last != Nanos::ZERO => {
                let (new, old) = (self.match_of(source), self.match_of(self.in_use));
                let may_be_worse = !is_open || !self.has_spoken();
                is_quiet && (new >= old || may_be_worse) || new > old && new == Match::Address
            }
            _ => is_quiet,
        }
    }

    /// Whether somebody who is not followed is heard: as long as nobody is confirmed, he may be the peer. `asymmetric` says
    /// that the peer sends from elsewhere, so every source may be.
    pub fn may_be_heard(&self, source: Remote, learning: &Learning, now: Nanos) -> Result<(), DropReason> {
        let is_open_to_all = learning.from == LearnFrom::Nothing || !self.is_confirmed(learning, now);
        let is_sane = self.in_use != Remote::UNSPECIFIED && self.may_be_learnt(source);
        if source == self.in_use || is_sane && is_open_to_all && !learning.strict_source {
            Ok(())
        } else {
            Err(DropReason::SourceNotLearned)
        }
    }

    /// Before authentication: whether it is worth trying. A strict leg that has heard its peer listens to no other address.
    #[inline]
    pub fn may_try(&self, source: Remote, learning: &Learning) -> Result<(), DropReason> {
        let is_deaf = learning.strict_source && (self.has_spoken() || learning.from == LearnFrom::Nothing);
        if source == self.in_use || !(is_deaf || self.other_family(source)) {
            Ok(())
        } else {
            Err(DropReason::SourceNotLearned)
        }
    }

    /// An authentic packet came from here: whoever holds the keys may move at any time.
    #[inline]
    pub fn follow(&mut self, source: Remote, learning: &Learning, now: Nanos) {
        if source != self.in_use && learning.from != LearnFrom::Nothing && self.may_be_learnt(source) {
            self.use_from_now(source);
        }
        self.spoke(now);
    }

    fn use_from_now(&mut self, remote: Remote) {
        if remote != self.in_use {
            (self.in_use, self.since, self.last, self.credit) = (remote, Nanos::ZERO, Nanos::ZERO, 0);
        }
    }

    #[inline]
    fn spoke(&mut self, now: Nanos) {
        if self.since == Nanos::ZERO {
            self.since = now;
        }
        (self.last, self.credit) = (now, HEARD);
    }

    fn is_open(&self, learning: &Learning, now: Nanos) -> bool {
        now.since(self.opened) < Nanos::from_millis(learning.window_ms.into())
    }

    /// The address in use spoke since the window opened.
    fn has_spoken(&self) -> bool {
        self.last != Nanos::ZERO && self.last >= self.opened
    }

    /// Whether the address in use is taken for the peer's. What was heard before the window opened counts when it is over:
    /// a peer that is silent while a call is held is no reason to take another.
    fn is_confirmed(&self, learning: &Learning, now: Nanos) -> bool {
        let at_once = self.in_use == self.signaled || learning.from == LearnFrom::FirstPacket;
        if self.is_open(learning, now) {
            return at_once && self.has_spoken();
        }
        self.last != Nanos::ZERO && (at_once || self.last.since(self.since) >= STREAM)
    }

    /// Whether a peer may be there at all.
    pub fn may_be_learnt(&self, source: Remote) -> bool {
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
mod tests;
