//! Mints access tokens by hand, good ones and forged ones.
//!
//! Input: claims and a signer. Output: a compact JWS (RFC 7515 §3.1). By hand, because a library would refuse to make what an
//! attacker makes: `alg: none`, a foreign key in the header, a payload changed after signing.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The placeholder account of dev mode.
pub const ACCOUNT: &str = "AC00000000000000000000000000000001";
pub const KEY: &str = "SK00000000000000000000000000000001";
pub const SECRET: &str = "crosspoint-dev-secret-for-loopback-only";

pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_secs()
}

/// Claims of a token that may receive and place calls.
pub fn claims(identity: &str) -> Value {
    json!({
        "jti": format!("{KEY}-{}", unix_now()),
        "iss": KEY,
        "sub": ACCOUNT,
        "iat": unix_now(),
        "exp": unix_now() + 3600,
        "grants": {
            "identity": identity,
            "voice": { "incoming": { "allow": true }, "outgoing": { "application_sid": "AP00000000000000000000000000000001" } },
        },
    })
}

pub fn header(alg: &str) -> Value {
    json!({ "cty": "twilio-fpa;v=1", "typ": "JWT", "alg": alg })
}

/// A good token for `identity`.
pub fn good(identity: &str) -> String {
    hs256(&claims(identity))
}

/// These claims, signed with the dev key.
pub fn hs256(claims: &Value) -> String {
    hmac_signed(&header("HS256"), claims, hmac::HMAC_SHA256, SECRET.as_bytes())
}

pub fn hmac_signed(header: &Value, claims: &Value, algorithm: hmac::Algorithm, secret: &[u8]) -> String {
    signed(header, claims, |input| hmac::sign(&hmac::Key::new(algorithm, secret), input).as_ref().to_vec())
}

/// `header.claims.signature`, whatever the signer does.
pub fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let input = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(input.as_bytes()));
    format!("{input}.{signature}")
}

pub fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
