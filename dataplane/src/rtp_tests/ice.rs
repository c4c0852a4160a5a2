//! Legs whose ICE agent is a full one, and legs with ports in both address families.
//!
//! ```text
//!   leg 1, 192.0.2.1:40000 and [2001:db8::1]:40000 -- checks --> alice, who is lite, at some of her candidates
//! ```

use super::*;
use crosspoint_contract::{IceCandidate, IceChecks, IceCredentials, LegFailure, LocalPorts};
use crosspoint_wire::classify::{Kind, classify};
use crosspoint_wire::ice_checks::CHECKS_MAX;
use crosspoint_wire::ice_lite::{Credentials, IceLite};
use crosspoint_wire::stun::{MESSAGE_BYTES_MAX, Message};

const ALICE_V6: &str = "[2001:db8::77]:4000";
const NOBODY: &str = "198.51.100.9:9000";

fn credentials(of: &str) -> IceCredentials {
    IceCredentials { ufrag: of.into(), pwd: format!("password-of-{of}-0123456789") }
}

/// Alice answers checks and sends none.
struct Lite(IceLite);

impl Lite {
    fn new(name: &str) -> Self {
        let IceCredentials { ufrag, pwd } = credentials(name);
        Lite(IceLite::new(Credentials { ufrag, pwd }))
    }

    fn answer(&mut self, now: Nanos, source: SocketAddr, check: &[u8]) -> Option<Vec<u8>> {
        let mut reply = [0; MESSAGE_BYTES_MAX];
        let outcome = self.0.handle(source, &Message::parse(check).ok()?, None, &mut reply);
        self.0.note(now, outcome.check?);
        Some(reply[..outcome.reply_len].to_vec())
    }
}

fn candidate(at: &str, priority: u32) -> IceCandidate {
    IceCandidate { component: 1, addr: addr(at), priority }
}

/// A lite party; our leg to it has both families and checks these candidates.
fn lite_party(candidates: &[IceCandidate]) -> Party {
    Party::alice().muxed().with(|party| {
        party.request.ice = Some(credentials("us"));
        party.request.other_family = Some(LocalPorts { rtp: addr("[2001:db8::1]:40000"), rtcp: None });
        party.remote.ice = Some(credentials("alice"));
        party.remote.checks = Some(IceChecks { controlling: true, candidates: candidates.to_vec() });
    })
}

impl Stand {
    /// Time passes, and Alice answers at her addresses; where checks went.
    fn pass_with(&mut self, alice: &mut Lite, at: &[&str], span: Nanos) -> Vec<SocketAddr> {
        let (end, mut asked) = (self.now + span, Vec::new());
        while self.now < end {
            self.pass(STEP);
            let checks = self.sent.iter().filter(|datagram| classify(&datagram.bytes) == Kind::Stun);
            let checks: Vec<_> = checks.map(|check| (check.local, check.remote.into(), check.bytes.clone())).collect();
            self.sent.retain(|datagram| classify(&datagram.bytes) != Kind::Stun);
            for (local, remote, bytes) in checks {
                asked.push(remote);
                let local = local.expect("from a port of the leg");
                if at.iter().any(|text| addr(text) == remote)
                    && let Some(answer) = alice.answer(self.now, local, &bytes)
                {
                    self.arrive(local, remote, &answer);
                }
            }
        }
        asked
    }
}

const SECOND: Nanos = Nanos::from_secs(1);

#[test]
fn lite_peer_is_found_where_it_answers_and_media_goes_there_and_nowhere_before() {
    let mut stand = Stand::new();
    let (alice, mut bob) = (lite_party(&[candidate(NOBODY, 200), candidate("198.51.100.1:4000", 100)]), Party::bob());
    stand.call(&alice, &bob);
    stand.speak(&mut bob);
    assert!(stand.sent_to(alice.addr).iter().all(|(_, sent)| classify(sent) == Kind::Stun), "no pair, no media");
    let mut lite = Lite::new("alice");
    let asked = stand.pass_with(&mut lite, &["198.51.100.1:4000"], SECOND);
    assert!(asked.iter().all(|to| [addr(NOBODY), alice.addr].contains(to)), "{asked:?}");
    assert_eq!(lite.0.in_use(), Some(alice.request.rtp), "she was nominated");
    let said = stand.speak(&mut bob);
    assert_eq!(stand.sent_to(alice.addr), [(alice.request.rtp, said)]);
    let told = stand.events.iter().any(|event| *event == Event::LegMoved { leg: alice.leg, remote_addr: alice.addr });
    assert!(told, "control knows the pair: {:?}", stand.events);
}

#[test]
fn pair_of_the_other_family_carries_media_both_ways() {
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (lite_party(&[candidate(ALICE_V6, 100)]), Party::bob());
    stand.call(&alice, &bob);
    stand.pass_with(&mut Lite::new("alice"), &[ALICE_V6], SECOND);
    let said = stand.speak(&mut bob);
    let ours = addr("[2001:db8::1]:40000");
    assert_eq!(stand.sent_to(addr(ALICE_V6)), [(ours, said)]);
    let clear = alice.next_packet();
    stand.arrive(ours, addr(ALICE_V6), &clear);
    assert_eq!(stand.heard_by(&mut bob), [clear]);
    match stand.ask(Command::ReadLeg { leg: alice.leg }) {
        Ok(Done::Report(report)) => assert_eq!(report.local_addr, Some(ours)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_ice_the_other_family_is_deaf() {
    let mut stand = Stand::new();
    let mut alice = lite_party(&[]).with(|party| (party.remote.ice, party.remote.checks) = (None, None));
    let mut bob = Party::bob();
    stand.call(&alice, &bob);
    let clear = alice.next_packet();
    stand.arrive(addr("[2001:db8::1]:40000"), addr(ALICE_V6), &clear);
    assert!(stand.heard_by(&mut bob).is_empty());
    assert_eq!(stand.dropped(DropReason::SourceNotLearned), 1);
}

#[test]
fn ports_of_both_families_are_free_again_when_the_leg_is_closed() {
    let mut stand = Stand::new();
    let party = lite_party(&[]);
    stand.open(1, party.request.clone()).expect("opens");
    let taken = request(addr("[2001:db8::1]:40000"));
    assert!(matches!(stand.open(2, taken.clone()), Err(Refused::PortTaken(_))));
    stand.done(Command::CloseLeg { leg: LegId(1) });
    stand.open(2, taken).expect("opens");
}

#[test]
fn peer_that_answers_nowhere_is_told_of_and_gets_a_bounded_number_of_packets() {
    let mut stand = Stand::new();
    let many: Vec<_> = (1..=30).map(|n| candidate(&format!("198.51.100.9:{n}"), n)).collect();
    stand.admit(&lite_party(&many));
    let asked = stand.pass_with(&mut Lite::new("alice"), &[], Nanos::from_secs(120));
    assert!(asked.len() <= usize::from(CHECKS_MAX), "{}", asked.len());
    assert_eq!(stand.counters.stun_checks_sent.get(), asked.len() as u64);
    let unreachable = Event::LegUnreachable { leg: LegId(1), why: LegFailure::NoCandidatePair };
    assert_eq!(stand.events.iter().filter(|event| **event == unreachable).count(), 1);
}

#[test]
fn ports_of_our_own_are_not_checked() {
    let mut stand = Stand::new();
    let other = Party::bob();
    stand.admit(&other);
    stand.admit(&lite_party(&[candidate("192.0.2.1:40010", 100)]));
    let asked = stand.pass_with(&mut Lite::new("alice"), &[], Nanos::from_secs(60));
    assert_eq!(asked, []);
}

#[test]
fn consent_that_is_not_renewed_stops_media_and_a_later_answer_starts_it() {
    let mut stand = Stand::new();
    let (alice, mut bob) = (lite_party(&[candidate("198.51.100.1:4000", 100)]), Party::bob());
    stand.call(&alice, &bob);
    let mut lite = Lite::new("alice");
    stand.pass_with(&mut lite, &["198.51.100.1:4000"], Nanos::from_secs(60));
    stand.speak(&mut bob);
    assert_eq!(stand.sent_to(alice.addr).len(), 1, "consent is asked for and given");
    stand.pass_with(&mut lite, &[], Nanos::from_secs(32));
    stand.speak(&mut bob);
    assert_eq!(stand.sent_to(alice.addr).len(), 0);
    let unreachable = Event::LegUnreachable { leg: alice.leg, why: LegFailure::ConsentExpired };
    assert!(stand.events.contains(&unreachable), "{:?}", stand.events);
    stand.pass_with(&mut lite, &["198.51.100.1:4000"], Nanos::from_secs(8));
    stand.speak(&mut bob);
    assert_eq!(stand.sent_to(alice.addr).len(), 1);
}

#[test]
fn candidates_that_come_later_are_checked_with_the_credentials_of_before() {
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (lite_party(&[]), Party::bob());
    stand.call(&alice, &bob);
    assert_eq!(stand.pass_with(&mut Lite::new("alice"), &[], SECOND), []);
    alice.remote.checks.as_mut().expect("a full agent").candidates.push(candidate("198.51.100.1:4000", 100));
    stand.describe(&alice);
    stand.pass_with(&mut Lite::new("alice"), &["198.51.100.1:4000"], SECOND);
    stand.speak(&mut bob);
    assert_eq!(stand.sent_to(alice.addr).len(), 1);
}

#[test]
fn restart_leaves_media_where_it_is_until_the_new_checks_have_chosen() {
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (lite_party(&[candidate("198.51.100.1:4000", 100)]), Party::bob());
    stand.call(&alice, &bob);
    stand.pass_with(&mut Lite::new("alice"), &["198.51.100.1:4000"], SECOND);
    alice.remote.ice = Some(credentials("alice-again"));
    alice.remote.our_ice = Some(credentials("us-again"));
    alice.remote.checks.as_mut().expect("a full agent").candidates = vec![candidate(ALICE_V6, 100)];
    stand.describe(&alice);
    stand.speak(&mut bob);
    assert_eq!(stand.sent_to(alice.addr).iter().filter(|(_, sent)| classify(sent) == Kind::Rtp).count(), 1);
    stand.pass_with(&mut Lite::new("alice-again"), &[ALICE_V6], SECOND);
    stand.speak(&mut bob);
    assert_eq!(stand.sent_to(addr(ALICE_V6)).len(), 1);
}

#[test]
fn peer_that_checks_us_is_checked_there_and_found_although_nobody_named_it() {
    let mut stand = Stand::new();
    let (alice, mut bob) = (lite_party(&[]), Party::bob());
    stand.call(&alice, &bob);
    let mut full = Lite::new("alice");
    // We control, and her check says that she does not.
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    let ours = credentials("us");
    let check = crosspoint_wire::stun::BindingRequest {
        remote_ufrag: &ours.ufrag,
        local_ufrag: "alice",
        priority: 1,
        tie_breaker: 1,
        controlling: false,
        use_candidate: false,
    };
    let len = crosspoint_wire::stun::write_binding_request(&mut buffer, &[1; 12], &check, ours.pwd.as_bytes());
    stand.arrive(alice.request.rtp, addr(NOBODY), &buffer[..len.expect("room")]);
    stand.pass_with(&mut full, &[NOBODY], SECOND);
    stand.speak(&mut bob);
    assert_eq!(stand.sent_to(addr(NOBODY)).iter().filter(|(_, sent)| classify(sent) == Kind::Rtp).count(), 1);
}
