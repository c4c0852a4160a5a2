//! What "promised" means: a packet that comes after the promise was announced is handled as if it were done, although the
//! command has yet to reach the dataplane.

use super::party::Party;
use super::*;
use crosspoint_contract::board;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Control announces that it has promised so much, all in all.
fn announce(stand: &Stand, promised: u64) {
    let file = File::from(stand.board.descriptor().try_clone_to_owned().expect("a descriptor"));
    file.write_all_at(&promised.to_ne_bytes(), board::line_at(stand.line)).expect("written");
}

/// The link thread reads the promise from its socket.
fn keep(stand: &mut Stand, command: Command) {
    assert_eq!(stand.registry.keep_promise(command), None);
    stand.board.carried_out();
}

fn open(stand: &mut Stand, parties: [&Party; 2]) {
    for party in parties {
        stand.open(party.leg.0, party.request.clone()).expect("opens");
    }
    stand.turn();
}

fn place(stand: &Stand, place: u32) -> u64 {
    let mut figure = [0; 8];
    let file = File::from(stand.board.descriptor().try_clone_to_owned().expect("a descriptor"));
    file.read_exact_at(&mut figure, board::place_at(place)).expect("on the board");
    u64::from_ne_bytes(figure)
}

#[test]
fn packets_that_came_before_what_was_promised_wait_for_it_and_keep_their_order() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    open(&mut stand, [&alice, &bob]);
    announce(&stand, 3);
    let packets: Vec<_> = (0..3).map(|_| alice.next_packet()).collect();
    stand.arrive(alice.request.rtp, alice.addr, &packets[0]);
    keep(&mut stand, Command::SetRtpRemote { leg: alice.leg, remote: alice.remote.clone() });
    stand.arrive(alice.request.rtp, alice.addr, &packets[1]);
    assert!(stand.sent_to(bob.addr).is_empty(), "bob is where nobody knows yet");
    keep(&mut stand, Command::SetRtpRemote { leg: bob.leg, remote: bob.remote.clone() });
    keep(&mut stand, Command::Forward { source: alice.leg, sinks: vec![bob.leg] });
    stand.arrive(alice.request.rtp, alice.addr, &packets[2]);
    let sent: Vec<_> = stand.sent_to(bob.addr).into_iter().map(|(_, packet)| packet).collect();
    assert_eq!(sent, packets);
    assert_eq!((stand.counters.packets_early.get(), stand.dropped(DropReason::SourceNotLearned)), (2, 0));
}

#[test]
fn packet_that_comes_in_the_turn_that_keeps_the_promise_does_not_overtake_those_that_wait() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    open(&mut stand, [&alice, &bob]);
    stand.describe(&alice);
    stand.describe(&bob);
    stand.turn();
    announce(&stand, 1);
    let (first, second) = (alice.next_packet(), alice.next_packet());
    stand.arrive(alice.request.rtp, alice.addr, &first);
    // The order is in the ring, and not counted yet: what waits is not due at the beginning of the turn.
    assert_eq!(stand.registry.keep_promise(Command::Forward { source: alice.leg, sinks: vec![bob.leg] }), None);
    stand.arrive(alice.request.rtp, alice.addr, &second);
    stand.board.carried_out();
    stand.turn();
    let sent: Vec<_> = stand.sent_to(bob.addr).into_iter().map(|(_, packet)| packet).collect();
    assert_eq!(sent, [first, second]);
}

#[test]
fn promise_that_is_not_kept_delays_only_who_cannot_be_heard_and_not_for_long() {
    let mut stand = Stand::new();
    let (mut alice, mut bob) = (Party::alice(), Party::bob());
    stand.call(&alice, &bob);
    let mut other = Party::subscriber(1);
    stand.open(other.leg.0, other.request.clone()).expect("opens");
    stand.turn();
    announce(&stand, 1);
    let heard = stand.speak(&mut alice);
    assert_eq!(stand.heard_by(&mut bob), [heard], "a call goes on");
    stand.speak(&mut other);
    assert_eq!(stand.dropped(DropReason::SourceNotLearned), 0);
    stand.pass(Nanos::from_millis(60));
    assert_eq!(stand.dropped(DropReason::SourceNotLearned), 1);
}

#[test]
fn packet_without_an_open_promise_does_not_wait() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    open(&mut stand, [&alice, &bob]);
    announce(&stand, 1);
    keep(&mut stand, Command::SetRtpRemote { leg: bob.leg, remote: bob.remote.clone() });
    stand.speak(&mut alice);
    assert_eq!((stand.dropped(DropReason::SourceNotLearned), stand.counters.packets_early.get()), (1, 0));
}

#[test]
fn packet_that_waits_for_a_leg_that_is_closed_meanwhile_reaches_nobody() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    open(&mut stand, [&alice, &bob]);
    announce(&stand, 1);
    stand.speak(&mut alice);
    stand.ask(Command::CloseLeg { leg: alice.leg }).expect("closes");
    let heir = Party::subscriber(1).with(|party| party.request.rtp = alice.request.rtp);
    let heir = heir.with(|party| party.request.rtcp = None);
    stand.admit(&heir);
    stand.admit(&Party::subscriber(2));
    stand.forward(&heir, &[&Party::subscriber(2)]);
    stand.board.carried_out();
    stand.pass(Nanos::from_millis(60));
    assert!(stand.sent_to(Party::subscriber(2).addr).is_empty(), "it was for another call");
    assert_eq!(stand.dropped(DropReason::PortUnknown), 1);
}

#[test]
fn more_packets_than_may_wait_go_their_way() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    open(&mut stand, [&alice, &bob]);
    announce(&stand, 1);
    for _ in 0..70 {
        stand.speak(&mut alice);
    }
    assert_eq!((stand.counters.packets_early.get(), stand.dropped(DropReason::SourceNotLearned)), (64, 6));
}

#[test]
fn promise_that_cannot_be_kept_is_told() {
    let mut stand = Stand::new();
    let broken = stand.registry.keep_promise(Command::Forward { source: LegId(9), sinks: Vec::new() });
    assert_eq!(broken, Some(Event::PromiseBroken { leg: LegId(9), why: Refused::UnknownLeg(LegId(9)) }));
}

#[test]
fn place_of_a_leg_names_it_until_a_packet_comes_or_leaves() {
    let mut stand = Stand::new();
    let (mut alice, bob) = (Party::alice(), Party::bob());
    let places = [&alice, &bob].map(|party| match stand.open(party.leg.0, party.request.clone()) {
        Ok(Done::Opened(local)) => local.place,
        other => panic!("{other:?}"),
    });
    stand.describe(&alice);
    stand.describe(&bob);
    stand.forward(&alice, &[&bob]);
    stand.turn();
    assert_eq!(places.map(|at| place(&stand, at)), [alice.leg.0, bob.leg.0]);
    stand.speak(&mut alice);
    assert_eq!(places.map(|at| place(&stand, at)), [board::TOUCHED; 2], "one came, and one left");
    stand.ask(Command::CloseLeg { leg: bob.leg }).expect("closes");
    assert_eq!(place(&stand, places[1]), board::TOUCHED);
}
