//! Everything that a request may say beyond its command, typed.
//!
//! Input: a dictionary, whose keys and flags are looked up in the one table of all options ([`OPTIONS`]). Output: [`Options`] for the core and
//! for `sdp`. Owns: nothing beyond one request. Deliberately not here: what an option means for a call; a field says
//! only that it was asked for.
//!
//! ```text
//!  dictionary ──keys──▶ read ──row of table──▶ words: one word of a value ──▶ Options
//!    flags: [...] ──────▶ │                     structures: a whole value ──▶    │
//!    rtpp-flags: "..." ─▶ rtpp_flags ──▶ keys and flags
//! ```
//!
//! An unknown key, flag or value is never an error: it makes one of [`Options::warnings`] and the request goes on.

mod read;
mod rtpp_flags;
mod structures;
mod table;
mod types;
mod words;

pub use table::{Effect, OPTIONS, Row, Takes, matrix};
pub use types::*;

use std::net::IpAddr;

/// The options of one request. Absent means that the client did not say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    // Who and what.
    pub call_id: Option<String>,
    pub from_tag: Option<String>,
    pub to_tag: Option<String>,
    pub via_branch: Option<String>,
    pub sdp: Option<String>,
    /// `label` or `from-label`.
    pub label: Option<String>,
    pub to_label: Option<String>,
    pub set_label: Option<String>,
    pub from_tags: Vec<String>,
    pub all: All,
    /// Of media commands: the party whose description names this address. As given.
    pub address: Option<String>,
    pub directional: bool,
    pub bidirectional: bool,
    /// The client understands the result `load limit`.
    pub supports_load_limit: bool,
    pub sip_message_type: Option<SipMessageType>,

    // Addresses and interfaces.
    pub received_from: Option<IpAddr>,
    pub media_address: Option<IpAddr>,
    pub address_family: Option<Family>,
    /// First word of `direction`: the interface towards the sender of the description.
    pub from_interface: Option<String>,
    /// Second word of `direction`: the interface towards its receiver.
    pub to_interface: Option<String>,
    /// Of commands that need only one.
    pub interface: Option<String>,
    /// `Some(true)`: trust-address; `Some(false)`: SIP-source-address.
    pub trust_address: Option<bool>,

    // The description.
    pub transport: Option<Transport>,
    /// `transport-protocol=accept` of an answer.
    pub transport_accept: bool,
    pub ice: Ice,
    pub ice_lite: Option<IceLite>,
    pub reject_ice: bool,
    pub trickle_ice: bool,
    /// The body is a fragment of trickled candidates (RFC 8840), not a description.
    pub fragment: bool,
    pub dtls: Option<Dtls>,
    pub dtls_reverse: Option<Dtls>,
    pub dtls_fingerprint: Option<FingerprintHash>,
    pub sdes: Sdes,
    pub osrtp: Osrtp,
    pub rtcp_mux: RtcpMux,
    pub replace: Replace,
    pub codecs: Codecs,
    pub sdp_attributes: Vec<AttributeChange>,
    pub ptime_ms: Option<i64>,
    pub ptime_reverse_ms: Option<i64>,
    pub t38: T38,
    pub generate_mid: bool,
    pub no_rtcp_attribute: bool,
    pub full_rtcp_attribute: bool,
    pub strip_extmap: bool,
    pub original_sendrecv: bool,
    pub loop_protect: bool,
    pub always_transcode: bool,
    pub single_codec: bool,
    pub reuse_codecs: bool,
    pub static_codecs: bool,
    pub allow_transcoding: bool,
    pub bundle: bool,
    pub siprec: bool,
    pub inactive: bool,
    pub reset: bool,

    // How packets are treated.
    pub asymmetric: bool,
    pub symmetric: bool,
    pub strict_source: bool,
    pub media_handover: bool,
    /// `Some(false)`: no port latching.
    pub port_latching: Option<bool>,
    pub endpoint_learning: Option<Learning>,
    pub unidirectional: bool,
    pub nat_wait: bool,
    pub pierce_nat: bool,
    pub rtcp_mirror: bool,
    pub generate_rtcp: Option<bool>,
    pub block_short: bool,
    /// Negative: leave it; 256 and more: back to the default.
    pub tos: Option<i64>,
    pub delay_buffer_ms: Option<i64>,
    /// `Some(true)`: drop all media of the call, `Some(false)`: no longer.
    pub drop_traffic: Option<bool>,
    pub media_echo: Option<MediaEcho>,

    // Digits, players, recording.
    pub inject_dtmf: bool,
    pub detect_dtmf: bool,
    pub dtmf: DtmfBlocking,
    pub playback: Playback,
    pub recording: Recording,
    pub audio_player: Option<String>,
    pub early_media: bool,

    // The call.
    pub delete_delay_s: Option<i64>,
    /// Flag of `delete`: an unknown call is an error.
    pub fatal: bool,
    /// Flag of `delete`: no statistics in the reply.
    pub fast: bool,
    /// Flag of `delete`: the to-tag must match too.
    pub match_to_tag: bool,
    /// Of `list`.
    pub limit: Option<i64>,
    pub debug: bool,
    pub xmlrpc_callback: Option<IpAddr>,
    pub template: Option<String>,
    pub music_on_hold: bool,

    /// What was not understood, for the log: one line each, a bounded number.
    pub warnings: Vec<String>,
}
