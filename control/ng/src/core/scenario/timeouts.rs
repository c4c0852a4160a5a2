//! Calls that end by themselves.

use super::*;
use crosspoint_contract::Event;

/// What the dataplane says of its legs when nothing was heard for the timeout: of each that it was told a party of, once.
fn silent(world: &mut World) {
    let legs: Vec<LegId> = world.dataplane.remotes.keys().copied().collect();
    for leg in legs {
        if world.dataplane.silent.insert(leg) {
            world.input(Input::DataplaneSaid(Event::LegSilent { leg, silent_ms: 60_000 }));
        }
    }
}

fn hold(world: &mut World, its: &str, other: &str) {
    let held = with_lines("198.51.100.10", &["m=audio 4000 RTP/AVP 0", its]);
    world.offer("c1", "f", &held, &[("to-tag", "t")]);
    let answer = with_lines("203.0.113.20", &["m=audio 5000 RTP/AVP 0", other]);
    world.answer("c1", "f", "t", &answer, &[]);
}

#[test]
fn a_call_that_nobody_speaks_in_ends() {
    let mut world = World::new();
    world.plain_call("c1");
    let legs: Vec<LegId> = world.dataplane.legs.keys().copied().collect();
    assert!(world.dataplane.legs.values().all(|request| request.silent_ms == 60_000));
    world.input(Input::DataplaneSaid(Event::LegSilent { leg: legs[0], silent_ms: 60_000 }));
    assert_eq!(world.core.calls(), 1, "one side may be silent");
    world.input(Input::DataplaneSaid(Event::LegHeard { leg: legs[0] }));
    world.input(Input::DataplaneSaid(Event::LegSilent { leg: legs[1], silent_ms: 60_000 }));
    assert_eq!(world.core.calls(), 1);
    silent(&mut world);
    assert_eq!((world.core.calls(), world.core.statistics().sessions_timed_out), (0, 1));
}

#[test]
fn a_call_on_hold_may_be_silent_for_longer() {
    let mut world = World::new();
    world.plain_call("c1");
    hold(&mut world, "a=sendonly", "a=recvonly");
    silent(&mut world);
    world.advance(3_500_000);
    assert_eq!(world.core.calls(), 1);
    world.advance(100_000);
    assert_eq!((world.core.calls(), world.core.statistics().sessions_silent_timed_out), (0, 1));
}

#[test]
fn an_offer_that_is_never_answered_ends_and_so_does_a_call_of_the_longest_length() {
    let mut world = World::with(|settings| (settings.offer_timeout_s, settings.final_timeout_s) = (100, 1000));
    world.offer("c1", "f", &audio("198.51.100.10", 4000), &[]);
    world.plain_call("c2");
    world.advance(101_000);
    assert_eq!((world.core.calls(), world.core.statistics().sessions_offer_timed_out), (1, 1));
    world.advance(900_000);
    assert_eq!((world.core.calls(), world.core.statistics().sessions_final_timed_out), (0, 1));
}

#[test]
fn a_call_that_was_silent_on_hold_has_the_timeout_to_speak_again() {
    let mut world = World::new();
    world.plain_call("c1");
    hold(&mut world, "a=sendonly", "a=recvonly");
    silent(&mut world);
    world.advance(600_000);
    hold(&mut world, "a=sendrecv", "a=sendrecv");
    silent(&mut world);
    world.advance(59_000);
    assert_eq!(world.core.calls(), 1);
    world.advance(2_000);
    assert_eq!((world.core.calls(), world.core.statistics().sessions_timed_out), (0, 1));
}

#[test]
fn a_branch_that_was_not_answered_delays_the_end_and_prevents_it_not() {
    let mut world = World::with(|settings| settings.offer_timeout_s = 100);
    for branch in ["b1", "b2"] {
        world.offer("c1", "f", &audio("198.51.100.10", 4000), &[("via-branch", branch)]);
    }
    world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[("via-branch", "b1")]);
    silent(&mut world);
    world.advance(39_000);
    assert_eq!(world.core.calls(), 1);
    world.advance(2_000);
    assert_eq!(world.core.calls(), 0);
}

#[test]
fn a_call_ends_although_a_recorder_listens_or_no_line_is_left() {
    let mut world = World::new();
    world.plain_call("c1");
    world.ask_with("subscribe request", &[("call-id", "c1"), ("to-tag", "r")], &[("from-tags", &["f"])]);
    let recorder = with_lines("203.0.113.99", &["m=audio 7000 RTP/AVP 0", "a=recvonly"]);
    world.ask("subscribe answer", &[("call-id", "c1"), ("to-tag", "r"), ("sdp", &recorder)]);
    world.offer("c2", "f", &audio("198.51.100.10", 4000), &[]);
    world.answer("c2", "f", "t", &audio("203.0.113.20", 0), &[]);
    silent(&mut world);
    world.advance(3_601_000);
    assert_eq!(world.core.calls(), 0);
}

#[test]
fn the_listener_that_hangs_up_leaves_a_call_as_silent_as_it_is() {
    let mut world = World::new();
    world.plain_call("c1");
    world.ask_with("subscribe request", &[("call-id", "c1"), ("to-tag", "r")], &[("from-tags", &["f"])]);
    let recorder = with_lines("203.0.113.99", &["m=audio 7000 RTP/AVP 0", "a=recvonly"]);
    world.ask("subscribe answer", &[("call-id", "c1"), ("to-tag", "r"), ("sdp", &recorder)]);
    silent(&mut world);
    world.ask("unsubscribe", &[("call-id", "c1"), ("to-tag", "r")]);
    world.advance(61_000);
    assert_eq!(world.core.calls(), 0);
}
