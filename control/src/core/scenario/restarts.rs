//! Control dies and comes back; the dataplane dies and comes back.

use super::*;
use crosspoint_contract::Event;

fn resume(sid: &str, token: &str, sdp: String) -> Value {
    json!({ "callsid": sid, "sdp": sdp, "twilio": {}, "reconnect": token })
}

#[test]
fn a_restarted_control_adopts_the_call_resumes_its_clients_and_writes_one_record() {
    let mut world = World::new();
    let talk = world.connected_call();
    let legs = world.dataplane.legs.clone();
    world.restart_control();
    assert_eq!((world.core.gauges().calls_answered, world.core.counters().calls_adopted), (1, 1));
    assert_eq!(world.dataplane.legs, legs, "media was not touched");
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    for (back, sid, token, sdp) in [
        (alice, &talk.alice_sid, &talk.alice_token, offer_sdp("alic")),
        (bob, &talk.bob_sid, &talk.bob_token, answer_sdp("bobb")),
    ] {
        world.say(back, "invite", json!({ "callsid": sid, "sdp": sdp, "twilio": {}, "reconnect": token }));
        assert_eq!(&text(&world.only(back, "answer"), "callsid"), sid);
    }
    assert_eq!(world.dataplane.legs, legs, "nor by the resumption");
    world.pass(120_000);
    world.say(bob, "hangup", json!({ "callsid": talk.bob_sid }));
    assert_eq!(world.kinds(alice), ["hangup"]);
    assert_eq!((world.record().end_reason.as_str(), world.record().legs.len()), ("completed", 2));
    assert_eq!(world.record().path, ["M2 client>local>client"]);
    world.assert_clean();
}

#[test]
fn a_client_that_is_back_before_the_dataplane_is_answered_when_it_is_there() {
    let mut world = World::new();
    let talk = world.connected_call();
    let calls = world.live_calls();
    world.core = Core::new(CoreConfig::default(), [3; 32], [2; 32]);
    world.input(Input::KeysChanged(keys()));
    world.input(Input::Restored { calls });
    let alice = world.client("alice");
    let invite = json!({ "callsid": talk.alice_sid, "sdp": offer_sdp("alic"), "reconnect": talk.alice_token });
    world.say(alice, "invite", invite);
    assert!(world.kinds(alice).is_empty());
    world.attach();
    assert_eq!(text(&world.only(alice, "answer"), "callsid"), talk.alice_sid);
}

#[test]
fn an_adopted_call_can_restart_ice() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.restart_control();
    let alice = world.client("alice");
    let leg = world.core.sids[&talk.alice_sid];
    let sdp = sdp("rest", "AA", "actpass", "sendrecv");
    let invite = json!({ "callsid": talk.alice_sid, "sdp": sdp, "twilio": {}, "reconnect": talk.alice_token });
    world.say(alice, "invite", invite);
    let answer = text(&world.only(alice, "answer"), "sdp");
    assert!(answer.contains(&world.dataplane.legs[&leg].1.ice.ufrag) && answer.contains("a=rtpmap:111 opus/48000/2"));
    assert_eq!(world.dataplane.legs[&leg].2.as_ref().map(|r| r.formats.len()), Some(8));
}

#[test]
fn hang_up_by_callsid_works_after_a_restart_without_resuming() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.restart_control();
    let bob = world.client("bob");
    world.say(bob, "hangup", json!({ "callsid": talk.bob_sid }));
    assert_eq!((world.record().end_reason.as_str(), world.record().ended_by.as_str()), ("completed", "callee"));
    world.assert_clean();
}

#[test]
fn clients_that_never_return_after_a_restart_end_the_call_after_the_grace() {
    let mut world = World::new();
    world.connected_call();
    world.restart_control();
    world.pass(59_999);
    assert_eq!(world.core.gauges().calls, 1);
    world.pass(1);
    assert_eq!(world.record().end_reason, "connection_lost");
    world.assert_clean();
}

#[test]
fn a_call_that_only_rang_at_the_restart_gets_its_record_and_loses_its_legs() {
    let mut world = World::new();
    let (alice, _bob) = (world.client("alice"), world.client("bob"));
    world.call(alice, "bob");
    world.restart_control();
    assert_eq!((world.record().end_reason.as_str(), world.record().answered_unix_ms), ("interrupted", None));
    world.assert_clean();
}

#[test]
fn the_length_limit_holds_over_a_restart() {
    let mut world = World::new();
    let alice = world.listen(&limited_token(json!({ "max_call_seconds": 100 })));
    let bob = world.client("bob");
    world.heard(alice);
    world.call_up(alice, bob);
    world.pass(50_000);
    world.restart_control();
    let alice = world.client("alice");
    let sid = world.core.calls()[0].call_sid.clone();
    let token = super::super::bridge_token::Sealer::new([2; 32]).seal(
        &super::super::bridge_token::BridgeToken {
            call_sid: sid.clone(),
            node: "node1".into(),
            account_sid: ACCOUNT.into(),
            identity: "alice".into(),
            expires_unix_ms: u64::MAX,
        },
        [5; 12],
    );
    world.say(alice, "invite", json!({ "callsid": sid, "sdp": offer_sdp("alic"), "reconnect": token }));
    world.pass(49_999);
    assert_eq!(world.core.gauges().calls, 1);
    world.pass(1);
    assert_eq!(world.record().end_reason, "length_limit");
}

#[test]
fn another_generation_of_the_dataplane_ends_the_calls_of_the_last_one() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.input(Input::DataplaneDetached);
    world.dataplane.generation = Generation(2);
    world.dataplane.legs.clear();
    world.attach();
    assert_eq!(code(&world.only(talk.alice, "hangup")), Some(53405));
    assert_eq!(code(&world.only(talk.bob, "hangup")), Some(53405));
    assert_eq!(world.record().end_reason, "media_failed");
    world.assert_clean();
    world.call_up(talk.alice, talk.bob);
}

#[test]
fn both_processes_restarted_end_the_call_with_one_record() {
    let mut world = World::new();
    world.connected_call();
    world.dataplane.generation = Generation(2);
    world.dataplane.legs.clear();
    world.restart_control();
    assert_eq!(world.record().end_reason, "media_failed");
    world.assert_clean();
}

#[test]
fn a_link_that_breaks_and_returns_changes_nothing() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.input(Input::DataplaneDetached);
    world.attach();
    assert!(world.kinds(talk.alice).is_empty() && world.kinds(talk.bob).is_empty());
    assert_eq!(world.core.gauges().calls_answered, 1);
}

#[test]
fn a_hangup_while_the_link_is_down_is_told_and_recorded_at_once_and_closes_the_legs_later() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.input(Input::DataplaneDetached);
    world.say(talk.alice, "hangup", json!({ "callsid": talk.alice_sid }));
    assert_eq!(world.kinds(talk.bob), ["hangup"]);
    assert_eq!(world.record().end_reason, "completed");
    world.attach();
    world.assert_clean();
}

#[test]
fn legs_of_nobody_are_closed_after_the_orphan_grace() {
    let mut world = World::new();
    world.connected_call();
    world.saved.clear();
    world.restart_control();
    assert_eq!(world.dataplane.legs.len(), 2);
    world.pass(3_599_999);
    assert_eq!(world.dataplane.legs.len(), 2);
    world.pass(1);
    assert!(world.dataplane.legs.is_empty());
}

#[test]
fn reports_that_never_come_do_not_hold_the_record_back() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.dataplane.is_stuck = true;
    world.say(talk.alice, "hangup", json!({ "callsid": talk.alice_sid }));
    assert!(world.records.is_empty());
    world.pass(2_000);
    assert_eq!(world.record().end_reason, "completed");
    world.unstick();
    assert_eq!(world.records.len(), 1);
}

#[test]
fn a_control_that_died_between_the_answer_and_its_save_has_the_call_adopted() {
    let mut world = World::new();
    let talk = world.connected_call();
    let last = world.saved.pop().expect("a save");
    assert!(last.answered_unix_ms.is_some(), "what was lost is the save that follows the answer");
    let legs = world.dataplane.legs.clone();
    world.restart_control();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.say(alice, "invite", resume(&talk.alice_sid, &talk.alice_token, offer_sdp("alic")));
    let answer = text(&world.only(alice, "answer"), "sdp");
    assert!(answer.contains("a=rtpmap:111 opus/48000/2") && answer.contains("telephone-event"), "{answer}");
    world.say(bob, "invite", resume(&talk.bob_sid, &talk.bob_token, answer_sdp("bobb")));
    assert_eq!(world.kinds(bob), ["answer"]);
    assert_eq!(world.dataplane.legs, legs, "media was not touched");
    world.say(bob, "hangup", json!({ "callsid": talk.bob_sid }));
    assert_eq!(world.record().end_reason, "completed");
    assert_eq!((world.record().answered_unix_ms, world.record().path.len()), (last.answered_unix_ms, 1));
    world.assert_clean();
}

#[test]
fn a_call_whose_legs_were_never_joined_is_not_adopted() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.call(alice, "bob");
    let sid = text(&world.only(bob, "invite"), "callsid");
    world.dataplane.is_stuck = true;
    world.say(bob, "answer", json!({ "callsid": sid, "sdp": answer_sdp("bobb") }));
    world.dataplane.is_stuck = false;
    world.dataplane.unanswered.clear();
    world.restart_control();
    assert_eq!(world.record().end_reason, "interrupted");
    world.assert_clean();
}

#[test]
fn an_end_that_awaited_reports_at_the_restart_is_recorded_as_it_was() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.dataplane.is_stuck = true;
    world.say(talk.bob, "hangup", json!({ "callsid": talk.bob_sid }));
    let ended_unix_ms = world.unix_ms;
    world.dataplane.is_stuck = false;
    world.dataplane.unanswered.clear();
    world.unix_ms += 5_000;
    world.restart_control();
    let record = world.record();
    assert_eq!((record.end_reason.as_str(), record.ended_by.as_str()), ("completed", "callee"));
    assert_eq!(record.ended_unix_ms, ended_unix_ms);
    assert!(record.legs.iter().all(|leg| leg.report.is_some()), "the last reports are still fetched");
    world.assert_clean();
}

#[test]
fn a_peer_that_went_while_control_was_down_has_hung_up() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.dataplane.failed.insert(world.core.sids[&talk.bob_sid], LegFailure::PeerClosed);
    world.restart_control();
    let alice = world.client("alice");
    world.say(alice, "invite", resume(&talk.alice_sid, &talk.alice_token, offer_sdp("alic")));
    assert_eq!(world.kinds(alice), ["answer"]);
    world.pass(20_000);
    assert_eq!(code(&world.only(alice, "hangup")), None);
    assert_eq!((world.record().end_reason.as_str(), world.record().ended_by.as_str()), ("completed", "callee"));
    world.assert_clean();
}

#[test]
fn media_that_failed_while_control_was_down_is_recorded_as_failed() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.dataplane.failed.insert(world.core.sids[&talk.bob_sid], LegFailure::ConsentExpired);
    world.restart_control();
    assert_eq!((world.record().end_reason.as_str(), world.record().ended_by.as_str()), ("media_failed", "callee"));
    world.assert_clean();
}

#[test]
fn a_page_reloaded_while_control_was_down_comes_back_to_its_call() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.dataplane.failed.insert(world.core.sids[&talk.alice_sid], LegFailure::PeerClosed);
    world.restart_control();
    let alice = world.client("alice");
    let fresh = sdp("frsh", "CC", "actpass", "sendrecv");
    world.say(alice, "invite", resume(&talk.alice_sid, &talk.alice_token, fresh));
    assert_eq!(world.kinds(alice), ["answer"]);
    world.pass(50_000);
    assert_eq!(world.core.gauges().calls_answered, 1);
}

#[test]
fn a_party_that_was_away_when_the_call_ended_hears_how_it_ended() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.close(talk.alice);
    world.say(talk.bob, "hangup", json!({ "callsid": talk.bob_sid }));
    let alice = world.client("alice");
    world.say(alice, "invite", resume(&talk.alice_sid, &talk.alice_token, offer_sdp("alic")));
    let hangup = world.only(alice, "hangup");
    assert_eq!((text(&hangup, "callsid"), code(&hangup)), (talk.alice_sid.clone(), None));
    world.pass(60_000);
    world.say(alice, "invite", resume(&talk.alice_sid, &talk.alice_token, offer_sdp("alic")));
    assert_eq!(code(&world.only(alice, "hangup")), Some(31404), "names are not kept forever");

    let mut world = World::new();
    let talk = world.connected_call();
    world.close(talk.alice);
    let leg = world.core.sids[&talk.alice_sid];
    world.input(Input::DataplaneSaid(Event::LegFailed { leg, why: LegFailure::ConsentExpired }));
    let alice = world.client("alice");
    world.say(alice, "invite", resume(&talk.alice_sid, &talk.alice_token, offer_sdp("alic")));
    assert_eq!(code(&world.only(alice, "hangup")), Some(53405));
}

#[test]
fn a_saved_call_holds_the_descriptions_of_the_two_who_talk_only() {
    let mut world = World::new();
    let alice = world.client("alice");
    let bobs: Vec<_> = (0..10).map(|_| world.client("bob")).collect();
    let described = |call: &LiveCall| call.legs.iter().filter(|leg| !leg.remote_sdp.is_empty()).count();
    let mut invite = invite("bob");
    invite["sdp"] = json!(offer_sdp("alic") + &"a=x-padding:0123456789abcdef\r\n".repeat(900));
    world.say(alice, "invite", invite);
    let bytes = |call: &LiveCall| serde_json::to_vec(call).expect("serializes").len();
    let ringing = world.saved.last().expect("saved");
    assert_eq!((ringing.legs.len(), described(ringing)), (11, 0));
    assert!(bytes(ringing) < 8 << 10, "{}", bytes(ringing));
    let sid = text(&world.only(bobs[3], "invite"), "callsid");
    world.say(bobs[3], "answer", json!({ "callsid": sid, "sdp": answer_sdp("bobb") }));
    let up = world.saved.last().expect("saved");
    assert_eq!((up.legs.len(), described(up)), (2, 2));
    assert!(bytes(up) < 2 * (32 << 10) + (16 << 10), "{}", bytes(up));
}
