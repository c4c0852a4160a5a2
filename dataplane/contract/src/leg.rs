//! What a leg is, as both planes see it: how it is asked for, what it offers, how it fares.

use crate::event::LegFailure;
use crate::ids::{BridgeId, CallKey, Generation, LegId, WorkerId};
use crate::rtp::{FlowFilter, PortsHello, RtpRemote, RtpRequest};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// How the media channel of a new leg is to be carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransportRequest {
    /// ICE-lite on the worker's shared UDP port, DTLS-SRTP, RTCP muxed (RFC 8445 §2.5, RFC 5764, RFC 5761).
    WebRtc,
    /// UDP ports of its own: plain RTP, or SRTP with keys from SDP or from DTLS.
    Rtp(RtpRequest),
}

/// What the peer of a leg told us in its SDP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteDescription {
    pub ice: IceCredentials,
    pub fingerprint: Fingerprint,
    /// The role *we* take in the handshake (RFC 5763 §5).
    pub our_dtls_role: DtlsRole,
    /// What the peer is able to receive, in its order, with the payload types it wants to see.
    pub formats: Vec<Format>,
    /// What we do, seen from us: `SendReceive`, or less when the peer holds a medium.
    pub directions: Directions,
    /// Value of `a=mid` and its header extension id, when the peer demultiplexes by it.
    pub mid_extensions: PerMedium<Option<(u8, String)>>,
}

/// What our side of a leg must say in its SDP. Of an RTP leg, control knows all of it before but the names of our own
/// streams: its candidates are the requested ports, its ICE credentials the requested ones or empty. A translating leg has no
/// streams of its own: its SSRCs are 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalDescription {
    pub ice: IceCredentials,
    pub fingerprint: Fingerprint,
    /// Host candidates, best first; RTP and RTCP share them. Of an RTP leg: the port for RTP, and that for RTCP, if it
    /// has one.
    pub candidates: Vec<SocketAddr>,
    /// The SSRC of all audio we send on this leg, telephone events included, for `a=ssrc`.
    pub ssrc: u32,
    /// The SSRC of all video we send on this leg.
    pub video_ssrc: u32,
    pub cname: String,
    pub worker: WorkerId,
    /// Where the leg is on the [`crate::board`].
    pub place: u32,
}

/// `a=ice-ufrag` and `a=ice-pwd` (RFC 8839 §5.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCredentials {
    pub ufrag: String,
    pub pwd: String,
}

/// `a=fingerprint` with SHA-256 (RFC 8122 §5): the digest of the certificate in DER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub sha256: [u8; 32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DtlsRole {
    /// `a=setup:active`: we send the ClientHello.
    Client,
    /// `a=setup:passive`: we wait for it.
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Medium {
    Audio,
    Video,
}

/// One value for each medium.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerMedium<T> {
    pub audio: T,
    pub video: T,
}

pub type Directions = PerMedium<Direction>;

impl<T> PerMedium<T> {
    pub fn from_fn(mut value: impl FnMut(Medium) -> T) -> Self {
        PerMedium { audio: value(Medium::Audio), video: value(Medium::Video) }
    }

    #[inline]
    pub fn of(&self, medium: Medium) -> &T {
        match medium {
            Medium::Audio => &self.audio,
            Medium::Video => &self.video,
        }
    }
}

/// The bits of a payload type that matter to a forwarder. Two formats are the same medium to the receiver
/// when `codec`, `clock_rate_hz` and `channels` are equal; parameters travel in SDP only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Format {
    pub payload_type: u8,
    pub codec: Codec,
    pub clock_rate_hz: u32,
    pub channels: u8,
}

/// Encoding names of RFC 3551 and its registry, as far as something here needs to know them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Codec {
    Opus,
    Pcmu,
    Pcma,
    G722,
    /// RFC 4733; its clock rate follows the codec beside it.
    TelephoneEvent,
    /// RFC 3389.
    ComfortNoise,
    /// RFC 2198.
    Red,
    Vp8,
    Vp9,
    H264,
    Av1,
    /// RFC 4588.
    Rtx,
    UlpFec,
    /// Known to SDP only; `u32` is a hash of the lower-case encoding name, so that equal names are equal formats.
    Other(u32),
}

/// RFC 8866 §6.7, seen from whoever says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    #[default]
    SendReceive,
    SendOnly,
    ReceiveOnly,
    Inactive,
}

impl Direction {
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Direction::SendReceive,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::ReceiveOnly,
            (false, false) => Direction::Inactive,
        }
    }

    #[inline]
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendReceive | Direction::SendOnly)
    }

    #[inline]
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendReceive | Direction::ReceiveOnly)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SrtpSuite {
    AesCm128HmacSha1_80,
    AesCm128HmacSha1_32,
    AesCm256HmacSha1_80,
    AeadAes128Gcm,
    AeadAes256Gcm,
}

/// Life of a leg. `Opening` until keys are there; it never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LegState {
    /// Waits for the peer's description, its checks, its handshake.
    Opening,
    /// ICE validated a pair, if there is ICE, and SRTP has keys, if there is SRTP.
    Connected,
    /// Will not carry media again; waits for `CloseLeg`.
    Failed,
}

/// How a leg fares. Counts are totals since it opened; times are the newest known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LegReport {
    /// Packets and payload bytes that came from the peer and were authentic.
    pub packets_received: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    /// From the peer to us, by sequence numbers (RFC 3550 A.3).
    pub packets_lost: i64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter_us: u32,
    /// From report blocks about what we sent; 0 until the peer has reported.
    pub round_trip_us: u32,
    /// What the peer says it lost of what we sent.
    pub remote_packets_lost: i64,
    pub remote_jitter_us: u32,
    /// The validated pair in use.
    pub local_addr: Option<SocketAddr>,
    pub remote_addr: Option<SocketAddr>,
    pub suite: Option<SrtpSuite>,
    /// Packets of this leg that were dropped, for whatever counted reason.
    pub packets_dropped: u64,
    /// RTCP datagrams from the peer that were authentic, and their bytes without SRTCP's.
    pub rtcp_packets_received: u64,
    pub rtcp_bytes_received: u64,
}

/// One leg as found by a control plane that attaches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegSnapshot {
    pub leg: LegId,
    pub call: CallKey,
    pub state: LegState,
    /// Why, when the state is [`LegState::Failed`].
    pub failure: Option<LegFailure>,
    /// Nothing was heard for so long that [`crate::Event::LegSilent`] was said.
    pub silent: bool,
    pub local: LocalDescription,
    pub remote: Option<RemoteDescription>,
    /// Of an RTP leg, in place of `remote`.
    pub rtp: Option<Box<RtpLegSnapshot>>,
    pub bridge: Option<BridgeId>,
    /// The newest figures; the pair and the suite in it are those in use.
    pub report: LegReport,
}

/// What an RTP leg was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RtpLegSnapshot {
    pub request: RtpRequest,
    pub remote: Option<RtpRemote>,
    pub sinks: Vec<LegId>,
    pub filter: FlowFilter,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeSnapshot {
    pub bridge: BridgeId,
    pub legs: Vec<LegId>,
}

/// What control said of a call, in its own words ([`crate::Command::Note`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallNote {
    pub call: CallKey,
    pub note: Vec<u8>,
}

/// Everything alive in the dataplane at the moment of attachment, or, on its way, a part of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub legs: Vec<LegSnapshot>,
    pub bridges: Vec<BridgeSnapshot>,
    /// Of the calls that such words were said of.
    pub notes: Vec<CallNote>,
}

impl Snapshot {
    /// Adds the next part.
    pub fn append(&mut self, mut part: Snapshot) {
        self.legs.append(&mut part.legs);
        self.bridges.append(&mut part.bridges);
        self.notes.append(&mut part.notes);
    }
}

/// First words of control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlHello {
    pub version: u32,
    pub generation: Generation,
}

/// First words of the dataplane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataplaneHello {
    pub version: u32,
    pub generation: Generation,
    pub process_id: u32,
    pub workers: Vec<WorkerHello>,
    /// Of the certificate that all legs of this process present.
    pub fingerprint: Fingerprint,
    /// That certificate, for fingerprints with other hash functions.
    pub certificate_der: Vec<u8>,
    pub ports: PortsHello,
    /// Control's line on the [`crate::board`], whose descriptor came with this frame. Nothing: there is no board, and all
    /// commands are orders.
    pub line: Option<u32>,
}

/// What one worker has: shown at start-up and in `/healthz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerHello {
    pub worker: WorkerId,
    /// The core it is pinned to, if pinning was asked for and allowed.
    pub core: Option<u16>,
    pub addr: SocketAddr,
    /// `uring` or `mmsg`.
    pub backend: String,
    /// One line: why this backend.
    pub backend_reason: String,
}
