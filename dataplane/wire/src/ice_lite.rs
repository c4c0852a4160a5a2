//! The answering side of ICE for one leg: answers the peer's checks and remembers from where they came. That is all that a
//! lite agent does; a full one has [`crate::ice_checks`] beside it, which then decides where packets go.
//!
//! Input: parsed STUN messages with their source, and the time. Output: a reply to send, and where packets go. Owns our
//! credentials, the validated addresses and the consent. The peer's credentials are not needed: checks prove that it
//! knows *ours*. Sends no checks and gathers nothing: a lite agent is always controlled, and its peer a full agent.
//! RFC 8445 §2.5, §7.3; RFC 7675.
//!
//! ```text
//!  check with our ufrag and pwd           -> the source is validated: its DTLS and SRTP are listened to
//!  … the first of all                     -> packets go there, until the peer nominates
//!  … that carries USE-CANDIDATE           -> packets go there
//!  restart()                              -> good are the new credentials and those of the pair in use
//!  nomination with the new credentials    -> old credentials and old addresses are forgotten
//! ```
//!
//! Of a full agent, checks only validate: in use is what [`IceLite::confirm`] says, and answers to our own checks are
//! what consent lives on.
//!
//! A message is judged by [`IceLite::handle`] and takes effect by [`IceLite::note`], so that the caller may refuse an
//! address in between.
//!
//! Whatever proves no knowledge of the password gets no answer.

use crate::ice_checks::{Proof, Role};
use crate::stun::{self, Class, Message};
use crate::time::Nanos;
use std::net::SocketAddr;
use subtle::ConstantTimeEq;
use thiserror::Error;

/// Addresses of one peer that may be validated at once. A phone with two networks and both IP versions uses four.
pub const VALIDATED_MAX: usize = 8;

/// RFC 7675 §5.1: consent expires 30 s after the last check that proved it.
pub const CONSENT_LIFETIME: Nanos = Nanos::from_secs(30);

/// RFC 8489 §6.3.1: the request has an attribute that must be understood and is not.
const UNKNOWN_ATTRIBUTE: u16 = 420;
/// RFC 8445 §7.3.1.1.
const ROLE_CONFLICT: u16 = 487;

/// `a=ice-ufrag` and `a=ice-pwd` (RFC 8839 §5.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub ufrag: String,
    pub pwd: String,
}

/// Never prints the password.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// Why a message was not answered with success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StunRefusal {
    #[error("breaks the syntax that ICE demands")]
    Malformed,
    #[error("username fragment is not ours")]
    UnknownUser,
    #[error("message integrity or fingerprint is wrong")]
    Unauthentic,
    #[error("peer claims the controlled role")]
    RoleConflict,
    #[error("a kind of message that a lite agent neither serves nor awaits")]
    Unexpected,
}

/// What came of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes of `reply` to send back to the source; 0 means none.
    pub reply_len: usize,
    /// A check that succeeded; it counts once it is [noted](IceLite::note).
    pub check: Option<Check>,
    pub refused: Option<StunRefusal>,
}

/// A check that proved knowledge of our password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    addr: SocketAddr,
    /// Which credentials it used.
    restart: u32,
    nominated: bool,
    priority: Option<u32>,
}

impl Check {
    /// PRIORITY, as the peer says it.
    pub fn priority(&self) -> Option<u32> {
        self.priority
    }

    /// USE-CANDIDATE, with the credentials in force.
    pub fn nominates(&self, ice: &IceLite) -> bool {
        self.nominated && self.restart == ice.restart
    }

    /// Where it came from.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// An address whose check succeeded.
#[derive(Clone, Copy, Debug)]
struct Validated {
    addr: SocketAddr,
    /// Of the last check that succeeded.
    checked_at: Nanos,
    /// Which credentials it used.
    restart: u32,
}

/// The address that packets go to.
#[derive(Clone, Copy, Debug)]
struct InUse {
    addr: SocketAddr,
    /// By the peer; otherwise it is the first that was validated.
    nominated: bool,
    /// The credentials it was taken into use with, and is kept alive with.
    restart: u32,
    /// When the peer last agreed to receive there (RFC 7675).
    agreed: Nanos,
}

/// Credentials from before a restart.
#[derive(Debug)]
struct Retired {
    credentials: Credentials,
    restart: u32,
    /// The peer has nominated with newer ones. Kept until the next restart takes them out, because a packet frees no
    /// memory.
    void: bool,
}

/// ICE of one leg.
#[derive(Debug)]
pub struct IceLite {
    local: Credentials,
    retired: Option<Retired>,
    /// Counts restarts.
    restart: u32,
    validated: [Option<Validated>; VALIDATED_MAX],
    in_use: Option<InUse>,
    /// We send checks too, and follow their answers only.
    checks: bool,
}

impl IceLite {
    pub fn new(local: Credentials) -> Self {
        IceLite { local, retired: None, restart: 0, validated: [None; VALIDATED_MAX], in_use: None, checks: false }
    }

    /// Ours in force.
    pub fn ufrag(&self) -> &str {
        &self.local.ufrag
    }

    /// From now on our own checks decide, or the peer's again. What the peer had us use by its checks, and whether it
    /// nominated that: to be checked.
    pub fn set_checks(&mut self, checks: bool) -> Option<(SocketAddr, bool)> {
        let before = std::mem::replace(&mut self.checks, checks);
        let begins = checks && !before;
        self.in_use.take_if(|_| begins).map(|pair| (pair.addr, pair.nominated))
    }

    /// An answer to a check of ours has proved the address.
    pub fn confirm(&mut self, proof: Proof) {
        self.validate(Validated { addr: proof.addr, checked_at: proof.answered, restart: self.restart });
        if !proof.in_use {
            return;
        }
        // The pair from before a restart goes on until another is chosen.
        if proof.chosen || self.in_use.is_none_or(|pair| pair.addr == proof.addr || !pair.nominated) {
            let nominated = proof.chosen || self.in_use.is_some_and(|pair| pair.nominated);
            self.in_use = Some(InUse { addr: proof.addr, nominated, restart: self.restart, agreed: proof.answered });
        }
        if proof.chosen {
            self.forget_before_restart();
        }
    }

    /// Whether a check whose USERNAME begins with `ufrag` is for this leg.
    pub fn has_local_ufrag(&self, ufrag: &str) -> bool {
        self.credentials(ufrag).is_some()
    }

    /// Takes new local credentials (RFC 8445 §9). The pair in use stays in use, and its credentials good, until the peer
    /// nominates with the newest, however many restarts lie between. Returns the credentials that are good no more.
    pub fn restart(&mut self, local: Credentials) -> Option<Credentials> {
        let replaced =
            Retired { credentials: std::mem::replace(&mut self.local, local), restart: self.restart, void: false };
        self.restart += 1;
        let in_use = self.in_use.map(|pair| pair.restart);
        if self.retired.as_ref().is_some_and(|retired| !retired.void && Some(retired.restart) == in_use) {
            return Some(replaced.credentials);
        }
        self.retired.replace(replaced).map(|retired| retired.credentials)
    }

    /// Whether DTLS and media from `addr` may be listened to.
    #[inline]
    pub fn is_validated(&self, addr: SocketAddr) -> bool {
        self.validated.iter().flatten().any(|pair| pair.addr == addr)
    }

    /// The addresses that [`is_validated`](Self::is_validated) accepts.
    pub fn validated(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.validated.iter().flatten().map(|pair| pair.addr)
    }

    /// Where packets go: to the nominated address, and before there is one to the first that was validated.
    #[inline]
    pub fn in_use(&self) -> Option<SocketAddr> {
        self.in_use.map(|pair| pair.addr)
    }

    /// Whether the peer agreed within the last 30 s to receive at the address in use.
    pub fn has_consent(&self, now: Nanos) -> bool {
        self.in_use.is_some_and(|pair| now.since(pair.agreed) <= CONSENT_LIFETIME)
    }

    /// Whether sending to the address in use must stop. False while there is none.
    pub fn consent_expired(&self, now: Nanos) -> bool {
        self.in_use.is_some() && !self.has_consent(now)
    }

    /// Judges one message that came from `source`; `reply` has [`stun::MESSAGE_BYTES_MAX`] bytes.
    /// `role` is that of a full agent, and may change.
    pub fn handle(
        &self,
        source: SocketAddr,
        message: &Message<'_>,
        role: Option<&mut Role>,
        reply: &mut [u8],
    ) -> Outcome {
        match (message.class(), message.method()) {
            (Class::Request, stun::BINDING) => self.handle_request(source, message, role, reply),
            // RFC 8445 §11: a keepalive, to which nobody answers.
            (Class::Indication, stun::BINDING) => Outcome::default(),
            _ => refuse(StunRefusal::Unexpected),
        }
    }

    fn handle_request(
        &self,
        source: SocketAddr,
        message: &Message<'_>,
        role: Option<&mut Role>,
        reply: &mut [u8],
    ) -> Outcome {
        let Some((ufrag, _)) = message.username() else { return refuse(StunRefusal::Malformed) };
        let Some((pwd, restart)) = self.credentials(ufrag) else { return refuse(StunRefusal::UnknownUser) };
        // RFC 8445 §7.1: checks carry FINGERPRINT and the short-term credential.
        if !message.verify_fingerprint() || !message.verify_integrity(pwd) {
            return refuse(StunRefusal::Unauthentic);
        }
        let id = message.transaction_id();
        if let Some(kind) = message.unknown_attribute() {
            let len = stun::write_binding_error(reply, &id, UNKNOWN_ATTRIBUTE, Some(kind), Some(pwd));
            return Outcome { reply_len: len.unwrap_or(0), ..refuse(StunRefusal::Unexpected) };
        }
        // RFC 8445 §7.3.1.1: a lite agent never takes the controlling role, so it is the peer that must switch.
        if role.map_or_else(|| message.ice_controlled().is_some(), |role| role.conflicts(message)) {
            let len = stun::write_binding_error(reply, &id, ROLE_CONFLICT, None, Some(pwd));
            return Outcome { reply_len: len.unwrap_or(0), ..refuse(StunRefusal::RoleConflict) };
        }
        let reply_len = stun::write_binding_success(reply, &id, source, pwd).unwrap_or(0);
        let nominated = message.use_candidate();
        let check = Check { addr: source, restart, nominated, priority: message.priority() };
        Outcome { reply_len, check: Some(check), refused: None }
    }

    /// The password that belongs to one of our ufrags, and the restart it belongs to.
    fn credentials(&self, ufrag: &str) -> Option<(&[u8], u32)> {
        let is = |credentials: &Credentials| bool::from(credentials.ufrag.as_bytes().ct_eq(ufrag.as_bytes()));
        if is(&self.local) {
            return Some((self.local.pwd.as_bytes(), self.restart));
        }
        let retired = self.retired.as_ref().filter(|retired| !retired.void && is(&retired.credentials))?;
        Some((retired.credentials.pwd.as_bytes(), retired.restart))
    }

    /// Remembers that a check succeeded: its address is validated, and in use when it is nominated or the first.
    pub fn note(&mut self, now: Nanos, check: Check) {
        let Check { addr, restart, nominated, .. } = check;
        self.validate(Validated { addr, checked_at: now, restart });
        if self.checks {
            return;
        }
        if let Some(pair) = self.in_use.as_mut().filter(|pair| pair.addr == addr) {
            pair.agreed = now;
        }
        // A nomination with the credentials from before a restart is history. Among others, the last one counts:
        // browsers nominate again, without a restart, when they change networks.
        let counts = nominated && restart == self.restart;
        if counts {
            self.forget_before_restart();
        }
        // The first nomination of a leg may have been made while we drew new credentials.
        let is_first = self.in_use.is_none_or(|pair| nominated && !pair.nominated);
        if counts || is_first {
            self.in_use = Some(InUse { addr, nominated, restart, agreed: now });
        }
    }

    fn validate(&mut self, check: Validated) {
        if let Some(pair) = self.validated.iter_mut().flatten().find(|pair| pair.addr == check.addr) {
            pair.checked_at = check.checked_at;
            pair.restart = pair.restart.max(check.restart);
            return;
        }
        let in_use = self.in_use();
        // A free place, or that of the address whose last check is oldest; the one in use keeps its place.
        let place = self
            .validated
            .iter_mut()
            .filter(|place| place.is_none_or(|pair| Some(pair.addr) != in_use))
            .min_by_key(|place| place.map(|pair| pair.checked_at));
        if let Some(place) = place {
            *place = Some(check);
        }
    }

    fn forget_before_restart(&mut self) {
        if let Some(retired) = self.retired.as_mut().filter(|retired| !retired.void) {
            retired.void = true;
            for place in &mut self.validated {
                *place = place.filter(|pair| pair.restart == self.restart);
            }
        }
    }
}

fn refuse(refusal: StunRefusal) -> Outcome {
    Outcome { reply_len: 0, check: None, refused: Some(refusal) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::{BindingRequest, MESSAGE_BYTES_MAX, write_binding_request};

    const A: &str = "192.0.2.1:5000";
    const B: &str = "[2001:db8::1]:5001";

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn credentials(ufrag: &str) -> Credentials {
        Credentials { ufrag: ufrag.into(), pwd: format!("password-of-{ufrag}-0123456789") }
    }

    fn check(ufrag: &str, pwd: &str, nominate: bool) -> Vec<u8> {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        let request = BindingRequest {
            remote_ufrag: ufrag,
            local_ufrag: "peer",
            priority: 1,
            tie_breaker: 7,
            controlling: true,
            use_candidate: nominate,
        };
        let len = write_binding_request(&mut buffer, &[5; 12], &request, pwd.as_bytes()).unwrap();
        buffer[..len].to_vec()
    }

    fn send(ice: &mut IceLite, at: Nanos, from: &str, request: &[u8]) -> (Outcome, Vec<u8>) {
        let mut reply = [0; MESSAGE_BYTES_MAX];
        let outcome = ice.handle(addr(from), &Message::parse(request).unwrap(), None, &mut reply);
        if let Some(check) = outcome.check {
            ice.note(at, check);
        }
        (outcome, reply[..outcome.reply_len].to_vec())
    }

    fn good(ufrag: &str, nominate: bool) -> Vec<u8> {
        check(ufrag, &credentials(ufrag).pwd, nominate)
    }

    #[test]
    fn the_first_check_opens_the_way_and_a_nomination_decides_it() {
        let mut ice = IceLite::new(credentials("us"));
        let (_, reply) = send(&mut ice, Nanos::ZERO, A, &good("us", false));
        let reply = Message::parse(&reply).unwrap();
        assert_eq!((reply.class(), reply.xor_mapped_address()), (Class::Success, Some(addr(A))));
        assert!(reply.verify_integrity(credentials("us").pwd.as_bytes()) && reply.verify_fingerprint());
        assert_eq!((ice.is_validated(addr(A)), ice.in_use()), (true, Some(addr(A))));

        send(&mut ice, Nanos::ZERO, B, &good("us", false));
        assert_eq!((ice.is_validated(addr(B)), ice.in_use()), (true, Some(addr(A))));
        send(&mut ice, Nanos::ZERO, B, &good("us", true));
        assert_eq!(ice.in_use(), Some(addr(B)));
        send(&mut ice, Nanos::ZERO, A, &good("us", true));
        assert_eq!(ice.in_use(), Some(addr(A)), "the last nomination counts");
    }

    #[test]
    fn a_check_that_is_not_noted_changes_nothing() {
        let ice = IceLite::new(credentials("us"));
        let mut reply = [0; MESSAGE_BYTES_MAX];
        let outcome = ice.handle(addr(A), &Message::parse(&good("us", true)).unwrap(), None, &mut reply);
        assert_eq!(outcome.check.map(|check| check.addr()), Some(addr(A)));
        assert_eq!((ice.is_validated(addr(A)), ice.in_use()), (false, None));
    }

    #[test]
    fn nothing_without_our_password_is_answered_or_remembered() {
        let mut ice = IceLite::new(credentials("us"));
        let mut tampered = good("us", true);
        let last = tampered.len() - 1;
        tampered[last] ^= 1;
        for (request, refusal) in [
            (check("us", "wrong", true), StunRefusal::Unauthentic),
            (tampered, StunRefusal::Unauthentic),
            (good("them", true), StunRefusal::UnknownUser),
        ] {
            let (outcome, _) = send(&mut ice, Nanos::ZERO, A, &request);
            assert_eq!(outcome, refuse(refusal));
        }
        assert!(!ice.is_validated(addr(A)));
        assert_eq!(ice.in_use(), None);
    }

    #[test]
    fn consent_lives_30_seconds_behind_the_last_check_of_the_address_in_use() {
        let mut ice = IceLite::new(credentials("us"));
        assert!(!ice.consent_expired(Nanos::from_secs(1000)), "nothing to consent to");
        send(&mut ice, Nanos::from_secs(10), A, &good("us", true));
        send(&mut ice, Nanos::from_secs(20), A, &good("us", false));
        send(&mut ice, Nanos::from_secs(45), B, &good("us", false));
        assert!(!ice.consent_expired(Nanos::from_secs(50)));
        assert!(ice.consent_expired(Nanos::from_secs(51)));
        send(&mut ice, Nanos::from_secs(52), A, &good("us", false));
        assert!(!ice.consent_expired(Nanos::from_secs(53)));
    }

    #[test]
    fn consent_expires_too_when_the_peer_never_nominates() {
        let mut ice = IceLite::new(credentials("us"));
        send(&mut ice, Nanos::from_secs(10), A, &good("us", false));
        send(&mut ice, Nanos::from_secs(30), B, &good("us", false));
        assert!(!ice.consent_expired(Nanos::from_secs(40)));
        assert!(ice.consent_expired(Nanos::from_secs(41)), "B is not the address in use");
    }

    #[test]
    fn after_a_restart_the_old_pair_serves_until_the_new_nomination() {
        let mut ice = IceLite::new(credentials("old"));
        send(&mut ice, Nanos::ZERO, A, &good("old", true));
        ice.restart(credentials("new"));
        assert!(ice.has_local_ufrag("old") && ice.has_local_ufrag("new"));
        assert_eq!(send(&mut ice, Nanos::ZERO, A, &good("old", true)).0.refused, None);
        send(&mut ice, Nanos::ZERO, B, &good("new", false));
        assert!(ice.is_validated(addr(B)));
        assert_eq!(ice.in_use(), Some(addr(A)));

        send(&mut ice, Nanos::ZERO, B, &good("new", true));
        assert_eq!(ice.in_use(), Some(addr(B)));
        assert!(!ice.is_validated(addr(A)) && !ice.has_local_ufrag("old"));
        assert_eq!(send(&mut ice, Nanos::ZERO, A, &good("old", true)).0.refused, Some(StunRefusal::UnknownUser));
    }

    #[test]
    fn restarts_that_the_peer_has_not_followed_leave_the_pair_in_use_its_credentials() {
        let mut ice = IceLite::new(credentials("old"));
        send(&mut ice, Nanos::ZERO, A, &good("old", true));
        assert_eq!(ice.restart(credentials("second")), None);
        assert_eq!(ice.restart(credentials("third")), Some(credentials("second")), "nothing runs on these");
        assert_eq!(ice.restart(credentials("fourth")), Some(credentials("third")));
        assert_eq!(send(&mut ice, Nanos::from_secs(40), A, &good("old", false)).0.refused, None);
        assert!(!ice.consent_expired(Nanos::from_secs(60)), "consent is renewed with the old ones");
        send(&mut ice, Nanos::from_secs(60), A, &good("fourth", true));
        assert!(!ice.has_local_ufrag("old"));
        assert_eq!(ice.restart(credentials("fifth")), Some(credentials("old")));
        assert!(ice.has_local_ufrag("fourth") && ice.has_local_ufrag("fifth"));
    }

    #[test]
    fn a_peer_in_the_controlled_role_is_told_of_the_conflict() {
        let mut ice = IceLite::new(credentials("us"));
        let pwd = credentials("us").pwd;
        let mut request = good("us", false);
        // The ICE-CONTROLLING attribute behind USERNAME (4 + 8) and PRIORITY (8) becomes ICE-CONTROLLED.
        request[20 + 12 + 8 + 1] = 0x29;
        let request = stun::test_support::resign(&request, pwd.as_bytes());
        let (outcome, reply) = send(&mut ice, Nanos::ZERO, A, &request);
        assert_eq!(outcome.refused, Some(StunRefusal::RoleConflict));
        assert_eq!(Message::parse(&reply).unwrap().error_code(), Some(ROLE_CONFLICT));
        assert!(!ice.is_validated(addr(A)));
    }

    #[test]
    fn a_flood_of_addresses_keeps_the_one_in_use_and_the_bound() {
        let mut ice = IceLite::new(credentials("us"));
        send(&mut ice, Nanos::ZERO, A, &good("us", true));
        for port in 1..1000u16 {
            send(&mut ice, Nanos(u64::from(port)), &format!("192.0.2.9:{port}"), &good("us", false));
        }
        assert!(ice.is_validated(addr(A)));
        assert_eq!(ice.validated().count(), VALIDATED_MAX);
        assert!(ice.is_validated(addr("192.0.2.9:999")) && !ice.is_validated(addr("192.0.2.9:900")));
    }

    #[test]
    fn replies_and_indications_are_not_answered() {
        let mut ice = IceLite::new(credentials("us"));
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        let len = stun::write_binding_success(&mut buffer, &[1; 12], addr(A), b"x").unwrap();
        assert_eq!(send(&mut ice, Nanos::ZERO, A, &buffer[..len]).0, refuse(StunRefusal::Unexpected));
        let indication = [&[0x00, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[0; 12]].concat();
        assert_eq!(send(&mut ice, Nanos::ZERO, A, &indication).0, Outcome::default());
    }
}
