//! RTP legs: legs with UDP ports of their own, as peers behind SIP and ng have them.
//!
//! ```text
//!            control picks ports, ICE credentials and SDES keys,             dataplane
//!            so that its SDP never waits for an answer from here
//!   OpenLeg { transport: Rtp(RtpRequest) } ------------------------------------> ports are received on
//!   SetRtpRemote { leg, RtpRemote } -------------------------------------------> where to send, keys, learning
//!   Forward { source, sinks } -------------------------------------------------> what the source's peer sends, the sinks send
//!   Filter { leg, FlowFilter } ------------------------------------------------> block, silence
//! ```
//!
//! A leg is one media line of one party. Trust is earned as on every leg: with [`Security::Plain`] a source address may be
//! learnt as [`Learning`] says; with keys only packets that authenticate move, feed or wake anything; with ICE only a
//! validated pair is followed.

use crate::leg::{Direction, DtlsRole, Format, IceCredentials, Medium, SrtpSuite};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use zeroize::ZeroizeOnDrop;

/// What a leg with ports of its own is opened with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtpRequest {
    /// Where it receives RTP and sends it from. Control owns the port range; the address is one the dataplane listens on.
    pub rtp: SocketAddr,
    /// The same for RTCP, unless it shares the port of RTP (RFC 5761).
    pub rtcp: Option<SocketAddr>,
    /// The same in the other address family: an ICE peer may choose either. Without ICE nothing is sent or heard there.
    pub other_family: Option<LocalPorts>,
    /// Ours; with them the leg answers checks, as the lite side (RFC 8445 §2.5) unless its peer's description says
    /// otherwise ([`RtpRemote::checks`]). Without them STUN is dropped.
    pub ice: Option<IceCredentials>,
    pub relaying: Relaying,
    /// [`crate::Event::LegSilent`] is said when nothing authentic was heard for this long. 0: never.
    pub silent_ms: u32,
    /// What goes into the IP header (RFC 2474) until a description says otherwise; 0 to 255.
    pub tos: u8,
}

/// One address of ours, with a port for each component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalPorts {
    pub rtp: SocketAddr,
    /// Unless it shares the port of RTP.
    pub rtcp: Option<SocketAddr>,
}

/// What happens to the identity of a stream on its way through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relaying {
    /// We are an end of both RTP sessions: own SSRC, continuous numbers, own reports; payload types are mapped by format.
    Endpoint,
    /// RFC 3550 §7.2, a translator: SSRC, numbers, times, payload types and header extensions stay as the source wrote
    /// them, and RTCP crosses. Each leg still opens and seals with its own keys.
    Translator,
}

/// What the peer of an RTP leg told us in its SDP. A repetition with equal keys keeps the SRTP contexts and their ROC;
/// other keys start anew (RFC 4568 §6.1, RFC 3711 §3.3.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtpRemote {
    /// Where to send, before anything was learnt. Nothing: send only to a learnt address; or, when one was named before,
    /// hold (RFC 3264 §8.4): nothing is sent, and the peer's address stays known for when the call goes on. It may be a port
    /// of another leg of ours; that no ring of legs forms is control's to see to. No such address is ever learnt.
    pub rtp: Option<SocketAddr>,
    /// Where to send RTCP, unless it is multiplexed. Nothing: send only to a learnt address.
    pub rtcp: Option<SocketAddr>,
    /// RFC 5761: RTCP leaves and goes where RTP does, even if the leg was opened with a port for it, and comes there too.
    pub rtcp_mux: bool,
    pub security: Security,
    /// The peer's credentials, where ICE is in use: without them checks are answered, and packets go where they would
    /// without ICE.
    pub ice: Option<IceCredentials>,
    /// Ours from now on, when they are others than before (ICE restart) or the leg was opened without.
    pub our_ice: Option<IceCredentials>,
    /// With both credentials: we are a full agent and send checks. Nothing: we are lite and wait for them.
    pub checks: Option<IceChecks>,
    pub learning: Learning,
    /// An address that was named and has not spoken gets so many packets and no more: whoever signals could name anybody's.
    /// Media, RTCP from the same host, a check and a handshake are speech, as far as they are listened to. 0: no limit.
    pub unheard_packets_max: u32,
    /// What the peer is able to receive. With [`Relaying::Translator`] only clock rates and telephone events are read.
    pub formats: Vec<Format>,
    pub medium: Medium,
    /// What we do, seen from us.
    pub direction: Direction,
    /// What goes into the IP header from now on (RFC 2474); 0 to 255.
    pub tos: u8,
}

/// What a full agent starts from (RFC 8445). A repetition with equal credentials goes on, with the candidates that are new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceChecks {
    /// Our role, at first: a conflict may change it (RFC 8445 §7.3.1.1).
    pub controlling: bool,
    /// The peer's. Control vouches for them: checks go there whoever has the address.
    pub candidates: Vec<IceCandidate>,
}

/// `a=candidate` with a numeric address and UDP (RFC 8839 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCandidate {
    /// 1: RTP, 2: RTCP.
    pub component: u8,
    pub addr: SocketAddr,
    pub priority: u32,
}

/// How packets of a leg are protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// RTP/AVP: neither authenticated nor encrypted.
    Plain,
    /// RFC 4568: keys from SDP, one for each direction.
    Sdes {
        /// The peer's `a=crypto`: opens what it sends.
        receive: SdesKey,
        /// Ours: seals what we send.
        send: SdesKey,
    },
    /// RFC 5764. With ICE the handshake is accepted from a validated pair only. Without ICE, and as [`DtlsRole::Server`], others
    /// than the signaled address may try until there are keys, a few at a time: a ClientHello proves nothing and moves nothing,
    /// but whoever completes the handshake with the described certificate is the peer, and packets go there from then on
    /// (not with [`LearnFrom::Nothing`] or `strict_source`).
    /// A repetition with equal fingerprint and role keeps the association, another begins anew; a handshake that fails may
    /// be tried again, and ends no leg. Its keys are for the port of RTP: RTCP on another one is neither sent nor heard.
    Dtls { fingerprint: CertificateDigest, our_role: DtlsRole },
    /// Not RTP: T.38 over UDPTL (ITU-T T.38 annex D) and its like. Every datagram on the port of RTP passes as it is, to sinks
    /// that are opaque too, from sources that are learnt or validated as on a plain leg; RTCP there is none. STUN is told from
    /// the rest only where ICE is spoken. Of [`Relaying::Translator`] legs only.
    Opaque,
}

/// One `inline:` of RFC 4568 §6.1.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop, Serialize, Deserialize)]
pub struct SdesKey {
    #[zeroize(skip)]
    pub suite: SrtpSuite,
    /// Master key followed by master salt, as long as the suite wants it.
    pub key_and_salt: Vec<u8>,
    /// Value and length in bytes.
    pub mki: Option<(u32, u8)>,
}

/// Keys are never printed.
impl fmt::Debug for SdesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdesKey").field("suite", &self.suite).finish_non_exhaustive()
    }
}

/// `a=fingerprint` with any hash function (RFC 8122 §5): the digest of the peer's certificate in DER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateDigest {
    pub hash: HashFunction,
    pub digest: Vec<u8>,
}

/// Names of RFC 8122 §5 that are still in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HashFunction {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// How the address that a plain leg sends to may move to where its packets come from (symmetric RTP, RFC 4961), and whom it
/// hears. RTP and RTCP on a port of its own learn apart. An address is learnt only in the family that was signaled.
///
/// ```text
///                 window open                                  over, nobody confirmed        over, confirmed
///   signaled      followed at once, confirmed                  followed at once, confirmed   back if the other is quiet
///   a newcomer    followed as `from` says; heard in any case   followed if the other is      dropped
///                 until somebody is confirmed, then dropped    quiet; the window opens again
/// ```
///
/// - The window opens with each [`crate::Command::SetRtpRemote`]. An address that speaks keeps its place: a newcomer needs
///   300 ms of silence, so that a packet of a stranger moves nothing while the peer is heard.
/// - The signaled address, IP and port, is confirmed as soon as it speaks: then nobody is learnt before the next signaling.
///   Another is confirmed when the window is over, if it spoke for 100 ms: a stray packet is not the peer. What was heard
///   before the window opened counts: a held call whose peer is silent is nobody else's.
/// - A peer that begins late, after minutes on hold, finds a leg that has confirmed nobody and is learnt then. Late RTCP is
///   learnt only from the IP that RTP goes to, because many peers never send any.
///
/// A leg with keys is different: it follows authentic packets at any time, unless [`LearnFrom::Nothing`] says not to, or
/// `strict_source` once the peer was heard. With ICE none of this applies: checks decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learning {
    pub from: LearnFrom,
    /// How long after signaling, or after the first packet when that comes later, an address may be learnt, in milliseconds.
    pub window_ms: u32,
    /// No packet from elsewhere than the address in use is heard, unless it moves the address; one that is confirmed stands.
    pub strict_source: bool,
    /// The address in use follows the packets, at any time. Dangerous: whoever guesses the port gets the call.
    pub media_handover: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LearnFrom {
    /// The signaled address stands (`asymmetric`). The peer sends from elsewhere, nobody knows whence: every source is heard,
    /// unless `strict_source`.
    Nothing,
    /// The first packet decides; the signaled address, heard within the window, decides otherwise.
    FirstPacket,
    /// The last source of the window decides; until it is over, packets go to the newest, if the one before is quiet.
    LastPacketOfWindow,
    /// As [`Self::LastPacketOfWindow`], but a source that matches the signaled IP is preferred to one that matches the port,
    /// and that to any other: the signaled IP is followed at once, a worse source than the one heard not within the window.
    BestMatch,
}

/// What becomes of packets that a leg's peer sends, before they reach any sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowFilter {
    /// Nothing passes.
    pub media_blocked: bool,
    /// Telephone events do not pass.
    pub digits_blocked: bool,
    /// Audio passes as silence of the same codec, where one exists for it (G.711, G.722); of other codecs nothing passes.
    /// Telephone events do.
    pub silenced: bool,
}

/// How one stream (one SSRC, one direction) fares, for [`crate::Command::ReadStreams`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamReport {
    pub ssrc: u32,
    /// From the peer.
    pub packets: u64,
    pub payload_bytes: u64,
    /// By sequence numbers (RFC 3550 A.3).
    pub packets_lost: i64,
    pub jitter_us: u32,
    pub payload_type: u8,
    /// Since its newest packet.
    pub idle_ms: u32,
    /// What the receivers' reports about this stream came to, one sample a report block.
    pub quality: Quality,
}

/// Sums over report blocks; divide by `samples`. The mean opinion score is that of ITU-T G.107, times ten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    pub samples: u32,
    pub mos_x10: Spread,
    pub jitter_ms: Spread,
    pub packet_loss_percent: Spread,
    pub round_trip_us: Spread,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub sum: u64,
    pub min: u32,
    pub max: u32,
    /// When the lowest and the highest were seen, in milliseconds after the leg opened.
    pub min_at_ms: u32,
    pub max_at_ms: u32,
}

/// Where the ports of a dataplane come from: said in its `Hello`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsHello {
    /// Addresses on which RTP legs may be opened.
    pub addrs: Vec<std::net::IpAddr>,
    /// A port is a table entry behind one steered socket; else it is a socket of its own.
    pub steered: bool,
    /// One line: why so.
    pub reason: String,
}
