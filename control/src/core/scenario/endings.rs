//! Every way a call ends, asserted on both sides with its code.

use super::*;
use crosspoint_contract::Event;

/// A call from alice that rings at bob's; bob's name of it.
fn ringing(world: &mut World) -> (SessionId, SessionId, String) {
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.call(alice, "client:bob");
    assert_eq!(world.kinds(alice), ["ringing"]);
    let sid = text(&world.only(bob, "invite"), "callsid");
    (alice, bob, sid)
}

fn ended(world: &World, reason: &str, by: &str, code: Option<u32>) {
    let record = world.record();
    assert_eq!((record.end_reason.as_str(), record.ended_by.as_str(), record.code), (reason, by, code));
    world.assert_clean();
}

#[test]
fn caller_who_gives_up_cancels_the_callee() {
    let mut world = World::new();
    let (alice, bob, sid) = ringing(&mut world);
    let alice_sid = world.core.calls()[0].call_sid.clone();
    world.say(alice, "hangup", json!({ "callsid": alice_sid }));
    assert_eq!(text(&world.only(bob, "cancel"), "callsid"), sid);
    assert!(world.kinds(alice).is_empty());
    ended(&world, "canceled", "caller", None);
}

#[test]
fn a_hangup_that_crosses_our_ringing_still_names_the_call() {
    let mut world = World::new();
    let (alice, bob, _) = ringing(&mut world);
    world.say(alice, "hangup", json!({ "callsid": "TJS1" }));
    assert_eq!(world.kinds(bob), ["cancel"]);
    ended(&world, "canceled", "caller", None);
}

#[test]
fn caller_who_gives_up_before_ringing_uses_the_temporary_name() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.dataplane.is_stuck = true;
    world.call(alice, "bob");
    world.say(alice, "hangup", json!({ "callsid": "TJS1" }));
    world.unstick();
    assert!(world.kinds(bob).is_empty(), "bob was never told");
    ended(&world, "canceled", "caller", None);
}

#[test]
fn callee_who_declines_is_a_decline_at_the_callers() {
    let mut world = World::new();
    let (alice, bob, sid) = ringing(&mut world);
    world.say(bob, "reject", json!({ "callsid": sid }));
    assert_eq!(code(&world.only(alice, "hangup")), Some(31603));
    assert!(world.kinds(bob).is_empty());
    ended(&world, "declined", "callee", Some(31603));
}

#[test]
fn one_declining_instance_does_not_stop_the_others() {
    let mut world = World::new();
    let alice = world.client("alice");
    let bobs = [world.client("bob"), world.client("bob")];
    world.call(alice, "bob");
    let sids = bobs.map(|bob| text(&world.only(bob, "invite"), "callsid"));
    world.say(bobs[0], "reject", json!({ "callsid": sids[0] }));
    assert_eq!(world.kinds(alice), ["ringing"]);
    world.close(bobs[1]);
    assert_eq!(code(&world.only(alice, "hangup")), Some(31603));
    ended(&world, "declined", "callee", Some(31603));
}

#[test]
fn nobody_answering_ends_in_time_on_both_sides() {
    let mut world = World::new();
    let (alice, bob, sid) = ringing(&mut world);
    world.pass(29_999);
    assert!(world.kinds(alice).is_empty());
    world.pass(1);
    assert_eq!(code(&world.only(alice, "hangup")), Some(31480));
    assert_eq!(text(&world.only(bob, "cancel"), "callsid"), sid);
    ended(&world, "no_answer", "bridge", Some(31480));
}

#[test]
fn callee_who_is_not_registered_is_not_found_and_the_call_is_recorded() {
    let mut world = World::new();
    let alice = world.client("alice");
    world.call(alice, "client:nobody");
    let hangup = world.only(alice, "hangup");
    assert_eq!((text(&hangup, "callsid"), code(&hangup)), ("TJS1".into(), Some(31404)));
    ended(&world, "not_found", "bridge", Some(31404));
}

#[test]
fn callee_who_unregistered_is_not_found() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.say(bob, "register", json!({ "media": { "audio": false } }));
    assert_eq!(world.kinds(bob), ["offline"]);
    world.call(alice, "bob");
    assert_eq!(code(&world.only(alice, "hangup")), Some(31404));
    assert!(world.kinds(bob).is_empty());
}

#[test]
fn callee_whose_socket_is_lost_while_ringing_is_unavailable() {
    let mut world = World::new();
    let (alice, bob, _) = ringing(&mut world);
    world.close(bob);
    assert_eq!(code(&world.only(alice, "hangup")), Some(31480));
    ended(&world, "no_answer", "bridge", Some(31480));
}

#[test]
fn caller_whose_socket_is_lost_while_ringing_cancels() {
    let mut world = World::new();
    let (alice, bob, sid) = ringing(&mut world);
    world.close(alice);
    assert_eq!(text(&world.only(bob, "cancel"), "callsid"), sid);
    ended(&world, "canceled", "caller", None);
}

#[test]
fn callee_whose_token_allows_no_further_call_is_busy() {
    let mut world = World::new();
    let mut claims = claims("bob");
    claims["grants"]["crosspoint"] = json!({ "max_calls": 1 });
    let bob = world.listen(&sign(&claims, SECRET));
    world.say(bob, "register", json!({ "media": { "audio": true } }));
    let (alice, carol) = (world.client("alice"), world.client("carol"));
    world.heard(bob);
    world.call_up(alice, bob);
    world.call(carol, "bob");
    assert_eq!(code(&world.only(carol, "hangup")), Some(31486));
    assert!(world.kinds(bob).is_empty());
    ended_reason(&world, "busy");
}

fn ended_reason(world: &World, reason: &str) {
    assert_eq!(world.record().end_reason, reason);
}

#[test]
fn callee_hangs_up() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.say(talk.bob, "hangup", json!({ "callsid": talk.bob_sid }));
    let hangup = world.only(talk.alice, "hangup");
    assert_eq!((text(&hangup, "callsid"), code(&hangup)), (talk.alice_sid, None));
    ended(&world, "completed", "callee", None);
}

#[test]
fn callee_whose_answer_has_no_common_codec_ends_the_call_on_both_sides() {
    let mut world = World::new();
    let (alice, bob, sid) = ringing(&mut world);
    let answer = answer_sdp("bobb").replace("111 63 9 0 8 13 110 126", "126");
    world.say(bob, "answer", json!({ "callsid": sid, "sdp": answer }));
    assert_eq!(code(&world.only(bob, "hangup")), Some(53405));
    assert_eq!(code(&world.only(alice, "hangup")), Some(53405));
    ended(&world, "failed", "bridge", Some(53405));
}

#[test]
fn media_that_fails_is_told_as_such_to_whose_it_is() {
    let mut world = World::new();
    let talk = world.connected_call();
    let leg = world.core.sids[&talk.bob_sid];
    world.input(Input::DataplaneSaid(Event::LegFailed { leg, why: LegFailure::ConsentExpired }));
    assert_eq!(code(&world.only(talk.bob, "hangup")), Some(53405));
    assert_eq!(code(&world.only(talk.alice, "hangup")), None);
    ended(&world, "media_failed", "callee", Some(53405));
}

#[test]
fn a_closed_peer_connection_without_hangup_ends_the_call_shortly_after() {
    let mut world = World::new();
    let talk = world.connected_call();
    let leg = world.core.sids[&talk.bob_sid];
    world.input(Input::DataplaneSaid(Event::LegFailed { leg, why: LegFailure::PeerClosed }));
    assert!(world.kinds(talk.alice).is_empty(), "the hangup may be on its way");
    world.pass(2_000);
    assert_eq!(world.kinds(talk.alice), ["hangup"]);
    ended(&world, "completed", "callee", None);
}

#[test]
fn dataplane_lost_ends_its_calls_with_one_record_each() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.dataplane.legs.clear();
    world.input(Input::DataplaneLost { why: "killed".into() });
    assert_eq!(code(&world.only(talk.alice, "hangup")), Some(53405));
    assert_eq!(code(&world.only(talk.bob, "hangup")), Some(53405));
    ended(&world, "media_failed", "bridge", Some(53405));
}

#[test]
fn without_a_dataplane_invites_are_refused() {
    let mut world = World::new();
    let alice = world.client("alice");
    world.client("bob");
    world.input(Input::DataplaneDetached);
    world.call(alice, "bob");
    assert_eq!(code(&world.only(alice, "hangup")), Some(53405));
    assert!(world.records.is_empty());
}

#[test]
fn dataplane_that_takes_no_more_legs_fails_the_call() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.dataplane.refuse =
        Some(|command| matches!(command, Command::OpenLeg { .. }).then_some(Refused::LegsExhausted));
    world.call(alice, "bob");
    assert_eq!(code(&world.only(alice, "hangup")), Some(53405));
    assert!(world.kinds(bob).is_empty());
    ended(&world, "failed", "bridge", Some(53405));
}

#[test]
fn busy_dataplane_is_asked_again() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.dataplane.refuse = Some(|_| Some(Refused::Busy(WorkerId(0))));
    world.call(alice, "bob");
    assert!(world.kinds(bob).is_empty());
    world.dataplane.refuse = None;
    world.pass(20);
    assert_eq!(world.kinds(bob), ["invite"]);
}

#[test]
fn operator_and_shutdown_end_calls_and_tell_everybody() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.input(Input::HangUp { call_sid: talk.alice_sid });
    assert_eq!((world.kinds(talk.alice), world.kinds(talk.bob)), (vec!["hangup".into()], vec!["hangup".into()]));
    ended(&world, "operator", "bridge", None);

    let mut world = World::new();
    let talk = world.connected_call();
    world.input(Input::ShutDown);
    assert_eq!(code(&world.only(talk.alice, "hangup")), Some(53001));
    assert_eq!(world.closed.get(&talk.bob), Some(&1001));
    ended(&world, "shut_down", "bridge", Some(53001));
}

#[test]
fn server_that_leaves_ends_what_rings_and_hands_on_what_was_answered_whatever_clients_do_then() {
    let mut world = World::new();
    let talk = world.connected_call();
    let (carol, dave) = (world.client("carol"), world.client("dave"));
    world.call(carol, "dave");
    world.input(Input::Leave);
    assert_eq!(code(&world.only(carol, "hangup")), Some(53001));
    assert_eq!(world.kinds(dave), ["invite", "cancel"]);
    assert_eq!((world.records[0].end_reason.as_str(), world.records[0].code), ("shut_down", Some(53001)));
    for (session, sid) in [(talk.alice, &talk.alice_sid), (talk.bob, &talk.bob_sid)] {
        assert_eq!(world.closed.get(&session), Some(&1001));
        world.say(session, "hangup", json!({ "callsid": sid }));
        world.input(Input::SessionClosed { session });
    }
    world.pass(60_000);
    assert_eq!((world.live_calls().len(), world.records.len()), (1, 1), "the call is left to the next server");

    world.restart_control();
    assert_eq!(world.core.gauges().calls_answered, 1);
}

#[test]
fn after_a_shutdown_nobody_is_let_in() {
    let mut world = World::new();
    let (alice, _bob) = (world.client("alice"), world.client("bob"));
    world.input(Input::ShutDown);
    world.call(alice, "bob");
    assert_eq!(code(&world.only(alice, "hangup")), Some(53001));
    let late = world.open();
    assert_eq!(world.closed.get(&late), Some(&1001));
    assert_eq!(world.core.gauges().calls, 0);
}

#[test]
fn other_kinds_of_destination_are_refused_by_name() {
    let mut world = World::new();
    let alice = world.client("alice");
    for to in ["sip:bob@example.com", "+14155550100", "conference:daily", "app:AP1"] {
        world.call(alice, to);
        assert_eq!(code(&world.only(alice, "hangup")), Some(31404), "{to}");
    }
    assert_eq!(world.core.counters().refusals["destination_kind_unserved"], 4);
    world.call(alice, "client:a\nb");
    assert_eq!(code(&world.only(alice, "hangup")), Some(31105));
    world.say(alice, "invite", json!({ "callsid": "TJS1", "sdp": offer_sdp("alic"), "twilio": { "params": "x=y" } }));
    assert_eq!(code(&world.only(alice, "hangup")), Some(31101));
}

#[test]
fn offers_that_cannot_be_served_are_refused_with_a_code() {
    let mut world = World::new();
    let alice = world.client("alice");
    world.client("bob");
    let offer = offer_sdp("alic");
    let cases = [
        ("v=0\r\nnonsense".to_owned(), 31100),
        (offer.replace("sha-256", "sha-1"), 53405),
        (offer.replace("a=rtcp-mux\r\n", ""), 53405),
        (offer.replace("a=ice-ufrag:alic\r\n", ""), 53405),
        (offer.replace("m=audio 9", "m=audio 0"), 53405),
        (offer.replace("AA:AA:", "AA:"), 31100),
    ];
    for (sdp, expected) in cases {
        world.say(alice, "invite", json!({ "callsid": "TJS1", "sdp": sdp, "twilio": { "params": "To=bob" } }));
        assert_eq!(code(&world.only(alice, "hangup")), Some(expected), "{sdp}");
    }
}

/// The dataplane's lines name a leg by its number, people and records by its SID.
#[test]
fn lines_about_a_leg_name_it_by_its_number_and_by_the_sid_that_its_client_knows() {
    let mut world = World::new();
    let talk = world.connected_call();
    let leg = world.core.sids[&talk.bob_sid];
    world.input(Input::DataplaneSaid(Event::LegSilent { leg, silent_ms: 10_000 }));
    let note = world.notes.iter().find(|note| note.kind == "leg_silent").expect("a line");
    let field = |name: &str| note.fields.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    assert_eq!(field("call_sid"), Some(talk.bob_sid.as_str()));
    assert_eq!((field("leg"), field("silent_ms")), (Some(leg.to_string().as_str()), Some("10000")));
}
