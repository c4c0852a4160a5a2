//! Grants and bounds, held at the bridge.

use super::*;
use crate::core::limits::Limits;

fn refused(limits: Value) -> Option<u64> {
    let mut world = World::new();
    world.client("bob");
    let alice = world.listen(&limited_token(limits));
    world.heard(alice);
    world.call(alice, "client:bob");
    let heard = world.heard(alice);
    heard.iter().find(|(kind, _)| kind == "hangup").and_then(|(_, payload)| code(payload))
}

#[test]
fn grants_limit_where_when_and_what_may_be_called() {
    assert_eq!(refused(json!({ "destinations": ["client:al*", "sip:*"] })), Some(31201));
    assert_eq!(refused(json!({ "destinations": ["client:b*"] })), None);
    assert_eq!(refused(json!({ "mediums": ["video"] })), Some(31201));
    assert_eq!(refused(json!({ "mediums": ["audio"] })), None);
    assert_eq!(refused(json!({ "regions": ["elsewhere"] })), Some(31201));
    assert_eq!(refused(json!({ "regions": ["local"] })), None);
    // The virtual clock starts on a Sunday at noon.
    assert_eq!(refused(json!({ "hours": "mon-fri 00:00-24:00" })), Some(31201));
    assert_eq!(refused(json!({ "hours": ["sun 11:00-13:00"] })), None);
    assert_eq!(refused(json!({ "max_calls": 0 })), Some(31206));
    assert_eq!(refused(json!({ "presence": true })), None);
}

#[test]
fn calls_beyond_the_granted_number_are_refused_until_one_ends() {
    let mut world = World::new();
    let alice = world.listen(&limited_token(json!({ "max_calls": 1 })));
    let (bob, _carol) = (world.client("bob"), world.client("carol"));
    world.heard(alice);
    let talk = world.call_up(alice, bob);
    let mut second = invite("carol");
    second["callsid"] = json!("TJS2");
    world.say(alice, "invite", second.clone());
    assert_eq!(code(&world.only(alice, "hangup")), Some(31206));
    world.say(alice, "hangup", json!({ "callsid": talk.alice_sid }));
    world.say(alice, "invite", second);
    assert_eq!(world.kinds(alice), ["ringing"]);
}

/// bob, whose grant allows `limits`, registered.
fn limited_bob(world: &mut World, limits: &Value) -> SessionId {
    let mut claims = claims("bob");
    claims["grants"]["crosspoint"] = limits.clone();
    let bob = world.listen(&sign(&claims, SECRET));
    world.say(bob, "register", json!({ "media": { "audio": true } }));
    assert_eq!(world.kinds(bob), ["connected", "ready"]);
    bob
}

#[test]
fn of_two_calls_that_ring_only_the_granted_number_can_be_answered() {
    for by_token in [false, true] {
        let mut world = World::new();
        let bob = limited_bob(&mut world, &json!({ "max_calls": 1 }));
        let (alice, carol) = (world.client("alice"), world.client("carol"));
        world.call(alice, "bob");
        let first = text(&world.only(bob, "invite"), "callsid");
        world.call(carol, "bob");
        let second = world.only(bob, "invite");
        world.say(bob, "answer", json!({ "callsid": first, "sdp": answer_sdp("bobb") }));
        let callsid = &second["callsid"];
        if by_token {
            let invite = json!({ "callsid": callsid, "sdp": offer_sdp("bobc"), "reconnect": second["reconnect"] });
            world.say(bob, "invite", invite);
            assert_eq!(code(&world.only(bob, "hangup")), Some(31206));
        } else {
            world.say(bob, "answer", json!({ "callsid": callsid, "sdp": answer_sdp("bobc") }));
            assert_eq!(code(&world.only(bob, "hangup")), Some(31206));
            let heard = world.heard(carol);
            assert!(heard.iter().any(|(kind, payload)| kind == "hangup" && code(payload) == Some(31486)), "{heard:?}");
        }
        assert_eq!(world.core.gauges().calls_answered, 1);
    }
}

#[test]
fn a_new_token_without_the_grant_to_receive_calls_unregisters_and_answers_nothing() {
    let mut world = World::new();
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    world.call(alice, "bob");
    let callsid = text(&world.only(bob, "invite"), "callsid");
    let mut claims = claims("bob");
    claims["grants"]["voice"]["incoming"]["allow"] = json!(false);
    world.say(bob, "listen", json!({ "token": sign(&claims, SECRET) }));
    assert_eq!(world.kinds(bob), ["connected", "offline"]);
    assert_eq!(world.core.gauges().registrations, 1, "alice alone");
    world.say(bob, "answer", json!({ "callsid": callsid, "sdp": answer_sdp("bobb") }));
    assert_eq!(code(&world.only(bob, "hangup")), Some(31201));
    assert_eq!(world.core.gauges().calls_answered, 0);
}

#[test]
fn the_granted_length_ends_the_call() {
    let mut world = World::new();
    let alice = world.listen(&limited_token(json!({ "max_call_seconds": 60 })));
    let bob = world.client("bob");
    world.heard(alice);
    world.call_up(alice, bob);
    world.pass(59_999);
    assert_eq!(world.core.gauges().calls, 1);
    world.pass(1);
    for session in [alice, bob] {
        assert_eq!(world.only(session, "hangup")["reason"], "length_limit", "and not by the other party");
    }
    assert_eq!(world.record().end_reason, "length_limit");
}

#[test]
fn a_token_without_voice_grants_neither_registers_nor_calls() {
    let mut world = World::new();
    let mut claims = claims("alice");
    claims["grants"]["voice"] = json!({});
    let alice = world.listen(&sign(&claims, SECRET));
    world.heard(alice);
    world.say(alice, "register", json!({ "media": { "audio": true } }));
    assert_eq!(code(&world.only(alice, "error")), Some(31201));
    world.call(alice, "bob");
    assert_eq!(code(&world.only(alice, "hangup")), Some(31201));
}

#[test]
fn a_token_that_runs_out_stops_new_calls_and_keeps_the_running_one() {
    let mut world = World::new();
    let talk = world.connected_call();
    // An hour, and the leeway between the clocks.
    world.pass(3_603_000);
    assert_eq!(code(&world.only(talk.alice, "error")), Some(20104));
    assert_eq!(world.core.gauges().registrations, 0);
    world.say(talk.alice, "register", json!({ "media": { "audio": true } }));
    assert_eq!(code(&world.only(talk.alice, "error")), Some(31205));
    let mut another = invite("bob");
    another["callsid"] = json!("TJS2");
    world.say(talk.alice, "invite", another);
    assert_eq!(code(&world.only(talk.alice, "hangup")), Some(31205));
    world.say(talk.alice, "hangup", json!({ "callsid": talk.alice_sid }));
    assert!(world.kinds(talk.bob).contains(&"hangup".to_owned()));
}

#[test]
fn a_revoked_key_ends_sessions_registrations_and_calls() {
    let mut world = World::new();
    let talk = world.connected_call();
    let mut keys = keys();
    keys.keys.get_mut(KEY).expect("the key").revoked = true;
    world.input(Input::KeysChanged(keys));
    let heard = world.heard(talk.alice);
    assert!(heard.iter().any(|(kind, payload)| kind == "hangup" && code(payload) == Some(20101)), "{heard:?}");
    assert!(heard.iter().any(|(kind, payload)| kind == "error" && code(payload) == Some(20101)), "{heard:?}");
    assert_eq!(world.closed.len(), 2);
    assert_eq!(world.core.gauges().registrations, 0);
    assert_eq!(world.record().end_reason, "revoked");
    world.assert_clean();
}

#[test]
fn calls_of_revoked_keys_go_on_when_the_operator_says_so() {
    let mut world = World::with(CoreConfig { end_calls_of_revoked_keys: false, ..CoreConfig::default() });
    let talk = world.connected_call();
    world.input(Input::KeysChanged(revoked()));
    assert_eq!(code(&world.only(talk.alice, "error")), Some(20101));
    world.pass(120_000);
    assert_eq!((world.core.gauges().calls_answered, world.core.gauges().registrations), (1, 0));
    assert!(world.closed.is_empty(), "a closed socket could not come back");
    let mut another = invite("bob");
    another["callsid"] = json!("TJS2");
    world.say(talk.alice, "invite", another);
    assert_eq!(code(&world.only(talk.alice, "hangup")), Some(31205));
    world.say(talk.alice, "hangup", json!({ "callsid": talk.alice_sid }));
    assert_eq!(world.record().end_reason, "completed");
    world.pass(10_000);
    assert_eq!((world.closed.get(&talk.alice), world.closed.get(&talk.bob)), (Some(&1008), Some(&1008)));
    world.assert_clean();
}

/// The test's keys, but for the first account's.
fn revoked() -> KeyTable {
    let mut keys = keys();
    keys.keys.get_mut(KEY).expect("the key").revoked = true;
    keys
}

#[test]
fn a_key_revoked_while_control_was_down_ends_its_calls_at_the_adoption() {
    let mut world = World::new();
    world.connected_call();
    let calls = world.live_calls();
    world.core = Core::new(CoreConfig::default(), [3; 32], [2; 32]);
    world.input(Input::KeysChanged(revoked()));
    world.input(Input::Restored { calls });
    world.attach();
    assert_eq!(world.record().end_reason, "revoked");
    world.assert_clean();
}

#[test]
fn revoking_the_key_of_one_ringing_instance_lets_the_others_ring() {
    const SECOND: &str = "SK00000000000000000000000000000003";
    let with_second = |revoked: bool| {
        let mut keys = keys();
        let material = KeyMaterial::Hs256(Zeroizing::new(SECRET.to_vec()));
        let key = ApiKey { sid: SECOND.into(), account_sid: ACCOUNT.into(), material, revoked };
        keys.keys.insert(SECOND.into(), key);
        keys
    };
    let mut world = World::new();
    world.input(Input::KeysChanged(with_second(false)));
    let (alice, bob) = (world.client("alice"), world.client("bob"));
    let mut claims = claims("bob");
    claims["iss"] = json!(SECOND);
    let desk = world.listen(&sign(&claims, SECRET));
    world.say(desk, "register", json!({ "media": { "audio": true } }));
    world.heard(desk);
    world.call(alice, "bob");
    assert_eq!(world.kinds(desk), ["invite"]);
    world.input(Input::KeysChanged(with_second(true)));
    assert_eq!(world.kinds(desk), ["cancel", "error"]);
    assert_eq!(world.closed.get(&desk), Some(&1008));
    let sid = text(&world.only(bob, "invite"), "callsid");
    world.say(bob, "answer", json!({ "callsid": sid, "sdp": answer_sdp("bobb") }));
    assert_eq!(world.kinds(alice), ["ringing", "answer"]);
}

#[test]
fn a_flooding_session_is_told_then_closed() {
    let mut world = World::new();
    let alice = world.client("alice");
    for _ in 0..500 {
        world.say(alice, "dtmf", json!({}));
    }
    let heard = world.heard(alice);
    assert_eq!(heard.iter().filter(|(_, payload)| code(payload) == Some(31206)).count(), 1);
    assert_eq!(world.closed.get(&alice), Some(&1008));
    assert!(world.core.counters().refusals["frames_too_fast"] > 200);
}

#[test]
fn sizes_are_bounded() {
    let mut world = World::new();
    let talk = world.connected_call();
    let message = json!({ "callsid": talk.alice_sid, "content": "x".repeat(11 << 10), "voiceeventsid": "KX1" });
    world.say(talk.alice, "message", message);
    assert_eq!(code(&world.only(talk.alice, "error")), Some(31212));
    let params = format!("To=bob&x={}", "x".repeat(5 << 10));
    let invite = json!({ "callsid": "TJS2", "sdp": offer_sdp("alic"), "twilio": { "params": params } });
    world.say(talk.alice, "invite", invite);
    assert_eq!(code(&world.only(talk.alice, "hangup")), Some(31103));
    world.say(talk.alice, "invite", json!({ "callsid": "TJS3", "sdp": "x".repeat(70 << 10) }));
    assert_eq!(code(&world.only(talk.alice, "error")), Some(31103));
}

#[test]
fn sessions_and_ringing_instances_are_bounded() {
    let limits =
        Limits { sessions_per_identity_max: 3, sessions_max: 5, ringing_instances_max: 2, ..Limits::default() };
    let mut world = World::with(CoreConfig { limits, ..CoreConfig::default() });
    let bobs = [world.client("bob"), world.client("bob"), world.client("bob")];
    let fourth = world.listen(&token("bob"));
    assert_eq!(code(&world.only(fourth, "error")), Some(31206));
    let alice = world.client("alice");
    let sixth = world.open();
    assert_eq!(world.closed.get(&sixth), Some(&1013));
    world.call(alice, "bob");
    let told = bobs.iter().filter(|bob| world.kinds(**bob) == ["invite"]).count();
    assert_eq!(told, 2);
}

#[test]
fn calls_of_the_node_are_bounded() {
    let limits = Limits { calls_max: 1, ..Limits::default() };
    let mut world = World::with(CoreConfig { limits, ..CoreConfig::default() });
    world.connected_call();
    let carol = world.client("carol");
    world.call(carol, "bob");
    assert_eq!(code(&world.only(carol, "hangup")), Some(31206));
}

#[test]
fn a_socket_that_shows_no_token_is_closed() {
    let mut world = World::new();
    let stranger = world.open();
    world.pass(9_999);
    assert!(world.closed.is_empty());
    world.pass(1);
    assert_eq!(world.closed.get(&stranger), Some(&1008));
}

#[test]
fn an_instance_that_names_itself_keeps_one_route_over_reconnections() {
    let mut world = World::new();
    let listen = json!({ "token": token("bob"), "reconnectTimeout": 20, "instance": "desk" });
    let sockets = [world.open(), world.open()];
    for socket in sockets {
        world.say(socket, "listen", listen.clone());
        world.say(socket, "register", json!({ "media": { "audio": true } }));
    }
    let now = Now { monotonic_ms: world.monotonic_ms, unix_ms: world.unix_ms };
    let routes = world.core.routes_of(now, ACCOUNT, "bob");
    assert_eq!(routes.iter().map(|r| r.instance.as_str()).collect::<Vec<_>>(), ["desk"]);
    world.close(sockets[0]);
    assert_eq!(world.core.routes_of(now, ACCOUNT, "bob").len(), 1, "the earlier socket no longer owns it");
    world.pass(600_000);
    let now = Now { monotonic_ms: world.monotonic_ms, unix_ms: world.unix_ms };
    assert_eq!(world.core.routes_of(now, ACCOUNT, "bob").len(), 1, "routes are renewed");
}
