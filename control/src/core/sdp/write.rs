//! From what was agreed to text: what our own SDP says.

use super::{Agreed, Description, Line, LineFormat};
use crosspoint_contract::{Direction, Directions, DtlsRole, LocalDescription, Medium};
use sdp_types::{AddrType, Attribute, Connection, Media, NetType, Origin, Session, Time};
use std::fmt::Write;
use std::net::SocketAddr;

/// RFC 8842 §5.2: an offerer leaves the choice to the answerer.
const OFFERED_SETUP: &str = "actpass";

/// RFC 8285 §4.2: any from 1 to 14; one for all lines of a bundle (RFC 9143 §12).
const MID_EXTENSION_ID: u8 = 1;

/// Our side of a leg.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    pub local: &'a LocalDescription,
    /// `o=` names the session; its version grows with each description of it (RFC 3264 §8).
    pub session_id: u64,
    pub version: u64,
}

/// The first offer to a callee: `agreed` is what the caller can speak, `directions` what we say in its stead.
pub fn write_offer(ours: Ours, agreed: &Agreed, directions: Directions) -> String {
    let mut medias = Vec::new();
    for (medium, kind) in [(Medium::Audio, "audio"), (Medium::Video, "video")] {
        if agreed.of(medium).is_empty() {
            continue;
        }
        let mid = medias.len().to_string();
        let mut media = open_line(ours, kind, "UDP/TLS/RTP/SAVPF", agreed.of(medium));
        describe(&mut media, ours, medium, &mid, OFFERED_SETUP, *directions.of(medium));
        media.attributes.push(mid_extension(MID_EXTENSION_ID));
        medias.push((Some(mid), media));
    }
    write(ours, medias)
}

/// The answer to `offer`. `directions` are within what it offers (RFC 3264 §6.1).
pub fn write_answer(
    ours: Ours,
    offer: &Description,
    agreed: &Agreed,
    role: DtlsRole,
    directions: Directions,
) -> String {
    let setup = match role {
        DtlsRole::Client => "active",
        DtlsRole::Server => "passive",
    };
    write_lines(ours, offer, agreed, setup, directions)
}

/// A further offer to a client that described itself by `remote`; nothing but `directions` is new in it.
pub fn write_offer_again(ours: Ours, remote: &Description, agreed: &Agreed, directions: Directions) -> String {
    write_lines(ours, remote, agreed, OFFERED_SETUP, directions)
}

/// Each line in its place (RFC 3264 §6 and §8), those without agreed formats refused.
fn write_lines(ours: Ours, remote: &Description, agreed: &Agreed, setup: &str, directions: Directions) -> String {
    let medias = remote.lines.iter().map(|line| match line.medium {
        Some(medium) if !agreed.of(medium).is_empty() => {
            let mid = line.mid.clone().unwrap_or_else(|| "0".to_owned());
            let mut media = open_line(ours, &line.kind, &line.proto, agreed.of(medium));
            describe(&mut media, ours, medium, &mid, setup, *directions.of(medium));
            repeat(&mut media, line);
            (line.mid.is_some().then_some(mid), media)
        }
        _ => (None, refused_line(line)),
    });
    write(ours, medias.collect())
}

fn write(ours: Ours, medias: Vec<(Option<String>, Media)>) -> String {
    let origin = Origin::new(ours.session_id, ours.version, NetType::In, AddrType::Ip4, "127.0.0.1");
    let mut session = Session::new(origin, "-");
    session.times.push(Time { start_time: 0, stop_time: 0, repeats: Vec::new() });
    let bundled: Vec<_> = medias.iter().filter_map(|(mid, _)| mid.as_deref()).collect();
    if !bundled.is_empty() {
        session.attributes.push(with("group", format!("BUNDLE {}", bundled.join(" "))));
    }
    // RFC 8839 §5.3: we are an ICE-lite implementation.
    session.attributes.push(flag("ice-lite"));
    session.medias = medias.into_iter().map(|(_, media)| media).collect();
    let mut text = Vec::new();
    session.write(&mut text).expect("writing to memory does not fail");
    String::from_utf8_lossy(&text).into_owned()
}

fn open_line(ours: Ours, kind: &str, proto: &str, formats: &[LineFormat]) -> Media {
    let addr = ours.local.candidates.first().copied().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 9)));
    let mut media = bare_line(kind, proto, addr.port());
    media.connections.push(Connection::from_ip_addr(addr.ip()));
    let types: Vec<_> = formats.iter().map(|f| f.format.payload_type.to_string()).collect();
    media.fmt = types.join(" ");
    for LineFormat { format, name, fmtp } in formats {
        let mut map = format!("{} {name}/{}", format.payload_type, format.clock_rate_hz);
        if format.channels != 1 {
            let _ = write!(map, "/{}", format.channels);
        }
        media.attributes.push(with("rtpmap", map));
        if let Some(fmtp) = fmtp {
            media.attributes.push(with("fmtp", format!("{} {fmtp}", format.payload_type)));
        }
        // RFC 4585 §4.2: of all feedback only the request for a key frame crosses the bridge.
        if media.media == "video" {
            media.attributes.push(with("rtcp-fb", format!("{} nack pli", format.payload_type)));
        }
    }
    media
}

fn describe(media: &mut Media, ours: Ours, medium: Medium, mid: &str, setup: &str, direction: Direction) {
    let local = ours.local;
    media.attributes.push(with("mid", mid));
    media.attributes.push(with("ice-ufrag", &local.ice.ufrag));
    media.attributes.push(with("ice-pwd", &local.ice.pwd));
    media.attributes.push(with("fingerprint", format!("sha-256 {}", colon_hex(&local.fingerprint.sha256))));
    media.attributes.push(with("setup", setup));
    media.attributes.push(flag("rtcp-mux"));
    media.attributes.push(flag(match direction {
        Direction::SendReceive => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::ReceiveOnly => "recvonly",
        Direction::Inactive => "inactive",
    }));
    let ssrc = if medium == Medium::Video { local.video_ssrc } else { local.ssrc };
    media.attributes.push(with("msid", format!("{} {}", local.cname, media.media)));
    media.attributes.push(with("ssrc", format!("{ssrc} cname:{}", local.cname)));
    for (i, addr) in local.candidates.iter().enumerate() {
        media.attributes.push(with("candidate", candidate(i, *addr)));
    }
    // RFC 8840 §8.2: no further candidate follows, so nobody waits for one.
    media.attributes.push(flag("end-of-candidates"));
}

// RFC 8445 §5.1.2.1: 2^24 type preference (host: 126) + 2^8 local preference + 256 - component.
fn candidate(index: usize, addr: SocketAddr) -> String {
    let local_preference = 65_535u32.saturating_sub(u32::try_from(index).unwrap_or(u32::MAX));
    let priority = (126 << 24) + (local_preference << 8) + 255;
    format!("{} 1 udp {priority} {} {} typ host", index + 1, addr.ip(), addr.port())
}

fn repeat(media: &mut Media, line: &Line) {
    if let Some(id) = line.mid_extension_id {
        media.attributes.push(mid_extension(id));
    }
    for (name, number) in [("ptime", &line.ptime), ("maxptime", &line.maxptime)] {
        if let Some(number) = number {
            media.attributes.push(with(name, number));
        }
    }
}

// RFC 8285 §5. By it the streams of a bundle are told apart.
fn mid_extension(id: u8) -> Attribute {
    with("extmap", format!("{id} urn:ietf:params:rtp-hdrext:sdes:mid"))
}

// RFC 3264 §6: a line is refused by port 0; it must keep its format list and its mid.
fn refused_line(line: &Line) -> Media {
    let mut media = bare_line(&line.kind, &line.proto, 0);
    media.fmt = line.fmt.clone();
    media.connections.push(Connection::from_ip_addr([0, 0, 0, 0]));
    if let Some(mid) = &line.mid {
        media.attributes.push(with("mid", mid));
    }
    media.attributes.push(flag("inactive"));
    media
}

fn bare_line(kind: &str, proto: &str, port: u16) -> Media {
    Media {
        media: kind.to_owned(),
        port,
        num_ports: None,
        proto: proto.to_owned(),
        fmt: String::new(),
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
    }
}

fn with(name: &str, value: impl ToString) -> Attribute {
    Attribute { attribute: name.to_owned(), value: Some(value.to_string()) }
}

fn flag(name: &str) -> Attribute {
    Attribute { attribute: name.to_owned(), value: None }
}

fn colon_hex(bytes: &[u8]) -> String {
    let pairs: Vec<_> = bytes.iter().map(|b| format!("{b:02X}")).collect();
    pairs.join(":")
}
