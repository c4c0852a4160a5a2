//! Session descriptions of the relay: what a party's SDP says, and the same text with us in the party's place.
//!
//! ```text
//!   text ──read──▶ SessionDescription ──codecs──▶ codec lists ─┐
//!                          │                                   ├─▶ SessionPlan ──write──▶ text for the other party
//!                          └──▶ core: ports, keys, ICE, roles ─┘
//! ```
//!
//! A relay does not answer for the parties: whatever it does not own (bandwidth, header extensions, unknown attributes)
//! passes line by line, in order. Hence a description here is the list of its lines ([`Line`]) with the meaning of those
//! lines that we own beside it. `sdp-types`, which the rest of control reads browsers' SDP with, is not used: it refuses
//! what SIP devices send and rtpengine takes (a missing `o=`, blank lines at the end, lines out of order), and it forgets
//! the order of lines of different types, which the rewritten text must keep.
//!
//! Behaviour, order of lines and failures are those of rtpengine 10.5.3; [`write()`] lists where it differs on purpose.
//! RFC 8866 (SDP), 3264 (offer/answer), 4568 (SDES), 5761 (rtcp-mux), 8122 (fingerprints), 8839 and 8840 (ICE, trickle),
//! 8842 (DTLS), 9143 (BUNDLE). No IO, no randomness: keys, credentials and ports come in with the plan.

mod address;
mod attributes;
pub mod codecs;
mod continuity;
mod create;
mod ice;
mod lines;
mod media;
mod plan;
mod read;
mod session;
mod write;

pub use address::{OurPlaces, Pointing, media_points, pointing};
pub use continuity::Continuity;
pub use create::{NewMedia, NewSession, create};
pub use ice::{Candidate, CandidateKind, HostAddress, IceDescription, our_candidates};
pub use media::{Codec, CryptoLine, Fingerprint, MediaDescription, MediaKind, Protocol, Setup, static_codec};
pub use plan::{DtlsPlan, IcePlan, MediaPlan, OriginPlan, OurIce, Placement, RelayPlan, RtcpPlan, SessionPlan};
pub use read::{first_fault, read, read_fragment};
pub use session::{Connection, Group, Line, Origin, SessionDescription};
pub use write::write;

/// Longest text that is read. An ng datagram is no longer.
pub const SDP_BYTES_MAX: usize = 65_536;
/// m-lines of a description. Each costs ports; the largest conferences that describe each stream by a line stay below.
pub const MEDIA_MAX: usize = 256;

/// Why a text was not read or not written. The words are those that clients of rtpengine compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("Failed to parse SDP")]
    Malformed,
    /// A format list with words in it, or neither the media nor the session says where to send (RFC 8866 §5.7).
    #[error("Incomplete SDP specification")]
    Incomplete,
    #[error("Error rewriting SDP")]
    Unwritable,
}
