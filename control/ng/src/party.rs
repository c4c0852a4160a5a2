//! One party of a call: who it is, what each of its media lines said, which leg serves it.
//!
//! ```text
//!   Party (tag, via-branch, label)
//!     ├─ Media 1: heard (its SDP) · written (ours to it) · Local ──▶ a leg of the dataplane
//!     ├─ Media 2
//!     └─ sources: the parties whose media it gets
//! ```
//!
//! Input: descriptions as read, decisions of [`crate::negotiate`]. Output: state for the next description and for the
//! figures. Owns the media lines of a party. rtpengine calls a party a monologue.

use crate::keys::Draw;
use crate::options::Learning;
use crate::sdes::{KeyPair, OurLine};
use crate::sdp::{Candidate, Codec, Continuity, CryptoLine, Fingerprint, MediaKind, Protocol, Setup};
use crosspoint_contract::{
    Direction, DtlsRole, FlowFilter, IceCredentials, LegId, LegReport, LocalPorts, SdesKey, StreamReport,
};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// Index into the parties of a call. A party keeps it for the life of the call.
pub type PartyId = usize;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Party {
    /// Empty until an answer names it.
    pub tag: String,
    pub via_branch: Option<String>,
    pub label: Option<String>,
    pub created_us: u64,
    pub media: Vec<Media>,
    /// Whom it hears, newest first.
    pub sources: Vec<Source>,
    pub filter: FlowFilter,
    /// Who of its listeners is not to hear it.
    pub blocked: Vec<PartyId>,
    /// It is to stop at this time, or has stopped.
    pub deleted: Option<Deletion>,
    /// Its newest description, for those who subscribe to it.
    pub description: Option<Box<str>>,
    /// It was offered to: rtpengine takes the controlling role of ICE towards it.
    pub was_offered: bool,
    /// Index into the interfaces of the settings, once a request named one.
    pub interface: Option<usize>,
    /// What it was told of origins.
    pub continuity: Continuity,
}

/// A party deleted by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deletion {
    At(u64),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub party: PartyId,
    /// By offer and answer; else by `subscribe request`.
    pub by_dialogue: bool,
    /// The lines of the listener that the source's lines come out of, in their order.
    pub lines: Range<usize>,
}

impl Source {
    /// The listener's line for a line of the source, if it had that line when it was subscribed to.
    pub fn line(&self, index: usize) -> Option<usize> {
        Some(self.lines.start + index).filter(|line| self.lines.contains(line))
    }
}

/// One m-line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Media {
    pub kind: MediaKind,
    /// Between us and the party.
    pub protocol: Protocol,
    pub heard: Option<Heard>,
    pub local: Option<Local>,
    /// Legs of earlier descriptions, newest last: the party may not have heard yet that others serve it now.
    pub earlier: Vec<Local>,
    pub keying: Keying,
    pub rtcp_mux: Mux,
    /// Ours for it, where ICE is spoken with it.
    pub ice: Option<IceCredentials>,
    /// What `ICE-lite` has said of us towards it.
    pub ice_lite: Option<bool>,
    /// As the party sees it.
    pub direction: Direction,
    pub treatment: Treatment,
    /// Payload types that it was offered, if options left some out: its answer is held to them.
    pub offered_types: Option<Box<[u8]>>,
    pub mid: Option<String>,
    /// What answers to it say (`ptime-reverse` of its offer).
    pub ptime_ms: Option<u32>,
}

/// What the party's newest description says of an m-line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heard {
    /// After `received-from` and its like.
    pub rtp: SocketAddr,
    pub rtcp: SocketAddr,
    /// They are ports of ours: the call passes this relay twice, see [`crate::links`].
    pub is_link: bool,
    /// As the description said.
    pub advertised: IpAddr,
    pub ice: Option<IceCredentials>,
    /// RFC 8445 §2.5.
    pub ice_lite: bool,
    /// Of its description, and those that it trickled since.
    pub candidates: Vec<Candidate>,
    /// RFC 8840 §4.1.3.
    pub trickle: bool,
    pub crypto: Vec<CryptoLine>,
    pub fingerprint: Option<Fingerprint>,
    pub setup: Option<Setup>,
    pub rtcp_mux: bool,
    /// What it can receive, by its numbers.
    pub codecs: Vec<Codec>,
}

/// RFC 5761 §5.1.1, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mux {
    /// We have offered it to the party.
    pub offered: bool,
    /// We have offered nothing else: there is no port for RTCP.
    pub required: bool,
    /// What becomes of its own offer.
    pub verdict: MuxVerdict,
    /// RTCP shares the port.
    pub agreed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MuxVerdict {
    /// It offered none, or is refused.
    #[default]
    No,
    Yes,
    /// As the other party answers.
    AsOther,
}

/// How SRTP gets its keys.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Keying {
    /// Lines of our newest offer.
    pub offered: Vec<OurLine>,
    /// Ours, since it seals packets of the leg that the line has.
    pub seals: Option<SdesKey>,
    pub sdes: Option<KeyPair>,
    /// We have offered DTLS.
    pub dtls_offered: bool,
    pub dtls: Option<DtlsRole>,
    /// `DTLS=off` towards the party.
    pub dtls_off: bool,
    /// Whether the party asked for us to wait (`DTLS=passive`).
    pub dtls_passive: bool,
    /// Plain RTP is settled.
    pub plain: bool,
    /// RFC 8643: keys were offered on a plain profile.
    pub opportunistic: bool,
}

/// What requests said about the packets of the party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Treatment {
    pub learning: Learning,
    pub asymmetric: bool,
    /// Who never speaks is sent to all the same.
    pub unidirectional: bool,
    pub strict_source: bool,
    pub media_handover: bool,
}

/// Ports of ours, and the leg behind them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Local {
    pub leg: LegId,
    pub address: IpAddr,
    /// What descriptions say.
    pub advertised: IpAddr,
    pub rtp: u16,
    pub rtcp: Option<u16>,
    /// The same in the other address family, where ICE lets the party choose.
    pub other_family: Option<LocalPair>,
    /// Where the other party was when these ports were given: unless told to stay (`port-latching`), ports change when that does.
    pub other: Option<SocketAddr>,
    /// The credentials that the leg was opened with.
    pub ice: Option<IceCredentials>,
    /// What it was opened with; packets carry what it was told last.
    pub tos: u8,
    /// Whose packets go where, as the dataplane was last told; nothing: it may know anything.
    pub sinks: Option<Vec<LegId>>,
    pub filter: Option<FlowFilter>,
    /// The dataplane was told of the party.
    pub described: bool,
    /// Nothing was heard for the timeout.
    pub silent: bool,
    pub connected_to: Option<SocketAddr>,
    pub opened_us: u64,
    #[serde(skip)]
    pub report: LegReport,
    #[serde(skip)]
    pub streams: Vec<StreamReport>,
    /// When the report was read.
    pub read_us: u64,
}

impl Keying {
    /// Packets are sealed with this key from now on, or with none of SDP. The one before is not used again: a context
    /// begins at index zero, and RFC 3711 §9.1 forbids to use a key stream twice.
    pub fn seal_with(&mut self, key: Option<SdesKey>, draw: &mut Draw) {
        if self.seals != key {
            self.forget_seal(draw);
            self.seals = key;
        }
    }

    /// The leg is gone, and with it the count of packets that its key has sealed: whoever is told again is told others.
    pub fn forget_seal(&mut self, draw: &mut Draw) {
        let Some(used) = self.seals.take() else { return };
        for line in self.offered.iter_mut().filter(|line| line.key == used) {
            line.key = draw.sdes_key(line.suite);
        }
        if let Some(pair) = self.sdes.as_mut().filter(|pair| pair.ours == used) {
            let offered = self.offered.iter().find(|line| line.suite == pair.suite).map(|line| line.key.clone());
            pair.ours = offered.unwrap_or_else(|| draw.sdes_key(pair.suite));
        }
    }
}

/// Ports of ours on one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalPair {
    pub address: IpAddr,
    pub advertised: IpAddr,
    pub rtp: u16,
    pub rtcp: Option<u16>,
}

impl LocalPair {
    pub fn ports(&self) -> LocalPorts {
        let at = |port| SocketAddr::new(self.address, port);
        LocalPorts { rtp: at(self.rtp), rtcp: self.rtcp.map(at) }
    }
}

impl Party {
    pub fn new(tag: &str, via_branch: Option<&str>, created_us: u64) -> Party {
        Party { tag: tag.into(), via_branch: via_branch.map(str::to_owned), created_us, ..Party::default() }
    }

    pub fn is_gone(&self) -> bool {
        self.deleted == Some(Deletion::Done)
    }

    /// It is to stop then, unless it is to stop before.
    pub fn delete_at(&mut self, at_ms: u64) {
        self.deleted = match self.deleted {
            Some(Deletion::Done) => Some(Deletion::Done),
            Some(Deletion::At(before_ms)) => Some(Deletion::At(at_ms.min(before_ms))),
            None => Some(Deletion::At(at_ms)),
        };
    }

    /// By offer and answer or by subscription.
    pub fn hears(&self, party: PartyId) -> bool {
        self.sources.iter().any(|source| source.party == party)
    }

    /// It is in the call by subscription only.
    pub fn is_mere_listener(&self) -> bool {
        !self.sources.is_empty() && self.sources.iter().all(|source| !source.by_dialogue)
    }

    /// One flow stops, or goes on.
    pub fn blocks(&mut self, listener: PartyId, is_blocked: bool) {
        self.blocked.retain(|blocked| *blocked != listener);
        if is_blocked {
            self.blocked.push(listener);
        }
    }

    pub fn legs(&self) -> impl Iterator<Item = &Local> {
        self.media.iter().flat_map(Media::legs)
    }
}

impl Media {
    pub fn new(kind: MediaKind, protocol: Protocol, learning: Learning) -> Media {
        let treatment = Treatment {
            learning,
            asymmetric: false,
            unidirectional: false,
            strict_source: false,
            media_handover: false,
        };
        Media {
            kind,
            protocol,
            heard: None,
            local: None,
            earlier: Vec::new(),
            keying: Keying::default(),
            rtcp_mux: Mux::default(),
            ice: None,
            ice_lite: None,
            direction: Direction::SendReceive,
            treatment,
            offered_types: None,
            mid: None,
            ptime_ms: None,
        }
    }
}

impl Media {
    /// Its leg, and those of earlier descriptions.
    pub fn legs(&self) -> impl Iterator<Item = &Local> {
        self.local.iter().chain(&self.earlier)
    }

    pub fn legs_mut(&mut self) -> impl Iterator<Item = &mut Local> {
        self.local.iter_mut().chain(&mut self.earlier)
    }

    /// We check the party. A lite party is checked by nobody else; what is full checks us (RFC 8445 §2.5), on addresses
    /// that are public, so we are lite unless told otherwise.
    pub fn is_full_agent(&self) -> bool {
        let peer_is_lite = self.heard.as_ref().is_some_and(|heard| heard.ice_lite);
        self.ice.is_some() && self.ice_lite.map_or(peer_is_lite, |lite| !lite)
    }

    /// Keys, or a path that was checked, belong to its leg: it cannot move to other ports without losing them.
    pub fn is_bound_to_leg(&self) -> bool {
        self.keying.sdes.is_some() || self.keying.dtls.is_some() || self.ice.is_some()
    }
}

impl Local {
    pub fn rtp_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.rtp)
    }

    /// The first port of each of its pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (IpAddr, u16)> + use<> {
        let second = self.other_family.map(|pair| (pair.address, pair.rtp));
        std::iter::once((self.address, self.rtp)).chain(second)
    }

    pub fn rtcp_address(&self) -> Option<SocketAddr> {
        self.rtcp.map(|port| SocketAddr::new(self.address, port))
    }
}
