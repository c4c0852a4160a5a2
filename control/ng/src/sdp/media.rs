//! One m-line with what belongs to it.
//!
//! Input: [`super::read()`] fills it in, with what the session says for all of its lines. Output: what [`crate::negotiate`] asks
//! of a line. Owns the line's text, so that what is not ours is written as it was read. RFC 8866 §5.14.

use super::session::attribute;
use super::{Connection, IceDescription, Line};
use crosspoint_contract::{Direction, HashFunction};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One m-line and the lines after it. What RFC 8866 and its kin let the session say for all m-lines (`c=`, direction, setup,
/// fingerprint, ICE) has been inherited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaDescription {
    pub kind: MediaKind,
    /// 0: refused or gone (RFC 3264 §6), except in a bundle.
    pub port: u16,
    /// `port/num_ports`; 1 if not said.
    pub num_ports: u16,
    pub protocol: Protocol,
    /// The format list as printed.
    pub formats: Vec<String>,
    /// The same for RTP, with what rtpmap, fmtp and rtcp-fb say of each; static payload types named by RFC 3551.
    pub codecs: Vec<Codec>,
    /// Its own `c=` or the session's.
    pub connection: Option<Connection>,
    /// Whether it has a `c=` of its own.
    pub has_connection: bool,
    /// `a=rtcp:PORT [IN IP4 ADDRESS]` (RFC 3605).
    pub rtcp_port: Option<u16>,
    pub rtcp_address: Option<IpAddr>,
    pub rtcp_mux: bool,
    pub direction: Option<Direction>,
    pub crypto: Vec<CryptoLine>,
    pub setup: Option<Setup>,
    pub fingerprint: Option<Fingerprint>,
    pub tls_id: Option<String>,
    pub ice: IceDescription,
    pub mid: Option<String>,
    /// `a=label` (RFC 4574).
    pub label: Option<String>,
    /// Index into the BUNDLE groups of the session, if one names its mid.
    pub bundle: Option<usize>,
    pub ptime_ms: Option<u32>,
    pub maxptime_ms: Option<u32>,
    /// It names ports of this relay, and may: said by whoever knows, see `links`.
    pub is_link: bool,
    /// All lines after the m-line, in order, those understood above included.
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaKind {
    Audio,
    Video,
    Image,
    Message,
    Application,
    Other(String),
}

/// What stands in the third place of an m-line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    RtpAvp,
    RtpAvpf,
    RtpSavp,
    RtpSavpf,
    UdpTlsRtpSavp,
    UdpTlsRtpSavpf,
    Udptl,
    Other(String),
}

/// A payload type and what the description says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codec {
    pub payload_type: u8,
    /// As printed; empty if neither the description nor RFC 3551 names it.
    pub name: String,
    pub clock_rate_hz: u32,
    /// `/2` of rtpmap; 1 if not said.
    pub channels: u8,
    /// Value of the last `a=fmtp:PT`, without the payload type.
    pub fmtp: Option<String>,
    /// Values of `a=rtcp-fb:PT`, without the payload type, in order.
    pub rtcp_fb: Vec<String>,
}

/// `a=crypto` (RFC 4568 §9.1).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CryptoLine {
    pub tag: u32,
    /// As printed, such as `AES_CM_128_HMAC_SHA1_80`.
    pub suite: String,
    /// Master key and salt, decoded.
    pub key_and_salt: Vec<u8>,
    /// `|2^20`, as printed.
    pub lifetime: Option<String>,
    /// `|VALUE:LENGTH`.
    pub mki: Option<(u32, u8)>,
    /// Session parameters such as `UNENCRYPTED_SRTP`, as printed.
    pub parameters: Vec<String>,
}

/// Keys are never printed.
impl std::fmt::Debug for CryptoLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CryptoLine").field("tag", &self.tag).field("suite", &self.suite).finish_non_exhaustive()
    }
}

/// RFC 4145 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setup {
    Active,
    Passive,
    ActPass,
    HoldConn,
}

/// RFC 8122 §5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub hash: HashFunction,
    pub digest: Vec<u8>,
}

impl MediaDescription {
    pub(super) fn new(kind: MediaKind, port: u16, protocol: Protocol) -> Self {
        Self {
            kind,
            port,
            num_ports: 1,
            protocol,
            formats: Vec::new(),
            codecs: Vec::new(),
            connection: None,
            has_connection: false,
            rtcp_port: None,
            rtcp_address: None,
            rtcp_mux: false,
            direction: None,
            crypto: Vec::new(),
            setup: None,
            fingerprint: None,
            tls_id: None,
            ice: IceDescription::default(),
            mid: None,
            label: None,
            bundle: None,
            ptime_ms: None,
            maxptime_ms: None,
            is_link: false,
            lines: Vec::new(),
        }
    }

    /// The value of the first attribute of that name; empty if it is a flag.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        attribute(&self.lines, name)
    }

    /// Held the old way: nothing shall be sent to the party (RFC 3264 §8.4). Where ICE is spoken, the zero address means
    /// that candidates follow (RFC 8840 §4.1.1).
    pub fn is_held_by_address(&self) -> bool {
        self.connection.is_some_and(Connection::is_zero) && !self.ice.is_offered()
    }

    /// What the party wants, with hold by address said as it is today.
    pub fn direction_wanted(&self) -> Direction {
        match self.direction.unwrap_or_default() {
            Direction::SendReceive if self.is_held_by_address() => Direction::SendOnly,
            Direction::ReceiveOnly if self.is_held_by_address() => Direction::Inactive,
            direction => direction,
        }
    }

    /// Passes as it came, whatever is spoken on it: messages do not cross a relay of media.
    pub fn is_untouched(&self) -> bool {
        self.kind == MediaKind::Message
    }

    /// Refused or ended by the party.
    pub fn is_rejected(&self) -> bool {
        self.port == 0
    }
}

impl MediaKind {
    pub(super) fn parse(text: &str) -> Self {
        match text {
            "audio" => Self::Audio,
            "video" => Self::Video,
            "image" => Self::Image,
            "message" => Self::Message,
            "application" => Self::Application,
            other => Self::Other(other.into()),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Image => "image",
            Self::Message => "message",
            Self::Application => "application",
            Self::Other(text) => text,
        }
    }
}

impl Protocol {
    pub fn parse(text: &str) -> Self {
        const KNOWN: [Protocol; 7] = [
            Protocol::RtpAvp,
            Protocol::RtpAvpf,
            Protocol::RtpSavp,
            Protocol::RtpSavpf,
            Protocol::UdpTlsRtpSavp,
            Protocol::UdpTlsRtpSavpf,
            Protocol::Udptl,
        ];
        KNOWN.into_iter().find(|p| p.as_str().eq_ignore_ascii_case(text)).unwrap_or(Self::Other(text.into()))
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::RtpAvp => "RTP/AVP",
            Self::RtpAvpf => "RTP/AVPF",
            Self::RtpSavp => "RTP/SAVP",
            Self::RtpSavpf => "RTP/SAVPF",
            Self::UdpTlsRtpSavp => "UDP/TLS/RTP/SAVP",
            Self::UdpTlsRtpSavpf => "UDP/TLS/RTP/SAVPF",
            Self::Udptl => "udptl",
            Self::Other(text) => text,
        }
    }

    pub fn is_rtp(&self) -> bool {
        !matches!(self, Self::Udptl | Self::Other(_))
    }

    /// SRTP by either way of keying (RFC 3711).
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::RtpSavp | Self::RtpSavpf) || self.is_dtls()
    }

    /// RFC 5764 §8.
    pub fn is_dtls(&self) -> bool {
        matches!(self, Self::UdpTlsRtpSavp | Self::UdpTlsRtpSavpf)
    }

    /// With early feedback (RFC 4585).
    pub fn has_feedback(&self) -> bool {
        matches!(self, Self::RtpAvpf | Self::RtpSavpf | Self::UdpTlsRtpSavpf)
    }
}

/// What RFC 3551 §6 says of a payload type; for those it leaves open, a codec without a name.
pub fn static_codec(payload_type: u8) -> Codec {
    let found = STATIC_CODECS.iter().find(|(known, ..)| *known == payload_type);
    let (name, clock_rate_hz, channels) =
        found.map_or(("", 0, 1), |(_, name, rate, channels)| (*name, *rate, *channels));
    Codec { payload_type, name: name.into(), clock_rate_hz, channels, fmtp: None, rtcp_fb: Vec::new() }
}

/// Payload type, name, clock rate, channels. (10.5 has the channels of 10 and 11 the other way round.)
const STATIC_CODECS: [(u8, &str, u32, u8); 24] = [
    (0, "PCMU", 8000, 1),
    (3, "GSM", 8000, 1),
    (4, "G723", 8000, 1),
    (5, "DVI4", 8000, 1),
    (6, "DVI4", 16000, 1),
    (7, "LPC", 8000, 1),
    (8, "PCMA", 8000, 1),
    (9, "G722", 8000, 1),
    (10, "L16", 44100, 2),
    (11, "L16", 44100, 1),
    (12, "QCELP", 8000, 1),
    (13, "CN", 8000, 1),
    (14, "MPA", 90000, 1),
    (15, "G728", 8000, 1),
    (16, "DVI4", 11025, 1),
    (17, "DVI4", 22050, 1),
    (18, "G729", 8000, 1),
    (25, "CelB", 90000, 1),
    (26, "JPEG", 90000, 1),
    (28, "nv", 90000, 1),
    (31, "H261", 90000, 1),
    (32, "MPV", 90000, 1),
    (33, "MP2T", 90000, 1),
    (34, "H263", 90000, 1),
];
