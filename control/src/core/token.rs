//! Access tokens: is this JWT good, and what does it grant?
//!
//! Input: the token's text, the keys in force, the time. Output: a [`Grant`], or a [`Refusal`]. The order of the
//! checks follows trust: first the header, which only chooses a key; then the key, which fixes the algorithm; then
//! the signature; only then the claims. Nothing here keeps state or reads a clock.
//!
//! ```text
//!   header ──▶ issuer ──▶ key ──▶ algorithm ──▶ signature ──▶ account ──▶ lifetime ──▶ identity, grants
//! ```
//!
//! RFC 7519 (JWT), RFC 7515 (JWS), RFC 8725 (best current practices).

use super::clients::ClientName;
use super::destination;
use super::hours::Hours;
use super::keys::{ApiKey, KeyMaterial, KeyTable};
use super::limits::Limits;
use super::pattern;
use super::refusal::Refusal;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What the bearer of a good token is and may.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    pub account_sid: String,
    pub key_sid: String,
    pub identity: String,
    pub expires_unix_ms: u64,
    /// May receive calls.
    pub incoming: bool,
    /// May place calls.
    pub outgoing: bool,
    pub limits: GrantLimits,
}

/// `grants.crosspoint`: absent means not limited. A field that we do not know or of the wrong type spoils the token,
/// because ignoring a limit is worse than refusing its bearer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantLimits {
    /// Patterns of destinations, `*` stands for any text: `client:*`, `+49*`.
    pub destinations: Option<Vec<String>>,
    /// `audio`, `video`.
    pub mediums: Option<Vec<String>>,
    /// Calls at once.
    pub max_calls: Option<u32>,
    pub max_call_seconds: Option<u64>,
    /// When calls may be placed, in UTC.
    pub hours: Option<Hours>,
    /// Regions through which calls may be placed.
    pub regions: Option<Vec<String>>,
    /// Allows something that is not served yet; it limits nothing.
    presence: Option<IgnoredAny>,
}

impl Grant {
    pub fn client(&self) -> ClientName {
        ClientName::new(&self.account_sid, &self.identity)
    }
}

impl GrantLimits {
    pub fn allows_destination(&self, destination: &str) -> bool {
        self.destinations.as_ref().is_none_or(|list| list.iter().any(|p| pattern::matches(p, destination)))
    }

    pub fn allows_medium(&self, medium: &str) -> bool {
        self.mediums.as_ref().is_none_or(|list| list.iter().any(|m| m == medium))
    }

    pub fn allows_region(&self, region: &str) -> bool {
        self.regions.as_ref().is_none_or(|list| list.iter().any(|r| r == region))
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    #[serde(default)]
    grants: Grants,
}

#[derive(Default, Deserialize)]
struct Grants {
    identity: Option<String>,
    voice: Option<Voice>,
    #[serde(default)]
    crosspoint: GrantLimits,
}

#[derive(Deserialize)]
struct Voice {
    incoming: Option<Incoming>,
    outgoing: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Incoming {
    #[serde(default)]
    allow: bool,
}

/// Verifies `token` at `unix_ms`.
pub fn verify(token: &str, keys: &KeyTable, limits: &Limits, unix_ms: u64) -> Result<Grant, Refusal> {
    if token.len() > limits.token_bytes_max {
        return Err(Refusal::TokenMalformed);
    }
    let header_algorithm = check_header(token)?;
    check_form_of_signature(token)?;
    let key = keys.keys.get(&issuer(token)?).ok_or(Refusal::TokenIssuer)?;
    let claims = verify_signature(token, key, &header_algorithm)?;
    check_standing(&claims, key, keys)?;
    let expires_unix_ms = check_lifetime(&claims, limits, unix_ms)?;
    grant(claims, key, expires_unix_ms)
}

// RFC 8725 §3.10: the header is the attacker's until verified; nothing in it may name a key.
fn check_header(token: &str) -> Result<String, Refusal> {
    let header = part(token, 0)?;
    for name in ["jku", "x5u", "jwk", "x5c", "crit"] {
        if header.contains_key(name) {
            return Err(Refusal::TokenHeader);
        }
    }
    let text = |name| header.get(name).and_then(Value::as_str);
    let cty_is_known = !header.contains_key("cty") || text("cty") == Some("twilio-fpa;v=1");
    let typ_is_known = !header.contains_key("typ") || text("typ").is_some_and(|t| t.eq_ignore_ascii_case("jwt"));
    if !cty_is_known || !typ_is_known {
        return Err(Refusal::TokenHeader);
    }
    text("alg").map(str::to_owned).ok_or(Refusal::TokenAlgorithm)
}

// The claim, not the header's `kid`, names the key: there is one way to name it.
fn issuer(token: &str) -> Result<String, Refusal> {
    part(token, 1)?.get("iss").and_then(Value::as_str).map(str::to_owned).ok_or(Refusal::TokenMalformed)
}

fn part(token: &str, index: usize) -> Result<Map<String, Value>, Refusal> {
    let mut parts = token.split('.');
    let text = parts.nth(index).ok_or(Refusal::TokenMalformed)?;
    if parts.count() != 2 - index {
        return Err(Refusal::TokenMalformed);
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::TokenMalformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::TokenMalformed)
}

// RFC 7515 §2: base64url without padding. A line end that was pasted along is no forgery, and shall not look like one.
fn check_form_of_signature(token: &str) -> Result<(), Refusal> {
    let text = token.rsplit('.').next().unwrap_or_default();
    BASE64_URL_SAFE_NO_PAD.decode(text).map(drop).map_err(|_| Refusal::TokenMalformed)
}

// RFC 8725 §3.1: the key, not the token, says which algorithm verifies.
fn verify_signature(token: &str, key: &ApiKey, header_algorithm: &str) -> Result<Claims, Refusal> {
    let shared = |secret: &[u8]| Some(Cow::Owned(DecodingKey::from_secret(secret)));
    let (name, algorithm, decoding_key) = match &key.material {
        KeyMaterial::Hs256(secret) => ("HS256", Algorithm::HS256, shared(secret)),
        KeyMaterial::Hs384(secret) => ("HS384", Algorithm::HS384, shared(secret)),
        KeyMaterial::Hs512(secret) => ("HS512", Algorithm::HS512, shared(secret)),
        KeyMaterial::Es256(public) => ("ES256", Algorithm::ES256, public.decoding_key().map(Cow::Borrowed)),
        KeyMaterial::EdDsa(public) => ("EdDSA", Algorithm::EdDSA, public.decoding_key().map(Cow::Borrowed)),
    };
    if header_algorithm != name {
        return Err(Refusal::TokenAlgorithm);
    }
    let decoding_key = decoding_key.ok_or(Refusal::TokenSignature)?;
    // Times and audience are checked below, by the clock that the input carries.
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    match jsonwebtoken::decode(token, &decoding_key, &validation) {
        Ok(data) => Ok(data.claims),
        Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::Json(_)) => Err(Refusal::TokenMalformed),
        Err(_) => Err(Refusal::TokenSignature),
    }
}

fn check_standing(claims: &Claims, key: &ApiKey, keys: &KeyTable) -> Result<(), Refusal> {
    if key.revoked {
        return Err(Refusal::KeyRevoked);
    }
    let account = keys.accounts.get(&key.account_sid).ok_or(Refusal::TokenAccount)?;
    if claims.sub != account.sid {
        return Err(Refusal::TokenAccount);
    }
    if account.suspended { Err(Refusal::AccountSuspended) } else { Ok(()) }
}

fn check_lifetime(claims: &Claims, limits: &Limits, unix_ms: u64) -> Result<u64, Refusal> {
    let leeway_ms = limits.token_leeway_s * 1000;
    // RFC 7519 §4.1.4: not accepted on or after `exp`; ours is mandatory, as the vendor's is.
    let expires_unix_ms = claims.exp.map(milliseconds).ok_or(Refusal::TokenExpired)?;
    if expires_unix_ms.saturating_add(leeway_ms) <= unix_ms {
        return Err(Refusal::TokenExpired);
    }
    // RFC 7519 §4.1.5.
    let not_before_unix_ms = claims.nbf.map(milliseconds).unwrap_or(0);
    if not_before_unix_ms > unix_ms.saturating_add(leeway_ms) {
        return Err(Refusal::TokenNotYetValid);
    }
    let issued_unix_ms = claims.iat.or(claims.nbf).map_or(unix_ms, milliseconds).min(unix_ms);
    let life_ms_max = limits.token_life_s_max * 1000 + leeway_ms;
    if expires_unix_ms.saturating_sub(issued_unix_ms) > life_ms_max {
        return Err(Refusal::TokenTooLongLived);
    }
    Ok(expires_unix_ms)
}

/// A NumericDate (RFC 7519 §2); what is negative or no number counts as the epoch.
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

fn grant(claims: Claims, key: &ApiKey, expires_unix_ms: u64) -> Result<Grant, Refusal> {
    let identity = claims.grants.identity.ok_or(Refusal::TokenIdentity)?;
    let identity = destination::client_name(&identity).map_err(|_| Refusal::TokenIdentity)?;
    let voice = claims.grants.voice.as_ref();
    Ok(Grant {
        account_sid: key.account_sid.clone(),
        key_sid: key.sid.clone(),
        identity,
        expires_unix_ms,
        incoming: voice.and_then(|v| v.incoming.as_ref()).is_some_and(|i| i.allow),
        outgoing: voice.is_some_and(|v| v.outgoing.is_some()),
        limits: claims.grants.crosspoint,
    })
}
