//! Every way a call may end, with what both sides are told.
//!
//! ```text
//!  alice ── WebSocket, UDP ── crosspoint ── WebSocket, UDP ── bob (one or three instances)
//! ```

use crosspoint_tests::phone::{self, Phone, text};
use crosspoint_tests::session::{Incoming, RECONNECT_SECONDS};
use crosspoint_tests::{Server, token};
use serde_json::json;
use std::time::Instant;

const NOT_REGISTERED: u64 = 31404;
const TEMPORARILY_UNAVAILABLE: u64 = 31480;
const DECLINED: u64 = 31603;
const RATE_EXCEEDED: u64 = 31206;

#[tokio::test]
async fn caller_hangs_up_and_the_callee_is_told_without_an_error() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let (a, b) = phone::talk(&mut alice, &mut bob).await;
    alice.hang_up(&a.call);
    let hangup = bob.session.expect("hangup").await;
    assert_eq!(hangup["callsid"], json!(b.call));
    assert!(hangup.get("error").is_none_or(|error| error.is_null()), "{hangup}");
    expect_record(&server, "completed", "caller");
}

#[tokio::test]
async fn callee_hangs_up_and_the_caller_is_told_without_an_error() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let (a, b) = phone::talk(&mut alice, &mut bob).await;
    bob.hang_up(&b.call);
    let hangup = alice.session.expect("hangup").await;
    assert_eq!(hangup["callsid"], json!(a.call));
    assert!(hangup.get("error").is_none_or(|error| error.is_null()), "{hangup}");
    expect_record(&server, "completed", "callee");
}

#[tokio::test]
async fn callee_learns_who_calls_and_the_parameters_of_the_caller() {
    let server = Server::start();
    let (alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let offer = crosspoint_tests::media::Offered::new().await;
    let params = "To=client%3Abob&room=blue%20%26%20green";
    alice
        .session
        .send("invite", json!({ "callsid": "TJSparameters", "sdp": offer.sdp, "twilio": { "params": params } }));
    let ringing = bob.rung().await;
    assert_eq!(ringing.parameters["From"], "client:alice");
    assert_eq!(ringing.parameters["To"], "client:bob");
    assert_eq!(ringing.parameters["AccountSid"], token::ACCOUNT);
    assert_eq!(ringing.parameters["CallSid"], json!(ringing.call));
    let custom = text(&ringing.parameters, "Params");
    assert!(custom.contains("room=blue") && !custom.contains("To="), "custom parameters: {custom}");
}

#[tokio::test]
async fn all_three_instances_ring_one_answers_and_the_others_are_cancelled() {
    let server = Server::start();
    let mut alice = Phone::connect(&server, "alice").await;
    let mut bobs = Vec::new();
    for _ in 0..3 {
        bobs.push(Phone::register(&server, "bob").await);
    }
    let placed = alice.place("client:bob").await;
    let mut rings = Vec::new();
    for bob in &mut bobs {
        rings.push(bob.rung().await);
    }
    alice.session.expect("ringing").await;
    let mut winner = bobs[1].answer(&rings[1], None).await;
    let mut a = alice.answered(placed, None).await;
    for loser in [0, 2] {
        let cancel = bobs[loser].session.expect("cancel").await;
        assert_eq!(cancel["callsid"], json!(rings[loser].call));
    }
    a.media.hears(bobs[1].voice, 5).await;
    winner.media.hears(alice.voice, 5).await;
    expect_no_further_frame(&mut bobs[1]).await;
}

#[tokio::test]
async fn of_two_answers_at_once_one_wins_and_the_other_is_told() {
    let server = Server::start();
    let mut alice = Phone::connect(&server, "alice").await;
    let (mut first, mut second) = (Phone::register(&server, "bob").await, Phone::register(&server, "bob").await);
    let placed = alice.place("client:bob").await;
    let (ring_first, ring_second) = (first.rung().await, second.rung().await);
    alice.session.expect("ringing").await;
    let _media = (first.answer(&ring_first, None).await, second.answer(&ring_second, None).await);
    alice.answered(placed, None).await;
    let told = [frames_before_ready(&mut first).await, frames_before_ready(&mut second).await];
    let lost = |kinds: &&Vec<String>| kinds.iter().any(|kind| kind == "cancel");
    assert_eq!(told.iter().filter(lost).count(), 1, "{told:?}");
    assert!(told.iter().any(Vec::is_empty), "the winner was told something: {told:?}");
}

#[tokio::test]
async fn caller_gives_up_and_the_callee_is_cancelled() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let placed = alice.place("client:bob").await;
    let ringing = bob.rung().await;
    alice.session.expect("ringing").await;
    alice.hang_up(&placed.call);
    assert_eq!(bob.session.expect("cancel").await["callsid"], json!(ringing.call));
    expect_record(&server, "canceled", "caller");
}

#[tokio::test]
async fn caller_whose_socket_is_lost_while_it_rings_is_forgotten_after_the_announced_time() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    alice.place("client:bob").await;
    let ringing = bob.rung().await;
    alice.session.cut();
    assert_eq!(bob.session.expect("cancel").await["callsid"], json!(ringing.call));
}

#[tokio::test]
async fn callee_declines_and_the_caller_is_told_so() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    alice.place("client:bob").await;
    let ringing = bob.rung().await;
    alice.session.expect("ringing").await;
    bob.session.send("reject", json!({ "callsid": ringing.call }));
    expect_end(&mut alice, DECLINED).await;
    expect_no_further_frame(&mut bob).await;
    expect_record(&server, "declined", "callee");
}

#[tokio::test]
async fn nobody_answers_in_time_and_both_sides_are_told() {
    let server = Server::start_with(&["--call-ring-seconds=1"]);
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    alice.place("client:bob").await;
    let ringing = bob.rung().await;
    alice.session.expect("ringing").await;
    expect_end(&mut alice, TEMPORARILY_UNAVAILABLE).await;
    assert_eq!(bob.session.expect("cancel").await["callsid"], json!(ringing.call));
    expect_record(&server, "no_answer", "bridge");
}

#[tokio::test]
async fn callee_who_is_not_registered_is_not_found() {
    let server = Server::start();
    let mut alice = Phone::connect(&server, "alice").await;
    alice.place("client:nobody").await;
    expect_end(&mut alice, NOT_REGISTERED).await;
    expect_record(&server, "not_found", "bridge");
}

#[tokio::test]
async fn callee_who_takes_no_calls_any_more_is_not_found() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    bob.session.send("register", json!({ "media": { "audio": false } }));
    bob.session.expect("offline").await;
    alice.place("client:bob").await;
    expect_end(&mut alice, NOT_REGISTERED).await;
    expect_no_further_frame(&mut bob).await;
}

#[tokio::test]
async fn callee_whose_socket_is_lost_while_it_rings_ends_the_call() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    alice.place("client:bob").await;
    bob.rung().await;
    alice.session.expect("ringing").await;
    bob.session.cut();
    expect_end(&mut alice, TEMPORARILY_UNAVAILABLE).await;
}

#[tokio::test]
async fn lost_socket_keeps_its_call_and_resumes_it_with_the_reconnect_token() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let (mut a, b) = phone::talk(&mut alice, &mut bob).await;
    alice.session.cut();
    let mut again = Phone::connect(&server, "alice").await;
    again.resume(&a).await;
    a.media.hears(bob.voice, 10).await;
    expect_no_further_frame(&mut bob).await;
    bob.hang_up(&b.call);
    assert_eq!(again.session.expect("hangup").await["callsid"], json!(a.call));
    expect_record(&server, "completed", "callee");
}

#[tokio::test]
async fn lost_socket_that_does_not_return_ends_its_call_after_the_announced_time() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let (_a, mut b) = phone::talk(&mut alice, &mut bob).await;
    let lost = Instant::now();
    alice.session.cut();
    b.media.hears(alice.voice, 10).await;
    bob.session.expect("hangup").await;
    assert!(lost.elapsed().as_secs() + 1 >= RECONNECT_SECONDS, "kept only for {:?}", lost.elapsed());
    assert_eq!(server.await_calls(1).len(), 1);
}

#[tokio::test]
async fn length_limit_of_the_grant_ends_the_call_on_both_sides() {
    let server = Server::start();
    let mut claims = token::claims("alice");
    claims["grants"]["crosspoint"] = json!({ "max_call_seconds": 1 });
    let mut alice = Phone::with_token(&server, "alice", &token::hs256(&claims)).await;
    let mut bob = Phone::register(&server, "bob").await;
    let _call = phone::talk(&mut alice, &mut bob).await;
    for phone in [&mut alice, &mut bob] {
        assert_eq!(phone.session.expect("hangup").await["reason"], "length_limit");
    }
    assert_eq!(server.await_calls(1)[0]["ended_by"], "bridge");
}

#[tokio::test]
async fn message_reaches_the_other_party_and_is_acknowledged() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let (a, b) = phone::talk(&mut alice, &mut bob).await;
    let message = json!({ "callsid": a.call, "content": { "key": "value" }, "contenttype": "application/json",
        "messagetype": "user-defined-message", "voiceeventsid": "KX00000000000000000000000000000001" });
    alice.session.send("message", message);
    let received = bob.session.expect("message").await;
    assert_eq!(received["callsid"], json!(b.call));
    assert_eq!(received["content"], json!({ "key": "value" }));
    let ack = alice.session.expect("ack").await;
    assert_eq!(
        (&ack["acktype"], &ack["voiceeventsid"]),
        (&json!("message"), &json!("KX00000000000000000000000000000001"))
    );
}

#[tokio::test]
async fn client_that_floods_is_refused_and_then_closed() {
    let server = Server::start();
    let mut alice = Phone::connect(&server, "alice").await;
    let mut bob = Phone::register(&server, "bob").await;
    for _ in 0..5000 {
        alice.session.send("dtmf", json!({ "callsid": "CA00000000000000000000000000000000", "dtmf": "1" }));
    }
    let mut refused = false;
    while let Incoming::Frame(frame) = alice.session.next("the end of the socket").await {
        refused |= frame.payload["error"]["code"] == RATE_EXCEEDED;
    }
    assert!(refused, "the flooding client was never told");
    expect_no_further_frame(&mut bob).await;
}

#[tokio::test]
async fn message_longer_than_allowed_closes_only_its_own_socket() {
    let server = Server::start();
    let mut alice = Phone::connect(&server, "alice").await;
    let mut bob = Phone::register(&server, "bob").await;
    alice.session.send_text(format!("{{\"type\":\"{}\"}}", "x".repeat(100_000)));
    alice.session.expect_close().await;
    expect_no_further_frame(&mut bob).await;
}

async fn expect_end(phone: &mut Phone, code: u64) {
    let hangup = phone.session.expect("hangup").await;
    assert_eq!(hangup["error"]["code"], code, "{hangup}");
    assert!(hangup["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{hangup}");
}

/// Asserts that the server had nothing more to say to this client.
async fn expect_no_further_frame(phone: &mut Phone) {
    assert_eq!(frames_before_ready(phone).await, Vec::<String>::new(), "{}", phone.name);
}

/// Frames that the server sent before it answered a `register`, which it does in order.
async fn frames_before_ready(phone: &mut Phone) -> Vec<String> {
    phone.session.send("register", json!({ "media": { "audio": true } }));
    let mut kinds = Vec::new();
    loop {
        match phone.session.next("ready").await {
            Incoming::Frame(frame) if frame.kind == "ready" => return kinds,
            Incoming::Frame(frame) => kinds.push(frame.kind),
            closed => panic!("{}: {closed:?}", phone.name),
        }
    }
}

/// Asserts that there is exactly one record and what it says.
fn expect_record(server: &Server, end_reason: &str, ended_by: &str) {
    let calls = server.await_calls(1);
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(
        (&calls[0]["end_reason"], &calls[0]["ended_by"]),
        (&json!(end_reason), &json!(ended_by)),
        "{}",
        calls[0]
    );
}
