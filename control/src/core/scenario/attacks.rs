//! Tokens that lie, and sessions that reach for what is not theirs.

use super::*;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;

fn refusal(token: &str) -> Option<u64> {
    let mut world = World::new();
    let session = world.listen(token);
    let heard = world.heard(session);
    let error = heard.iter().find(|(kind, _)| kind == "error").and_then(|(_, payload)| code(payload));
    assert_eq!(error.is_none(), heard.iter().any(|(kind, _)| kind == "connected"), "{heard:?}");
    error
}

/// A token with this header, signed with the right secret by HMAC-SHA-256 whatever the header says.
fn with_header(header: &Value, claims: &Value) -> String {
    let head = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
    format!("{head}.{}", B64.encode(aws_lc_rs::hmac::sign(&key, head.as_bytes())))
}

fn changed(change: impl Fn(&mut Value)) -> String {
    let mut claims = claims("alice");
    change(&mut claims);
    sign(&claims, SECRET)
}

#[test]
fn a_good_token_is_taken_with_and_without_the_vendors_content_type() {
    assert_eq!(refusal(&token("alice")), None);
    assert_eq!(refusal(&with_header(&json!({ "typ": "JWT", "alg": "HS256" }), &claims("alice"))), None);
    let with_region = json!({ "typ": "JWT", "alg": "HS256", "cty": "twilio-fpa;v=1", "twr": "us1" });
    assert_eq!(refusal(&with_header(&with_region, &claims("alice"))), None);
}

#[test]
fn no_algorithm_and_confused_algorithms_are_refused() {
    let unsigned = |alg: &str| {
        let header = json!({ "typ": "JWT", "alg": alg });
        format!("{}.{}.", B64.encode(header.to_string()), B64.encode(claims("alice").to_string()))
    };
    for alg in ["none", "None", "NONE", ""] {
        assert_eq!(refusal(&unsigned(alg)), Some(20101), "{alg}");
    }
    for alg in ["HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256"] {
        assert_eq!(refusal(&with_header(&json!({ "alg": alg }), &claims("alice"))), Some(20101), "{alg}");
    }
    assert_eq!(refusal(&with_header(&json!({ "typ": "JWT" }), &claims("alice"))), Some(20101));
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n";
    let mut world = World::new();
    let mut keys = keys();
    keys.keys.get_mut(KEY).expect("the key").material = KeyMaterial::es256(pem);
    world.input(Input::KeysChanged(keys));
    let session = world.listen(&sign(&claims("alice"), pem.as_bytes()));
    assert_eq!(code(&world.only(session, "error")), Some(20101));
}

#[test]
fn every_kind_of_key_verifies_its_own_algorithm_only() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    let (ec, ed) = (
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519),
    );
    let (ec, ed) = (ec.expect("generates"), ed.expect("generates"));
    let secret = || Zeroizing::new(SECRET.to_vec());
    let hmac = || EncodingKey::from_secret(SECRET);
    let cases = [
        (Algorithm::HS256, KeyMaterial::Hs256(secret()), hmac()),
        (Algorithm::HS384, KeyMaterial::Hs384(secret()), hmac()),
        (Algorithm::HS512, KeyMaterial::Hs512(secret()), hmac()),
        (
            Algorithm::ES256,
            KeyMaterial::es256(&ec.public_key_pem()),
            EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes()).expect("a key"),
        ),
        (
            Algorithm::EdDSA,
            KeyMaterial::eddsa(&ed.public_key_pem()),
            EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes()).expect("a key"),
        ),
    ];
    let tokens: Vec<_> = cases
        .iter()
        .map(|(algorithm, _, key)| {
            (*algorithm, jsonwebtoken::encode(&Header::new(*algorithm), &claims("alice"), key).expect("signs"))
        })
        .collect();
    for (algorithm, material, _) in cases {
        let mut table = keys();
        table.keys.get_mut(KEY).expect("the key").material = material;
        for (signed_with, token) in &tokens {
            let limits = crate::core::limits::Limits::default();
            let verified = crate::core::token::verify(token, &table, &limits, START_UNIX_MS);
            assert_eq!(
                verified.is_ok(),
                *signed_with == algorithm,
                "{signed_with:?} under {algorithm:?}: {verified:?}"
            );
        }
    }
}

#[test]
fn keys_brought_along_in_the_header_are_refused() {
    let jwk = json!({ "kty": "oct", "k": B64.encode(SECRET) });
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
    ] {
        let mut header = json!({ "typ": "JWT", "alg": "HS256" });
        header[name] = value;
        assert_eq!(refusal(&with_header(&header, &claims("alice"))), Some(20101), "{name}");
    }
}

#[test]
fn a_key_id_in_the_header_chooses_nothing() {
    for kid in [OTHER_KEY, "../../dev/null", "' OR 1=1 --"] {
        let header = json!({ "typ": "JWT", "alg": "HS256", "kid": kid });
        assert_eq!(refusal(&with_header(&header, &claims("alice"))), None, "the issuer alone names the key");
        let mut foreign = claims("alice");
        foreign["iss"] = json!(OTHER_KEY);
        assert_eq!(refusal(&with_header(&header, &foreign)), Some(20101));
    }
}

#[test]
fn tampered_payload_wrong_secret_and_unknown_issuer_look_the_same() {
    let good = token("alice");
    let parts: Vec<_> = good.split('.').collect();
    let tampered = format!("{}.{}.{}", parts[0], B64.encode(claims("mallory").to_string()), parts[2]);
    assert_eq!(refusal(&tampered), Some(20101));
    assert_eq!(refusal(&sign(&claims("alice"), b"another secret")), Some(20101));
    assert_eq!(refusal(&changed(|c| c["iss"] = json!("SK000"))), Some(20101));
    assert_eq!(refusal(&changed(|c| c["sub"] = json!(OTHER_ACCOUNT))), Some(20101));
}

#[test]
fn times_are_checked_by_the_clock_of_the_input() {
    let now = START_UNIX_MS / 1000;
    assert_eq!(refusal(&changed(|c| c["exp"] = json!(now - 3))), Some(20104));
    assert_eq!(refusal(&changed(|c| c["exp"] = json!(now - 2))), None, "within the leeway");
    assert_eq!(refusal(&changed(|c| c["exp"] = Value::Null)), Some(20104));
    assert_eq!(refusal(&changed(|c| c["nbf"] = json!(now + 4))), Some(20101));
    assert_eq!(refusal(&changed(|c| c["nbf"] = json!(now + 3))), None, "within the leeway");
    assert_eq!(refusal(&changed(|c| c["exp"] = json!(now + 24 * 3600))), None);
    assert_eq!(refusal(&changed(|c| c["exp"] = json!(now + 24 * 3600 + 60))), Some(31207));
    assert_eq!(refusal(&changed(|c| c["exp"] = json!(1e300))), Some(31207));
    assert_eq!(refusal(&changed(|c| c["exp"] = json!("soon"))), Some(20101));
}

#[test]
fn identities_that_cannot_be_names_and_limits_that_cannot_be_read_spoil_the_token() {
    assert_eq!(refusal(&changed(|c| c["grants"]["identity"] = json!(""))), Some(20101));
    assert_eq!(refusal(&changed(|c| c["grants"]["identity"] = Value::Null)), Some(20101));
    assert_eq!(refusal(&changed(|c| c["grants"]["identity"] = json!("a\nb"))), Some(20101));
    assert_eq!(refusal(&changed(|c| c["grants"]["identity"] = json!("x".repeat(122)))), Some(20101));
    assert_eq!(refusal(&limited_token(json!({ "max_calls": "many" }))), Some(20101));
    assert_eq!(refusal(&limited_token(json!({ "hours": "always" }))), Some(20101));
    assert_eq!(refusal(&limited_token(json!({ "max_spend": 5 }))), Some(20101), "a limit we do not enforce");
    assert_eq!(refusal(&limited_token(json!({ "max_cals": 1 }))), Some(20101), "a limit misspelt");
    assert_eq!(refusal(&limited_token(json!({ "presence": ["anything"] }))), None);
}

#[test]
fn suspended_accounts_and_revoked_keys_are_refused() {
    let with = |change: fn(&mut KeyTable)| {
        let mut world = World::new();
        let mut keys = keys();
        change(&mut keys);
        world.input(Input::KeysChanged(keys));
        let session = world.listen(&token("alice"));
        code(&world.only(session, "error"))
    };
    assert_eq!(with(|keys| keys.keys.get_mut(KEY).expect("the key").revoked = true), Some(20101));
    assert_eq!(with(|keys| keys.accounts.get_mut(ACCOUNT).expect("the account").suspended = true), Some(31203));
    assert_eq!(with(|keys| keys.accounts.clear()), Some(20101));
}

#[test]
fn the_log_says_why_and_shows_no_token() {
    let mut world = World::new();
    let forged = sign(&claims("alice"), b"another secret");
    world.listen(&forged);
    let note = world.notes.iter().find(|note| note.kind == "token_refused").expect("a note");
    assert!(note.fields.contains(&("why", "token_signature".to_owned())));
    assert!(world.notes.iter().all(|note| note.fields.iter().all(|(_, value)| !value.contains(&forged[..20]))));
}

#[test]
fn a_session_whose_tokens_are_refused_again_and_again_is_closed() {
    let mut world = World::new();
    let stranger = world.open();
    let forged = sign(&claims("alice"), b"another secret");
    let listen = |world: &mut World, token: &str| world.say(stranger, "listen", json!({ "token": token }));
    for _ in 0..4 {
        listen(&mut world, &forged);
    }
    listen(&mut world, &token("alice"));
    for _ in 0..4 {
        listen(&mut world, &forged);
    }
    assert!(world.closed.is_empty(), "a good token begins the count anew");
    listen(&mut world, &forged);
    assert_eq!(world.closed.get(&stranger), Some(&1008));
}

#[test]
fn a_key_that_cannot_be_read_is_named_in_the_log_and_verifies_nothing() {
    let mut world = World::new();
    let mut keys = keys();
    keys.keys.get_mut(KEY).expect("the key").material = KeyMaterial::eddsa("no key");
    world.input(Input::KeysChanged(keys));
    assert!(world.notes.iter().any(|note| note.kind == "key_unusable" && note.fields[0].1 == KEY));
}

#[test]
fn a_client_cannot_fill_the_log() {
    let mut world = World::new();
    let alice = world.client("alice");
    let long = "x".repeat(60 << 10);
    for callsid in ["TJS1", &long] {
        for _ in 0..80 {
            world.say(alice, "invite", json!({ "callsid": callsid, "sdp": "", "twilio": { "params": "" } }));
        }
    }
    let bytes: usize = world.notes.iter().flat_map(|note| &note.fields).map(|(_, value)| value.len()).sum();
    assert!(bytes < 4 << 10, "{bytes}");
    let refused = world.notes.iter().filter(|note| note.kind == "invite_refused").count();
    assert_eq!(refused, 10, "logged; all are counted: {:?}", world.core.counters().refusals);
    assert!(!world.heard(alice).iter().any(|(_, payload)| payload.to_string().len() > 1_000), "nor is it echoed");
    world.pass(60_000);
    world.say(alice, "invite", json!({ "callsid": "TJS1", "sdp": "", "twilio": { "params": "" } }));
    assert_eq!(world.notes.iter().filter(|note| note.kind == "invite_refused").count(), 11);
}

#[test]
fn garbage_is_no_token() {
    for text in ["", ".", "..", "...", "a.b.c", "e30.e30.e30", &"x".repeat(9 << 10)] {
        assert_eq!(refusal(text), Some(20101), "{text}");
    }
}

#[test]
fn a_stranger_may_do_nothing_but_listen() {
    let mut world = World::new();
    let talk = world.connected_call();
    let stranger = world.open();
    world.say(stranger, "register", json!({ "media": { "audio": true } }));
    assert_eq!(code(&world.only(stranger, "error")), Some(31204));
    world.call(stranger, "bob");
    assert_eq!(code(&world.only(stranger, "hangup")), Some(31204));
    for kind in ["hangup", "reject"] {
        world.say(stranger, kind, json!({ "callsid": talk.alice_sid }));
    }
    world.say(stranger, "dtmf", json!({ "callsid": talk.alice_sid, "dtmf": "1" }));
    assert_eq!(code(&world.only(stranger, "error")), Some(31404));
    assert_eq!(world.core.gauges().calls_answered, 1);
    assert!(world.dataplane.digits.is_empty());
}

#[test]
fn a_client_cannot_touch_the_call_of_another() {
    let mut world = World::new();
    let talk = world.connected_call();
    let mallory = world.client("mallory");
    for sid in [&talk.alice_sid, &talk.bob_sid] {
        world.say(mallory, "hangup", json!({ "callsid": sid }));
        world.say(mallory, "message", json!({ "callsid": sid, "content": "x", "voiceeventsid": "KX1" }));
        assert_eq!(code(&world.only(mallory, "error")), Some(31404));
        world.say(mallory, "reinvite", json!({ "callsid": sid, "sdp": offer_sdp("evil") }));
        assert_eq!(code(&world.only(mallory, "hangup")), Some(31404));
    }
    // Nor may the other party act under the first one's name of the call.
    world.say(talk.bob, "hangup", json!({ "callsid": talk.alice_sid }));
    assert_eq!(world.core.gauges().calls_answered, 1);
}

#[test]
fn a_socket_cannot_become_another_client() {
    let mut world = World::new();
    let alice = world.client("alice");
    world.say(alice, "listen", json!({ "token": token("bob") }));
    assert_eq!(code(&world.only(alice, "error")), Some(20101));
    let mallory_rings = world.client("mallory");
    world.call(mallory_rings, "alice");
    assert_eq!(world.kinds(alice), ["invite"], "it is alice still");
}

#[test]
fn clients_of_another_account_are_not_found() {
    let mut world = World::new();
    world.client("bob");
    let mut foreign = claims("eve");
    (foreign["iss"], foreign["sub"]) = (json!(OTHER_KEY), json!(OTHER_ACCOUNT));
    let eve = world.listen(&sign(&foreign, OTHER_SECRET));
    world.heard(eve);
    world.call(eve, "bob");
    assert_eq!(code(&world.only(eve, "hangup")), Some(31404));
}
