//! Forged tokens, stolen bridge tokens, hostile datagrams: none has any effect but a counter and a refusal.
//!
//! ```text
//!  alice ── WebSocket, UDP ──┐            ┌── WebSocket, UDP ── bob
//!                            ├ crosspoint ┤
//!  mallory ── WebSocket ─────┘            └── UDP from another port, or through alice's ── mallory
//! ```

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use crosspoint_tests::media::Offered;
use crosspoint_tests::phone::{self, Phone, Side, text};
use crosspoint_tests::session::{Incoming, Session};
use crosspoint_tests::tamper::{Captured, is_dtls, is_rtp, split_reordered_and_lost_once};
use crosspoint_tests::{PATIENCE, Server, token};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

const INVALID_TOKEN: u64 = 20101;
const EXPIRED_TOKEN: u64 = 20104;
const NOT_AUTHORIZED: u64 = 31201;
const NO_TOKEN_SHOWN: u64 = 31204;
const TOO_MANY: u64 = 31206;
const NOT_FOUND: u64 = 31404;
const FOREIGN_BRIDGE_TOKEN: u64 = 31209;
const INVALID_BRIDGE_TOKEN: u64 = 31104;
const MALFORMED: u64 = 31100;
const UNSERVED_MEDIA: u64 = 53405;

// ---- tokens -------------------------------------------------------------------------------------------------------------

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = token::claims("mallory");
    change(&mut claims);
    claims
}

fn with_header(field: &str, value: Value) -> Value {
    let mut header = token::header("HS256");
    header[field] = value;
    header
}

/// Tokens that must be refused, each with the code the client is given.
fn forged() -> Vec<(&'static str, String, u64)> {
    let claims = token::claims("mallory");
    let now = token::unix_now();
    let good = token::hs256(&claims);
    let parts: Vec<&str> = good.split('.').collect();
    let hs256 = |header: &Value, secret: &[u8]| token::hmac_signed(header, &claims, hmac::HMAC_SHA256, secret);
    let unsigned = |alg: &str| token::signed(&token::header(alg), &claims, |_| Vec::new());
    let hs512 = token::hmac_signed(&token::header("HS512"), &claims, hmac::HMAC_SHA512, token::SECRET.as_bytes());
    let payload_of_root = token::encoded(&changed(|claims| claims["grants"]["identity"] = json!("root")));
    vec![
        ("alg none", unsigned("none"), INVALID_TOKEN),
        ("alg NoNe", unsigned("NoNe"), INVALID_TOKEN),
        ("signature left out", unsigned("HS256"), INVALID_TOKEN),
        ("another secret", hs256(&token::header("HS256"), b"guess"), INVALID_TOKEN),
        ("an empty secret", hs256(&token::header("HS256"), b""), INVALID_TOKEN),
        ("another algorithm than the key's", hs512, INVALID_TOKEN),
        ("a key of the attacker in the header", signed_with_own_key(&claims), INVALID_TOKEN),
        ("jku", hs256(&with_header("jku", json!("http://127.0.0.1:9/keys")), token::SECRET.as_bytes()), INVALID_TOKEN),
        ("x5u", hs256(&with_header("x5u", json!("http://127.0.0.1:9/cert")), token::SECRET.as_bytes()), INVALID_TOKEN),
        ("crit", hs256(&with_header("crit", json!(["x"])), token::SECRET.as_bytes()), INVALID_TOKEN),
        ("kid that names a file", hs256(&with_header("kid", json!("../../../../dev/null")), b""), INVALID_TOKEN),
        ("kid that is SQL", hs256(&with_header("kid", json!("x' UNION SELECT 'guess")), b"guess"), INVALID_TOKEN),
        ("expired", token::hs256(&changed(|claims| claims["exp"] = json!(now - 60))), EXPIRED_TOKEN),
        (
            "without expiry",
            token::hs256(&changed(|claims| drop(claims.as_object_mut().map(|c| c.remove("exp"))))),
            EXPIRED_TOKEN,
        ),
        ("not yet valid", token::hs256(&changed(|claims| claims["nbf"] = json!(now + 600))), INVALID_TOKEN),
        (
            "wrong account",
            token::hs256(&changed(|claims| claims["sub"] = json!("AC00000000000000000000000000000002"))),
            INVALID_TOKEN,
        ),
        (
            "unknown issuer",
            token::hs256(&changed(|claims| claims["iss"] = json!("SK00000000000000000000000000000002"))),
            INVALID_TOKEN,
        ),
        ("issuer that is SQL", token::hs256(&changed(|claims| claims["iss"] = json!("' OR '1'='1"))), INVALID_TOKEN),
        ("no identity", token::hs256(&changed(|claims| claims["grants"]["identity"] = Value::Null)), INVALID_TOKEN),
        ("tampered payload", format!("{}.{payload_of_root}.{}", parts[0], parts[2]), INVALID_TOKEN),
        (
            "tampered header",
            format!("{}.{}.{}", token::encoded(&token::header("none")), parts[1], parts[2]),
            INVALID_TOKEN,
        ),
        ("shortened signature", good[..good.len() - 4].to_owned(), INVALID_TOKEN),
        ("four parts", format!("{good}.e30"), INVALID_TOKEN),
        ("no token at all", String::new(), INVALID_TOKEN),
    ]
}

/// ES256 by a fresh key whose public half the header carries.
fn signed_with_own_key(claims: &Value) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("the library makes keys");
    let point = pair.public_key().as_ref();
    let mut header = token::header("ES256");
    header["jwk"] = json!({ "kty": "EC", "crv": "P-256",
        "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]) });
    let random = aws_lc_rs::rand::SystemRandom::new();
    token::signed(&header, claims, |input| pair.sign(&random, input).expect("the key signs").as_ref().to_vec())
}

#[tokio::test]
async fn forged_tokens_are_refused_with_the_code_the_sdk_expects_and_no_hint() {
    let server = Server::start();
    let mut texts = Vec::new();
    for (attack, token, code) in forged() {
        let mut mallory = Session::open(&server.signal_url(), attack).await;
        mallory.listen(&token);
        let error = mallory.expect_error(code).await;
        if code == INVALID_TOKEN {
            texts.push((text(&error["error"], "message"), attack));
        }
    }
    texts.dedup_by(|a, b| a.0 == b.0);
    assert_eq!(texts.len(), 1, "refusals tell forgeries apart: {texts:?}");
    Session::connect(&server.signal_url(), "honest", &token::good("honest")).await;
}

#[tokio::test]
async fn without_a_good_token_nothing_is_served() {
    let server = Server::start();
    let mut bob = Phone::register(&server, "bob").await;
    let mut mallory = Session::open(&server.signal_url(), "mallory").await;
    let offer = Offered::new().await;
    mallory
        .send("invite", json!({ "callsid": "TJSforged", "sdp": offer.sdp, "twilio": { "params": "To=client%3Abob" } }));
    expect_refusal(&mut mallory, NO_TOKEN_SHOWN).await;
    bob.session.expect_quiet().await;
}

#[tokio::test]
async fn revoked_key_signs_no_token_any_more_and_its_calls_end() {
    let server = Server::start();
    let printed =
        |arguments: &[&str]| String::from_utf8(server.run(arguments).stdout).expect("the program prints text");
    let account = printed(&["accounts", "create", "--name", "test"]).trim().to_owned();
    let created = printed(&["keys", "create", "--account", &account]);
    let field = |name: &str| {
        let line = created.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1))
            .unwrap_or_else(|| panic!("no {name} in {created}"))
            .to_owned()
    };
    let (key, secret) = (field("key"), field("secret"));
    let token = |identity| {
        let mut claims = token::claims(identity);
        (claims["iss"], claims["sub"]) = (json!(key), json!(account));
        token::hmac_signed(&token::header("HS256"), &claims, hmac::HMAC_SHA256, secret.as_bytes())
    };
    await_key(&server, &token("alice")).await;
    let mut alice = Phone::with_token(&server, "alice", &token("alice")).await;
    let mut bob = Phone::with_token(&server, "bob", &token("bob")).await;
    bob.session.register().await;
    let _call = phone::talk(&mut alice, &mut bob).await;
    assert!(server.run(&["keys", "revoke", &key]).status.success());
    assert_eq!(alice.session.expect("hangup").await["error"]["code"], INVALID_TOKEN);
    bob.session.expect("hangup").await;
    let mut mallory = Session::open(&server.signal_url(), "mallory").await;
    mallory.listen(&token("mallory"));
    mallory.expect_error(INVALID_TOKEN).await;
}

/// A key that another process has added is in force a moment later.
async fn await_key(server: &Server, token: &str) {
    let begun = std::time::Instant::now();
    loop {
        let mut session = Session::open(&server.signal_url(), "early").await;
        session.listen(token);
        match session.next("an answer").await {
            Incoming::Frame(frame) if frame.kind == "connected" => return,
            _ => assert!(begun.elapsed() < PATIENCE, "the new key is never in force"),
        }
    }
}

#[tokio::test]
async fn grants_are_not_exceeded() {
    let server = Server::start();
    let _bob = Phone::register(&server, "bob").await;
    let granted = |change: fn(&mut Value)| token::hs256(&changed(|claims| change(&mut claims["grants"])));

    let receive_only = granted(|grants| drop(grants["voice"].as_object_mut().map(|voice| voice.remove("outgoing"))));
    let mut mallory = Phone::with_token(&server, "mallory", &receive_only).await;
    mallory.place("client:bob").await;
    expect_refusal(&mut mallory.session, NOT_AUTHORIZED).await;

    let place_only = granted(|grants| grants["voice"]["incoming"]["allow"] = json!(false));
    let mut mallory = Phone::with_token(&server, "mallory", &place_only).await;
    mallory.session.send("register", json!({ "media": { "audio": true } }));
    expect_refusal(&mut mallory.session, NOT_AUTHORIZED).await;

    let only_support = granted(|grants| grants["crosspoint"] = json!({ "destinations": ["client:support-*"] }));
    let mut mallory = Phone::with_token(&server, "mallory", &only_support).await;
    mallory.place("client:bob").await;
    expect_refusal(&mut mallory.session, NOT_AUTHORIZED).await;

    let one_call = granted(|grants| grants["crosspoint"] = json!({ "max_calls": 1 }));
    let mut mallory = Phone::with_token(&server, "mallory", &one_call).await;
    mallory.ring("client:bob").await;
    mallory.place("client:bob").await;
    expect_refusal(&mut mallory.session, TOO_MANY).await;
}

#[tokio::test]
async fn call_of_others_can_neither_be_resumed_answered_nor_hung_up() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let mut mallory = Phone::connect(&server, "mallory").await;
    let placed = alice.place("client:bob").await;
    let ringing = bob.rung().await;
    alice.session.expect("ringing").await;

    let offer = Offered::new().await;
    mallory
        .session
        .send("answer", json!({ "callsid": ringing.call, "sdp": offer.sdp, "reconnect": ringing.reconnect }));
    expect_refusal(&mut mallory.session, NOT_FOUND).await;
    let mut b = bob.answer(&ringing, None).await;
    let mut a = alice.answered(placed, None).await;

    for (call, reconnect) in [(&a.call, &a.reconnect), (&b.call, &b.reconnect)] {
        mallory
            .session
            .send("invite", json!({ "callsid": call, "sdp": offer.sdp, "reconnect": reconnect, "twilio": {} }));
        expect_refusal(&mut mallory.session, FOREIGN_BRIDGE_TOKEN).await;
        // To hang up what is not there, or not ours, is no error and has no effect.
        mallory.hang_up(call);
        mallory.session.expect_quiet().await;
    }
    let mut forged = a.reconnect.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).expect("the token is text");
    mallory.session.send("invite", json!({ "callsid": a.call, "sdp": offer.sdp, "reconnect": forged, "twilio": {} }));
    expect_refusal(&mut mallory.session, INVALID_BRIDGE_TOKEN).await;

    a.media.hears(bob.voice, 20).await;
    b.media.hears(alice.voice, 20).await;
    bob.session.expect_quiet().await;
}

#[tokio::test]
async fn malformed_frames_are_refused_and_hurt_nobody() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let (mut a, _b) = phone::talk(&mut alice, &mut bob).await;
    let mut mallory = Phone::connect(&server, "mallory").await;
    let deep = "[".repeat(30_000);
    let frames = [
        "{",
        "null",
        "[]",
        "{}",
        "{\"type\":5}",
        "{\"type\":\"invite\"}",
        "{\"type\":\"invite\",\"payload\":\"x\"}",
        "{\"type\":\"answer\",\"payload\":{\"callsid\":{}}}",
        "{\"type\":\"register\",\"payload\":{\"media\":7}}",
        &deep,
    ];
    for frame in frames {
        mallory.session.send_text(frame.to_owned());
        expect_refusal(&mut mallory.session, MALFORMED).await;
    }
    for sdp in ["", "v=0", "v=0\r\nm=audio 99999 x y\r\n", &"a=\r\n".repeat(5000)] {
        let payload = json!({ "callsid": "TJSmalformed", "sdp": sdp, "twilio": { "params": "To=client%3Abob" } });
        mallory.session.send("invite", payload);
        let code = refusal(&mut mallory.session).await;
        assert!([MALFORMED, UNSERVED_MEDIA].contains(&code), "{code} for {sdp:.50}");
    }
    a.media.hears(bob.voice, 20).await;
    bob.session.expect_quiet().await;
}

async fn expect_refusal(session: &mut Session, code: u64) {
    assert_eq!(refusal(session).await, code);
}

/// The next frame refuses, by `error` or by ending the refused call; its code.
async fn refusal(session: &mut Session) -> u64 {
    match session.next("a refusal").await {
        Incoming::Frame(frame) if ["error", "hangup"].contains(&frame.kind.as_str()) => {
            frame.payload["error"]["code"].as_u64().unwrap_or_else(|| panic!("no code in {frame:?}"))
        }
        other => panic!("awaited a refusal, got {other:?}"),
    }
}

// ---- datagrams ----------------------------------------------------------------------------------------------------------

async fn pair(server: &Server) -> (Phone, Phone) {
    (Phone::connect(server, "alice").await, Phone::register(server, "bob").await)
}

/// A call whose caller's datagrams of the wanted kind are kept.
async fn captured_call(alice: &mut Phone, bob: &mut Phone, wanted: fn(&[u8]) -> bool) -> (Side, Side, Captured) {
    let captured = Captured::default();
    let (mut a, mut b) = phone::join(alice, bob, Some(captured.tamper(wanted)), None).await;
    a.media.hears(bob.voice, 20).await;
    b.media.hears(alice.voice, 20).await;
    (a, b, captured)
}

#[tokio::test]
async fn client_hello_split_reordered_and_lost_once_still_connects() {
    let server = Server::start();
    let (mut alice, mut bob) = pair(&server).await;
    let (mut a, mut b) = phone::join(&mut alice, &mut bob, Some(split_reordered_and_lost_once()), None).await;
    a.media.hears(bob.voice, 5).await;
    b.media.hears(alice.voice, 5).await;
}

#[tokio::test]
async fn dtls_from_an_address_that_ice_has_not_validated_is_ignored() {
    let server = Server::start();
    let (mut alice, mut bob) = pair(&server).await;
    let (mut a, _b, captured) = captured_call(&mut alice, &mut bob, is_dtls).await;
    let before = server.metrics();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has a free port");
    for datagram in captured.all() {
        stranger.send_to(&datagram, a.media.bridge).await.expect("loopback takes a datagram");
    }
    let sent = captured.all().len() as f64;
    server.await_metrics("the stranger's datagrams to be counted", |now| {
        now.dropped("unknown_source") >= before.dropped("unknown_source") + sent
    });
    let mut reply = [0; 2000];
    assert!(stranger.try_recv(&mut reply).is_err(), "the stranger was answered");
    let handshakes =
        |metrics: &crosspoint_tests::server::Metrics| metrics.sum("crosspoint_dtls_handshakes_total", "started");
    assert_eq!(handshakes(&server.metrics()), handshakes(&before));
    a.media.hears(bob.voice, 20).await;
}

#[tokio::test]
async fn fifty_thousand_packets_with_bad_tags_leave_the_call_unharmed() {
    const FORGED: f64 = 50_000.0;
    let server = Server::start();
    let (mut alice, mut bob) = pair(&server).await;
    let (mut a, mut b, captured) = captured_call(&mut alice, &mut bob, is_rtp).await;
    let (before, lost_before, lines_before) = (server.metrics(), b.media.heard().lost, server.log().lines().count());
    let mut forged = captured.all().pop().expect("alice has spoken");
    let end = forged.len() - 1;
    let mut number = 0u16;
    loop {
        for _ in 0..500 {
            number = number.wrapping_add(1);
            forged[2..4].copy_from_slice(&number.to_be_bytes());
            forged[end] ^= 1 << (number % 8);
            a.media.send_raw(&forged).await;
        }
        let counted = server.metrics().dropped("srtp_unauthentic") - before.dropped("srtp_unauthentic");
        if counted >= FORGED {
            break;
        }
    }
    let heard = b.media.hears(alice.voice, 100).await;
    a.media.hears(bob.voice, 100).await;
    let lines = server.log().lines().count() - lines_before;
    println!(
        "figure: {} voice packets lost and {lines} log lines during the flood of bad tags",
        heard.lost - lost_before
    );
    assert!(lines < 100, "{lines} log lines during the flood:\n{}", server.log());
    bob.session.expect_quiet().await;
    alice.hang_up(&a.call);
    bob.session.expect("hangup").await;
}

#[tokio::test]
async fn replayed_packets_are_dropped_and_counted() {
    let server = Server::start();
    let (mut alice, mut bob) = pair(&server).await;
    let (a, mut b, captured) = captured_call(&mut alice, &mut bob, is_rtp).await;
    let before = server.metrics();
    let replayed = captured.all();
    assert!(replayed.len() >= 10);
    for datagram in &replayed {
        a.media.send_raw(datagram).await;
    }
    server.await_metrics("the replayed packets to be counted", |now| {
        now.dropped("srtp_replayed") >= before.dropped("srtp_replayed") + replayed.len() as f64
    });
    b.media.hears(alice.voice, 50).await;
}

#[tokio::test]
async fn media_from_an_unknown_address_is_dropped_and_counted() {
    let server = Server::start();
    let (mut alice, mut bob) = pair(&server).await;
    let (a, mut b, captured) = captured_call(&mut alice, &mut bob, is_rtp).await;
    let before = server.metrics();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has a free port");
    for datagram in captured.all() {
        stranger.send_to(&datagram, a.media.bridge).await.expect("loopback takes a datagram");
    }
    let sent = captured.all().len() as f64;
    server.await_metrics("the stranger's packets to be counted", |now| {
        now.dropped("unknown_source") >= before.dropped("unknown_source") + sent
    });
    b.media.hears(alice.voice, 50).await;
}

#[tokio::test]
async fn random_datagrams_from_a_stranger_and_from_a_peer_crash_nothing() {
    let server = Server::start();
    let (mut alice, mut bob) = pair(&server).await;
    let (mut a, mut b) = phone::talk(&mut alice, &mut bob).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let dataplane = server.dataplane_pid();
    let mut random = Random(0x5eed);
    for _ in 0..5_000 {
        let datagram = random.datagram();
        stranger.send_to(&datagram, a.media.bridge).await.expect("loopback takes a datagram");
        // DTLS is left out here: a peer may end its own association, and this one would.
        if !is_dtls(&datagram) {
            a.media.send_raw(&datagram).await;
        }
    }
    a.media.hears(bob.voice, 50).await;
    b.media.hears(alice.voice, 50).await;
    assert_eq!(server.dataplane_pid(), dataplane);
}

/// xorshift64: the same datagrams in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// First byte of each class of RFC 7983, the rest at random.
    fn datagram(&mut self) -> Vec<u8> {
        let first = [0, 1, 20, 22, 23, 32, 64, 128, 144, 160, 191, 255][(self.next() % 12) as usize];
        let len = (self.next() % 1400) as usize;
        let mut datagram: Vec<u8> = (0..=len).map(|_| self.next() as u8).collect();
        datagram[0] = first;
        datagram
    }
}
