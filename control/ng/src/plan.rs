//! What is written to a party: the other party's description with us in its place.
//!
//! Input: the state that [`crate::negotiate`] left, the options of the request. Output: a [`SessionPlan`] for
//! [`crate::sdp::write`]. Owns nothing and decides nothing that outlives the text.

use crate::call::Call;
use crate::identity::Dialogue;
use crate::negotiate::is_relayed;
use crate::options::{Ice, Options};
use crate::party::{Local, Media};
use crate::sdes::crypto_line;
use crate::sdp::codecs;
use crate::sdp::{
    Candidate, CandidateKind, Codec, CryptoLine, DtlsPlan, Fingerprint, IcePlan, MediaDescription, MediaPlan,
    OriginPlan, OurIce, Placement, Protocol, RelayPlan, RtcpPlan, SessionDescription, SessionPlan, Setup,
};
use crosspoint_contract::{Direction, DtlsRole};
use std::net::IpAddr;

/// What all descriptions of this process have in common.
#[derive(Clone, Debug)]
pub struct Ours {
    /// Of the dataplane's certificate.
    pub fingerprint: Fingerprint,
    /// Of all our host candidates: one interface, one base, one foundation (RFC 8445 §5.1.1.3).
    pub foundation: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Offer,
    Answer,
    /// Our answer to a publication: we only receive.
    Publication,
    /// Our offer to a subscriber: we only send.
    Subscription,
}

impl Kind {
    fn is_offer(self) -> bool {
        matches!(self, Kind::Offer | Kind::Subscription)
    }
}

/// The plan for `dialogue.to`, from the description of `dialogue.from`.
pub fn session(
    call: &Call,
    dialogue: Dialogue,
    description: &SessionDescription,
    options: &Options,
    kind: Kind,
    ours: &Ours,
) -> SessionPlan {
    let to = &call.parties[dialogue.to];
    let fallback = to.legs().next().map(|local| local.advertised);
    let address = options.media_address.or(fallback).unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let media: Vec<MediaPlan> = description
        .media
        .iter()
        .zip(&to.media)
        .enumerate()
        .map(|(index, (line, media))| self::media(index, line, media, options, kind, address, ours))
        .collect();
    let speaks_ice = media.iter().any(|plan| matches!(plan, MediaPlan::Relayed(plan) if is_ours(&plan.ice)));
    SessionPlan {
        origin: origin(options, address),
        name: options.replace.session_name.then(|| "-".into()),
        replace_connection: options.replace.session_connection,
        hide_hold: options.replace.zero_address,
        original_direction: options.original_sendrecv,
        ice_lite: speaks_ice,
        attributes: Vec::new(),
        strip_extmap: options.strip_extmap,
        media,
    }
}

fn is_ours(ice: &IcePlan) -> bool {
    matches!(ice, IcePlan::Replace(_))
}

fn origin(options: &Options, address: IpAddr) -> OriginPlan {
    OriginPlan {
        address: options.replace.origin.then_some(address),
        username: options.replace.username.then(|| "-".into()),
        ..OriginPlan::default()
    }
}

fn media(
    index: usize,
    line: &MediaDescription,
    media: &Media,
    options: &Options,
    kind: Kind,
    address: IpAddr,
    ours: &Ours,
) -> MediaPlan {
    if !line.protocol.is_rtp() {
        return match line.protocol {
            Protocol::Udptl => rejected(line, media, address),
            _ => MediaPlan::Untouched,
        };
    }
    let Some(local) = media.local.as_ref().filter(|_| is_relayed(line)) else {
        return rejected(line, media, address);
    };
    let address = options.media_address.unwrap_or(local.advertised);
    MediaPlan::Relayed(Box::new(RelayPlan {
        placement: placement(media, local, address, options, kind),
        protocol: media.protocol.clone(),
        codecs: Some(codecs(line, media, options, kind)),
        direction: match kind {
            _ if options.inactive => Some(Direction::Inactive),
            Kind::Publication => Some(Direction::ReceiveOnly),
            Kind::Subscription => Some(Direction::SendOnly),
            Kind::Offer | Kind::Answer => Some(line.direction_wanted()),
        },
        crypto: crypto(media, options, kind),
        crypto_padded: options.sdes.pad,
        dtls: dtls(media, kind, ours),
        ptime_ms: options.ptime_ms.and_then(|ms| u32::try_from(ms).ok()),
        ice: ice(media, local, address, options, kind, ours),
        mid: line.mid.clone().or_else(|| options.generate_mid.then(|| (index + 1).to_string())),
    }))
}

fn rejected(line: &MediaDescription, media: &Media, address: IpAddr) -> MediaPlan {
    MediaPlan::Rejected { address, protocol: media.protocol.clone(), mid: line.mid.clone() }
}

/// An answer holds nothing that its receiver did not offer.
fn codecs(line: &MediaDescription, media: &Media, options: &Options, kind: Kind) -> Vec<Codec> {
    match (kind, &media.heard) {
        (Kind::Answer, Some(heard)) => codecs::answered(line, &heard.codecs, &options.codecs, options.single_codec),
        (Kind::Publication | Kind::Subscription, _) => line.codecs.clone(),
        _ => codecs::offered(line, &options.codecs),
    }
}

fn placement(media: &Media, local: &Local, address: IpAddr, options: &Options, kind: Kind) -> Placement {
    if options.ice == crate::options::Ice::ForceRelay {
        return Placement::Theirs;
    }
    let mux = media.rtcp_mux;
    let port = match local.rtcp {
        Some(port) if !mux.agreed => port,
        _ => local.rtp,
    };
    let rtcp = match () {
        () if options.no_rtcp_attribute => RtcpPlan::Unsaid,
        () if options.full_rtcp_attribute => RtcpPlan::PortAndAddress(port, address),
        () => RtcpPlan::Port(port),
    };
    let rtcp_mux = if kind.is_offer() { mux.offered } else { mux.agreed };
    Placement::Ours { address, port: local.rtp, rtcp, rtcp_mux }
}

fn crypto(media: &Media, options: &Options, kind: Kind) -> Vec<CryptoLine> {
    let lifetime = options.sdes.lifetime;
    match kind.is_offer() {
        true => {
            media.keying.offered.iter().map(|line| crypto_line(line.tag, line.suite, &line.key, lifetime)).collect()
        }
        false => media.keying.sdes.iter().map(|pair| crypto_line(pair.tag, pair.suite, &pair.ours, lifetime)).collect(),
    }
}

fn dtls(media: &Media, kind: Kind, ours: &Ours) -> Option<DtlsPlan> {
    // RFC 5763 §5: the offerer says actpass.
    let setup = match kind.is_offer() {
        true => media.keying.dtls_offered.then_some(Setup::ActPass),
        false => media.keying.dtls.map(|role| match role {
            DtlsRole::Client => Setup::Active,
            DtlsRole::Server => Setup::Passive,
        }),
    }?;
    Some(DtlsPlan { setup, fingerprint: ours.fingerprint.clone(), tls_id: None })
}

fn ice(media: &Media, local: &Local, address: IpAddr, options: &Options, kind: Kind, ours: &Ours) -> IcePlan {
    let Some(credentials) = &media.ice else {
        return IcePlan::Remove;
    };
    if matches!(options.ice, Ice::ForceRelay | Ice::Optional) && kind.is_offer() {
        return IcePlan::Add(candidates(media, local, address, ours));
    }
    IcePlan::Replace(OurIce {
        ufrag: credentials.ufrag.clone(),
        pwd: credentials.pwd.clone(),
        trickle: options.trickle_ice,
        candidates: candidates(media, local, address, ours),
        end_of_candidates: false,
        remote_candidates: Vec::new(),
    })
}

/// RFC 8445 §5.1.2: host candidates, RTP before RTCP.
fn candidates(media: &Media, local: &Local, address: IpAddr, ours: &Ours) -> Vec<Candidate> {
    let rtcp = local.rtcp.filter(|_| !media.rtcp_mux.agreed);
    let of = |component: u8, port: u16| Candidate {
        foundation: ours.foundation.clone(),
        component,
        transport: "UDP".into(),
        priority: (126 << 24) | (65_535 << 8) | (256 - u32::from(component)),
        address: (address, port).into(),
        kind: CandidateKind::Host,
        related: None,
        extensions: None,
    };
    let both = [Some(of(1, local.rtp)), rtcp.map(|port| of(2, port))];
    both.into_iter().flatten().collect()
}
