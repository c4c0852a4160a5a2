//! What the writer is told: how a description is to differ from the one that was read.
//!
//! Input: [`crate::plan`] fills it in. Output: [`super::write()`] follows it. Owns values only; it decides nothing.

use super::{Candidate, Codec, CryptoLine, Fingerprint, Protocol, Setup};
use crosspoint_contract::Direction;
use std::net::IpAddr;

/// For the lines of the session. `default()` changes nothing there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionPlan {
    pub origin: OriginPlan,
    /// For `s=`.
    pub name: Option<String>,
    /// `c=` at session level is replaced even if every m-line has its own (`replace-session-connection`).
    pub replace_connection: bool,
    /// Our address replaces `0.0.0.0` too (`zero-address`). It always does where ICE is spoken, on either side: there it
    /// says that candidates follow (RFC 8840 §4.1.1), and hold is said by the direction.
    pub hide_hold: bool,
    /// The direction stays where the party wrote it, or unwritten (`original-sendrecv`).
    pub original_direction: bool,
    /// `a=ice-lite`, which is said at session level only (RFC 8839 §5.3).
    pub ice_lite: bool,
    /// Further lines at the end of the session's, without `a=`.
    pub attributes: Vec<String>,
    /// `a=extmap` goes (`strip-extmap`).
    pub strip_extmap: bool,
    /// One for each m-line, in order.
    pub media: Vec<MediaPlan>,
}

/// `None` passes what the party wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginPlan {
    pub username: Option<String>,
    pub session_id: Option<String>,
    pub version: Option<String>,
    pub address: Option<IpAddr>,
}

/// For one m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaPlan {
    /// What we do not relay passes as it came, addresses included: `m=message`, see `MediaDescription::is_untouched`.
    Untouched,
    /// Port 0 (RFC 3264 §6). The address is ours all the same, so that nobody's own is told.
    Rejected {
        address: IpAddr,
        protocol: Protocol,
        mid: Option<String>,
    },
    Relayed(Box<RelayPlan>),
}

impl MediaPlan {
    /// Whether it carries credentials of ours.
    pub(super) fn speaks_our_ice(&self) -> bool {
        matches!(self, Self::Relayed(relay) if matches!(relay.ice, IcePlan::Replace(_)))
    }
}

/// An m-line that points at us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayPlan {
    pub placement: Placement,
    pub protocol: Protocol,
    /// The list to write, see [`super::codecs`]. `None`: as read.
    pub codecs: Option<Vec<Codec>>,
    /// Written unless `original_direction`; `None` is `sendrecv`.
    pub direction: Option<Direction>,
    /// Neither these nor `dtls` are written where the party's own pass, see [`IcePlan::passes`].
    pub crypto: Vec<CryptoLine>,
    /// Keys end in `=` as base64 would have it, which 10.5 leaves out unless told `SDES-pad`.
    pub crypto_padded: bool,
    pub dtls: Option<DtlsPlan>,
    /// The party's own, unless told otherwise (`ptime`). `None`: nothing is said.
    pub ptime_ms: Option<u32>,
    pub ice: IcePlan,
    /// `a=mid`: the party's, or one made for it (`generate-mid`).
    pub mid: Option<String>,
}

/// Where an m-line points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The party's addresses stand; only candidates tell of us (`ICE=force-relay`).
    Theirs,
    Ours {
        /// For `c=`, if the m-line has one of its own.
        address: IpAddr,
        port: u16,
        rtcp: RtcpPlan,
        /// `a=rtcp-mux`.
        rtcp_mux: bool,
    },
}

/// `a=rtcp` (RFC 3605).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpPlan {
    /// `no-rtcp-attribute`, and media without RTCP.
    Unsaid,
    Port(u16),
    /// `full-rtcp-attribute`.
    PortAndAddress(u16, IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DtlsPlan {
    pub setup: Setup,
    pub fingerprint: Fingerprint,
    pub tls_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IcePlan {
    /// The party's own attributes pass untouched, and so do its fingerprint, setup, crypto and BUNDLE group.
    Keep,
    /// As `Keep`, and these candidates are added with the party's credentials (`ICE=optional`, `ICE=force-relay`).
    Add(Vec<Candidate>),
    /// Neither the party's nor ours.
    Remove,
    /// Ours instead.
    Replace(OurIce),
}

impl IcePlan {
    /// Whether the party's ICE, DTLS and SDES attributes, of m-line and session, reach the other party.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Keep | Self::Add(_))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurIce {
    pub ufrag: String,
    pub pwd: String,
    /// `a=ice-options:trickle`.
    pub trickle: bool,
    /// In the order to write.
    pub candidates: Vec<Candidate>,
    pub end_of_candidates: bool,
    /// `a=remote-candidates` (RFC 8839 §5.2): component and address, where checks have concluded.
    pub remote_candidates: Vec<(u8, std::net::SocketAddr)>,
}
