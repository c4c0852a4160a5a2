//! Calls that end by themselves.

use super::*;
use crosspoint_contract::Event;

fn silent(world: &mut World) {
    let legs: Vec<LegId> = world.dataplane.legs.keys().copied().collect();
    for leg in legs {
        world.input(Input::DataplaneSaid(Event::LegSilent { leg, silent_ms: 60_000 }));
    }
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
    let held = with_lines("198.51.100.10", &["m=audio 4000 RTP/AVP 0", "a=sendonly"]);
    world.offer("c1", "f", &held, &[("to-tag", "t")]);
    let answer = with_lines("203.0.113.20", &["m=audio 5000 RTP/AVP 0", "a=recvonly"]);
    world.answer("c1", "f", "t", &answer, &[]);
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
