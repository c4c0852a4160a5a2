//! What of a call outlives the process: the live call, for a successor to adopt, and the record, forever.

use crosspoint_contract::{BridgeId, CallKey, Generation, LegId, LegReport};
use serde::{Deserialize, Serialize};

/// Everything needed to go on with a call after the control plane was killed. Stored as JSON, versioned by its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveCall {
    pub call_sid: String,
    pub account_sid: String,
    pub key: CallKey,
    /// Of the dataplane that holds the legs.
    pub dataplane: Generation,
    pub bridge: BridgeId,
    pub from: String,
    pub to: String,
    pub started_unix_ms: u64,
    pub answered_unix_ms: Option<u64>,
    /// When an instance answered: its legs are being joined from then on, and soon the caller is told.
    #[serde(default)]
    pub joining_unix_ms: Option<u64>,
    /// Set while only the last reports of its legs are awaited.
    #[serde(default)]
    pub end: Option<End>,
    /// When the bearer's grant ends the call.
    pub ends_unix_ms: Option<u64>,
    /// As in the record: which way media goes and which rule chose it.
    pub path: Vec<String>,
    pub legs: Vec<LiveLeg>,
}

/// How a call ended, as its record will say. Saved before the legs close, so that a successor says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub unix_ms: u64,
    pub reason: String,
    pub by: String,
    pub code: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveLeg {
    pub leg: LegId,
    /// SID by which this leg's client knows the call.
    pub call_sid: String,
    pub role: LegRole,
    pub identity: String,
    /// Instance of the client, as in its route.
    pub instance: String,
    /// What the last SDP from and to the client said, to answer a resumption with. Empty unless the leg takes part in an
    /// answered call.
    pub remote_sdp: String,
    pub local_sdp: String,
    /// How often we drew new ICE credentials; numbers `RestartIce`.
    pub ice_restarts: u32,
    /// Which side of the DTLS handshake we are on this leg: it never changes while the association lives.
    pub dtls_client: bool,
    /// Key whose token this leg's client showed, so that a revocation ends it.
    pub key_sid: String,
    pub codec: Option<String>,
    /// Seconds the client asked us to keep a call of a lost socket.
    pub reconnect_seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LegRole {
    Caller,
    Callee,
}

/// One line of `crosspoint calls`. Written once per call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    pub call_sid: String,
    pub account_sid: String,
    pub from: String,
    pub to: String,
    pub started_unix_ms: u64,
    pub answered_unix_ms: Option<u64>,
    pub ended_unix_ms: u64,
    /// Stable word: `completed`, `busy`, `declined`, `no_answer`, `canceled`, `not_found`, `failed`, …
    pub end_reason: String,
    /// `caller`, `callee`, `bridge`.
    pub ended_by: String,
    /// Code given to the client, if the end was an error.
    pub code: Option<u32>,
    /// The path media took and the rule that chose it (media-path table), with each change.
    pub path: Vec<String>,
    pub legs: Vec<LegRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegRecord {
    /// SID by which this leg's client knew the call; empty in records of earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub call_sid: String,
    pub role: LegRole,
    pub identity: String,
    pub instance: String,
    pub gateway: String,
    pub region: String,
    pub codec: Option<String>,
    pub report: Option<LegReport>,
}
