//! What the dataplane is told of a party: where to send, which keys, how far to trust a packet's source.
//!
//! Input: an m-line's state. Output: a [`RtpRemote`], or nothing while keys are missing. Owns nothing.
//!
//! Safe by default: nothing is sent in the clear to a party that was offered SRTP only, nothing to our own ports but where
//! [`crate::links`] allows it, nothing to multicast or, from another address, to loopback.

use crate::limits::UNHEARD_PACKETS_MAX;
use crate::options::Learning as Mode;
use crate::party::{Heard, Local, Media};
use crate::sdp::{Candidate, Codec as SdpCodec, MediaDescription, MediaKind, OurPlaces, Pointing, pointing};
use crate::settings::Settings;
use crosspoint_contract::limits::{CANDIDATES_PER_LEG_MAX, FORMATS_PER_LEG_MAX};
use crosspoint_contract::{
    CertificateDigest, Codec, Direction, Format, IceCandidate, IceChecks, LearnFrom, Learning, Medium, RtpRemote,
    Security,
};
use std::net::{IpAddr, SocketAddr};

/// How long after signaling an address may be learnt: rtpengine's delay.
const LEARNING_WINDOW_MS: u32 = 3_000;

/// `None` while there is nothing to tell. A party that was offered to is controlled by us, where ICE checks; where media is
/// known to flow one way, the party need not speak to be sent to.
pub fn of(media: &Media, was_offered: bool, is_one_way: bool, tos: u8, settings: &Settings) -> Option<RtpRemote> {
    let (heard, local) = (media.heard.as_ref()?, media.local.as_ref()?);
    let security = security(media, heard)?;
    let sendable =
        |address: SocketAddr| may_send(address, heard, local, settings).then(|| reached_at(address, heard, settings));
    let rtcp_mux = media.rtcp_mux.agreed;
    Some(RtpRemote {
        rtp: sendable(heard.rtp),
        rtcp: Some(heard.rtcp).filter(|_| !rtcp_mux).and_then(sendable),
        rtcp_mux,
        security,
        // RFC 8445 §6.1.1: of two lite agents nobody checks; packets go to the default candidates.
        ice: media.ice.as_ref().and(heard.ice.clone()).filter(|_| !heard.ice_lite || media.is_full_agent()),
        our_ice: media.ice.clone(),
        checks: media.is_full_agent().then(|| IceChecks {
            // RFC 8445 §6.1.1: beside a lite agent the full one controls; else who has offered.
            controlling: heard.ice_lite || was_offered,
            candidates: candidates(media, heard, local, settings),
        }),
        learning: learning(media),
        unheard_packets_max: if is_one_way { 0 } else { UNHEARD_PACKETS_MAX },
        formats: formats(&heard.codecs),
        medium: medium(&media.kind),
        direction: seen_from_us(media.direction),
        tos,
    })
}

/// Where the party may be checked: what a description may name, of a family that the leg has ports in, best first.
fn candidates(media: &Media, heard: &Heard, local: &Local, settings: &Settings) -> Vec<IceCandidate> {
    let components = if media.rtcp_mux.agreed || local.rtcp.is_none() { 1..=1 } else { 1..=2 };
    let is_ours = |candidate: &&Candidate| {
        candidate.transport.eq_ignore_ascii_case("UDP")
            && components.contains(&candidate.component)
            && may_check(candidate.address, local, settings)
    };
    let named = heard.candidates.iter().filter(is_ours);
    let mut candidates: Vec<_> = named
        .map(|named| IceCandidate { component: named.component, addr: named.address, priority: named.priority })
        .collect();
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.priority));
    candidates.truncate(CANDIDATES_PER_LEG_MAX);
    candidates
}

fn may_check(address: SocketAddr, local: &Local, settings: &Settings) -> bool {
    let bases = [Some(local.address), local.other_family.map(|pair| pair.address)];
    let base = bases.into_iter().flatten().find(|base| base.is_ipv6() == address.is_ipv6());
    base.is_some_and(|base| is_place(address, base)) && !is_ours(address, settings)
}

fn security(media: &Media, heard: &Heard) -> Option<Security> {
    let keying = &media.keying;
    if !media.protocol.is_rtp() {
        return keying.plain.then_some(Security::Opaque);
    }
    if let (Some(our_role), Some(fingerprint)) = (keying.dtls, &heard.fingerprint) {
        let fingerprint = CertificateDigest { hash: fingerprint.hash, digest: fingerprint.digest.clone() };
        return Some(Security::Dtls { fingerprint, our_role });
    }
    if let Some(pair) = &keying.sdes {
        return Some(Security::Sdes { receive: pair.theirs.clone(), send: pair.ours.clone() });
    }
    keying.plain.then_some(Security::Plain)
}

/// What is wrong with a place that an m-line names. Candidates of ICE are not looked at: browsers name link-local ones
/// among others, and packets go only where a check came from.
pub fn misdirection(line: &MediaDescription, settings: &Settings) -> Option<Pointing> {
    let addresses: Vec<IpAddr> = settings.addresses().flat_map(|our| [our.local, our.advertised]).collect();
    let ours = OurPlaces { addresses: &addresses, ports: settings.port_min..=settings.port_max };
    let on_loopback = settings.addresses().any(|our| our.local.is_loopback());
    let wrong = |to: SocketAddr| pointing(to, &ours).filter(|found| *found != Pointing::Loopback || !on_loopback);
    let named = [line.rtp_destination(), line.rtcp_destination()].into_iter().flatten();
    named.filter_map(wrong).max_by_key(|found| *found != Pointing::Ourselves)
}

/// What a description may point us at.
fn may_send(address: SocketAddr, heard: &Heard, local: &Local, settings: &Settings) -> bool {
    let is_family = address.is_ipv6() == local.address.is_ipv6();
    is_family && is_place(address, local.address) && (heard.is_link || !is_ours(address, settings))
}

fn is_ours(address: SocketAddr, settings: &Settings) -> bool {
    let in_range = (settings.port_min..=settings.port_max).contains(&address.port());
    in_range && settings.home_of(address.ip().to_canonical()).is_some()
}

/// Whether somebody may be there, seen from an address of ours.
fn is_place(address: SocketAddr, base: IpAddr) -> bool {
    let ip = address.ip();
    address.port() != 0
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && !is_broadcast(ip)
        && !is_link_local(ip)
        && (base.is_loopback() || !is_loopback(ip))
}

/// A port of ours is reached where it is, whatever it is advertised as.
fn reached_at(address: SocketAddr, heard: &Heard, settings: &Settings) -> SocketAddr {
    let home = settings.home_of(address.ip()).filter(|_| heard.is_link);
    SocketAddr::new(home.unwrap_or(address.ip()), address.port())
}

/// IPv4 addresses in IPv6 dress included, which the kernel would send out as what they are.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// RFC 3927, RFC 4291 §2.5.6.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

fn learning(media: &Media) -> Learning {
    let treatment = media.treatment;
    let from = match treatment.learning {
        _ if treatment.asymmetric => LearnFrom::Nothing,
        Mode::Off => LearnFrom::Nothing,
        Mode::Immediate => LearnFrom::FirstPacket,
        Mode::Delayed => LearnFrom::LastPacketOfWindow,
        Mode::Heuristic => LearnFrom::BestMatch,
    };
    Learning {
        from,
        window_ms: LEARNING_WINDOW_MS,
        strict_source: treatment.strict_source,
        media_handover: treatment.media_handover,
    }
}

fn medium(kind: &MediaKind) -> Medium {
    match kind {
        MediaKind::Video => Medium::Video,
        _ => Medium::Audio,
    }
}

/// What the party sends, we receive.
fn seen_from_us(direction: Direction) -> Direction {
    match direction {
        Direction::SendOnly => Direction::ReceiveOnly,
        Direction::ReceiveOnly => Direction::SendOnly,
        both => both,
    }
}

/// What the dataplane reads of a codec list.
fn formats(codecs: &[SdpCodec]) -> Vec<Format> {
    let format = |codec: &SdpCodec| Format {
        payload_type: codec.payload_type,
        codec: codec_named(&codec.name),
        clock_rate_hz: codec.clock_rate_hz,
        channels: codec.channels,
    };
    codecs.iter().take(FORMATS_PER_LEG_MAX).map(format).collect()
}

fn codec_named(name: &str) -> Codec {
    const NAMES: [(&str, Codec); 13] = [
        ("opus", Codec::Opus),
        ("PCMU", Codec::Pcmu),
        ("PCMA", Codec::Pcma),
        ("G722", Codec::G722),
        ("telephone-event", Codec::TelephoneEvent),
        ("CN", Codec::ComfortNoise),
        ("red", Codec::Red),
        ("VP8", Codec::Vp8),
        ("VP9", Codec::Vp9),
        ("H264", Codec::H264),
        ("AV1", Codec::Av1),
        ("rtx", Codec::Rtx),
        ("ulpfec", Codec::UlpFec),
    ];
    let known = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map_or_else(|| Codec::Other(hash(name)), |(_, codec)| *codec)
}

/// FNV-1a of the name in lower case.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193))
}
