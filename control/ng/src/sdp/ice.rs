//! What a description says of ICE (RFC 8839).

use std::net::SocketAddr;

/// The ICE attributes of one m-line, the session's inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IceDescription {
    pub ufrag: Option<String>,
    pub pwd: Option<String>,
    pub lite: bool,
    /// Words of `a=ice-options`.
    pub options: Vec<String>,
    /// Those with an address; names (mDNS) are left out.
    pub candidates: Vec<Candidate>,
    pub end_of_candidates: bool,
}

/// `a=candidate` (RFC 8839 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub foundation: String,
    /// 1: RTP, 2: RTCP.
    pub component: u8,
    /// `UDP`, `TCP`, … as printed.
    pub transport: String,
    pub priority: u32,
    pub address: SocketAddr,
    pub kind: CandidateKind,
    pub related: Option<SocketAddr>,
    /// Names and values after the ones above, as printed.
    pub extensions: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateKind {
    Host,
    ServerReflexive,
    PeerReflexive,
    Relayed,
}

impl IceDescription {
    /// Both credentials are there: the party speaks ICE.
    pub fn is_offered(&self) -> bool {
        self.ufrag.is_some() && self.pwd.is_some()
    }

    /// RFC 8840 §4.1.3.
    pub fn is_trickle(&self) -> bool {
        self.options.iter().any(|option| option == "trickle")
    }
}

impl CandidateKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }
}
