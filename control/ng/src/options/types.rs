//! The values that options take.
//!
//! Input: [`super::words`] sets them from words. Output: [`super::Options`], read by the core and by `sdp`. Words that a
//! value does not know never get this far; they become warnings.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// `transport-protocol`: what the rewritten media lines shall speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transport {
    /// SRTP: `SAVP`, `SAVPF`.
    pub secure: bool,
    /// RFC 4585: `AVPF`, `SAVPF`.
    pub feedback: bool,
    /// RFC 5764: `UDP/TLS/…`. Implies `secure`.
    pub dtls: bool,
}

impl Transport {
    pub const RTP_AVP: Transport = Transport { secure: false, feedback: false, dtls: false };

    /// As a media line prints it.
    pub fn name(self) -> &'static str {
        match (self.dtls, self.secure, self.feedback) {
            (true, _, false) => "UDP/TLS/RTP/SAVP",
            (true, _, true) => "UDP/TLS/RTP/SAVPF",
            (false, true, false) => "RTP/SAVP",
            (false, true, true) => "RTP/SAVPF",
            (false, false, false) => "RTP/AVP",
            (false, false, true) => "RTP/AVPF",
        }
    }

    /// The transport that a media line names; upper and lower case are the same (RFC 8866 §5.14 registers upper case).
    pub fn parse(name: &str) -> Option<Transport> {
        let (dtls, profile) = match name.split_at_checked(8) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("UDP/TLS/") => (true, rest),
            _ => (false, name),
        };
        let (secure, feedback) = match profile.to_ascii_uppercase().as_str() {
            "RTP/AVP" if !dtls => (false, false),
            "RTP/AVPF" if !dtls => (false, true),
            "RTP/SAVP" => (true, false),
            "RTP/SAVPF" => (true, true),
            _ => return None,
        };
        Some(Transport { secure, feedback, dtls })
    }
}

/// `address-family`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Ip4,
    Ip6,
}

/// `ICE`: what the rewritten description shall offer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ice {
    /// New attributes if the description had some, none otherwise.
    #[default]
    Default,
    Remove,
    Force,
    /// Candidates stay, except relayed ones; we come in as a relay.
    ForceRelay,
    /// Candidates stay; we come in with the lowest priority.
    Optional,
}

impl Ice {
    /// The party's own candidates stay, and ours stand beside them.
    pub fn joins(self) -> bool {
        matches!(self, Ice::ForceRelay | Ice::Optional)
    }
}

/// `ICE-lite`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceLite {
    Off,
    /// Towards the party that gets this description.
    Forward,
    /// Towards the party that sent it.
    Backward,
    Both,
}

/// `DTLS` and `DTLS-reverse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtls {
    Off,
    Passive,
    Active,
}

/// `DTLS-fingerprint`, RFC 8122 §5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FingerprintHash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl FingerprintHash {
    /// As `a=fingerprint` prints it.
    pub fn name(self) -> &'static str {
        match self {
            FingerprintHash::Sha1 => "sha-1",
            FingerprintHash::Sha224 => "sha-224",
            FingerprintHash::Sha256 => "sha-256",
            FingerprintHash::Sha384 => "sha-384",
            FingerprintHash::Sha512 => "sha-512",
        }
    }
}

/// `SDES`. Suites are named as RFC 4568 prints them; names we do not know are kept, so that excluding one is no fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sdes {
    pub off: bool,
    /// `no-SUITE`. Not regarded when `only` or `no_new` are given.
    pub no: Vec<String>,
    /// `only-SUITE`.
    pub only: Vec<String>,
    pub no_new: bool,
    /// `order:A;B;`.
    pub order: Vec<String>,
    /// `offerer_pref:A;B;`.
    pub offerer_preference: Vec<String>,
    /// Keep the `=` at the end of keys.
    pub pad: bool,
    /// Write `|2^31` after keys.
    pub lifetime: bool,
    /// Leave the suite that was negotiated before.
    pub fixed: bool,
    /// RFC 4568 §6.3. `None`: as the peer has it.
    pub unencrypted_srtp: Option<bool>,
    pub unencrypted_srtcp: Option<bool>,
    pub unauthenticated_srtp: Option<bool>,
}

/// `OSRTP`, RFC 8643.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Osrtp {
    pub offer: bool,
    pub offer_legacy: bool,
    pub accept_rfc: bool,
    pub accept_legacy: bool,
}

/// `rtcp-mux`, RFC 5761.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RtcpMux {
    pub offer: bool,
    pub require: bool,
    pub demux: bool,
    pub accept: bool,
    pub reject: bool,
}

/// `replace`: which lines besides addresses and ports of media are ours to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replace {
    pub origin: bool,
    /// All of the `o=` line, of later versions.
    pub origin_full: bool,
    pub session_connection: bool,
    pub sdp_version: bool,
    pub username: bool,
    pub session_name: bool,
    pub zero_address: bool,
    pub force_increment_sdp_version: bool,
}

/// `codec`. Each entry is a codec as the client wrote it: `opus`, `opus/48000/2`, `all`, `full`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Codecs {
    pub strip: Vec<String>,
    pub offer: Vec<String>,
    pub mask: Vec<String>,
    pub except: Vec<String>,
    pub accept: Vec<String>,
    pub consume: Vec<String>,
    pub transcode: Vec<String>,
    pub set: Vec<String>,
}

/// `endpoint-learning`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Learning {
    Off,
    Immediate,
    Delayed,
    Heuristic,
}

/// `all`: which parties or flows a command is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum All {
    #[default]
    None,
    All,
    OfferAnswer,
    ExceptOfferAnswer,
    Flows,
}

/// `T.38`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct T38 {
    pub decode: bool,
    pub force: bool,
    pub stop: bool,
    pub no_ecm: bool,
    pub no_v17: bool,
    pub no_v27ter: bool,
    pub no_v29: bool,
    pub no_v34: bool,
    pub no_iaf: bool,
    pub fec: bool,
}

/// `DTMF-security` and its triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtmfSecurity {
    Off,
    Drop,
    Silence,
    Tone,
    Random,
    Zero,
    Digit,
}

/// What `block DTMF` may say beyond the party.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DtmfBlocking {
    pub security: Option<DtmfSecurity>,
    pub security_trigger: Option<DtmfSecurity>,
    pub security_trigger_end: Option<DtmfSecurity>,
    pub trigger: Option<String>,
    pub trigger_end: Option<String>,
    pub trigger_end_time_ms: Option<u64>,
    pub trigger_end_digits: Option<u64>,
    pub delay_ms: Option<u64>,
    pub frequencies_hz: Vec<u32>,
    pub log_destination: Option<SocketAddr>,
}

/// What `play media` and `play DTMF` play.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Playback {
    pub file: Option<String>,
    /// Bytes of a media file; [`crate::dictionary::bytes_of`] gives them back.
    pub blob: Option<String>,
    pub blob64: Option<String>,
    pub database_id: Option<i64>,
    pub repeat_times: Option<i64>,
    pub repeat_duration_ms: Option<i64>,
    pub start_position: Option<i64>,
    /// `code` or `digit`, as given.
    pub code: Option<String>,
    pub duration_ms: Option<i64>,
    pub pause_ms: Option<i64>,
    /// In −dB, as given.
    pub volume: Option<i64>,
}

/// What `start recording` may say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    /// `record call`: yes, no, or not said.
    pub record: Option<bool>,
    pub metadata: Option<String>,
    pub file: Option<String>,
    pub directory: Option<String>,
    pub pattern: Option<String>,
    pub output_destination: Option<String>,
    pub discard: bool,
    pub exclude: bool,
    pub pause: bool,
}

/// `media echo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaEcho {
    Blackhole,
    Forward,
    Backwards,
    Both,
}

/// One change of attribute lines: `sdp-attr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeChange {
    pub section: AttributeSection,
    pub change: AttributeEdit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeSection {
    Session,
    Audio,
    Video,
}

/// Attributes without `a=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeEdit {
    Add(String),
    Remove(String),
    Substitute { from: String, to: String },
}

/// `sip-message-type`: which kind of SIP message the client handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SipMessageType {
    Request,
    Reply,
}
