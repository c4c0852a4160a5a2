//! What a description says of ICE (RFC 8839).

use serde::{Deserialize, Serialize};
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// A place of ours that an m-line can be reached at; with ICE there is one for each interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddress {
    /// Equal for all candidates of one interface (RFC 8445 §5.1.1.3).
    pub foundation: String,
    pub rtp: SocketAddr,
    /// None under rtcp-mux.
    pub rtcp: Option<SocketAddr>,
}

/// Our candidates for one m-line, in 10.5's order: RTP on each address, then RTCP on each. `kind` is host, or relayed for
/// `ICE=force-relay`. Where the party's own candidates stay beside ours (`theirs`), ours are preferred to its first of the
/// kind by one, or come below all of the kind where that has the highest preference already; else they have the highest
/// preference of RFC 8445 §5.1.2.1.
pub fn our_candidates(ours: &[HostAddress], kind: CandidateKind, theirs: &[Candidate]) -> Vec<Candidate> {
    let beside = theirs.iter().find(|candidate| candidate.kind == kind && candidate.component == 1);
    let (type_preference, local_preference) = match beside.map(|candidate| candidate.priority) {
        Some(priority) if priority >> 8 & 0xffff == 0xffff => ((priority >> 24).saturating_sub(1), 0),
        Some(priority) => (priority >> 24, (priority >> 8 & 0xffff) + 1),
        None => (kind.type_preference(), 0xffff),
    };
    let candidate = |component: u8, address: SocketAddr, index: u32, foundation: &str| Candidate {
        foundation: foundation.into(),
        component,
        transport: "UDP".into(),
        priority: type_preference << 24 | local_preference.saturating_sub(index) << 8 | (256 - u32::from(component)),
        address,
        kind,
        related: (kind == CandidateKind::Relayed).then_some(address),
        extensions: None,
    };
    let of = |component: u8, place: fn(&HostAddress) -> Option<SocketAddr>| {
        let places = (0..).zip(ours).filter_map(move |(index, host)| Some((index, host, place(host)?)));
        places.map(move |(index, host, address)| candidate(component, address, index, &host.foundation))
    };
    of(1, |host| Some(host.rtp)).chain(of(2, |host| host.rtcp)).collect()
}

impl CandidateKind {
    /// As recommended in RFC 8445 §5.1.2.2.
    fn type_preference(self) -> u32 {
        match self {
            Self::Host => 126,
            Self::PeerReflexive => 110,
            Self::ServerReflexive => 100,
            Self::Relayed => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> [HostAddress; 2] {
        let host = |foundation: &str, ip: &str| HostAddress {
            foundation: foundation.into(),
            rtp: SocketAddr::new(ip.parse().expect("an address"), 2000),
            rtcp: Some(SocketAddr::new(ip.parse().expect("an address"), 2001)),
        };
        [host("a", "192.0.2.1"), host("b", "2001:db8::1")]
    }

    fn priorities(candidates: &[Candidate]) -> Vec<(u32, u32, u32)> {
        candidates.iter().map(|c| (c.priority >> 24, c.priority >> 8 & 0xffff, c.priority & 0xff)).collect()
    }

    #[test]
    fn candidates_are_sorted_by_component_then_interface() {
        let candidates = our_candidates(&hosts(), CandidateKind::Host, &[]);
        let order: Vec<_> = candidates.iter().map(|c| (c.component, c.foundation.as_str(), c.address.port())).collect();
        assert_eq!(order, [(1, "a", 2000), (1, "b", 2000), (2, "a", 2001), (2, "b", 2001)]);
        assert_eq!(
            priorities(&candidates),
            [(126, 65535, 255), (126, 65534, 255), (126, 65535, 254), (126, 65534, 254)],
            "as rtpengine answers"
        );
    }

    #[test]
    fn beside_the_partys_own_candidates_ours_are_preferred_by_one() {
        let theirs = |local_preference: u32| Candidate {
            priority: 126 << 24 | local_preference << 8 | 255,
            ..our_candidates(&hosts(), CandidateKind::Host, &[])[0].clone()
        };
        let of = |local_preference| {
            priorities(&our_candidates(&hosts()[..1], CandidateKind::Host, &[theirs(local_preference)]))
        };
        assert_eq!(of(1000), [(126, 1001, 255), (126, 1001, 254)]);
        assert_eq!(of(65535), [(125, 0, 255), (125, 0, 254)]);
    }

    #[test]
    fn relayed_candidates_have_the_lowest_type_preference_and_name_their_base() {
        let candidates = our_candidates(&hosts()[..1], CandidateKind::Relayed, &[]);
        assert_eq!(priorities(&candidates), [(0, 65535, 255), (0, 65535, 254)]);
        assert_eq!(candidates[1].related, Some(candidates[1].address));
    }
}
