//! Dataplanes that come, go, forget and are busy.

use super::*;
use crosspoint_contract::{Answer, CommandId, Done, Event, Refused, WorkerId};

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
    assert_eq!(count(|command| matches!(command, Command::Filter { filter, .. } if filter.media_blocked)), 1);
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

/// Another control plane on the same dataplane: nothing is left of the calls but their legs.
fn restarted(mut before: World) -> World {
    before.dataplane.notes.clear();
    let mut world = World::detached(|settings| (settings.port_min, settings.port_max) = (30_000, 30_003));
    world.now_ms += 60_000;
    world.core = NgCore::new(world.core.settings.clone(), [6; 32], world.now());
    world.dataplane = before.dataplane;
    world.input(Input::DataplaneAttached { hello: hello(true), snapshot: world.dataplane.snapshot() });
    world
}

fn with_four_ports() -> World {
    let mut world = World::with(|settings| (settings.port_min, settings.port_max) = (30_000, 30_003));
    world.plain_call("c1");
    world
}

fn silent(world: &mut World, leg: LegId) {
    world.dataplane.silent.insert(leg);
    world.input(Input::DataplaneSaid(Event::LegSilent { leg, silent_ms: 60_000 }));
}

fn may_call(world: &mut World) -> bool {
    let reply = world.offer("c2", "f", &audio("198.51.100.10", 4000), &[]);
    reply.text("result") == Some("ok")
}

#[test]
fn legs_of_an_earlier_process_keep_their_ports_until_nobody_speaks_on_either() {
    let mut world = restarted(with_four_ports());
    let legs: Vec<LegId> = world.dataplane.legs.keys().copied().collect();
    silent(&mut world, legs[0]);
    assert_eq!(world.dataplane.legs.len(), 2, "one side may be silent");
    assert!(!may_call(&mut world));
    silent(&mut world, legs[1]);
    assert!(world.dataplane.legs.is_empty());
    assert!(may_call(&mut world), "the ports are free again");
}

#[test]
fn legs_that_were_silent_before_are_closed_at_once_and_those_on_hold_after_an_hour() {
    let mut world = with_four_ports();
    world.dataplane.silent = world.dataplane.legs.keys().copied().collect();
    assert!(restarted(world).dataplane.legs.is_empty());
    let mut world = with_four_ports();
    world.dataplane.silent = world.dataplane.legs.keys().copied().collect();
    for remote in world.dataplane.remotes.values_mut() {
        remote.direction = crosspoint_contract::Direction::SendOnly;
    }
    let mut world = restarted(world);
    assert_eq!(world.dataplane.legs.len(), 2);
    world.advance(3_601_000);
    assert!(world.dataplane.legs.is_empty() && may_call(&mut world));
}

#[test]
fn a_leg_that_the_dataplane_does_not_open_is_no_answer() {
    for (why, words) in [
        (Refused::LegsExhausted, "Load limit exceeded"),
        (Refused::Draining, "Load limit exceeded"),
        (Refused::NoSuchAddress([192, 0, 2, 1].into()), "Ran out of ports"),
    ] {
        let mut world = World::new();
        world.plain_call("c1");
        world.dataplane.refuses_legs = Some(why);
        let audio = audio("198.51.100.10", 4000);
        assert_eq!(error(&world.offer("c2", "f", &audio, &[])), words);
        assert_eq!(world.core.calls(), 1, "it left no call behind");
        let with_video = audio + "m=video 4002 RTP/AVP 96\r\n";
        assert_eq!(error(&world.offer("c1", "f", &with_video, &[("to-tag", "t")])), words);
        world.dataplane.refuses_legs = None;
        world.offer("c1", "f", &with_video, &[("to-tag", "t")]);
        assert_eq!(world.dataplane.legs.len(), 4, "the line has legs when they can be opened");
    }
}

#[test]
fn what_a_busy_dataplane_did_not_take_is_said_again_although_it_is_the_default() {
    let mut world = World::new();
    world.plain_call("c1");
    world.ask("block media", &[("call-id", "c1"), ("from-tag", "f")]);
    world.dataplane.refuses = Some(Refused::Busy(WorkerId(0)));
    world.ask("unblock media", &[("call-id", "c1"), ("from-tag", "f")]);
    world.dataplane.refuses = None;
    world.ordered();
    world.advance(200);
    let unblocked = |command: &Command| matches!(command, Command::Filter { filter, .. } if !filter.media_blocked);
    assert_eq!(world.ordered().iter().filter(|command| unblocked(command)).count(), 2);
}

#[test]
fn a_leg_that_was_not_closed_in_time_is_closed_later() {
    let mut world = World::new();
    world.plain_call("c1");
    world.dataplane.refuses = Some(Refused::Busy(WorkerId(0)));
    world.ask("delete", &[("call-id", "c1"), ("from-tag", "f"), ("delete-delay", "0")]);
    assert_eq!((world.core.calls(), world.dataplane.legs.len()), (0, 2));
    world.dataplane.refuses = None;
    world.advance(200);
    assert!(world.dataplane.legs.is_empty(), "the dataplane was busy");
    world.plain_call("c2");
    world.input(Input::DataplaneLost);
    world.ask("delete", &[("call-id", "c2"), ("from-tag", "f"), ("delete-delay", "0")]);
    assert_eq!((world.core.calls(), world.dataplane.legs.len()), (0, 2));
    world.input(Input::DataplaneAttached { hello: hello(true), snapshot: world.dataplane.snapshot() });
    assert!(world.dataplane.legs.is_empty(), "the dataplane was away");
}

#[test]
fn what_is_silent_is_what_the_dataplane_says_is() {
    let mut world = World::new();
    world.plain_call("c1");
    let legs: Vec<LegId> = world.dataplane.legs.keys().copied().collect();
    silent(&mut world, legs[0]);
    // A leg that is opened anew is not silent, and nobody will say that it is heard.
    world.input(Input::DataplaneSaid(Event::WorkerLost { worker: WorkerId(0), legs: legs.clone() }));
    silent(&mut world, legs[1]);
    assert_eq!(world.core.calls(), 1);
    world.input(Input::DataplaneLost);
    world.dataplane.silent = legs.iter().copied().collect();
    world.input(Input::DataplaneAttached { hello: hello(true), snapshot: world.dataplane.snapshot() });
    world.advance(59_000);
    assert_eq!(world.core.calls(), 1);
    world.advance(2_000);
    assert_eq!(world.core.calls(), 0, "both were silent before");
}

/// A dataplane with a board, so that promises can be announced.
fn with_board() -> World {
    let mut world = World::detached(|_| {});
    let hello = crosspoint_contract::DataplaneHello { line: Some(1), ..hello(true) };
    world.input(Input::DataplaneAttached { hello, snapshot: Snapshot::default() });
    world
}

const ANSWER: &[(&str, &str)] = &[("call-id", "c1"), ("from-tag", "f"), ("to-tag", "t")];

#[test]
fn an_answer_that_lets_more_pass_is_given_at_once_and_one_that_may_shut_somebody_out_waits() {
    let mut world = with_board();
    world.offer("c1", "f", &audio("198.51.100.10", 4000), &[]);
    world.dataplane.is_mute = true;
    let first = audio("203.0.113.20", 5000);
    world.send("answer", &[ANSWER, &[("sdp", &first)]].concat(), &[]);
    assert_eq!(world.heard().expect("at once").text("result"), Some("ok"));
    let promised = world.ordered();
    assert!(promised.iter().any(|command| matches!(command, Command::Forward { .. })));
    let moved = audio("203.0.113.21", 5002);
    world.send("answer", &[ANSWER, &[("sdp", &moved)]].concat(), &[]);
    assert_eq!(world.heard(), None, "the place before must not be heard after the reply");
    world.send("block media", &[("call-id", "c1"), ("all", "all")], &[]);
    assert_eq!(world.heard(), None);
}

#[test]
fn a_call_is_deleted_when_its_figures_are_known() {
    let mut world = with_board();
    world.plain_call("c1");
    world.ordered();
    world.dataplane.is_mute = true;
    world.send("delete", &[("call-id", "c1"), ("from-tag", "f"), ("delete-delay", "0")], &[]);
    assert_eq!(world.heard(), None);
    let ordered = world.ordered();
    let before_closing = ordered.iter().take_while(|command| !matches!(command, Command::CloseLeg { .. }));
    assert!(before_closing.filter(|command| matches!(command, Command::ReadLeg { .. })).count() > 0);
    assert_eq!(ordered.iter().filter(|command| matches!(command, Command::CloseLeg { .. })).count(), 2);
    assert!(world.dataplane.legs.is_empty(), "closed without waiting for anything");
}

#[test]
fn what_is_promised_never_overtakes_orders_that_wait() {
    let mut world = with_board();
    world.dataplane.is_mute = true;
    let calls = crosspoint_contract::limits::COMMANDS_OUTSTANDING_MAX / 2 + 1;
    for call in 0..calls {
        let id = call.to_string();
        world.send("offer", &[("call-id", &id), ("from-tag", "f"), ("sdp", &audio("198.51.100.10", 4000))], &[]);
    }
    let last = (calls - 1).to_string();
    let sdp = audio("203.0.113.20", 5000);
    world.ordered();
    world.send("answer", &[("call-id", &last), ("from-tag", "f"), ("to-tag", "t"), ("sdp", &sdp)], &[]);
    assert_eq!((world.ordered(), world.heard()), (Vec::new(), None), "its legs are not ordered yet");
}

#[test]
fn a_broken_promise_for_want_of_room_is_made_good() {
    let mut world = with_board();
    world.plain_call("c1");
    let leg = world.described()[0].0;
    world.input(Input::DataplaneSaid(Event::PromiseBroken { leg, why: Refused::Busy(WorkerId(0)) }));
    world.advance(200);
    assert_eq!(world.described().len(), 2);
}

#[test]
fn an_end_that_was_promised_and_found_no_room_is_said_again() {
    let mut world = with_board();
    world.plain_call("c1");
    let leg = world.described()[0].0;
    world.ask("delete", &[("call-id", "c1"), ("delete-delay", "0")]);
    world.ordered();
    world.input(Input::DataplaneSaid(Event::PromiseBroken { leg, why: Refused::Busy(WorkerId(0)) }));
    world.advance(200);
    assert_eq!(world.ordered(), [Command::CloseLeg { leg }]);
}
