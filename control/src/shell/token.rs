//! Mints access tokens: for `crosspoint token` and for dev mode's `POST /dev/token`.
//!
//! The shape is the one that apps' own token servers make, so either can be replaced by the other. What a token must
//! be to be accepted is the core's business.

use crate::core::keys::KeyMaterial;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

/// The account and key of dev mode. Everybody knows the secret; it is refused wherever others could reach us.
pub const DEV_ACCOUNT_SID: &str = "AC00000000000000000000000000000001";
pub const DEV_KEY_SID: &str = "SK00000000000000000000000000000001";
pub const DEV_SECRET: &str = "crosspoint-dev-secret-for-loopback-only";

/// Content type of a token with these grants; verifiers that do not know it take the token as a generic JWT.
const CONTENT_TYPE: &str = "twilio-fpa;v=1";

/// What the bearer may do.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    pub identity: String,
    /// May receive calls.
    pub incoming: bool,
    /// May place calls, through this application.
    pub outgoing_application: Option<String>,
    /// Parameters given to the application with each call.
    pub outgoing_params: Vec<(String, String)>,
    /// Our own limits, as they stand under `grants.crosspoint`; empty for none.
    pub limits: Map<String, Value>,
}

/// Who signs, and for how long.
#[derive(Debug)]
pub struct Signer {
    pub account_sid: String,
    pub key_sid: String,
    pub algorithm: Algorithm,
    pub key: EncodingKey,
}

#[derive(Debug, Error)]
pub enum MintError {
    #[error("the key cannot sign with {algorithm:?}: {source}")]
    Sign { algorithm: Algorithm, source: jsonwebtoken::errors::Error },
    #[error("key {0} is a public key and verifies only; sign with the private key: --private-key FILE --alg ES256")]
    PublicKey(String),
}

#[derive(Serialize)]
struct Claims {
    jti: String,
    iss: String,
    sub: String,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    exp: u64,
    grants: Value,
}

impl Signer {
    pub fn dev() -> Signer {
        Signer {
            account_sid: DEV_ACCOUNT_SID.into(),
            key_sid: DEV_KEY_SID.into(),
            algorithm: Algorithm::HS256,
            key: EncodingKey::from_secret(DEV_SECRET.as_bytes()),
        }
    }

    /// Signs with a stored secret.
    pub fn stored(key: &crate::core::keys::ApiKey) -> Result<Signer, MintError> {
        let (algorithm, secret) = match &key.material {
            KeyMaterial::Hs256(secret) => (Algorithm::HS256, secret),
            KeyMaterial::Hs384(secret) => (Algorithm::HS384, secret),
            KeyMaterial::Hs512(secret) => (Algorithm::HS512, secret),
            KeyMaterial::Es256(_) | KeyMaterial::EdDsa(_) => return Err(MintError::PublicKey(key.sid.clone())),
        };
        Ok(Signer {
            account_sid: key.account_sid.clone(),
            key_sid: key.sid.clone(),
            algorithm,
            key: EncodingKey::from_secret(secret),
        })
    }

    /// A token that is valid from `not_before` (or at once) for `ttl_seconds` from `now_unix`.
    pub fn mint(
        &self,
        grants: &Grants,
        now_unix: u64,
        ttl_seconds: u64,
        not_before: Option<u64>,
    ) -> Result<String, MintError> {
        let claims = Claims {
            jti: format!("{}-{now_unix}", self.key_sid),
            iss: self.key_sid.clone(),
            sub: self.account_sid.clone(),
            iat: now_unix,
            nbf: not_before,
            exp: not_before.unwrap_or(now_unix).max(now_unix).saturating_add(ttl_seconds),
            grants: grants.to_json(),
        };
        let header = Header { cty: Some(CONTENT_TYPE.into()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|source| MintError::Sign { algorithm: self.algorithm, source })
    }
}

impl Grants {
    fn to_json(&self) -> Value {
        let mut voice = json!({ "incoming": { "allow": self.incoming } });
        if let Some(application) = &self.outgoing_application {
            voice["outgoing"] = json!({ "application_sid": application });
            if !self.outgoing_params.is_empty() {
                let params: Map<String, Value> =
                    self.outgoing_params.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
                voice["outgoing"]["params"] = params.into();
            }
        }
        let mut grants = json!({ "identity": self.identity, "voice": voice });
        if !self.limits.is_empty() {
            grants["crosspoint"] = self.limits.clone().into();
        }
        grants
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn part(token: &str, index: usize) -> Value {
        let part = token.split('.').nth(index).expect("three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
    }

    #[test]
    fn token_has_the_header_and_claims_that_token_servers_make() {
        let grants = Grants {
            identity: "alice".into(),
            incoming: true,
            outgoing_application: Some("AP1".into()),
            outgoing_params: vec![("k".into(), "v".into())],
            limits: Map::from_iter([("max_calls".to_owned(), json!(2))]),
        };
        let token = Signer::dev().mint(&grants, 1000, 60, None).expect("signed");
        assert_eq!(part(&token, 0), json!({"typ": "JWT", "alg": "HS256", "cty": "twilio-fpa;v=1"}));
        assert_eq!(
            part(&token, 1),
            json!({
                "jti": format!("{DEV_KEY_SID}-1000"), "iss": DEV_KEY_SID, "sub": DEV_ACCOUNT_SID, "iat": 1000, "exp": 1060,
                "grants": {
                    "identity": "alice",
                    "voice": {
                        "incoming": {"allow": true},
                        "outgoing": {"application_sid": "AP1", "params": {"k": "v"}},
                    },
                    "crosspoint": {"max_calls": 2},
                },
            })
        );
    }
}
