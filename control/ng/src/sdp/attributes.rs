//! Values of single attributes, as the reader needs them.
//!
//! Input: what stands behind the colon of an `a=` line. Output: its value; `None`: it does not parse, and says nothing. Owns
//! nothing. RFC 3605 (rtcp), 4568 (crypto), 5888 (group), 8122 (fingerprint), 8839 (candidate).

use super::read::parse_address;
use super::{Candidate, CandidateKind, Codec, CryptoLine, Fingerprint, Group, Setup};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use crosspoint_contract::{Direction, HashFunction};
use std::net::{IpAddr, SocketAddr};

/// Keys come with padding and without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// RFC 8866 §6.7.
pub(super) fn parse_direction(name: &str) -> Option<Direction> {
    match name {
        "sendrecv" => Some(Direction::SendReceive),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::ReceiveOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

/// RFC 5888 §5.
pub(super) fn parse_group(value: &str) -> Option<Group> {
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    Some(Group { semantics: words.next()?.into(), mids: words.map(str::to_owned).collect() })
}

/// RFC 3605 §2.1: port, and the address if one is said.
pub(super) fn parse_rtcp(value: &str) -> (Option<u16>, Option<IpAddr>) {
    let words: Vec<&str> = value.split(' ').collect();
    match words[..] {
        [port] => (parse_port(port), None),
        [port, "IN", family, address] => match parse_address(family, address) {
            Some(address) => (parse_port(port), Some(address)),
            None => (None, None),
        },
        _ => (None, None),
    }
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

/// RFC 8866 §6.6: `name/rate[/channels]`.
pub(super) fn parse_rtpmap(value: &str, codec: &mut Codec) {
    let mut parts = value.trim_end_matches(' ').splitn(3, '/');
    let (Some(name), Some(Ok(rate))) = (parts.next(), parts.next().map(str::parse::<u32>)) else { return };
    if name.is_empty() || name.starts_with(' ') || rate == 0 {
        return;
    }
    codec.name = name.into();
    codec.clock_rate_hz = rate;
    codec.channels = parts.next().and_then(|channels| channels.parse().ok()).unwrap_or(1);
}

/// RFC 4568 §9.1: `tag suite inline:key||salt[|lifetime][|MKI:length] [session-param …]`. One key only, as 10.5.
pub(super) fn parse_crypto(value: &str) -> Option<CryptoLine> {
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    let (tag, suite, key) = (words.next()?, words.next()?, words.next()?);
    let mut parts = key.strip_prefix("inline:")?.split('|');
    let key_and_salt = BASE64.decode(parts.next()?).ok().filter(|key| !key.is_empty())?;
    let (mut lifetime, mut mki) = (None, None);
    for part in parts.filter(|part| !part.is_empty()) {
        match part.split_once(':') {
            Some((value, bytes)) => {
                mki = Some((value.parse().ok()?, bytes.parse().ok().filter(|n| (1..=128).contains(n))?))
            }
            None => lifetime = Some(parse_lifetime(part)?),
        }
    }
    let parameters = words.map(str::to_owned).collect();
    Some(CryptoLine { tag: tag.parse().ok()?, suite: suite.into(), key_and_salt, lifetime, mki, parameters })
}

/// RFC 3711 §3.2.1: no more than 2^48 packets.
fn parse_lifetime(text: &str) -> Option<String> {
    let packets = match text.strip_prefix("2^") {
        Some(exponent) => exponent.parse().ok().and_then(|exponent| 1u64.checked_shl(exponent)),
        None => text.parse().ok(),
    };
    packets.filter(|packets| (1..=1 << 48).contains(packets)).map(|_| text.to_owned())
}

impl Setup {
    pub(super) fn parse(value: &str) -> Option<Self> {
        let known = [Self::Active, Self::Passive, Self::ActPass, Self::HoldConn];
        known.into_iter().find(|setup| setup.as_str().eq_ignore_ascii_case(value))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        }
    }
}

/// Names and digest lengths in bytes (RFC 8122 §5).
const HASHES: [(HashFunction, &str, usize); 5] = [
    (HashFunction::Sha1, "sha-1", 20),
    (HashFunction::Sha224, "sha-224", 28),
    (HashFunction::Sha256, "sha-256", 32),
    (HashFunction::Sha384, "sha-384", 48),
    (HashFunction::Sha512, "sha-512", 64),
];

pub(super) fn hash_name(hash: HashFunction) -> &'static str {
    HASHES.iter().find(|(known, ..)| *known == hash).map_or("sha-256", |(_, name, _)| name)
}

/// RFC 8122 §5: `sha-256 AB:CD:…`, in either case.
pub(super) fn parse_fingerprint(value: &str) -> Option<Fingerprint> {
    let (name, digest) = value.split_once(' ')?;
    let (hash, _, bytes) = HASHES.into_iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name))?;
    let digest: Vec<u8> = digest.trim_end().split(':').map(parse_octet).collect::<Option<_>>()?;
    (digest.len() == bytes).then_some(Fingerprint { hash, digest })
}

fn parse_octet(text: &str) -> Option<u8> {
    (text.len() == 2 && !text.starts_with('+')).then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

/// RFC 8839 §5.1. Candidates with a name for an address (mDNS) are none to us.
pub(super) fn parse_candidate(value: &str) -> Option<Candidate> {
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    let foundation = words.next()?.to_owned();
    let component = words.next()?.parse().ok()?;
    let transport = words.next()?.to_owned();
    let priority = words.next()?.parse().ok()?;
    let address = socket_address(words.next()?, words.next()?)?;
    let kind = words.next().filter(|word| *word == "typ").and(words.next()).and_then(CandidateKind::parse)?;
    let rest: Vec<&str> = words.collect();
    let (related, extensions) = match rest[..] {
        ["raddr", address, "rport", port, ref rest @ ..] => (socket_address(address, port), rest),
        _ => (None, &rest[..]),
    };
    let extensions = (!extensions.is_empty()).then(|| extensions.join(" "));
    Some(Candidate { foundation, component, transport, priority, address, kind, related, extensions })
}

fn socket_address(address: &str, port: &str) -> Option<SocketAddr> {
    Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
}

impl CandidateKind {
    const ALL: [Self; 4] = [Self::Host, Self::ServerReflexive, Self::PeerReflexive, Self::Relayed];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}
