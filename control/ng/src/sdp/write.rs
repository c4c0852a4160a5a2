//! From a description and a plan to text: the party's lines in their order, with ours in place of those that we own.
//!
//! ```text
//!   session   its lines; o=, s= and c= as planned; without what only the m-lines say; then a=ice-lite and further attributes
//!   m-line    m=, the party's lines without those below, then in the order of rtpengine 10.5:
//!             a=mid  a=rtpmap/fmtp/rtcp-fb of every format  a=sendrecv  a=rtcp  a=rtcp-mux  a=crypto  a=setup  a=fingerprint
//!             a=ptime  a=ice-ufrag  a=ice-pwd  a=ice-options  a=candidate  a=remote-candidates  a=end-of-candidates
//! ```
//!
//! Where it differs from 10.5, and why:
//! - every line ends in CRLF, whatever the party used (RFC 8866 §5);
//! - owned attributes go by their names, also where they do not parse: 10.5 passes `a=candidate` without a type,
//!   `a=fingerprint` of a wrong length and `a=crypto` of the session, and with them the party's address or keys;
//! - a format that nobody names gets no `a=rtpmap`; 10.5 writes `a=rtpmap:97 /0`;
//! - an m-line that passes untouched does not get a second `a=mid`.

use super::attributes::{BASE64, hash_name, parse_direction};
use super::{
    Candidate, Codec, CryptoLine, DtlsPlan, IcePlan, Line, MediaDescription, MediaPlan, OurIce, Placement, RelayPlan,
    RtcpPlan, SdpError, SessionDescription, SessionPlan,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crosspoint_contract::Direction;
use std::fmt::{Display, Write};
use std::net::IpAddr;

/// Room for our lines at each m-line, so that text is rarely moved while it grows.
const MEDIA_BYTES: usize = 1_500;

/// The text of `description` with what `plan` says in place of what the party said.
///
/// # Errors
/// [`SdpError::Unwritable`] when the plan has another number of m-lines.
pub fn write(description: &SessionDescription, plan: &SessionPlan) -> Result<String, SdpError> {
    if plan.media.len() != description.media.len() {
        return Err(SdpError::Unwritable);
    }
    let mut out = Text(String::with_capacity((1 + description.media.len()) * MEDIA_BYTES));
    let connection = session_connection(description, plan);
    write_session(&mut out, description, plan, connection);
    for (media, of) in description.media.iter().zip(&plan.media) {
        match of {
            MediaPlan::Untouched => write_untouched(&mut out, media, connection.is_some()),
            MediaPlan::Rejected { address } => write_rejected(&mut out, media, plan, *address),
            MediaPlan::Relayed(relay) => write_relayed(&mut out, media, plan, relay),
        }
    }
    Ok(out.0)
}

/// What is written for the session's `c=`, `None` if it stays: 10.5 replaces it when it speaks for an m-line that
/// points at us, or when told to.
fn session_connection(description: &SessionDescription, plan: &SessionPlan) -> Option<IpAddr> {
    let ours = |of: &MediaPlan| match of {
        MediaPlan::Untouched => None,
        MediaPlan::Rejected { address } => Some(*address),
        MediaPlan::Relayed(relay) => match relay.placement {
            Placement::Theirs => None,
            Placement::Ours { address, .. } => Some(address),
        },
    };
    let all = || description.media.iter().zip(&plan.media);
    let spoken_for = all().filter(|(media, _)| !media.has_connection).find_map(|(_, of)| ours(of));
    let told = || plan.replace_connection.then(|| all().find_map(|(_, of)| ours(of))).flatten();
    description.connection.and(spoken_for.or_else(told))
}

fn write_session(out: &mut Text, description: &SessionDescription, plan: &SessionPlan, connection: Option<IpAddr>) {
    let ice_passes = plan.media.iter().any(|of| matches!(of, MediaPlan::Relayed(relay) if relay.ice.passes()));
    for line in &description.lines {
        match (line.letter, connection) {
            (b'o', _) => write_origin(out, description, plan),
            (b's', _) => out.line("s=", plan.name.as_ref().unwrap_or(&line.value)),
            (b'c', Some(address)) => write_connection(out, line, plan, address),
            (b'a', _) if !session_passes(line, plan, ice_passes) => {}
            _ => out.pass(line),
        }
    }
    if plan.ice_lite {
        out.line("a=ice-lite", "");
    }
    plan.attributes.iter().for_each(|attribute| out.line("a=", attribute));
}

fn write_origin(out: &mut Text, description: &SessionDescription, plan: &SessionPlan) {
    let (Some(said), plan) = (&description.origin, &plan.origin) else { return };
    let username = plan.username.as_ref().unwrap_or(&said.username);
    let session_id = plan.session_id.as_ref().unwrap_or(&said.session_id);
    let version = plan.version.as_ref().unwrap_or(&said.version);
    let address = Address(plan.address.unwrap_or(said.address));
    out.line("o=", format_args!("{username} {session_id} {version} {address}"));
}

fn write_connection(out: &mut Text, line: &Line, plan: &SessionPlan, ours: IpAddr) {
    // RFC 3264 §8.4: the zero address says hold, and must reach the other party.
    let held = line.value.ends_with(" 0.0.0.0") || line.value.ends_with(" ::");
    if held && !plan.hide_hold {
        out.pass(line);
    } else {
        out.line("c=", Address(ours));
    }
}

fn session_passes(line: &Line, plan: &SessionPlan, ice_passes: bool) -> bool {
    let Some((name, value)) = line.as_attribute() else { return true };
    match name {
        "crypto" => false,
        "extmap" => !plan.strip_extmap,
        "group" => ice_passes || !value.starts_with("BUNDLE"),
        _ if parse_direction(name).is_some() => plan.original_direction,
        _ => ice_passes || !is_transport(name),
    }
}

/// ICE, DTLS, SDES: said by whoever the media comes from.
fn is_transport(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "candidate",
        "crypto",
        "fingerprint",
        "ice-lite",
        "ice-mismatch",
        "ice-options",
        "ice-pwd",
        "ice-ufrag",
        "remote-candidates",
        "setup",
    ];
    NAMES.contains(&name)
}

fn write_untouched(out: &mut Text, media: &MediaDescription, session_replaced: bool) {
    write_media_line(out, media, media.port, media.protocol.as_str(), &media.formats);
    // What the session said for it is gone.
    if let (Some(connection), false, true) = (media.connection, media.has_connection, session_replaced) {
        out.line("c=", Address(connection.address));
    }
    media.lines.iter().for_each(|line| out.pass(line));
}

fn write_rejected(out: &mut Text, media: &MediaDescription, plan: &SessionPlan, address: IpAddr) {
    write_media_line(out, media, 0, media.protocol.as_str(), &media.formats);
    for line in &media.lines {
        match line.letter {
            b'c' => write_connection(out, line, plan, address),
            _ if media_passes(line, media, plan, Passing::default()) => out.pass(line),
            _ => {}
        }
    }
    media.mid.iter().for_each(|mid| out.line("a=mid:", mid));
    write_end_of_candidates(out, media.ice.end_of_candidates);
}

fn write_media_line(out: &mut Text, media: &MediaDescription, port: u16, protocol: &str, formats: &[impl Display]) {
    let kind = media.kind.as_str();
    let count = Count(media.num_ports);
    out.line("m=", format_args!("{kind} {port}{count} {protocol}{}", Words(formats)));
}

fn write_relayed(out: &mut Text, media: &MediaDescription, plan: &SessionPlan, relay: &RelayPlan) {
    let codecs: &[Codec] = relay.codecs.as_ref().unwrap_or(&media.codecs);
    let port = match relay.placement {
        Placement::Theirs => media.port,
        Placement::Ours { port, .. } => port,
    };
    let payload_types: Vec<u8> = codecs.iter().map(|codec| codec.payload_type).collect();
    match payload_types[..] {
        [] => write_media_line(out, media, port, relay.protocol.as_str(), &media.formats),
        _ => write_media_line(out, media, port, relay.protocol.as_str(), &payload_types),
    }
    write_passing(out, media, plan, relay);
    relay.mid.iter().for_each(|mid| out.line("a=mid:", mid));
    codecs.iter().for_each(|codec| write_codec(out, codec));
    if !plan.original_direction {
        out.line("a=", direction_name(relay.direction.unwrap_or_default()));
    }
    write_rtcp(out, relay.placement);
    relay.crypto.iter().for_each(|crypto| write_crypto(out, crypto, relay.crypto_padded));
    relay.dtls.iter().for_each(|dtls| write_dtls(out, dtls));
    relay.ptime_ms.iter().for_each(|ptime| out.line("a=ptime:", ptime));
    write_ice(out, media, &relay.ice);
}

/// The party's lines that we have no say in.
fn write_passing(out: &mut Text, media: &MediaDescription, plan: &SessionPlan, relay: &RelayPlan) {
    let passing = Passing { transport: relay.ice.passes(), placement: relay.placement == Placement::Theirs };
    for line in &media.lines {
        match (line.letter, relay.placement) {
            (b'c', Placement::Ours { address, .. }) => write_connection(out, line, plan, address),
            _ if media_passes(line, media, plan, passing) => out.pass(line),
            _ => {}
        }
    }
}

/// What passes beside the lines that always do.
#[derive(Clone, Copy, Default)]
struct Passing {
    /// ICE, DTLS and SDES.
    transport: bool,
    /// Where RTCP goes.
    placement: bool,
}

fn media_passes(line: &Line, media: &MediaDescription, plan: &SessionPlan, passing: Passing) -> bool {
    let Some((name, value)) = line.as_attribute() else { return true };
    match name {
        "mid" | "end-of-candidates" => false,
        "ptime" => media.ptime_ms.is_none(),
        "rtcp" | "rtcp-mux" => passing.placement,
        "rtpmap" | "fmtp" | "rtcp-fb" => !media.protocol.is_rtp() || !speaks_of_a_payload_type(value),
        "extmap" => !plan.strip_extmap,
        _ if parse_direction(name).is_some() => plan.original_direction,
        _ => passing.transport || !is_transport(name),
    }
}

/// Rather than of `*`.
fn speaks_of_a_payload_type(value: &str) -> bool {
    value.split(' ').next().is_some_and(|word| word.parse::<u8>().is_ok())
}

fn write_codec(out: &mut Text, codec: &Codec) {
    let Codec { payload_type, name, clock_rate_hz, channels, fmtp, rtcp_fb } = codec;
    if !name.is_empty() {
        match channels {
            0 | 1 => out.line("a=rtpmap:", format_args!("{payload_type} {name}/{clock_rate_hz}")),
            _ => out.line("a=rtpmap:", format_args!("{payload_type} {name}/{clock_rate_hz}/{channels}")),
        }
    }
    fmtp.iter().for_each(|value| out.line("a=fmtp:", format_args!("{payload_type} {value}")));
    rtcp_fb.iter().for_each(|value| out.line("a=rtcp-fb:", format_args!("{payload_type} {value}")));
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::SendReceive => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::ReceiveOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}

/// RFC 3605 §2.1, RFC 5761 §5.1.1.
fn write_rtcp(out: &mut Text, placement: Placement) {
    let Placement::Ours { rtcp, rtcp_mux, .. } = placement else { return };
    match rtcp {
        RtcpPlan::Unsaid => {}
        RtcpPlan::Port(port) => out.line("a=rtcp:", port),
        RtcpPlan::PortAndAddress(port, address) => out.line("a=rtcp:", format_args!("{port} {}", Address(address))),
    }
    if rtcp_mux {
        out.line("a=rtcp-mux", "");
    }
}

/// RFC 4568 §9.1.
fn write_crypto(out: &mut Text, crypto: &CryptoLine, padded: bool) {
    let CryptoLine { tag, suite, key_and_salt, .. } = crypto;
    let key = if padded { BASE64_STANDARD.encode(key_and_salt) } else { BASE64.encode(key_and_salt) };
    let lifetime = Prefixed('|', crypto.lifetime.as_ref());
    let mki = Prefixed('|', crypto.mki.map(|(value, bytes)| format!("{value}:{bytes}")));
    let parameters = Words(&crypto.parameters);
    out.line("a=crypto:", format_args!("{tag} {suite} inline:{key}{lifetime}{mki}{parameters}"));
}

/// RFC 4145 §4, RFC 8122 §5, RFC 8842 §4.
fn write_dtls(out: &mut Text, dtls: &DtlsPlan) {
    out.line("a=setup:", dtls.setup.as_str());
    let hash = hash_name(dtls.fingerprint.hash);
    let digest: Vec<String> = dtls.fingerprint.digest.iter().map(|octet| format!("{octet:02X}")).collect();
    out.line("a=fingerprint:", format_args!("{hash} {}", digest.join(":")));
    dtls.tls_id.iter().for_each(|id| out.line("a=tls-id:", id));
}

/// RFC 8839 §5.
fn write_ice(out: &mut Text, media: &MediaDescription, ice: &IcePlan) {
    let mut ended = media.ice.end_of_candidates;
    match ice {
        IcePlan::Keep | IcePlan::Remove => {}
        IcePlan::Add(candidates) => candidates.iter().for_each(|candidate| write_candidate(out, candidate)),
        IcePlan::Replace(ours) => {
            write_our_ice(out, ours);
            ended |= ours.end_of_candidates;
        }
    }
    write_end_of_candidates(out, ended);
}

fn write_our_ice(out: &mut Text, ice: &OurIce) {
    out.line("a=ice-ufrag:", &ice.ufrag);
    out.line("a=ice-pwd:", &ice.pwd);
    if ice.trickle {
        out.line("a=ice-options:", "trickle");
    }
    ice.candidates.iter().for_each(|candidate| write_candidate(out, candidate));
    if !ice.remote_candidates.is_empty() {
        let remote = ice.remote_candidates.iter().map(|(component, a)| format!("{component} {} {}", a.ip(), a.port()));
        out.line("a=remote-candidates:", remote.collect::<Vec<_>>().join(" "));
    }
}

fn write_candidate(out: &mut Text, candidate: &Candidate) {
    let Candidate { foundation, component, transport, priority, address, kind, .. } = candidate;
    let (address, port, kind) = (address.ip(), address.port(), kind.as_str());
    let related = candidate.related.map(|related| format!("raddr {} rport {}", related.ip(), related.port()));
    let (related, extensions) = (Prefixed(' ', related), Prefixed(' ', candidate.extensions.as_ref()));
    out.line(
        "a=candidate:",
        format_args!(
            "{foundation} {component} {transport} {priority} {address} {port} typ {kind}{related}{extensions}"
        ),
    );
}

/// RFC 8840 §8.2.
fn write_end_of_candidates(out: &mut Text, ended: bool) {
    if ended {
        out.line("a=end-of-candidates", "");
    }
}

/// What is written, line by line.
struct Text(String);

impl Text {
    fn line(&mut self, start: &str, rest: impl Display) {
        write!(self.0, "{start}{rest}\r\n").expect("memory takes what is written");
    }

    fn pass(&mut self, line: &Line) {
        self.0.push(char::from(line.letter));
        self.line("=", &line.value);
    }
}

/// `IN IP4 192.0.2.1`.
struct Address(IpAddr);

impl Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = if self.0.is_ipv4() { "IP4" } else { "IP6" };
        write!(f, "IN {family} {}", self.0)
    }
}

/// `/2`, nothing for 1.
struct Count(u16);

impl Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 1 { Ok(()) } else { write!(f, "/{}", self.0) }
    }
}

/// Each with a blank before it.
struct Words<'a, T>(&'a [T]);

impl<T: Display> Display for Words<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

/// The character and the value, or nothing.
struct Prefixed<T>(char, Option<T>);

impl<T: Display> Display for Prefixed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.1.iter().try_for_each(|value| write!(f, "{}{value}", self.0))
    }
}
