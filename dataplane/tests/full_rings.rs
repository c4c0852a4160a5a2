//! What a worker says when nobody listens, or a peer makes it say too much.
//!
//! ```text
//!   peer A (198.51.100.1) -- leg 1 ==bridge== leg 2 -- peer B (198.51.100.2)      virtual clock
//! ```

mod support;

use crosspoint_contract::limits::{COMMANDS_PER_TICK_MAX, WORKER_TO_CONTROL_MAX, WORKER_TO_LOBBY_MAX};
use crosspoint_contract::{Event, LegFailure};
use crosspoint_dataplane::leg::{FACTS_PER_VISIT_MAX, LegHandle};
use crosspoint_dataplane::queues::{Admission, Knock, Spent, WorkerNote, WorkerOrder};
use crosspoint_wire::Nanos;
use crosspoint_wire::srtp::Suite;
use std::net::SocketAddr;
use support::stand::{SimPeer, Stand};
use support::{DIGITS, OPUS};

/// Lets the worker answer into a ring that nobody empties, until only answers find room.
fn fill_link(stand: &mut Stand) {
    let turns = WORKER_TO_CONTROL_MAX / COMMANDS_PER_TICK_MAX - 1;
    for _ in 0..turns {
        for _ in 0..COMMANDS_PER_TICK_MAX {
            stand.push(WorkerOrder::Echo);
        }
        stand.worker.turn().expect("a simulated network does not fail");
    }
}

fn fill_lobby(stand: &mut Stand, peer: &SimPeer) {
    while stand.lobby.from_worker.slots() < WORKER_TO_LOBBY_MAX {
        stand.net.inject(peer.addr, &[22; 60]);
        stand.pass(Nanos::from_millis(10));
    }
}

#[test]
fn state_that_found_the_link_full_is_told_when_there_is_room() {
    let mut stand = Stand::new();
    let mut a = stand.open(0, &[OPUS]);
    assert!(stand.check(&a, a.addr));
    fill_link(&mut stand);
    let keys = stand.keys_for(&mut a, Suite::AeadAes128Gcm);
    assert!(stand.lobby.to_worker.push(keys).is_ok());
    stand.worker.turn().expect("a simulated network does not fail");
    stand.turn();
    assert!(stand.events.is_empty());
    stand.answers.clear();
    stand.pass(Nanos::from_millis(500));
    assert!(matches!(stand.events.pop_front(), Some(Event::LegConnected { remote_addr, .. }) if remote_addr == a.addr));

    fill_link(&mut stand);
    let failed = Admission::Failed { leg: a.leg, why: LegFailure::PeerClosed };
    assert!(stand.lobby.to_worker.push(failed).is_ok());
    stand.worker.turn().expect("a simulated network does not fail");
    stand.pass(Nanos::from_millis(500));
    assert_eq!(stand.events.pop_front(), Some(Event::LegFailed { leg: a.leg.leg, why: LegFailure::PeerClosed }));
    assert!(stand.events.is_empty(), "and once");
}

#[test]
fn answers_find_room_behind_the_events() {
    let mut stand = Stand::new();
    let mut a = stand.connect_with(0, &[OPUS, DIGITS], Suite::AeadAes128Gcm);
    fill_link(&mut stand);
    let packet = a.next_packet(110, &[5, 10, 0, 160]);
    stand.net.inject(a.addr, &packet);
    stand.push(WorkerOrder::Read(a.leg));
    stand.worker.turn().expect("a simulated network does not fail");
    assert_eq!(stand.counters.events_dropped.get(), 1, "the digit");
    let mut last = None;
    while let Ok(note) = stand.link.from_worker.pop() {
        last = Some(note);
    }
    assert!(matches!(last, Some(WorkerNote::Answered(_))));
}

#[test]
fn flood_of_digits_or_moves_of_one_peer_tells_control_a_bounded_number() {
    let mut stand = Stand::new();
    let mut a = stand.connect_with(0, &[OPUS, DIGITS], Suite::AeadAes128Gcm);
    stand.pass(Nanos::from_millis(500));
    stand.events.clear();
    for _ in 0..100 {
        a.timestamp += 4000;
        let packet = a.next_packet(110, &[5, 10, 0, 160]);
        stand.arrive(&a, &packet);
    }
    assert_eq!(stand.events.len(), usize::from(FACTS_PER_VISIT_MAX));
    assert_eq!(stand.counters.events_dropped.get(), 100 - u64::from(FACTS_PER_VISIT_MAX));

    stand.pass(Nanos::from_millis(500));
    stand.events.clear();
    let port = |n: u16| SocketAddr::from(([198, 51, 100, 77], 1000 + n));
    for n in 0..100 {
        assert!(stand.check(&a, port(n)));
    }
    assert_eq!(stand.events.len(), usize::from(FACTS_PER_VISIT_MAX));
    stand.events.clear();
    stand.pass(Nanos::from_millis(500));
    let moved = Event::LegMoved { leg: a.leg.leg, remote_addr: port(99) };
    assert_eq!(stand.events.pop_front(), Some(moved), "the last address is not lost");
}

#[test]
fn reachable_that_found_the_lobby_full_is_said_again() {
    let mut stand = Stand::new();
    let (flood, peer) = (stand.open(0, &[OPUS]), stand.open(1, &[OPUS]));
    assert!(stand.check(&flood, flood.addr));
    fill_lobby(&mut stand, &flood);
    assert!(stand.check(&peer, peer.addr));
    while stand.lobby.from_worker.pop().is_ok() {}
    stand.pass(Nanos::from_millis(500));
    assert!(is_reachable(&mut stand, peer.leg));
}

#[test]
fn lobby_that_forgot_a_peer_hears_of_it_again_with_its_description() {
    let mut stand = Stand::new();
    let peer = stand.open(0, &[OPUS]);
    assert!(stand.check(&peer, peer.addr));
    assert!(is_reachable(&mut stand, peer.leg));
    stand.describe(&peer, &[OPUS], Default::default(), None);
    stand.pass(Nanos::from_millis(500));
    assert!(is_reachable(&mut stand, peer.leg));
}

fn is_reachable(stand: &mut Stand, wanted: LegHandle) -> bool {
    matches!(stand.lobby.from_worker.pop(), Ok(Knock::Reachable { leg }) if leg == wanted)
}

#[test]
fn keys_that_nobody_needs_go_back_to_be_freed() {
    let mut stand = Stand::new();
    let mut a = stand.connect(0);
    let again = stand.keys_for(&mut a, Suite::AeadAes128Gcm);
    assert!(stand.lobby.to_worker.push(again).is_ok());
    stand.worker.turn().expect("a simulated network does not fail");
    assert!(matches!(stand.link.from_worker.pop(), Ok(WorkerNote::Spent(Spent::Keys(_)))));
}
