//! The vocabulary of the client protocol, both ways: JSON text frames `{type, payload, version}`.
//!
//! Input: a text frame of a client, which becomes a [`FromClient`]. Output: a [`ToClient`], which becomes text. The
//! names are those the stock client sends and awaits. Types that we do not know are no error: newer clients may say
//! more. Owns no state; what a message means is decided elsewhere.

use super::limits::NAME_BYTES_MAX;
use super::refusal::Refusal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const VERSION: &str = "1.6";

/// What a client may say.
#[derive(Clone, Debug, PartialEq)]
pub enum FromClient {
    Listen(Listen),
    Register(Register),
    Invite(Invite),
    Answer(Described),
    Reinvite(Described),
    Dtmf(Dtmf),
    HangUp(Named),
    Reject(Named),
    Message(Message),
    /// A heartbeat's echo.
    Heartbeat,
    /// A type that this version does not know.
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Listen {
    pub token: String,
    /// Seconds to keep the calls of a lost socket; absent means as long as we would.
    #[serde(rename = "reconnectTimeout")]
    pub reconnect_timeout: Option<f64>,
    /// Ours: a client that names its instance keeps that name over reconnections.
    pub instance: Option<String>,
    /// Ours: the client answers a `reinvite` of ours with `answer`, which repeats the number of the `reinvite`. One that
    /// crosses its own it leaves unanswered.
    #[serde(default)]
    pub reinvite: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Register {
    #[serde(default)]
    pub media: MediaKinds,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct MediaKinds {
    #[serde(default)]
    pub audio: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Invite {
    /// The client's own temporary name of the call, or ours when it resumes one.
    pub callsid: String,
    pub sdp: String,
    #[serde(default)]
    pub twilio: InviteParams,
    /// A sealed token: resume that call, or answer it.
    pub reconnect: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct InviteParams {
    /// Form-encoded.
    #[serde(default)]
    pub params: String,
}

/// A call and a session description.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Described {
    pub callsid: String,
    pub sdp: String,
    /// Ours: which offer this is, or which it answers. Without it an answer that comes late could be taken for another's.
    pub offer: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Dtmf {
    pub callsid: String,
    pub dtmf: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Named {
    pub callsid: String,
    /// Why, in the client's words; for the log.
    pub message: Option<String>,
}

/// Text or JSON for the other party of a call.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Message {
    pub callsid: String,
    pub content: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contenttype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messagetype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voiceeventsid: Option<String>,
}

#[derive(Deserialize)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    payload: Value,
}

impl FromClient {
    /// A refusal comes with the `callsid` that the frame named, if it could be read.
    pub fn parse(text: &str) -> Result<FromClient, (Refusal, Option<String>)> {
        if text.trim().is_empty() {
            return Ok(FromClient::Heartbeat);
        }
        let Frame { kind, payload } = serde_json::from_str(text).map_err(|_| (Refusal::MessageMalformed, None))?;
        let callsid = payload.get("callsid").and_then(Value::as_str).map(str::to_owned);
        // It is echoed, looked up and logged; none of ours is longer.
        if callsid.as_ref().is_some_and(|sid| sid.len() > NAME_BYTES_MAX) {
            return Err((Refusal::ParameterTooLong, None));
        }
        Self::from_payload(kind, payload).map_err(|refusal| (refusal, callsid))
    }

    fn from_payload(kind: String, payload: Value) -> Result<FromClient, Refusal> {
        Ok(match kind.as_str() {
            "listen" => FromClient::Listen(read(payload)?),
            "register" => FromClient::Register(read(payload)?),
            "invite" => FromClient::Invite(read(payload)?),
            "answer" => FromClient::Answer(read(payload)?),
            "reinvite" => FromClient::Reinvite(read(payload)?),
            "dtmf" => FromClient::Dtmf(read(payload)?),
            "hangup" => FromClient::HangUp(read(payload)?),
            "reject" => FromClient::Reject(read(payload)?),
            "message" => FromClient::Message(read(payload)?),
            _ => FromClient::Unknown(kind.chars().take(32).collect()),
        })
    }
}

fn read<T: DeserializeOwned>(payload: Value) -> Result<T, Refusal> {
    serde_json::from_value(payload).map_err(|_| Refusal::MessageMalformed)
}

/// What we may say.
#[derive(Clone, Debug, PartialEq)]
pub enum ToClient {
    /// After a good `listen`.
    Connected {
        region: String,
        gateway: String,
        identity: String,
        instance: String,
        ttl_s: u64,
    },
    /// After `register` for calls.
    Ready,
    /// After `register` for none; the stock client awaits it in `unregister`.
    Offline,
    /// An incoming call. `reconnect` is the sealed token that answers and resumes it.
    Invite {
        callsid: String,
        sdp: String,
        parameters: InviteParameters,
        reconnect: String,
    },
    Ringing {
        callsid: String,
    },
    /// An answer, to an invite, a resumption or a reinvite.
    Answer {
        callsid: String,
        sdp: String,
        reconnect: String,
        /// The number of the reinvite, if it had one.
        offer: Option<u64>,
    },
    /// An offer within a call, for clients that said they take one: the other party does more or less than before.
    Reinvite {
        callsid: String,
        sdp: String,
        offer: u64,
    },
    Cancel {
        callsid: String,
        /// By another instance of the client; else the caller gave up, or the call cannot be.
        answered_elsewhere: bool,
    },
    HangUp {
        callsid: String,
        refusal: Option<Refusal>,
        /// Of an end that is no error and not the other party's doing; as a call record names it.
        reason: Option<&'static str>,
    },
    Message(Message),
    Ack {
        callsid: String,
        voiceeventsid: Option<String>,
    },
    Error {
        refusal: Refusal,
        callsid: Option<String>,
        voiceeventsid: Option<String>,
    },
    /// As `Error`: a description within a call is not taken, and the call goes on as it was. With the number of the
    /// offer, if it was one and bore one.
    Refused {
        refusal: Refusal,
        callsid: String,
        offer: Option<u64>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InviteParameters {
    pub from: String,
    pub to: String,
    pub call_sid: String,
    pub account_sid: String,
    /// Form-encoded custom parameters of the caller.
    pub params: String,
}

impl ToClient {
    pub fn to_text(&self) -> String {
        let (kind, payload) = self.parts();
        json!({ "type": kind, "payload": payload, "version": VERSION }).to_string()
    }

    fn parts(&self) -> (&'static str, Value) {
        match self {
            ToClient::Connected { region, gateway, identity, instance, ttl_s } => (
                "connected",
                json!({ "region": region, "edge": region, "home": region, "gateway": gateway, "instance": instance,
                        "token": { "identity": identity, "ttl": ttl_s } }),
            ),
            ToClient::Ready => ("ready", json!({})),
            ToClient::Offline => ("offline", json!({})),
            ToClient::Invite { callsid, sdp, parameters, reconnect } => {
                ("invite", json!({ "callsid": callsid, "sdp": sdp, "parameters": parameters, "reconnect": reconnect }))
            }
            ToClient::Ringing { callsid } => ("ringing", json!({ "callsid": callsid })),
            ToClient::Answer { callsid, sdp, reconnect, offer } => {
                ("answer", with_offer(json!({ "callsid": callsid, "sdp": sdp, "reconnect": reconnect }), *offer))
            }
            ToClient::Reinvite { callsid, sdp, offer } => {
                ("reinvite", json!({ "callsid": callsid, "sdp": sdp, "offer": offer }))
            }
            // The reason is ours; stock clients read the id alone.
            ToClient::Cancel { callsid, answered_elsewhere: true } => {
                ("cancel", json!({ "callsid": callsid, "reason": "answered_elsewhere" }))
            }
            ToClient::Cancel { callsid, answered_elsewhere: false } => ("cancel", json!({ "callsid": callsid })),
            ToClient::HangUp { callsid, refusal, reason: None } => {
                ("hangup", with_error(json!({ "callsid": callsid }), *refusal))
            }
            // Ours too.
            ToClient::HangUp { callsid, refusal, reason } => {
                ("hangup", with_error(json!({ "callsid": callsid, "reason": reason }), *refusal))
            }
            ToClient::Message(message) => ("message", json!(message)),
            ToClient::Ack { callsid, voiceeventsid } => {
                ("ack", json!({ "acktype": "message", "callsid": callsid, "voiceeventsid": voiceeventsid }))
            }
            ToClient::Error { refusal, callsid, voiceeventsid } => {
                ("error", error_payload(*refusal, callsid.as_deref(), voiceeventsid.as_deref()))
            }
            ToClient::Refused { refusal, callsid, offer } => {
                ("error", with_offer(error_payload(*refusal, Some(callsid), None), *offer))
            }
        }
    }
}

fn error_payload(refusal: Refusal, callsid: Option<&str>, voiceeventsid: Option<&str>) -> Value {
    let mut payload = with_error(json!({}), Some(refusal));
    for (name, value) in [("callsid", callsid), ("voiceeventsid", voiceeventsid)] {
        if let Some(value) = value {
            payload[name] = json!(value);
        }
    }
    payload
}

fn with_offer(mut payload: Value, number: Option<u64>) -> Value {
    if let Some(number) = number {
        payload["offer"] = json!(number);
    }
    payload
}

fn with_error(mut payload: Value, refusal: Option<Refusal>) -> Value {
    if let Some(refusal) = refusal {
        payload["error"] = json!({ "code": refusal.code(), "message": refusal.message() });
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invite_of_the_stock_client_is_read() {
        let text = r#"{"type":"invite","version":"1.6",
            "payload":{"callsid":"TJS1","sdp":"v=0","twilio":{"params":"To=client%3Abob"}}}"#;
        let Ok(FromClient::Invite(invite)) = FromClient::parse(text) else { panic!("an invite") };
        assert_eq!((invite.callsid.as_str(), invite.twilio.params.as_str()), ("TJS1", "To=client%3Abob"));
        assert_eq!(invite.reconnect, None);
    }

    #[test]
    fn heartbeat_and_unknown_types_are_no_errors() {
        assert_eq!(FromClient::parse("\n"), Ok(FromClient::Heartbeat));
        assert_eq!(FromClient::parse(r#"{"type":"publish"}"#), Ok(FromClient::Unknown("publish".into())));
    }

    #[test]
    fn malformed_payload_is_refused_with_its_callsid() {
        let refused = FromClient::parse(r#"{"type":"answer","payload":{"callsid":"CA1"}}"#);
        assert_eq!(refused, Err((Refusal::MessageMalformed, Some("CA1".into()))));
        for text in ["{", "[]", "1", r#"{"payload":{}}"#, r#"{"type":7}"#] {
            assert_eq!(FromClient::parse(text), Err((Refusal::MessageMalformed, None)), "{text}");
        }
    }
}
