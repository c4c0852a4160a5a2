//! Control is killed and comes back; the dataplane has gone on.

use super::*;
use crosspoint_contract::{Event, Security};

/// A call between a plain caller and a callee with SDES.
fn keyed_call(world: &mut World) -> (String, String) {
    let more = [("transport-protocol", "RTP/SAVP"), ("replace", "sdp-version")];
    let offered = sdp(&world.offer("c1", "f", &audio("198.51.100.10", 4000), &more));
    let answer =
        audio("203.0.113.20", 5000).replace("RTP/AVP", "RTP/SAVP") + lines(&offered, "a=crypto:1 ")[0] + "\r\n";
    let answered = sdp(&world.answer("c1", "f", "t", &answer, &[]));
    (offered, answered)
}

#[test]
fn a_call_that_was_found_is_listed_queried_and_deleted() {
    let mut world = World::new();
    world.plain_call("c1");
    let created = world.ask("query", &[("call-id", "c1")]);
    let mut world = world.restarted(60_000);
    assert_eq!(world.ordered(), [], "what goes on needs no orders");
    let listed = world.ask("list", &[]);
    assert_eq!(listed.get("calls"), Some(&Value::List(vec!["c1".into()])));
    let queried = world.ask("query", &[("call-id", "c1")]);
    assert_eq!(queried, created);
    let deleted = world.ask("delete", &[("call-id", "c1"), ("from-tag", "f"), ("delete-delay", "0")]);
    assert_eq!((deleted.text("result"), deleted.get("warning")), (Some("ok"), None));
    assert!(world.dataplane.legs.is_empty());
}

#[test]
fn an_offer_after_the_restart_goes_on_with_ports_keys_and_versions() {
    let mut world = World::new();
    keyed_call(&mut world);
    let before = keyed_call(&mut world);
    let legs: Vec<LegId> = world.dataplane.legs.keys().copied().collect();
    let security = |world: &World| -> Vec<Security> {
        world.dataplane.remotes.values().map(|remote| remote.security.clone()).collect()
    };
    let told = security(&world);
    let mut world = world.restarted(5_000);
    assert_eq!(keyed_call(&mut world), before, "nothing has changed, so nothing is said otherwise");
    assert_eq!(security(&world), told);
    assert_eq!(world.dataplane.legs.keys().copied().collect::<Vec<_>>(), legs);
    let (offered, _) = world.plain_call("c2");
    assert_ne!(port(&offered), port(&before.0), "its ports are taken");
}

#[test]
fn an_answer_after_the_restart_finds_its_offer() {
    let mut world = World::new();
    world.offer("c1", "f", &audio("198.51.100.10", 4000), &[]);
    let mut world = world.restarted(1_000);
    let answered = world.answer("c1", "f", "t", &audio("203.0.113.20", 5000), &[]);
    assert_eq!(answered.text("result"), Some("ok"));
    assert_eq!(world.described().len(), 2);
}

#[test]
fn a_delete_that_was_under_way_is_carried_out_when_it_is_due() {
    let mut world = World::new();
    world.plain_call("c1");
    world.ask("delete", &[("call-id", "c1"), ("delete-delay", "30")]);
    let mut world = world.restarted(20_000);
    world.advance(9_000);
    assert_eq!(world.dataplane.legs.len(), 2);
    world.advance(1_500);
    assert!(world.dataplane.legs.is_empty());
}

#[test]
fn what_the_dataplane_does_not_have_as_it_was_noted_is_said_anew() {
    let mut world = World::new();
    world.plain_call("c1");
    let sinks = world.dataplane.sinks.clone();
    world.dataplane.sinks.clear();
    assert_eq!(world.restarted(0).dataplane.sinks, sinks);
    let mut world = World::new();
    world.plain_call("c1");
    let (legs, lost) = (world.dataplane.legs.clone(), *world.dataplane.legs.keys().next().unwrap());
    world.dataplane.legs.remove(&lost);
    assert_eq!(world.restarted(0).dataplane.legs, legs);
}

#[test]
fn a_call_that_fell_silent_meanwhile_ends() {
    let mut world = World::new();
    world.plain_call("c1");
    world.dataplane.silent = world.dataplane.legs.keys().copied().collect();
    let world = world.restarted(60_000);
    assert_eq!((world.core.calls(), world.dataplane.legs.len()), (0, 0));
    assert_eq!(world.core.statistics().sessions_timed_out, 1);
}

#[test]
fn legs_that_nobody_noted_go_on_until_they_fall_silent_and_their_ports_rest_then() {
    let mut world = World::new();
    world.plain_call("c1");
    world.dataplane.notes.clear();
    let mut world = world.restarted(1_000);
    assert_eq!((world.core.calls(), world.dataplane.legs.len()), (0, 2));
    let used = |world: &World| world.core.ports.usage([192, 0, 2, 1].into()).map(|usage| usage.used);
    assert_eq!(used(&world), Some(4));
    for leg in world.dataplane.legs.keys().copied().collect::<Vec<_>>() {
        world.input(Input::DataplaneSaid(Event::LegSilent { leg, silent_ms: 60_000 }));
    }
    assert_eq!((used(&world), world.dataplane.legs.len()), (Some(0), 0));
}

#[test]
fn a_leg_that_a_found_call_has_no_use_for_is_closed() {
    let mut world = World::new();
    world.plain_call("c1");
    let notes = world.dataplane.notes.clone();
    // The caller moves, so that the callee is given other ports; the note about it is lost.
    world.offer("c1", "f", &audio("198.51.100.99", 4444), &[]);
    assert_eq!(world.dataplane.legs.len(), 3);
    world.dataplane.notes = notes;
    assert_eq!(world.restarted(0).dataplane.legs.len(), 2);
}
