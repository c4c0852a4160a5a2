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
    Candidate, CandidateKind, Codec, CryptoLine, DtlsPlan, Fingerprint, HostAddress, IcePlan, MediaDescription,
    MediaPlan, OriginPlan, OurIce, Placement, RelayPlan, RtcpPlan, SessionDescription, SessionPlan, Setup,
    our_candidates,
};
use crosspoint_contract::{Direction, DtlsRole};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// What all descriptions of this process have in common.
#[derive(Clone, Debug)]
pub struct Ours {
    /// Of the dataplane's certificate, with the function that the request names.
    pub fingerprint: Fingerprint,
    /// What the foundations of our candidates are made of.
    pub foundation: String,
    /// Of the first interface: where no line of a description has a port, something must be said all the same.
    pub address: IpAddr,
    /// Tells descriptions that have passed this process (`loop-protect`).
    pub instance: String,
}

/// The attribute that `loop-protect` leaves behind.
pub const LOOP_ATTRIBUTE: &str = "rtpengine";

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
    let address = options.media_address.or(fallback).unwrap_or(ours.address);
    let media: Vec<MediaPlan> = description
        .media
        .iter()
        .zip(&to.media)
        .enumerate()
        .map(|(index, (line, media))| self::media(index, line, media, options, kind, address, ours))
        .collect();
    let speaks_ice = media.iter().any(|plan| matches!(plan, MediaPlan::Relayed(plan) if is_ours(&plan.ice)));
    SessionPlan {
        origin: OriginPlan { address: options.replace.origin.then_some(address), ..OriginPlan::default() },
        name: None,
        replace_connection: options.replace.session_connection,
        hide_hold: options.replace.zero_address,
        original_direction: options.original_sendrecv,
        ice_lite: speaks_ice && !to.media.iter().any(Media::is_full_agent),
        attributes: options.loop_protect.then(|| format!("{LOOP_ATTRIBUTE}:{}", ours.instance)).into_iter().collect(),
        strip_extmap: options.strip_extmap,
        media,
    }
}

fn is_ours(ice: &IcePlan) -> bool {
    matches!(ice, IcePlan::Replace(_))
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
    if line.is_untouched() {
        return MediaPlan::Untouched;
    }
    let Some(local) = media.local.as_ref().filter(|_| is_relayed(line)) else {
        return rejected(line, media, address);
    };
    let address = options.media_address.unwrap_or(local.advertised);
    MediaPlan::Relayed(Box::new(RelayPlan {
        placement: placement(media, local, address, options, kind),
        protocol: media.protocol.clone(),
        codecs: line.protocol.is_rtp().then(|| codecs(line, media, options, kind)),
        direction: match kind {
            _ if options.inactive => Some(Direction::Inactive),
            Kind::Publication => Some(Direction::ReceiveOnly),
            Kind::Subscription => Some(Direction::SendOnly),
            Kind::Offer | Kind::Answer => Some(line.direction_wanted()),
        },
        crypto: crypto(media, options, kind),
        crypto_padded: options.sdes.pad,
        dtls: dtls(media, kind, ours),
        ptime_ms: ptime_ms(line, media, options, kind),
        ice: ice(line, media, local, address, options, kind, ours),
        mid: mid(index, line, media, options, kind),
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

/// An offer is rewritten to `ptime`, its answer to the `ptime-reverse` of the offer.
fn ptime_ms(line: &MediaDescription, media: &Media, options: &Options, kind: Kind) -> Option<u32> {
    let told = if kind.is_offer() { milliseconds(options.ptime_ms) } else { media.ptime_ms };
    told.or(line.ptime_ms).filter(|_| line.protocol.is_rtp())
}

/// 0 and nonsense are nothing.
pub fn milliseconds(option: Option<i64>) -> Option<u32> {
    option.and_then(|ms| u32::try_from(ms).ok()).filter(|ms| *ms > 0)
}

/// RFC 5888 §9.1: an answer names lines as its receiver did.
fn mid(index: usize, line: &MediaDescription, media: &Media, options: &Options, kind: Kind) -> Option<String> {
    match kind {
        Kind::Answer => media.mid.clone(),
        _ => line.mid.clone().or_else(|| options.generate_mid.then(|| (index + 1).to_string())),
    }
}

fn placement(media: &Media, local: &Local, address: IpAddr, options: &Options, kind: Kind) -> Placement {
    if options.ice == Ice::ForceRelay {
        return Placement::Theirs;
    }
    let mux = media.rtcp_mux;
    let port = match local.rtcp {
        Some(port) if !mux.agreed => port,
        _ => local.rtp,
    };
    let rtcp = match () {
        () if options.no_rtcp_attribute || !media.protocol.is_rtp() => RtcpPlan::Unsaid,
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

fn ice(
    line: &MediaDescription,
    media: &Media,
    local: &Local,
    address: IpAddr,
    options: &Options,
    kind: Kind,
    ours: &Ours,
) -> IcePlan {
    let Some(credentials) = &media.ice else {
        return IcePlan::Remove;
    };
    if options.ice.joins() && line.ice.is_offered() {
        return IcePlan::Add(candidates(media, local, address, options, &line.ice.candidates, ours));
    }
    // RFC 8840 §4.2.1: an answer says so to whoever has said it.
    let trickle = match kind.is_offer() {
        true => options.trickle_ice,
        false => media.heard.as_ref().is_some_and(|heard| heard.trickle),
    };
    IcePlan::Replace(OurIce {
        ufrag: credentials.ufrag.clone(),
        pwd: credentials.pwd.clone(),
        trickle,
        candidates: candidates(media, local, address, options, &[], ours),
        end_of_candidates: trickle,
        remote_candidates: remote_candidates(media, local, kind),
    })
}

/// Of the leg's first family, then of the other.
fn candidates(
    media: &Media,
    local: &Local,
    address: IpAddr,
    options: &Options,
    theirs: &[Candidate],
    ours: &Ours,
) -> Vec<Candidate> {
    let has_rtcp = !media.rtcp_mux.agreed && media.protocol.is_rtp();
    let host = |base: IpAddr, address: IpAddr, rtp: u16, rtcp: Option<u16>| HostAddress {
        foundation: foundation(&ours.foundation, base),
        rtp: (address, rtp).into(),
        rtcp: rtcp.filter(|_| has_rtcp).map(|port| (address, port).into()),
    };
    let second = local.other_family.map(|pair| host(pair.address, pair.advertised, pair.rtp, pair.rtcp));
    let hosts: Vec<_> = std::iter::once(host(local.address, address, local.rtp, local.rtcp)).chain(second).collect();
    let kind = if options.ice == Ice::ForceRelay { CandidateKind::Relayed } else { CandidateKind::Host };
    our_candidates(&hosts, kind, theirs)
}

/// RFC 8445 §5.1.1.3: one for each base. Sixteen letters and digits, as rtpengine writes them.
fn foundation(seed: &str, base: IpAddr) -> String {
    const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut hasher = DefaultHasher::new();
    (seed, base).hash(&mut hasher);
    let mut left = hasher.finish();
    let character = |_| {
        let character = ALPHANUMERIC[(left % 62) as usize];
        // A 64-bit number has eleven digits to this base; the rest follows from them.
        left = (left / 62) ^ left.rotate_left(7);
        char::from(character)
    };
    (0..16).map(character).collect()
}

/// RFC 8839 §4.4.1.2.2: a controlling agent names the pair that its checks have chosen.
fn remote_candidates(media: &Media, local: &Local, kind: Kind) -> Vec<(u8, SocketAddr)> {
    let has_chosen = kind.is_offer() && media.is_full_agent() && media.rtcp_mux.agreed;
    local.connected_to.filter(|_| has_chosen).map(|addr| (1, addr)).into_iter().collect()
}
