//! The reasons for which a request is refused, in the words that clients compare.
//!
//! Input: whoever finds the fault. Output: `error-reason` of a reply, or `message` where the client knows the load limit
//! (see [`crate::reply::Reply::refusal`]). The texts are those of rtpengine 10.5.3: Kamailio and OpenSIPS fail over to the next
//! node on some of them, letter by letter, so they are never reworded.

use thiserror::Error;

/// A refused request. Each text is the complete `error-reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum NgError {
    // The envelope.
    #[error("Invalid data (no payload)")]
    NoPayload,
    #[error("Could not decode bencode dictionary")]
    BadBencode,
    #[error("Failed to parse JSON document")]
    BadJson,
    #[error("Could not decode JSON dictionary")]
    BadJsonDictionary,
    #[error("Invalid NG data format")]
    BadFormat,
    #[error("Dictionary contains no key \"command\"")]
    NoCommand,
    #[error("Unrecognized command")]
    UnrecognizedCommand,

    // What the request lacks.
    #[error("No SDP body in message")]
    NoSdp,
    #[error("No call-id in message")]
    NoCallId,
    #[error("No from-tag in message")]
    NoFromTag,
    #[error("No to-tag in message")]
    NoToTag,
    #[error("invalid limit, must be >= 0")]
    InvalidLimit,

    // The session description.
    #[error("Failed to parse SDP")]
    BadSdp,
    #[error("Incomplete SDP specification")]
    IncompleteSdp,
    #[error("Error rewriting SDP")]
    RewriteFailed,
    /// Ours: rtpengine would send there.
    #[error("Media address not allowed: a port of this relay, loopback, link-local, multicast or broadcast")]
    Misdirected,

    // Limits: clients go to another node.
    #[error("Ran out of ports")]
    OutOfPorts,
    #[error("Parallel session limit reached")]
    SessionLimit,
    #[error("CPU usage limit exceeded")]
    CpuLimit,
    #[error("Load limit exceeded")]
    LoadLimit,
    #[error("Bandwidth limit exceeded")]
    BandwidthLimit,

    // Calls and parties.
    #[error("Unknown call-id")]
    UnknownCallId,
    /// The spelling of the commands that act on media.
    #[error("Unknown call-ID")]
    UnknownCallIdOfMedia,
    #[error("Invalid dialogue association")]
    InvalidDialogue,
    #[error("Call-ID not found or tags didn't match")]
    CallNotFound,
    #[error("From-tag given, but no such tag exists")]
    NoSuchFromTag,
    #[error("From-tag not found")]
    FromTagNotFound,
    #[error("To-tag not found")]
    ToTagNotFound,
    #[error("No participant party specified")]
    NoParty,
    #[error("No monologues matched")]
    NoPartiesMatched,
    #[error("No monologue matching the given label")]
    LabelNotFound,
    #[error("Failed to match address to any tag")]
    AddressNotMatched,
    #[error("Failed to parse network address")]
    BadAddress,

    // Players, digits, subscriptions.
    #[error("Not currently playing media")]
    NotPlaying,
    #[error("No media file specified")]
    NoMediaFile,
    #[error("Failed to start media playback from file")]
    PlaybackFromFile,
    #[error("Failed to start media playback from blob")]
    PlaybackFromBlob,
    #[error("Failed to start media playback from database")]
    PlaybackFromDatabase,
    #[error("Monologue has no media capable of DTMF injection")]
    NoDtmfSource,
    #[error("There is no sink media capable of DTMF playback")]
    NoDtmfSink,
    #[error("Out of range 'code' specified")]
    DtmfCodeOutOfRange,
    #[error("Failed to request subscription")]
    SubscriptionFailed,
    #[error("Failed to process subscription answer")]
    SubscriptionAnswerFailed,
    #[error("Failed to unsubscribe")]
    UnsubscribeFailed,

    /// Ours: a command that rtpengine has and this bridge does not have yet.
    #[error("Not supported")]
    NotSupported,
}

impl NgError {
    /// Refusals for which a client that sent `supports: [load limit]` gets the result `load limit`.
    pub fn is_load_limit(self) -> bool {
        matches!(self, NgError::SessionLimit | NgError::CpuLimit | NgError::LoadLimit | NgError::BandwidthLimit)
    }
}
