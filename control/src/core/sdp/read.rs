//! From text to [`Description`]: what a client's SDP says.

use super::{Description, Line, LineFormat, Setup};
use crate::core::refusal::Refusal;
use crosspoint_contract::limits::FORMATS_PER_LEG_MAX;
use crosspoint_contract::{Codec, Direction, Fingerprint, Format, IceCredentials, Medium};
use sdp_types::{Attribute, Media, Session};

/// m-lines of a description; browsers send one for each medium.
const LINES_MAX: usize = 16;
/// RFC 9143 §14.1.
const MID_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

pub fn read(text: &str) -> Result<Description, Refusal> {
    let session = Session::parse(text.as_bytes()).map_err(|_| Refusal::SdpMalformed)?;
    if session.medias.len() > LINES_MAX {
        return Err(Refusal::SdpMalformed);
    }
    let audio = session.medias.iter().find(|m| m.media == "audio" && m.port != 0).ok_or(Refusal::MediaUnacceptable)?;
    // RFC 8829 §5.2.1: transport attributes stand at the m-line; RFC 8839 allows them at session level.
    let transport = |name: &str| {
        value(&audio.attributes, name).or_else(|| value(&session.attributes, name)).ok_or(Refusal::MediaUnacceptable)
    };
    let bundled = bundle(&session);
    let description = Description {
        ice: ice(transport("ice-ufrag")?, transport("ice-pwd")?)?,
        fingerprint: fingerprint(audio, &session)?,
        setup: setup(transport("setup")?)?,
        lines: session.medias.iter().map(|media| line(media, audio, &bundled)).collect(),
    };
    // RFC 5761 §5.1.1; we serve no separate RTCP port.
    let usable = description.line(Medium::Audio).is_some() && has(&audio.attributes, "rtcp-mux");
    if usable { Ok(description) } else { Err(Refusal::MediaUnacceptable) }
}

fn value<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|a| a.attribute == name)?.value.as_deref().map(str::trim)
}

fn values<'a>(attributes: &'a [Attribute], name: &'a str) -> impl Iterator<Item = &'a str> {
    attributes.iter().filter(move |a| a.attribute == name).filter_map(|a| a.value.as_deref()).map(str::trim)
}

fn has(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|a| a.attribute == name)
}

// RFC 8839 §5.4: ufrag of 4 to 256, pwd of 22 to 256 ice-chars.
fn ice(ufrag: &str, pwd: &str) -> Result<IceCredentials, Refusal> {
    let ice_chars =
        |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'='));
    let sane =
        (4..=256).contains(&ufrag.len()) && (22..=256).contains(&pwd.len()) && ice_chars(ufrag) && ice_chars(pwd);
    if !sane {
        return Err(Refusal::MediaUnacceptable);
    }
    Ok(IceCredentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() })
}

// RFC 8122 §5: several hashes may stand side by side; ours is SHA-256.
fn fingerprint(audio: &Media, session: &Session) -> Result<Fingerprint, Refusal> {
    let all = values(&audio.attributes, "fingerprint").chain(values(&session.attributes, "fingerprint"));
    let sha256 = all.filter_map(|v| v.split_once(' ')).find(|(hash, _)| hash.eq_ignore_ascii_case("sha-256"));
    let (_, digest) = sha256.ok_or(Refusal::MediaUnacceptable)?;
    let bytes: Option<Vec<u8>> = digest.split(':').map(hex_byte).collect();
    let sha256 = bytes.and_then(|b| b.try_into().ok()).ok_or(Refusal::SdpMalformed)?;
    Ok(Fingerprint { sha256 })
}

fn hex_byte(text: &str) -> Option<u8> {
    let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u8::from_str_radix(text, 16).ok())?
}

fn setup(text: &str) -> Result<Setup, Refusal> {
    match text {
        "active" => Ok(Setup::Active),
        "passive" => Ok(Setup::Passive),
        "actpass" => Ok(Setup::ActPass),
        // RFC 4145 `holdconn` has no meaning for DTLS (RFC 8842 §5.1).
        _ => Err(Refusal::SdpMalformed),
    }
}

fn bundle(session: &Session) -> Vec<String> {
    let groups = values(&session.attributes, "group");
    let group = groups.filter_map(|v| v.strip_prefix("BUNDLE")).next().unwrap_or("");
    group.split_whitespace().map(str::to_owned).collect()
}

fn line(media: &Media, audio: &Media, bundled: &[String]) -> Line {
    let mid = value(&media.attributes, "mid").map(str::to_owned);
    let in_bundle = mid.as_ref().is_some_and(|mid| bundled.contains(mid));
    let is_dtls_rtp = media.proto.contains("RTP/SAVP");
    // RFC 9143 §7.2.2: a bundle-only line has port 0 and is not refused.
    let is_open = media.port != 0 || (in_bundle && has(&media.attributes, "bundle-only"));
    let shares_transport = std::ptr::eq(media, audio) || in_bundle;
    let medium = match media.media.as_str() {
        "audio" if std::ptr::eq(media, audio) => Some(Medium::Audio),
        "video" => Some(Medium::Video),
        _ => None,
    };
    Line {
        kind: media.media.clone(),
        proto: media.proto.clone(),
        fmt: media.fmt.clone(),
        mid,
        medium: medium.filter(|_| is_dtls_rtp && is_open && shares_transport),
        formats: medium.map(|medium| formats(media, medium)).unwrap_or_default(),
        direction: direction(&media.attributes),
        mid_extension_id: mid_extension_id(&media.attributes),
        ptime: number(&media.attributes, "ptime"),
        maxptime: number(&media.attributes, "maxptime"),
    }
}

fn direction(attributes: &[Attribute]) -> Direction {
    // RFC 3264 §5.1: without a word it is sendrecv.
    let named = |a: &Attribute| match a.attribute.as_str() {
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::ReceiveOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    };
    attributes.iter().find_map(named).unwrap_or_default()
}

fn mid_extension_id(attributes: &[Attribute]) -> Option<u8> {
    let extension =
        values(attributes, "extmap").filter_map(|v| v.split_once(' ')).find(|(_, uri)| *uri == MID_EXTENSION)?;
    // RFC 8285 §5: an id may carry a direction behind a slash.
    extension.0.split('/').next()?.parse().ok()
}

fn number(attributes: &[Attribute], name: &str) -> Option<String> {
    value(attributes, name).filter(|v| v.len() <= 5 && v.bytes().all(|b| b.is_ascii_digit())).map(str::to_owned)
}

/// The formats we know, in the peer's order, one of each kind.
fn formats(media: &Media, medium: Medium) -> Vec<LineFormat> {
    let mut formats: Vec<LineFormat> = Vec::new();
    let payload_types = media.fmt.split_whitespace().filter_map(|t| t.parse::<u8>().ok()).filter(|t| *t < 128);
    for payload_type in payload_types.take(64) {
        let Some(format) = format(media, payload_type, medium) else { continue };
        let is_new = !formats.iter().any(|f| f.same_medium(&format) || f.format.payload_type == payload_type);
        if is_new && formats.len() < FORMATS_PER_LEG_MAX / 2 {
            formats.push(format);
        }
    }
    formats
}

fn format(media: &Media, payload_type: u8, medium: Medium) -> Option<LineFormat> {
    let prefixed = |name| values(&media.attributes, name).filter_map(|v| v.split_once(' '));
    let of_type = |(text, _): &(&str, &str)| text.parse() == Ok(payload_type);
    let map = prefixed("rtpmap").find(of_type).map(|(_, map)| map).or_else(|| static_map(payload_type))?;
    let mut parts = map.trim().split('/');
    let name = parts.next()?;
    let clock_rate_hz = parts.next()?.parse().ok()?;
    let channels = parts.next().map_or(Some(1), |c| c.parse().ok())?;
    let codec = codec(name, medium)?;
    let fmtp = prefixed("fmtp").find(of_type).map(|(_, fmtp)| fmtp.trim().to_owned());
    Some(LineFormat { format: Format { payload_type, codec, clock_rate_hz, channels }, name: name.to_owned(), fmtp })
}

/// RFC 3551 §6, table 4: these need no rtpmap.
fn static_map(payload_type: u8) -> Option<&'static str> {
    match payload_type {
        0 => Some("PCMU/8000"),
        8 => Some("PCMA/8000"),
        9 => Some("G722/8000"),
        13 => Some("CN/8000"),
        _ => None,
    }
}

/// The codecs that we pass on. Video comes without retransmission and FEC streams: they would need SSRCs of their own.
fn codec(name: &str, medium: Medium) -> Option<Codec> {
    Some(match (medium, name.to_ascii_lowercase().as_str()) {
        (Medium::Audio, "opus") => Codec::Opus,
        (Medium::Audio, "pcmu") => Codec::Pcmu,
        (Medium::Audio, "pcma") => Codec::Pcma,
        (Medium::Audio, "g722") => Codec::G722,
        (Medium::Audio, "telephone-event") => Codec::TelephoneEvent,
        (Medium::Audio, "cn") => Codec::ComfortNoise,
        (Medium::Audio, "red") => Codec::Red,
        (Medium::Video, "vp8") => Codec::Vp8,
        (Medium::Video, "vp9") => Codec::Vp9,
        (Medium::Video, "h264") => Codec::H264,
        (Medium::Video, "av1") => Codec::Av1,
        _ => return None,
    })
}
