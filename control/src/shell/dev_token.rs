//! `POST /dev/token {"identity": NAME} -> {"token", "identity"}`: lets the softphone page sign in by name. Dev mode only.
//!
//! Other web pages must not mint tokens through the visitor's browser: a JSON body forces a CORS preflight, which is
//! never granted; and in dev mode every request must address a loopback host (`access`).

use super::core_loop::unix_ms;
use super::token::{Grants, Signer};
use crate::core::destination::{CLIENT_NAME_CHARS_MAX, client_name};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

const TTL_SECONDS: u64 = 3600;
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

fn bad_name() -> String {
    format!(
        "A name has 1 to {CLIENT_NAME_CHARS_MAX} characters, no control characters and no space at its ends. (31203)\n"
    )
}

pub async fn mint(Json(wish): Json<Wish>) -> Response {
    // By the rule that a token is checked by: a name that is given here can also sign in.
    if client_name(&wish.identity).is_err() {
        return (StatusCode::UNPROCESSABLE_ENTITY, bad_name()).into_response();
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
