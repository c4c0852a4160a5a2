//! Dataplanes that come, go, forget and are busy.

use super::*;
use crosspoint_contract::{Answer, CommandId, Done, Refused, WorkerId};

#[test]
fn another_dataplane_is_told_everything_anew() {
    let mut world = World::new();
    world.plain_call("c1");
    world.ask("block media", &[("call-id", "c1"), ("from-tag", "f")]);
    let before = (world.dataplane.legs.clone(), world.dataplane.sinks.clone());
    world.input(Input::DataplaneLost);
    world.dataplane = FakeDataplane::default();
    world.ordered();
    world.input(Input::DataplaneAttached { hello: hello(true), snapshot: Snapshot::default() });
    assert_eq!((world.dataplane.legs.clone(), world.dataplane.sinks.clone()), before);
    let ordered = world.ordered();
    let count = |is: fn(&Command) -> bool| ordered.iter().filter(|command| is(command)).count();
    assert_eq!(count(|command| matches!(command, Command::SetRtpRemote { .. })), 2);
    assert_eq!(count(|command| matches!(command, Command::Filter { .. })), 1);
}

#[test]
fn a_busy_dataplane_is_asked_again() {
    let mut world = World::new();
    world.dataplane.is_mute = true;
    world.send("offer", &[("call-id", "c1"), ("from-tag", "f"), ("sdp", &audio("198.51.100.10", 4000))], &[]);
    world.ordered();
    let id = CommandId((1 << 62) | 1);
    world.input(Input::DataplaneAnswered(Answer { id, result: Err(Refused::Busy(WorkerId(0))) }));
    world.advance(200);
    assert!(world.ordered().iter().any(|command| matches!(command, Command::OpenLeg { .. })));
}

#[test]
fn a_reply_leaves_when_the_dataplane_has_taken_the_orders_behind_it() {
    let mut world = World::new();
    world.dataplane.is_mute = true;
    world.send("offer", &[("call-id", "c1"), ("from-tag", "f"), ("sdp", &audio("198.51.100.10", 4000))], &[]);
    let orders = world.ordered().len() as u64;
    for number in 1..=orders {
        assert_eq!(world.heard(), None, "before order {number} of {orders} is answered");
        world.input(Input::DataplaneAnswered(Answer { id: CommandId((1 << 62) | number), result: Ok(Done::Ok) }));
    }
    assert_eq!(world.heard().unwrap().text("result"), Some("ok"));
    world.send("block media", &[("call-id", "c1"), ("all", "all")], &[]);
    assert_eq!(world.heard(), None);
    world.advance(crate::limits::ORDERS_WAIT_MS);
    assert_eq!(world.heard().unwrap().text("result"), Some("ok"), "a dataplane that does not answer delays it only");
}

#[test]
fn an_answer_that_waits_is_given_when_the_dataplane_goes() {
    let mut world = World::new();
    world.plain_call("c1");
    world.dataplane.is_mute = true;
    world.send("query", &[("call-id", "c1")], &[]);
    assert_eq!(world.heard(), None);
    world.input(Input::DataplaneLost);
    assert_eq!(world.heard().unwrap().text("result"), Some("ok"));
}

#[test]
fn orders_of_others_are_not_ours() {
    let mut world = World::new();
    world.plain_call("c1");
    let notes = world.notes.len();
    world.input(Input::DataplaneAnswered(Answer { id: CommandId(1), result: Err(Refused::Draining) }));
    assert_eq!(world.notes.len(), notes);
}

#[test]
fn shutting_down_closes_all_legs() {
    let mut world = World::new();
    world.plain_call("c1");
    world.input(Input::ShutDown);
    assert!(world.dataplane.legs.is_empty());
    assert_eq!(error(&world.offer("c2", "f", &audio("198.51.100.10", 4000), &[])), "Load limit exceeded");
}
