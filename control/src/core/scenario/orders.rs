//! Orders under a dataplane that is busy, slow, hangs or loses its link.

use super::*;
use crate::core::limits::{Limits, ORDERS_WAITING_MAX};
use crosspoint_contract::limits::COMMANDS_OUTSTANDING_MAX;

fn busy_to_new_legs(command: &Command) -> Option<Refused> {
    matches!(command, Command::OpenLeg { .. }).then_some(Refused::Busy(WorkerId(0)))
}

#[test]
fn orders_lost_with_the_link_are_given_again_to_the_same_dataplane() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.dataplane.is_stuck = true;
    let sdp = sdp("rest", "AA", "actpass", "sendrecv");
    world.say(talk.alice, "reinvite", json!({ "callsid": talk.alice_sid, "sdp": sdp }));
    world.input(Input::DataplaneDetached);
    world.dataplane.unanswered.clear();
    world.dataplane.is_stuck = false;
    world.attach();
    assert_eq!(world.kinds(talk.alice), ["answer"]);
}

#[test]
fn digits_whose_answer_was_lost_with_the_link_are_not_sent_twice() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.dataplane.is_stuck = true;
    world.say(talk.alice, "dtmf", json!({ "callsid": talk.alice_sid, "dtmf": "1" }));
    world.input(Input::DataplaneDetached);
    assert_eq!(code(&world.only(talk.alice, "error")), Some(31400));
    world.dataplane.unanswered.clear();
    world.dataplane.is_stuck = false;
    world.attach();
    assert!(world.dataplane.digits.is_empty());
}

#[test]
fn a_busy_dataplane_is_asked_again_at_intervals_only() {
    let mut world = World::new();
    world.client("bob");
    world.dataplane.refuse = Some(|_| Some(Refused::Busy(WorkerId(0))));
    let asked_before = world.dataplane.asked;
    let callers: Vec<_> = (0..5).map(|n| world.client(&format!("alice{n}"))).collect();
    for caller in &callers {
        world.call(*caller, "bob");
    }
    assert_eq!(world.dataplane.asked - asked_before, 1, "the others wait as well");
    world.pass(20 * 10);
    assert!(world.dataplane.asked - asked_before <= 1 + 10 * callers.len());
    world.dataplane.refuse = None;
    world.pass(20);
    assert!(callers.iter().all(|caller| world.kinds(*caller) == ["ringing"]));
}

#[test]
fn an_order_that_was_busy_when_its_call_ended_opens_no_leg() {
    let mut world = World::new();
    let alice = world.client("alice");
    world.client("bob");
    world.dataplane.is_stuck = true;
    world.call(alice, "bob");
    world.say(alice, "hangup", json!({ "callsid": "TJS1" }));
    world.dataplane.refuse = Some(busy_to_new_legs);
    world.unstick();
    world.dataplane.refuse = None;
    world.pass(1_000);
    world.assert_clean();
}

#[test]
fn a_leg_opened_after_its_call_ended_is_closed() {
    let mut world = World::new();
    let alice = world.client("alice");
    world.client("bob");
    world.dataplane.is_stuck = true;
    world.call(alice, "bob");
    world.say(alice, "hangup", json!({ "callsid": "TJS1" }));
    // A dataplane that carries them out the other way round.
    world.dataplane.unanswered.reverse();
    world.unstick();
    world.assert_clean();
}

#[test]
fn a_dataplane_that_leaves_an_order_unanswered_is_said_to_hang_and_gets_no_new_calls() {
    let mut world = World::new();
    let (alice, _bob) = (world.client("alice"), world.client("bob"));
    let carol = world.client("carol");
    world.dataplane.is_stuck = true;
    world.call(alice, "bob");
    world.pass(4_999);
    assert_eq!(world.mutes, 0);
    world.pass(10_000);
    assert_eq!(world.mutes, 1, "said once");
    world.call(carol, "bob");
    assert_eq!(code(&world.only(carol, "hangup")), Some(53405));
    world.unstick();
    assert_eq!(world.kinds(alice), ["ringing"], "it was only slow");
    world.call(carol, "bob");
    assert_eq!(world.kinds(carol), ["ringing"]);
}

#[test]
fn what_clients_may_ask_of_a_stuck_dataplane_is_bounded_and_hanging_up_is_not() {
    let limits = Limits { frames_burst_max: 100_000, ..Limits::default() };
    let mut world = World::with(CoreConfig { limits, ..CoreConfig::default() });
    let talk = world.connected_call();
    let carol = world.client("carol");
    world.dataplane.is_stuck = true;
    for _ in 0..COMMANDS_OUTSTANDING_MAX + ORDERS_WAITING_MAX {
        world.say(talk.alice, "dtmf", json!({ "callsid": talk.alice_sid, "dtmf": "1" }));
    }
    assert!(world.kinds(talk.alice).is_empty());
    world.say(talk.alice, "dtmf", json!({ "callsid": talk.alice_sid, "dtmf": "1" }));
    assert_eq!(code(&world.only(talk.alice, "error")), Some(31400));
    let sdp = sdp("rest", "AA", "actpass", "sendrecv");
    world.say(talk.alice, "reinvite", json!({ "callsid": talk.alice_sid, "sdp": sdp }));
    assert_eq!(code(&world.only(talk.alice, "error")), Some(31206));
    world.call(carol, "bob");
    assert_eq!(code(&world.only(carol, "hangup")), Some(31206));
    world.say(talk.alice, "hangup", json!({ "callsid": talk.alice_sid }));
    assert_eq!(world.kinds(talk.bob), ["hangup"]);
    world.unstick();
    world.assert_clean();
}
