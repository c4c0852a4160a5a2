//! What the dataplane is told of a party: where to send, which keys, how far to trust a packet's source.
//!
//! Input: an m-line's state. Output: a [`RtpRemote`], or nothing while keys are missing. Owns nothing.
//!
//! Safe by default: nothing is sent in the clear to a party that was offered SRTP only, nothing is sent to our own ports,
//! to multicast or, from another address, to loopback.

use crate::options::Learning as Mode;
use crate::party::{Heard, Local, Media};
use crate::sdp::{Codec as SdpCodec, MediaKind, OurPlaces, Pointing, SessionDescription, pointing};
use crate::settings::Settings;
use crosspoint_contract::limits::FORMATS_PER_LEG_MAX;
use crosspoint_contract::{
    CertificateDigest, Codec, Direction, Format, LearnFrom, Learning, Medium, RtpRemote, Security,
};
use std::net::{IpAddr, SocketAddr};

/// How long after signaling an address may be learnt: rtpengine's delay.
const LEARNING_WINDOW_MS: u32 = 3_000;

/// `None` while there is nothing to tell.
pub fn of(media: &Media, settings: &Settings) -> Option<RtpRemote> {
    let (heard, local) = (media.heard.as_ref()?, media.local.as_ref()?);
    let security = security(media, heard)?;
    let rtp = Some(heard.rtp).filter(|address| may_send(*address, local, settings));
    let rtcp_mux = media.rtcp_mux.agreed;
    Some(RtpRemote {
        rtp,
        rtcp: Some(heard.rtcp).filter(|address| !rtcp_mux && may_send(*address, local, settings)),
        rtcp_mux,
        security,
        // RFC 8445 §6.1.1: of two lite agents nobody checks; packets go to the default candidates.
        ice: media.ice.as_ref().and(heard.ice.clone()).filter(|_| !heard.ice_lite),
        our_ice: media.ice.clone(),
        learning: learning(media),
        formats: formats(&heard.codecs),
        medium: medium(&media.kind),
        direction: seen_from_us(media.direction),
    })
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

/// Whether an m-line names a place where no party can be. Candidates of ICE are not looked at: browsers name link-local
/// ones among others, and packets go only where a check came from.
pub fn is_misdirected(description: &SessionDescription, settings: &Settings) -> bool {
    let addresses: Vec<IpAddr> = settings.addresses().flat_map(|our| [our.local, our.advertised]).collect();
    let ours = OurPlaces { addresses: &addresses, ports: settings.port_min..=settings.port_max };
    let on_loopback = settings.addresses().any(|our| our.local.is_loopback());
    let is_wrong = |to: SocketAddr| match pointing(to, &ours) {
        Some(Pointing::Loopback) => !on_loopback,
        found => found.is_some(),
    };
    let relayed = description.media.iter().filter(|line| !line.is_untouched());
    relayed.flat_map(|line| [line.rtp_destination(), line.rtcp_destination()]).flatten().any(is_wrong)
}

/// What a description may point us at.
fn may_send(address: SocketAddr, local: &Local, settings: &Settings) -> bool {
    let ip = address.ip();
    let ours = || {
        let mut addresses = settings.addresses();
        let in_range = (settings.port_min..=settings.port_max).contains(&address.port());
        in_range && addresses.any(|our| our.local == ip || our.advertised == ip)
    };
    address.port() != 0
        && ip.is_ipv6() == local.address.is_ipv6()
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && !is_broadcast(ip)
        && !is_link_local(ip)
        && (local.address.is_loopback() || !ip.is_loopback())
        && !ours()
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
