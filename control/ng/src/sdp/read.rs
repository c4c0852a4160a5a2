//! From text to [`SessionDescription`]: lines first, then what those mean that we own.
//!
//! As tolerant and as strict as rtpengine 10.5: any order of lines, LF for CRLF, no `o=`, `s=` or `t=`, nothing after the
//! first empty line; but no unknown letters, no second `c=` of a session, no host names in `c=`. An attribute that does
//! not parse is no error: it has no meaning here, and passes or goes with its name. Other than there, a direction of the
//! m-line wins over one of the session (RFC 8866 §6.7), and a second `v=` in one text is refused.

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

/// Of a line that is shown in the log.
const FAULT_CHARS_MAX: usize = 80;

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

/// For the log: the first line that is not as it should be. Of broken text only, for it reads it several times.
pub fn first_fault(text: &str) -> String {
    if text.len() > SDP_BYTES_MAX {
        return format!("{} bytes, and the most is {SDP_BYTES_MAX}", text.len());
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_sound = |count: usize| read_fragment(&lines[..count].concat()).is_ok();
    let (mut sound, mut broken) = (0, lines.len());
    if is_sound(broken) {
        return "it does not begin with v=0".into();
    }
    while broken - sound > 1 {
        let middle = sound + (broken - sound) / 2;
        *(if is_sound(middle) { &mut sound } else { &mut broken }) = middle;
    }
    let line: String = lines[sound].trim_end().chars().take(FAULT_CHARS_MAX).collect();
    format!("line {broken}: {line:?}")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::CandidateKind;
    use crosspoint_contract::{Direction, HashFunction};

    fn session(text: &str) -> SessionDescription {
        read(&format!("v=0\n{text}")).expect("SDP")
    }

    /// An audio line with these lines after it.
    fn media(lines: &str) -> MediaDescription {
        session(&format!("c=IN IP4 192.0.2.1\nm=audio 2000 RTP/AVP 0 96\n{lines}\n")).media.remove(0)
    }

    #[test]
    fn codecs_are_known_by_rtpmap_or_by_their_static_number() {
        let lines = "a=rtcp-fb:96 nack\na=rtpmap:96 opus/48000/2\na=fmtp:96 a\na=fmtp:96 b=1\na=rtcp-fb:96 ccm fir\na=rtpmap:97 x/1";
        let [pcmu, opus] = media(lines).codecs.try_into().expect("two");
        assert_eq!((pcmu.name.as_str(), pcmu.clock_rate_hz, pcmu.channels), ("PCMU", 8000, 1));
        assert_eq!((opus.name.as_str(), opus.clock_rate_hz, opus.channels), ("opus", 48000, 2));
        assert_eq!(opus.fmtp.as_deref(), Some("b=1"), "the last one counts");
        assert_eq!(opus.rtcp_fb, ["nack", "ccm fir"]);
        assert_eq!(media("").codecs[1].name, "", "nobody names it");
    }

    #[test]
    fn keys_are_read_with_lifetime_key_identifier_and_parameters() {
        let key = "WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc";
        let lines = format!(
            "a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^20|1:4 WSH=5 UNENCRYPTED_SRTCP\na=crypto:1 X inline:{key}|2^60\n\
             a=crypto:x X inline:{key}\na=crypto:2 X uri:{key}\na=crypto:3 X inline:AAA=\na=crypto:4 X inline:{key};inline:{key}"
        );
        let crypto = media(&lines).crypto;
        assert_eq!(crypto.iter().map(|line| line.tag).collect::<Vec<_>>(), [7, 3], "those that parse");
        assert_eq!((crypto[0].suite.as_str(), crypto[0].key_and_salt.len()), ("AES_CM_128_HMAC_SHA1_80", 30));
        assert_eq!((crypto[0].lifetime.as_deref(), crypto[0].mki), (Some("2^20"), Some((1, 4))));
        assert_eq!(crypto[0].parameters, ["WSH=5", "UNENCRYPTED_SRTCP"]);
        assert_eq!(crypto[1].key_and_salt, [0, 0]);
        assert!(!format!("{crypto:?}").contains("key"), "keys are not printed");
    }

    #[test]
    fn what_the_session_says_holds_for_lines_that_say_nothing() {
        let ice = "a=ice-ufrag:sess\na=ice-pwd:sesspwdsesspwdsesspwdsess\na=ice-lite\na=setup:active\na=sendonly\n";
        let text = format!(
            "c=IN IP6 2001:db8::1\n{ice}a=fingerprint:sha-1 67:b0:BD:97:54:79:3D:A0:8B:3D:3A:50:F1:99:89:78:F6:6C:C5:5F\n\
             a=group:LS b\na=group:BUNDLE a b\nm=audio 2 RTP/AVP 0\na=mid:b\n\
             m=video 4 RTP/AVP 31\nc=IN IP4 192.0.2.1\na=ice-ufrag:own\na=recvonly\na=setup:passive\na=mid:c\n"
        );
        let description = session(&text);
        let [first, second] = &description.media[..] else { panic!("two lines") };
        assert_eq!(first.connection, description.connection);
        assert_eq!((first.has_connection, second.has_connection), (false, true));
        assert_eq!((first.direction, second.direction), (Some(Direction::SendOnly), Some(Direction::ReceiveOnly)));
        assert_eq!((first.setup, second.setup), (Some(Setup::Active), Some(Setup::Passive)));
        assert_eq!((first.ice.ufrag.as_deref(), second.ice.ufrag.as_deref()), (Some("sess"), Some("own")));
        assert!(first.ice.lite && second.ice.is_offered());
        assert_eq!(second.fingerprint.as_ref().map(|f| (f.hash, f.digest[1])), Some((HashFunction::Sha1, 0xb0)));
        assert_eq!((first.bundle, second.bundle), (Some(0), None));
    }

    #[test]
    fn candidates_with_an_address_are_read() {
        let lines = "a=candidate:9 1 udp 1686052607 203.0.113.7 50000 typ srflx raddr 192.0.2.5 rport 5 generation 0\n\
            a=candidate:1 1 udp 5 d2a0.local 5 typ host\na=candidate:1 1 udp 5 192.0.2.5 99999 typ host\na=candidate:1 1\n\
            a=ice-options:trickle ice2\na=end-of-candidates";
        let ice = media(lines).ice;
        let [candidate] = &ice.candidates[..] else { panic!("one has an address: {ice:?}") };
        assert_eq!(
            (candidate.kind, candidate.component, candidate.priority),
            (CandidateKind::ServerReflexive, 1, 1_686_052_607)
        );
        assert_eq!(candidate.address.to_string(), "203.0.113.7:50000");
        assert_eq!(candidate.related.map(|related| related.to_string()).as_deref(), Some("192.0.2.5:5"));
        assert_eq!(candidate.extensions.as_deref(), Some("generation 0"));
        assert!(ice.is_trickle() && ice.end_of_candidates && !ice.is_offered());
    }

    #[test]
    fn hold_by_address_is_a_direction_except_with_ice() {
        let of = |lines: &str| {
            let held = session(&format!("m=audio 2000 RTP/AVP 0\nc=IN IP4 0.0.0.0\n{lines}\n"));
            held.media[0].direction_wanted()
        };
        assert_eq!(of("a=foo"), Direction::SendOnly);
        assert_eq!(of("a=recvonly"), Direction::Inactive);
        assert_eq!(of("a=ice-ufrag:abcd\na=ice-pwd:abcdefghijklmnopqrstuvwx"), Direction::SendReceive);
        assert_eq!(media("a=recvonly").direction_wanted(), Direction::ReceiveOnly);
    }

    #[test]
    fn a_fragment_needs_neither_session_nor_connection() {
        let text = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
            a=candidate:5 1 UDP 5 192.0.2.9 5000 typ host\r\na=end-of-candidates\r\n";
        let fragment = read_fragment(text).expect("a fragment");
        assert_eq!(fragment.media[0].mid.as_deref(), Some("0"));
        assert_eq!(fragment.media[0].ice.candidates.len(), 1);
        assert_eq!(fragment.media[0].ice.ufrag.as_deref(), Some("abcd"));
        assert_eq!(read(text), Err(SdpError::Malformed), "it is no description");
    }

    #[test]
    fn first_line_that_cannot_be_read_is_named() {
        let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n";
        for (rest, expected) in [
            ("m=audio x RTP/AVP 0\r\n", "line 5: \"m=audio x RTP/AVP 0\""),
            ("m=audio 9 RTP/AVP 0\r\nnonsense\r\nc=IN IP4 192.0.2.1\r\n", "line 6: \"nonsense\""),
        ] {
            assert_eq!(read(&format!("{head}{rest}")), Err(SdpError::Malformed));
            assert_eq!(first_fault(&format!("{head}{rest}")), expected);
        }
        assert_eq!(first_fault("s=-\r\nm=audio 9 RTP/AVP 0\r\n"), "it does not begin with v=0");
    }

    #[test]
    fn no_line_hides_another() {
        assert_eq!(
            read("v=0\nc=IN IP4 192.0.2.1\nm=audio 2 RTP/AVP 0\na=foo\rc=IN IP4 192.0.2.2\n"),
            Err(SdpError::Malformed)
        );
        assert_eq!(read("v=0\nc=IN IP4 192.0.2.1\nm=audio 2 RTP/AVP 0\na=foo\0\n"), Err(SdpError::Malformed));
    }
}
