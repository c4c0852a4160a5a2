//! Session descriptions: what a client's SDP says, what may be agreed, what ours says.
//!
//! ```text
//!   caller's offer ──read──▶ Description ─┐                      ┌─write──▶ offer to each callee instance
//!                                         ├─ negotiate: pairs ───┤
//!   callee's answer ─read──▶ Description ─┘                      └─write──▶ answer to the caller
//! ```
//!
//! The two exchanges of a call are independent: each leg has its own ICE credentials, fingerprint and DTLS roles; only
//! codecs pass through. One transport carries all lines (BUNDLE, RFC 9143). Syntax is `sdp-types`' business; this
//! module owns the meaning: RFC 8866, RFC 3264 (offer/answer), RFC 8829 (WebRTC's profile), RFC 8839 (ICE), RFC 8842
//! (DTLS). Deliberately not: transcoding, data channels, simulcast.
//!
//! Of video the pictures pass, and the request for a key frame. Deliberately neither offered nor answered, whatever a
//! peer's own description lists: retransmission (RTX, RFC 4588) and FEC, whose streams would need SSRCs of their own;
//! bandwidth feedback (REMB, transport-cc), which we neither make nor pass on, and for which a sender would wait.

mod negotiate;
mod read;
mod write;

pub use negotiate::{Agreed, Pair, agree, agree_again, offered};
pub use read::read;
pub use write::{Ours, write_answer, write_offer, write_offer_again};

use crosspoint_contract::{
    Codec, Direction, Directions, DtlsRole, Fingerprint, Format, IceCredentials, Medium, PerMedium, RemoteDescription,
};

/// A client's description, reduced to what we act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub ice: IceCredentials,
    pub fingerprint: Fingerprint,
    pub setup: Setup,
    /// All m-lines in order, those we cannot serve included: an answer must have as many.
    pub lines: Vec<Line>,
}

/// One m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// As printed: `audio`, `video`, `application`, …
    pub kind: String,
    pub proto: String,
    /// The format list as printed; echoed when we refuse the line.
    pub fmt: String,
    pub mid: Option<String>,
    /// What it carries, if we can serve it: not refused, RTP over DTLS, multiplexed with the first line.
    pub medium: Option<Medium>,
    pub formats: Vec<LineFormat>,
    /// The peer's own words.
    pub direction: Direction,
    /// Id of the header extension for `mid` (RFC 9143 §14.1).
    pub mid_extension_id: Option<u8>,
    pub ptime: Option<String>,
    pub maxptime: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFormat {
    pub format: Format,
    /// Encoding name as printed.
    pub name: String,
    pub fmtp: Option<String>,
}

/// `a=setup` (RFC 4145 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    Active,
    Passive,
    ActPass,
}

impl Description {
    pub fn line(&self, medium: Medium) -> Option<&Line> {
        self.lines.iter().find(|line| line.medium == Some(medium))
    }

    /// The peer's own words; nothing flows in a medium without a line.
    pub fn directions(&self) -> Directions {
        Directions::from_fn(|medium| self.line(medium).map_or(Direction::Inactive, |line| line.direction))
    }

    /// Same transport: neither ICE credentials nor certificate differ.
    pub fn same_transport(&self, other: &Description) -> bool {
        self.ice == other.ice && self.fingerprint == other.fingerprint
    }

    /// For the dataplane: this peer, with `agreed` formats, we in `our_dtls_role`.
    pub fn to_remote(&self, agreed: &Agreed, our_dtls_role: DtlsRole) -> RemoteDescription {
        RemoteDescription {
            ice: self.ice.clone(),
            fingerprint: self.fingerprint.clone(),
            our_dtls_role,
            formats: agreed.audio.iter().chain(&agreed.video).map(|f| f.format).collect(),
            directions: Directions::from_fn(|medium| mirrored(*self.directions().of(medium))),
            mid_extensions: PerMedium::from_fn(|medium| {
                self.line(medium).and_then(|line| Some((line.mid_extension_id?, line.mid.clone()?)))
            }),
        }
    }
}

/// RFC 3264 §6.1: what the one sends, the other receives.
pub fn mirrored(direction: Direction) -> Direction {
    match direction {
        Direction::SendOnly => Direction::ReceiveOnly,
        Direction::ReceiveOnly => Direction::SendOnly,
        same => same,
    }
}

impl LineFormat {
    /// Equal media for both sides, whatever their payload types.
    pub fn same_medium(&self, other: &LineFormat) -> bool {
        let key = |f: &Format| (f.codec, f.clock_rate_hz, f.channels);
        key(&self.format) == key(&other.format)
    }
}

/// Whether speech or pictures can travel in it, as opposed to what only accompanies them.
fn is_primary(codec: Codec) -> bool {
    !matches!(codec, Codec::TelephoneEvent | Codec::ComfortNoise | Codec::Red | Codec::Rtx | Codec::UlpFec)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
