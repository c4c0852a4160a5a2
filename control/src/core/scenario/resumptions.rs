//! Lost sockets, sealed tokens: coming back to a call, answering from the token alone, and misuse.

use super::*;
use crate::core::bridge_token::{BridgeToken, Sealer};
use crate::core::sdp;
use crosspoint_contract::{Command, Event, LegFailure, Refused};

fn resume(sid: &str, token: &str, sdp: String) -> Value {
    json!({ "callsid": sid, "sdp": sdp, "twilio": {}, "reconnect": token })
}

#[test]
fn a_lost_socket_keeps_its_call_for_the_announced_time_and_no_longer() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.close(talk.bob);
    world.pass(19_999);
    assert!(world.kinds(talk.alice).is_empty());
    world.pass(1);
    assert_eq!(code(&world.only(talk.alice, "hangup")), None);
    assert_eq!(world.record().end_reason, "connection_lost");
    world.assert_clean();
}

#[test]
fn a_client_resumes_with_its_token_and_nothing_happens_to_media() {
    let mut world = World::new();
    let talk = world.connected_call();
    let legs = world.dataplane.legs.clone();
    for (gone, identity, sid, token_text, sdp) in [
        (talk.alice, "alice", &talk.alice_sid, &talk.alice_token, offer_sdp("alic")),
        (talk.bob, "bob", &talk.bob_sid, &talk.bob_token, answer_sdp("bobb")),
    ] {
        world.close(gone);
        world.pass(5_000);
        let back = world.client(identity);
        world.say(back, "invite", resume(sid, token_text, sdp));
        let answer = world.only(back, "answer");
        assert_eq!(&text(&answer, "callsid"), sid);
        assert!(text(&answer, "reconnect") != *token_text && text(&answer, "sdp").contains("m=audio"));
    }
    world.pass(60_000);
    assert_eq!(world.dataplane.legs, legs);
    assert_eq!((world.core.gauges().calls_answered, world.core.counters().calls_resumed), (1, 2));
}

#[test]
fn the_next_socket_may_open_before_the_last_is_known_to_be_lost() {
    let mut world = World::new();
    let talk = world.connected_call();
    let back = world.client("alice");
    world.say(back, "invite", resume(&talk.alice_sid, &talk.alice_token, offer_sdp("alic")));
    assert_eq!(world.kinds(back), ["answer"]);
    world.close(talk.alice);
    world.pass(60_000);
    assert_eq!(world.core.gauges().calls_answered, 1);
    world.say(back, "hangup", json!({ "callsid": talk.alice_sid }));
    assert_eq!(world.kinds(talk.bob), ["hangup"]);
}

#[test]
fn a_client_that_lost_its_socket_may_hang_up_by_callsid_alone() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.close(talk.alice);
    let back = world.client("alice");
    world.say(back, "hangup", json!({ "callsid": talk.alice_sid }));
    assert_eq!(world.kinds(talk.bob), ["hangup"]);
    world.assert_clean();
}

#[test]
fn a_reloaded_page_comes_back_with_another_peer_connection() {
    let mut world = World::new();
    let talk = world.connected_call();
    let (old_leg, bob_leg) = (world.core.sids[&talk.alice_sid], world.core.sids[&talk.bob_sid]);
    world.close(talk.alice);
    let back = world.client("alice");
    let fresh = sdp("frsh", "CC", "actpass", "sendrecv");
    world.say(back, "invite", resume(&talk.alice_sid, &talk.alice_token, fresh));
    let answer = world.only(back, "answer");
    assert_eq!(text(&answer, "callsid"), talk.alice_sid);
    let new_leg = world.core.sids[&talk.alice_sid];
    assert_ne!(new_leg, old_leg);
    assert!(!world.dataplane.legs.contains_key(&old_leg));
    assert!(world.dataplane.bridges.values().any(|legs| *legs == [new_leg, bob_leg]));
    let ours = sdp::read(&text(&answer, "sdp")).expect("readable");
    assert_eq!(ours.ice, world.dataplane.legs[&new_leg].1.ice);
    assert!(world.kinds(talk.bob).is_empty());
    world.say(talk.bob, "hangup", json!({ "callsid": talk.bob_sid }));
    assert_eq!(world.kinds(back), ["hangup"]);
    world.assert_clean();
}

#[test]
fn a_reloaded_page_whose_new_peer_connection_is_refused_does_not_hold_the_call_without_media() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.close(talk.alice);
    let leg = world.core.sids[&talk.alice_sid];
    world.input(Input::DataplaneSaid(Event::LegFailed { leg, why: LegFailure::PeerClosed }));
    let back = world.client("alice");
    world.dataplane.refuse =
        Some(|command| matches!(command, Command::OpenLeg { .. }).then_some(Refused::LegsExhausted));
    world.say(back, "invite", resume(&talk.alice_sid, &talk.alice_token, sdp("frsh", "CC", "actpass", "sendrecv")));
    assert!(world.kinds(talk.bob).is_empty(), "another one may follow");
    world.pass(2_000);
    assert_eq!(world.kinds(talk.bob), ["hangup"]);
    world.assert_clean();
}

#[test]
fn a_held_call_is_answered_from_the_token_alone_on_another_socket() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.call(alice, "bob");
    let invite = world.only(bob, "invite");
    let elsewhere = world.listen(&token("bob"));
    world.heard(elsewhere);
    let sdp = sdp("else", "CC", "actpass", "sendrecv");
    world.say(elsewhere, "invite", resume(&text(&invite, "callsid"), &text(&invite, "reconnect"), sdp));
    let answer = world.only(elsewhere, "answer");
    assert!(text(&answer, "sdp").contains("a=setup:passive"));
    assert_eq!(world.only(bob, "cancel")["callsid"], invite["callsid"]);
    assert!(world.kinds(alice).contains(&"answer".to_owned()));
    world.say(elsewhere, "hangup", json!({ "callsid": text(&answer, "callsid") }));
    assert_eq!(world.kinds(alice), ["hangup"]);
    world.assert_clean();
}

#[test]
fn a_token_of_one_client_answers_and_resumes_nothing_for_another() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    let mallory = world.client("mallory");
    let mut foreign = claims("bob");
    (foreign["iss"], foreign["sub"]) = (json!(OTHER_KEY), json!(OTHER_ACCOUNT));
    let namesake = world.listen(&sign(&foreign, OTHER_SECRET));
    world.call(alice, "bob");
    let invite = world.only(bob, "invite");
    for thief in [mallory, namesake] {
        world.heard(thief);
        world.say(thief, "invite", resume("TJS9", &text(&invite, "reconnect"), offer_sdp("evil")));
        let refused = world.only(thief, "hangup");
        assert_eq!((text(&refused, "callsid"), code(&refused)), ("TJS9".into(), Some(31209)));
        world.say(thief, "answer", json!({ "callsid": invite["callsid"], "sdp": answer_sdp("evil") }));
        assert_eq!(code(&world.only(thief, "hangup")), Some(31404));
    }
    assert_eq!(world.kinds(alice), ["ringing"]);
    world.say(bob, "answer", json!({ "callsid": invite["callsid"], "sdp": answer_sdp("bobb") }));
    assert_eq!(world.kinds(alice), ["answer"]);
}

#[test]
fn forged_expired_foreign_and_stale_tokens_are_told_apart_only_by_us() {
    let mut world = World::new();
    let talk = world.connected_call();
    let mut sealed = BridgeToken {
        call_sid: talk.alice_sid.clone(),
        node: "node1".into(),
        account_sid: ACCOUNT.into(),
        identity: "alice".into(),
        expires_unix_ms: world.unix_ms + 1000,
    };
    let forged = Sealer::new([66; 32]).seal(&sealed, [1; 12]);
    let ours = Sealer::new([2; 32]);
    let expired = ours.seal(&BridgeToken { expires_unix_ms: world.unix_ms, ..sealed.clone() }, [2; 12]);
    let other_node = ours.seal(&BridgeToken { node: "node2".into(), ..sealed.clone() }, [3; 12]);
    sealed.call_sid = "CA0".into();
    let stale = ours.seal(&sealed, [4; 12]);
    for (text, expected) in
        [(forged, 31104), (expired, 31104), ("x".into(), 31104), (other_node, 31480), (stale, 31404)]
    {
        world.say(talk.alice, "invite", resume(&talk.alice_sid, &text, offer_sdp("alic")));
        assert_eq!(code(&world.only(talk.alice, "hangup")), Some(expected));
    }
    assert_eq!(world.core.gauges().calls_answered, 1);
}

#[test]
fn message_to_a_party_that_is_reconnecting_is_refused_with_its_event_sid() {
    let mut world = World::new();
    let talk = world.connected_call();
    world.close(talk.bob);
    let message = json!({ "callsid": talk.alice_sid, "content": "x", "voiceeventsid": "KX1" });
    world.say(talk.alice, "message", message);
    let error = world.only(talk.alice, "error");
    assert_eq!((code(&error), text(&error, "voiceeventsid")), (Some(31480), "KX1".into()));
}

#[test]
fn a_client_that_announces_no_patience_loses_its_call_with_its_socket() {
    let mut world = World::new();
    let alice = world.client("alice");
    let bob = world.open();
    world.say(bob, "listen", json!({ "token": token("bob"), "reconnectTimeout": 0 }));
    world.say(bob, "register", json!({ "media": { "audio": true } }));
    world.heard(bob);
    world.call_up(alice, bob);
    world.close(bob);
    assert_eq!(world.kinds(alice), ["hangup"]);
    world.assert_clean();
}
