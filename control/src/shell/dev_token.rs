//! `POST /dev/token {"identity": NAME} -> {"token", "identity"}`: lets the softphone page sign in by name. Dev mode only.
//!
//! Other web pages must not mint tokens through the visitor's browser: a JSON body forces a CORS preflight, which is
//! never granted, and the `Host` header must be a loopback name, so that a rebound DNS name is refused.

use super::core_loop::unix_ms;
use super::token::{Grants, Signer};
use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

const TTL_SECONDS: u64 = 3600;
const IDENTITY_BYTES_MAX: usize = 256;
/// Any application will do: until call instructions exist, `To` alone says where a call goes.
const APPLICATION: &str = "AP00000000000000000000000000000001";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    identity: String,
}

#[derive(Serialize)]
struct Minted {
    token: String,
    identity: String,
}

pub async fn mint(headers: HeaderMap, Json(wish): Json<Wish>) -> Response {
    if !is_loopback_host(headers.get(header::HOST).and_then(|host| host.to_str().ok())) {
        return (StatusCode::FORBIDDEN, "only for pages of this machine\n").into_response();
    }
    if wish.identity.is_empty() || wish.identity.len() > IDENTITY_BYTES_MAX {
        return (StatusCode::UNPROCESSABLE_ENTITY, "identity must have 1 to 256 bytes\n").into_response();
    }
    let grants = Grants {
        identity: wish.identity.clone(),
        incoming: true,
        outgoing_application: Some(APPLICATION.into()),
        ..Grants::default()
    };
    match Signer::dev().mint(&grants, unix_ms() / 1000, TTL_SECONDS, None) {
        Ok(token) => Json(Minted { token, identity: wish.identity }).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn is_loopback_host(host: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_hosts_of_dev_mode() {
        for host in ["localhost", "localhost:8088", "127.0.0.1:1", "[::1]:8088", "[::1]"] {
            assert!(is_loopback_host(Some(host)), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:8088", "127.0.0.1.evil.example", "localhost:evil", ""] {
            assert!(!is_loopback_host(Some(host)), "{host}");
        }
        assert!(!is_loopback_host(None));
    }
}
