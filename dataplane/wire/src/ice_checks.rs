//! The checking side of ICE for one leg, beside [`crate::ice_lite`], which answers: a full agent sends checks to the peer's
//! candidates, hears their answers, nominates or follows a nomination, and asks for consent. Where the peer is lite, nobody
//! else does.
//!
//! Input: the peer's candidates and credentials, its checks and its answers, the time. Output: checks to send, and which
//! address an answer has proved. Owns one table of pairs a component and the role of the leg. Has no sockets; one address
//! of ours in each family is the base of all pairs of that family, so a pair is told by the peer's address. Allocates
//! nothing. RFC 8445 §6 to §8, RFC 7675.
//!
//! ```text
//!  candidate, or a check from elsewhere -> waiting -> in progress -> valid -> in use -> chosen: consent every 5 s
//!                                             ^           |             (the first valid one)
//!                                             |           '-> failed: no answer to seven tries, an error, another source
//!                                             '------------------- a check of the peer's from there
//! ```
//!
//! What a peer can make us send is bounded: a packet each [`PACE`], seven to an address that does not answer, to
//! [`PAIRS_MAX`] addresses at once, and [`CHECKS_MAX`] in all before the next description. An answer counts only from where
//! the check went, with its transaction id, which cannot be guessed by somebody who has seen others.

use crate::ice_lite::{Credentials, StunRefusal};
use crate::stun::{self, BindingRequest, Class, Message, TransactionId};
use crate::time::Nanos;
use aws_lc_rs::hmac;
use std::net::SocketAddr;

/// RTP, and RTCP on a port of its own (RFC 8445 §4).
pub const COMPONENTS: usize = 2;

/// Addresses of the peer that one component may have under check. Browsers name fewer than ten.
pub const PAIRS_MAX: usize = 16;

/// RFC 8445 §14.2: Ta, between two packets of one leg.
pub const PACE: Nanos = Nanos::from_millis(50);

/// Packets to addresses that have not answered, for the life of one peer's credentials: twice what all pairs of a component
/// take to fail.
pub const CHECKS_MAX: u16 = 2 * TRIES_MAX as u16 * PAIRS_MAX as u16;

/// Room for a check: two username fragments of 256 bytes (RFC 8839 §5.4) and all attributes.
pub const REQUEST_BYTES_MAX: usize = 640;

/// RFC 8445 §14.3.
const RETRANSMIT_AFTER: Nanos = Nanos::from_millis(500);
/// RFC 8489 §6.2.1: Rc and, rather than Rm, a longest pause.
const TRIES_MAX: u8 = 7;
const RETRANSMIT_AFTER_MAX: Nanos = Nanos::from_secs(8);

/// A better pair has this long to come after the first before we nominate (RFC 8445 §8.1.1 leaves it open).
const NOMINATE_AFTER: Nanos = Nanos::from_millis(300);

/// RFC 7675 §5.1: every 5 s, give or take a fifth.
const CONSENT_INTERVAL_MIN: Nanos = Nanos::from_secs(4);
const CONSENT_INTERVAL_SPREAD: Nanos = Nanos::from_secs(2);

const NEVER: Nanos = Nanos(u64::MAX);

/// RFC 8445 §7.3.1.1.
const ROLE_CONFLICT: u16 = 487;

/// RFC 8445 §5.1.2.2: the type preferences of host and peer-reflexive candidates.
const HOST: u32 = 126;
const PEER_REFLEXIVE: u32 = 110;

/// RFC 8445 §5.1.2.1 with the highest local preference.
fn priority(type_preference: u32, component: usize) -> u32 {
    type_preference << 24 | 0xffff << 8 | (255 - component as u32)
}

/// RFC 8445 §6.1.2.3, but for its last bit, which only tells apart what no peer sees.
fn pair_priority(ours: u32, theirs: u32) -> u64 {
    u64::from(ours.min(theirs)) << 32 | u64::from(ours.max(theirs))
}

/// The priority of a peer's address that no candidate names and no check describes.
pub fn reflexive_priority(component: usize) -> u32 {
    priority(PEER_REFLEXIVE, component)
}

/// Who nominates (RFC 8445 §6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    pub controlling: bool,
    pub tie_breaker: u64,
}

impl Role {
    /// RFC 8445 §7.3.1.1: of two agents with the same role, the one with the larger number controls. True when the peer has
    /// to switch; else we have, if there was a conflict.
    pub fn conflicts(&mut self, check: &Message<'_>) -> bool {
        let theirs = if self.controlling { check.ice_controlling() } else { check.ice_controlled() };
        let Some(theirs) = theirs else { return false };
        let wins = self.tie_breaker >= theirs;
        let stays = wins == self.controlling;
        self.controlling = wins;
        stays
    }
}

/// An address of the peer's, from its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// 0 is RTP, 1 is RTCP.
    pub component: usize,
    pub addr: SocketAddr,
    pub priority: u32,
}

/// A packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    pub component: usize,
    pub addr: SocketAddr,
    /// Bytes in the buffer.
    pub len: usize,
}

/// What the peer has proved of an address: it receives there, and knows what is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    pub addr: SocketAddr,
    /// When it last answered: consent lives from then (RFC 7675 §5.1).
    pub answered: Nanos,
    /// Packets go there.
    pub in_use: bool,
    /// It is nominated: the addresses before a restart have had their time.
    pub chosen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    InProgress,
    Valid,
    Failed,
}

/// What was sent last to an address; an answer must name it.
#[derive(Clone, Copy, Debug)]
struct Transaction {
    id: TransactionId,
    tries: u8,
    nominates: bool,
    controlling: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    addr: SocketAddr,
    priority: u64,
    state: State,
    /// When the next packet goes there.
    due: Nanos,
    /// When it last answered.
    answered: Nanos,
    transaction: Option<Transaction>,
    /// The peer's check, or ours, says that it is to be used.
    nominated: bool,
    /// Before all others: the peer has just shown that it is there.
    triggered: bool,
}

/// The pairs of a component.
#[derive(Debug)]
struct Checklist {
    pairs: [Option<Pair>; PAIRS_MAX],
    in_use: Option<SocketAddr>,
    chosen: bool,
    /// When the first pair was valid.
    valid_since: Option<Nanos>,
}

/// A full agent's checks towards one peer, under one pair of credentials of the peer's.
pub struct Checks {
    pub role: Role,
    peer: Credentials,
    secret: hmac::Key,
    drawn: u64,
    checklists: [Checklist; COMPONENTS],
    /// RFC 8445 §14.2.
    not_before: Nanos,
    checks_left: u16,
}

impl Checks {
    /// `secret` is random: transaction ids come from it.
    pub fn new(role: Role, peer: Credentials, secret: &[u8; 32]) -> Self {
        let checklist = || Checklist { pairs: [None; PAIRS_MAX], in_use: None, chosen: false, valid_since: None };
        Checks {
            role,
            peer,
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
            drawn: 0,
            checklists: [checklist(), checklist()],
            not_before: Nanos::ZERO,
            checks_left: CHECKS_MAX,
        }
    }

    /// One more address of the peer's. What is known already, or finds no place, changes nothing.
    pub fn add(&mut self, candidate: Candidate) {
        let Some(checklist) = self.checklists.get_mut(candidate.component) else { return };
        if checklist.find(candidate.addr).is_none() {
            checklist.insert(candidate);
        }
    }

    /// A check of the peer's with our password has come from there. What it proves, if we had checked the address already.
    pub fn hear_check(
        &mut self,
        component: usize,
        addr: SocketAddr,
        priority: u32,
        nominates: bool,
        now: Nanos,
    ) -> Option<Proof> {
        let controlling = self.role.controlling;
        let checklist = self.checklists.get_mut(component)?;
        // RFC 8445 §7.3.1.3: an address that nobody named is a peer-reflexive candidate.
        if checklist.find(addr).is_none() {
            checklist.insert(Candidate { component, addr, priority });
        }
        let pair = checklist.find(addr)?;
        // RFC 8445 §7.3.1.5.
        pair.nominated |= nominates && !controlling;
        if pair.state != State::Valid {
            pair.trigger(now);
            return None;
        }
        let is_chosen = checklist.chosen && checklist.in_use == Some(addr);
        if nominates && !controlling && !is_chosen { checklist.choose(addr) } else { None }
    }

    /// An answer to one of our checks, perhaps: nothing unless it proves something.
    pub fn hear_answer(
        &mut self,
        component: usize,
        source: SocketAddr,
        message: &Message<'_>,
        now: Nanos,
    ) -> Result<Option<Proof>, StunRefusal> {
        let checklist = self.checklists.get_mut(component).ok_or(StunRefusal::Unexpected)?;
        let pair = checklist.awaiting(&message.transaction_id()).ok_or(StunRefusal::Unexpected)?;
        // RFC 8489 §9.1.4, RFC 8445 §7.1: what does not authenticate is as if it had never come.
        if !message.verify_fingerprint() || !message.verify_integrity(self.peer.pwd.as_bytes()) {
            return Err(StunRefusal::Unauthentic);
        }
        let Some(transaction) = pair.transaction.take() else { return Err(StunRefusal::Unexpected) };
        let addr = pair.addr;
        // RFC 8445 §7.2.5.2.1: the answer comes from where the check went, or the pair has failed.
        let is_success = message.class() == Class::Success && message.xor_mapped_address().is_some();
        if source != addr || (message.class() == Class::Success && !is_success) {
            pair.fail();
            return Err(StunRefusal::Unexpected);
        }
        if is_success {
            let controlling = self.role.controlling;
            return Ok(checklist.succeed(addr, transaction, controlling, now));
        }
        match message.error_code() {
            // RFC 8445 §7.2.5.1. An answer from before we switched says nothing.
            Some(ROLE_CONFLICT) => {
                pair.trigger(now);
                if transaction.controlling == self.role.controlling {
                    self.role.controlling = !transaction.controlling;
                }
            }
            // RFC 8445 §7.2.5.2.4. Of a pair in use, consent runs out.
            _ if pair.state != State::Valid => pair.fail(),
            _ => pair.due = now + RETRANSMIT_AFTER,
        }
        Ok(None)
    }

    /// The next packet that is due, written into `buffer` of [`REQUEST_BYTES_MAX`] bytes; `ufrag` is ours.
    pub fn poll(&mut self, now: Nanos, ufrag: &str, buffer: &mut [u8]) -> Option<Transmit> {
        if now < self.not_before {
            return None;
        }
        let controlling = self.role.controlling;
        for checklist in &mut self.checklists {
            checklist.let_fail(now);
            if controlling {
                checklist.nominate(now);
            }
        }
        let (component, at) = self.most_urgent(now)?;
        let drawn = self.draw();
        let checklist = &mut self.checklists[component];
        let pair = checklist.pairs[at].as_mut()?;
        let is_valid = pair.state == State::Valid;
        if !is_valid {
            match self.checks_left.checked_sub(1) {
                Some(left) => self.checks_left = left,
                None => {
                    pair.fail();
                    return None;
                }
            }
        }
        let transaction = pair.try_again(now, controlling, &drawn);
        let request = BindingRequest {
            remote_ufrag: &self.peer.ufrag,
            local_ufrag: ufrag,
            // RFC 8445 §7.1.1: as if the peer learnt of us from this check.
            priority: reflexive_priority(component),
            tie_breaker: self.role.tie_breaker,
            controlling,
            use_candidate: transaction.nominates,
        };
        let addr = pair.addr;
        self.not_before = now + PACE;
        let len = stun::write_binding_request(buffer, &transaction.id, &request, self.peer.pwd.as_bytes()).ok()?;
        Some(Transmit { component, addr, len })
    }

    /// When [`poll`](Self::poll) has something to do again; far away when it never has.
    pub fn next_due(&self) -> Nanos {
        let due = self.checklists.iter().map(|checklist| checklist.next_due(self.role.controlling)).min();
        due.unwrap_or(NEVER).max(self.not_before)
    }

    /// Nothing is valid, and nothing more will be tried: the peer cannot be reached at any address that is known.
    pub fn has_failed(&self) -> bool {
        let rtp = &self.checklists[0];
        rtp.in_use.is_none() && rtp.pairs.iter().flatten().all(|pair| pair.due == NEVER)
    }

    fn most_urgent(&self, now: Nanos) -> Option<(usize, usize)> {
        let all = self.checklists.iter().enumerate().flat_map(|(component, checklist)| {
            checklist.pairs.iter().enumerate().filter_map(move |(at, pair)| Some((component, at, pair.as_ref()?)))
        });
        let due = all.filter(|(.., pair)| pair.due <= now);
        // RFC 8445 §6.1.4.2: triggered checks first, then by priority.
        due.max_by_key(|(.., pair)| (pair.triggered, pair.nominated, pair.priority))
            .map(|(component, at, _)| (component, at))
    }

    /// Sixteen bytes that cannot be guessed by whoever has seen those before.
    fn draw(&mut self) -> [u8; 16] {
        self.drawn += 1;
        let tag = hmac::sign(&self.secret, &self.drawn.to_le_bytes());
        let mut drawn = [0; 16];
        drawn.copy_from_slice(&tag.as_ref()[..16]);
        drawn
    }
}

impl Checklist {
    fn find(&mut self, addr: SocketAddr) -> Option<&mut Pair> {
        self.pairs.iter_mut().flatten().find(|pair| pair.addr == addr)
    }

    fn awaiting(&mut self, id: &TransactionId) -> Option<&mut Pair> {
        let named = |pair: &&mut Pair| pair.transaction.is_some_and(|transaction| transaction.id == *id);
        self.pairs.iter_mut().flatten().find(named)
    }

    /// A free place, or that of a pair that has failed.
    fn insert(&mut self, candidate: Candidate) {
        let is_open = |place: &&mut Option<Pair>| place.is_none_or(|pair| pair.state == State::Failed);
        if let Some(place) = self.pairs.iter_mut().find(is_open) {
            *place = Some(Pair {
                addr: candidate.addr,
                priority: pair_priority(priority(HOST, candidate.component), candidate.priority),
                state: State::Waiting,
                // Of a component that has chosen, only the peer can begin anew.
                due: if self.chosen { NEVER } else { Nanos::ZERO },
                answered: Nanos::ZERO,
                transaction: None,
                nominated: false,
                triggered: false,
            });
        }
    }

    /// RFC 8489 §6.2.1: the last try has had its time.
    fn let_fail(&mut self, now: Nanos) {
        for pair in self.pairs.iter_mut().flatten() {
            let tries = pair.transaction.map_or(0, |transaction| transaction.tries);
            if pair.due <= now && tries >= TRIES_MAX {
                pair.fail();
            }
        }
    }

    /// RFC 8445 §8.1.1: the best valid pair, once none that is better may still come, or has had time to.
    fn nominate(&mut self, now: Nanos) {
        let Some(since) = self.valid_since.filter(|_| self.has_to_nominate()) else { return };
        let pairs = || self.pairs.iter().flatten().filter(|pair| pair.state != State::Failed);
        let best = pairs().map(|pair| pair.priority).max();
        let valid = pairs().filter(|pair| pair.state == State::Valid).max_by_key(|pair| pair.priority);
        let Some(valid) = valid.filter(|pair| Some(pair.priority) == best || now >= since + NOMINATE_AFTER) else {
            return;
        };
        let addr = valid.addr;
        if let Some(pair) = self.find(addr) {
            (pair.nominated, pair.transaction, pair.due) = (true, None, now);
        }
    }

    fn succeed(&mut self, addr: SocketAddr, transaction: Transaction, controlling: bool, now: Nanos) -> Option<Proof> {
        self.valid_since.get_or_insert(now);
        let pair = self.find(addr)?;
        (pair.state, pair.due, pair.answered) = (State::Valid, NEVER, now);
        // RFC 8445 §7.2.5.3.4, §7.3.1.5: our nomination was answered, or the peer's finds its pair valid.
        if if controlling { transaction.nominates } else { pair.nominated } {
            return self.choose(addr);
        }
        // RFC 8445 §12.1.1: a valid pair may be used before one is chosen.
        if *self.in_use.get_or_insert(addr) == addr {
            self.ask_again(addr, now + CONSENT_INTERVAL_MIN);
        }
        if controlling {
            self.nominate(now);
        }
        Some(self.proof(addr, now))
    }

    /// Packets go there, and the search is over (RFC 8445 §8.1.2). Nothing when it is so already.
    fn choose(&mut self, addr: SocketAddr) -> Option<Proof> {
        let answered = self.find(addr)?.answered;
        (self.in_use, self.chosen) = (Some(addr), true);
        for pair in self.pairs.iter_mut().flatten() {
            pair.nominated = false;
            if pair.addr != addr {
                (pair.due, pair.triggered) = (NEVER, false);
                if pair.state != State::Valid {
                    pair.fail();
                }
            }
        }
        self.ask_again(addr, answered + CONSENT_INTERVAL_MIN);
        Some(self.proof(addr, answered))
    }

    fn proof(&self, addr: SocketAddr, answered: Nanos) -> Proof {
        let in_use = self.in_use == Some(addr);
        Proof { addr, answered, in_use, chosen: in_use && self.chosen }
    }

    /// RFC 7675 §5.1.
    fn ask_again(&mut self, addr: SocketAddr, due: Nanos) {
        if let Some(pair) = self.find(addr) {
            (pair.due, pair.transaction) = (due, None);
        }
    }

    fn next_due(&self, controlling: bool) -> Nanos {
        let pairs = || self.pairs.iter().flatten();
        let nomination = self.valid_since.filter(|_| controlling && self.has_to_nominate());
        pairs().map(|pair| pair.due).chain(nomination.map(|since| since + NOMINATE_AFTER)).min().unwrap_or(NEVER)
    }

    /// There is what may be nominated, and nothing is.
    fn has_to_nominate(&self) -> bool {
        let valid = || self.pairs.iter().flatten().filter(|pair| pair.state == State::Valid);
        !self.chosen && valid().next().is_some() && !valid().any(|pair| pair.nominated)
    }
}

impl Pair {
    fn fail(&mut self) {
        (self.state, self.due, self.transaction, self.triggered) = (State::Failed, NEVER, None, false);
    }

    /// RFC 8445 §7.3.1.4: checked at once, unless a check is on its way.
    fn trigger(&mut self, now: Nanos) {
        if self.state == State::InProgress && self.transaction.is_some_and(|transaction| transaction.tries < 2) {
            return;
        }
        (self.due, self.triggered) = (now, true);
        if self.state == State::Failed {
            self.state = State::Waiting;
        }
    }

    /// The transaction goes on, or a new one begins.
    fn try_again(&mut self, now: Nanos, controlling: bool, drawn: &[u8; 16]) -> Transaction {
        let nominates = controlling && self.nominated && self.state == State::Valid;
        // RFC 7675 §5.1: each question for consent is a new one.
        let goes_on = |last: &Transaction| {
            last.controlling == controlling && last.nominates == nominates && (self.state != State::Valid || nominates)
        };
        let mut id = [0; 12];
        id.copy_from_slice(&drawn[..12]);
        let before = self.transaction.filter(goes_on);
        let transaction = match before {
            Some(last) => Transaction { tries: last.tries + 1, ..last },
            None => Transaction { id, tries: 1, nominates, controlling },
        };
        let doubled = Nanos(RETRANSMIT_AFTER.0 << (transaction.tries - 1).min(5)).min(RETRANSMIT_AFTER_MAX);
        let spread = Nanos(CONSENT_INTERVAL_SPREAD.0 / 256 * u64::from(drawn[12]));
        let is_consent = self.state == State::Valid && !nominates;
        self.due = now + if is_consent { CONSENT_INTERVAL_MIN + spread } else { doubled };
        if self.state == State::Waiting {
            self.state = State::InProgress;
        }
        self.triggered = false;
        self.transaction = Some(transaction);
        transaction
    }
}

#[cfg(test)]
mod tests;
