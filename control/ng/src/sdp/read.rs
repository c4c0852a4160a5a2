//! From text to [`SessionDescription`]: lines first, then what those mean that we own.
//!
//! As tolerant and as strict as rtpengine 10.5: any order of lines, LF for CRLF, no `o=`, `s=` or `t=`, nothing after the
//! first empty line; but no unknown letters, no second `c=` of a session, no host names in `c=`. An attribute that does
//! not parse is no error: it has no meaning here, and passes or goes with its name.

use super::attributes::{
    parse_candidate, parse_crypto, parse_direction, parse_fingerprint, parse_group, parse_rtcp, parse_rtpmap,
};
use super::media::static_codec;
use super::{
    Codec, Connection, Group, IceDescription, Line, MEDIA_MAX, MediaDescription, MediaKind, Origin, Protocol,
    SDP_BYTES_MAX, SdpError, SessionDescription, Setup,
};
use std::collections::HashMap;
use std::net::IpAddr;

/// Longest ufrag and password (RFC 8839 §5.4); longer ones are not taken for ICE.
const ICE_WORD_BYTES_MAX: usize = 256;

pub fn read(text: &str) -> Result<SessionDescription, SdpError> {
    let mut description = read_fragment(text)?;
    if !text.starts_with("v=0") {
        return Err(SdpError::Malformed);
    }
    if description.media.is_empty() {
        return Err(SdpError::Unwritable);
    }
    description.media.iter_mut().try_for_each(|media| complete(media).ok_or(SdpError::Incomplete))?;
    Ok(description)
}

/// A trickled fragment, `application/trickle-ice-sdpfrag` (RFC 8840 §9): session lines may be missing, and so may
/// connection data. Its m-lines say which m-line of the description in force each candidate is for, by `mid` or by order.
pub fn read_fragment(text: &str) -> Result<SessionDescription, SdpError> {
    if text.len() > SDP_BYTES_MAX {
        return Err(SdpError::Malformed);
    }
    let mut description = SessionDescription::default();
    for line in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
        if line.is_empty() {
            break;
        }
        add(&mut description, split(line)?)?;
    }
    inherit(&mut description);
    Ok(description)
}

/// RFC 8866 §5: `<type>=<value>`; §9: a value has neither CR nor NUL in it.
fn split(line: &str) -> Result<Line, SdpError> {
    if line.contains(['\r', '\0']) {
        return Err(SdpError::Malformed);
    }
    match line.as_bytes() {
        [letter, b'=', ..] if b"vosiuepcbtrzkam".contains(letter) => {
            Ok(Line { letter: *letter, value: line[2..].into() })
        }
        _ => Err(SdpError::Malformed),
    }
}

fn add(description: &mut SessionDescription, line: Line) -> Result<(), SdpError> {
    if line.letter == b'm' {
        let media = parse_media(&line.value).ok_or(SdpError::Malformed)?;
        if description.media.len() == MEDIA_MAX {
            return Err(SdpError::Malformed);
        }
        description.media.push(media);
        return Ok(());
    }
    match description.media.last_mut() {
        Some(media) => add_to_media(media, line),
        None => add_to_session(description, line),
    }
}

/// RFC 8866 §5.14.
fn parse_media(value: &str) -> Option<MediaDescription> {
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    let (kind, port, protocol) = (words.next()?, words.next()?, words.next()?);
    let (port, num_ports) = port.split_once('/').unwrap_or((port, "1"));
    let num_ports = num_ports.parse().ok().filter(|n| *n > 0)?;
    let (port, protocol) = (port.parse().ok()?, Protocol::parse(protocol));
    let formats: Vec<String> = words.map(str::to_owned).collect();
    let codecs = if protocol.is_rtp() { listed(&formats) } else { Vec::new() };
    Some(MediaDescription {
        formats,
        codecs,
        num_ports,
        ..MediaDescription::new(MediaKind::parse(kind), port, protocol)
    })
}

/// What is known of the formats before any rtpmap was read: each payload type once.
fn listed(formats: &[String]) -> Vec<Codec> {
    let mut seen = [false; 128];
    let types = formats.iter().filter_map(|format| payload_type(format));
    types
        .filter(|payload_type| !std::mem::replace(&mut seen[usize::from(*payload_type)], true))
        .map(static_codec)
        .collect()
}

/// RFC 3550 §5.1: seven bits.
fn payload_type(format: &str) -> Option<u8> {
    format.parse().ok().filter(|payload_type| *payload_type < 128)
}

fn add_to_session(description: &mut SessionDescription, line: Line) -> Result<(), SdpError> {
    match line.letter {
        b'v' if line.value != "0" || !description.lines.is_empty() => return Err(SdpError::Malformed),
        b'o' if description.origin.is_some() => return Err(SdpError::Malformed),
        b'o' => description.origin = Some(parse_origin(&line.value).ok_or(SdpError::Malformed)?),
        b's' => description.name = Some(line.value.clone()),
        b'c' if description.connection.is_some() => return Err(SdpError::Malformed),
        b'c' => description.connection = Some(parse_connection(&line.value).ok_or(SdpError::Malformed)?),
        _ => {}
    }
    if let Some((name, value)) = line.as_attribute() {
        match name {
            "group" => description.groups.extend(parse_group(value)),
            "setup" => description.setup = Setup::parse(value),
            "fingerprint" => description.fingerprint = parse_fingerprint(value).or(description.fingerprint.take()),
            "tls-id" => description.tls_id = Some(value.into()),
            _ => {
                description.direction = parse_direction(name).or(description.direction);
                add_ice(&mut description.ice, name, value);
            }
        }
    }
    description.lines.push(line);
    Ok(())
}

/// RFC 8866 §5.2.
fn parse_origin(value: &str) -> Option<Origin> {
    let words: Vec<&str> = value.split(' ').collect();
    let [username, session_id, version, "IN", family @ ("IP4" | "IP6"), address] = words[..] else { return None };
    let [username, session_id, version, family, address] =
        [username, session_id, version, family, address].map(str::to_owned);
    Some(Origin { username, session_id, version, family, address })
}

/// RFC 8866 §5.7, without host names, time to live and address counts. Blanks after the address are forgiven.
fn parse_connection(value: &str) -> Option<Connection> {
    let words: Vec<&str> = value.trim_end_matches(' ').split(' ').collect();
    let ["IN", family, address] = words[..] else { return None };
    parse_address(family, address).map(|address| Connection { address })
}

pub(super) fn parse_address(family: &str, address: &str) -> Option<IpAddr> {
    match family {
        "IP4" => address.parse().ok().map(IpAddr::V4),
        "IP6" => address.parse().ok().map(IpAddr::V6),
        _ => None,
    }
}

fn add_to_media(media: &mut MediaDescription, line: Line) -> Result<(), SdpError> {
    match line.letter {
        b'v' | b'o' | b's' => return Err(SdpError::Malformed),
        b'c' if !media.has_connection => {
            media.connection = Some(parse_connection(&line.value).ok_or(SdpError::Malformed)?);
            media.has_connection = true;
        }
        b'c' => return Err(SdpError::Malformed),
        _ => {}
    }
    if let Some((name, value)) = line.as_attribute() {
        add_attribute(media, name, value);
    }
    media.lines.push(line);
    Ok(())
}

fn add_attribute(media: &mut MediaDescription, name: &str, value: &str) {
    match name {
        "rtcp" => (media.rtcp_port, media.rtcp_address) = parse_rtcp(value),
        "rtcp-mux" => media.rtcp_mux = true,
        "crypto" => media.crypto.extend(parse_crypto(value)),
        "setup" => media.setup = Setup::parse(value),
        "fingerprint" => media.fingerprint = parse_fingerprint(value).or(media.fingerprint.take()),
        "tls-id" => media.tls_id = Some(value.into()),
        "mid" if media.mid.is_none() && !value.is_empty() => media.mid = Some(value.into()),
        "label" => media.label = Some(value.into()),
        "ptime" => media.ptime_ms = leading_number(value).or(media.ptime_ms.take()),
        "maxptime" => media.maxptime_ms = leading_number(value),
        _ => {
            media.direction = parse_direction(name).or(media.direction);
            add_ice(&mut media.ice, name, value);
        }
    }
}

/// `20` of `20.5`. Nothing for 0, which says nothing.
fn leading_number(value: &str) -> Option<u32> {
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    value[..end].parse().ok().filter(|number| *number > 0)
}

/// RFC 8839 §5.
fn add_ice(ice: &mut IceDescription, name: &str, value: &str) {
    let word = || (value.len() <= ICE_WORD_BYTES_MAX && !value.is_empty()).then(|| value.to_owned());
    match name {
        "ice-ufrag" => ice.ufrag = word(),
        "ice-pwd" => ice.pwd = word(),
        "ice-lite" => ice.lite = true,
        "ice-options" if value.len() <= ICE_WORD_BYTES_MAX => {
            ice.options = value.split(' ').map(str::to_owned).collect()
        }
        "candidate" => ice.candidates.extend(parse_candidate(value)),
        "end-of-candidates" => ice.end_of_candidates = true,
        _ => {}
    }
}

/// What the session says for all of its m-lines.
fn inherit(description: &mut SessionDescription) {
    let bundles = bundles(&description.groups);
    for media in &mut description.media {
        media.connection = media.connection.or(description.connection);
        media.direction = media.direction.or(description.direction);
        media.setup = media.setup.or(description.setup);
        media.fingerprint = media.fingerprint.take().or_else(|| description.fingerprint.clone());
        media.bundle = media.mid.as_deref().and_then(|mid| bundles.get(mid).copied());
        inherit_ice(&mut media.ice, &description.ice);
        describe_codecs(media);
    }
}

/// RFC 8839 §5.4: credentials of the m-line win; RFC 8839 §5.3: lite is said of the session.
fn inherit_ice(ice: &mut IceDescription, session: &IceDescription) {
    ice.ufrag = ice.ufrag.take().or_else(|| session.ufrag.clone());
    ice.pwd = ice.pwd.take().or_else(|| session.pwd.clone());
    ice.lite |= session.lite;
    ice.end_of_candidates |= session.end_of_candidates;
    if ice.options.is_empty() {
        ice.options.clone_from(&session.options);
    }
}

/// Which BUNDLE group a mid is in (RFC 9143 §7.2).
fn bundles(groups: &[Group]) -> HashMap<String, usize> {
    let bundles = groups.iter().filter(|group| group.is_bundle()).enumerate();
    bundles.flat_map(|(index, group)| group.mids.iter().map(move |mid| (mid.clone(), index))).collect()
}

/// Fills in rtpmap, fmtp and rtcp-fb of each listed payload type. The last of several rtpmap or fmtp lines counts.
fn describe_codecs(media: &mut MediaDescription) {
    let mut said: HashMap<u8, Codec> = media.codecs.iter().map(|codec| (codec.payload_type, codec.clone())).collect();
    for (name, value) in media.lines.iter().filter_map(Line::as_attribute) {
        let Some((payload_type, rest)) = value.split_once(' ') else { continue };
        let Some(codec) = payload_type.parse().ok().and_then(|payload_type: u8| said.get_mut(&payload_type)) else {
            continue;
        };
        match name {
            "rtpmap" => parse_rtpmap(rest, codec),
            "fmtp" => codec.fmtp = Some(rest.into()),
            "rtcp-fb" => codec.rtcp_fb.push(rest.into()),
            _ => {}
        }
    }
    for codec in &mut media.codecs {
        codec.clone_from(&said[&codec.payload_type]);
    }
}

/// RFC 8866 §5.7: connection data for the session or for each media, unless nothing is sent there.
fn complete(media: &MediaDescription) -> Option<()> {
    let is_understood = |format: &String| !media.protocol.is_rtp() || payload_type(format).is_some();
    let formats_understood = media.formats.iter().all(is_understood);
    (media.connection.is_some() && formats_understood).then_some(())
}
