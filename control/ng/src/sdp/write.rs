//! From a description and a plan to text: the party's lines in their order, with ours in place of those that we own.
//!
//! ```text
//!   session   its lines; o=, s= and c= as planned; without what only the m-lines say; further attributes, a=ice-lite
//!   m-line    m=, the party's lines without those below, then in the order of rtpengine 10.5:
//!             a=mid  a=rtpmap/fmtp/rtcp-fb of every format  a=sendrecv  a=rtcp  a=rtcp-mux  a=crypto  a=setup  a=fingerprint
//!             a=ptime  a=ice-ufrag  a=ice-pwd  a=ice-options  a=candidate  a=remote-candidates  a=end-of-candidates
//! ```
//!
//! Where it differs from 10.5, and why:
//! - every line ends in CRLF, whatever the party used (RFC 8866 §5);
//! - owned attributes go by their names, also where they do not parse: 10.5 passes `a=candidate` without a type,
//!   `a=fingerprint` of a wrong length and `a=crypto` and `a=rtcp` of the session, and with them the party's address or keys;
//! - a format that nobody names gets no `a=rtpmap`; 10.5 writes `a=rtpmap:97 /0`;
//! - an m-line that passes untouched gets its own `c=`, but no `a=mid` of ours;
//! - a rejected m-line says `a=end-of-candidates` only if the party did, and keeps the party's ICE only where all do.

use super::attributes::{BASE64, hash_name, parse_direction};
use super::{
    Candidate, Codec, CryptoLine, DtlsPlan, IcePlan, Line, MediaDescription, MediaPlan, OurIce, Placement, Protocol,
    RelayPlan, RtcpPlan, SdpError, SessionDescription, SessionPlan,
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
    let passing = plan.media.iter().map(Passing::of).fold(Passing::default(), Passing::or);
    // As in 10.5, the first m-line decides for the session.
    write_session(&mut out, description, plan, plan.media.first().map(Passing::of).unwrap_or_default());
    for (media, of) in description.media.iter().zip(&plan.media) {
        match of {
            MediaPlan::Untouched => write_untouched(&mut out, media),
            MediaPlan::Rejected { protocol, mid, .. } => {
                write_media_line(&mut out, media, 0, protocol, &media.formats);
                write_passing(&mut out, media, of, plan, passing);
                mid.iter().for_each(|mid| out.line("a=mid:", mid));
                write_end_of_candidates(&mut out, media.ice.end_of_candidates);
            }
            MediaPlan::Relayed(relay) => write_relayed(&mut out, media, of, relay, plan),
        }
    }
    Ok(out.0)
}

/// What of the party's passes beside the lines that always do.
#[derive(Clone, Copy, Default)]
struct Passing {
    /// ICE, DTLS and SDES, and what the session says of direction and bundle.
    transport: bool,
    /// Where RTP and RTCP go.
    placement: bool,
}

impl Passing {
    fn of(plan: &MediaPlan) -> Self {
        match plan {
            MediaPlan::Relayed(relay) => {
                Self { transport: relay.ice.passes(), placement: relay.placement == Placement::Theirs }
            }
            _ => Self::default(),
        }
    }

    fn or(self, other: Self) -> Self {
        Self { transport: self.transport | other.transport, placement: self.placement | other.placement }
    }
}

fn write_session(out: &mut Text, description: &SessionDescription, plan: &SessionPlan, passing: Passing) {
    for line in &description.lines {
        match line.letter {
            b'o' => write_origin(out, description, plan),
            b's' => out.line("s=", plan.name.as_ref().unwrap_or(&line.value)),
            b'c' => write_session_connection(out, line, description, plan),
            b'a' if !session_passes(line, plan, passing) => {}
            _ => out.pass(line),
        }
    }
    plan.attributes.iter().for_each(|attribute| out.line("a=", attribute));
    if plan.ice_lite {
        out.line("a=ice-lite", "");
    }
}

fn write_origin(out: &mut Text, description: &SessionDescription, plan: &SessionPlan) {
    let (Some(said), plan) = (&description.origin, &plan.origin) else { return };
    let username = plan.username.as_ref().unwrap_or(&said.username);
    let session_id = plan.session_id.as_ref().unwrap_or(&said.session_id);
    let version = plan.version.as_ref().unwrap_or(&said.version);
    let start = format!("{username} {session_id} {version}");
    match plan.address {
        Some(address) => out.line("o=", format_args!("{start} {}", Address(address))),
        None => out.line("o=", format_args!("{start} IN {} {}", said.family, said.address)),
    }
}

/// 10.5 replaces the session's `c=` when it speaks for an m-line that points at us, or when told to.
fn write_session_connection(out: &mut Text, line: &Line, description: &SessionDescription, plan: &SessionPlan) {
    let mut ours =
        description.media.iter().zip(&plan.media).filter_map(|(media, of)| Some((media, of, our_address(of)?)));
    let spoken_for = ours.clone().find(|(media, ..)| !media.has_connection);
    match spoken_for.or_else(|| ours.next().filter(|_| plan.replace_connection)) {
        Some((media, of, address)) => write_connection(out, line, address, hold_passes(media, of, plan)),
        None => out.pass(line),
    }
}

fn our_address(plan: &MediaPlan) -> Option<IpAddr> {
    match plan {
        MediaPlan::Untouched => None,
        MediaPlan::Rejected { address, .. } => Some(*address),
        MediaPlan::Relayed(relay) => match relay.placement {
            Placement::Theirs => None,
            Placement::Ours { address, .. } => Some(address),
        },
    }
}

/// Not where ICE is spoken, by the party or by us; on a rejected line, by us anywhere.
fn hold_passes(media: &MediaDescription, of: &MediaPlan, plan: &SessionPlan) -> bool {
    let we_speak_ice = match of {
        MediaPlan::Rejected { .. } => plan.media.iter().any(MediaPlan::speaks_our_ice),
        _ => of.speaks_our_ice(),
    };
    !plan.hide_hold && !media.ice.is_offered() && !we_speak_ice
}

fn write_connection(out: &mut Text, line: &Line, ours: IpAddr, hold_passes: bool) {
    let held = line.value.ends_with(" 0.0.0.0") || line.value.ends_with(" ::");
    if held && hold_passes {
        out.pass(line);
    } else {
        out.line("c=", Address(ours));
    }
}

fn session_passes(line: &Line, plan: &SessionPlan, passing: Passing) -> bool {
    let Some((name, value)) = line.as_attribute() else { return true };
    match name {
        "crypto" | "rtcp" => false,
        "extmap" => !plan.strip_extmap,
        "group" => passing.transport || !value.starts_with("BUNDLE"),
        _ if parse_direction(name).is_some() => plan.original_direction || passing.transport,
        _ => passing.transport || !is_transport(name),
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

fn write_untouched(out: &mut Text, media: &MediaDescription) {
    write_media_line(out, media, media.port, &media.protocol, &media.formats);
    // What the session said for it may be replaced.
    if let (Some(connection), false) = (media.connection, media.has_connection) {
        out.line("c=", Address(connection.address));
    }
    media.lines.iter().for_each(|line| out.pass(line));
}

fn write_media_line(
    out: &mut Text,
    media: &MediaDescription,
    port: u16,
    protocol: &Protocol,
    formats: &[impl Display],
) {
    let (kind, protocol) = (media.kind.as_str(), protocol.as_str());
    let count = Count(media.num_ports);
    out.line("m=", format_args!("{kind} {port}{count} {protocol}{}", Words(formats)));
}

fn write_relayed(out: &mut Text, media: &MediaDescription, of: &MediaPlan, relay: &RelayPlan, plan: &SessionPlan) {
    let codecs: &[Codec] = relay.codecs.as_ref().unwrap_or(&media.codecs);
    let port = match relay.placement {
        Placement::Theirs => media.port,
        Placement::Ours { port, .. } => port,
    };
    let payload_types: Vec<u8> = codecs.iter().map(|codec| codec.payload_type).collect();
    match payload_types[..] {
        [] => write_media_line(out, media, port, &relay.protocol, &media.formats),
        _ => write_media_line(out, media, port, &relay.protocol, &payload_types),
    }
    write_passing(out, media, of, plan, Passing::of(of));
    relay.mid.iter().for_each(|mid| out.line("a=mid:", mid));
    codecs.iter().for_each(|codec| write_codec(out, codec));
    if !plan.original_direction {
        out.line("a=", direction_name(relay.direction.unwrap_or_default()));
    }
    write_rtcp(out, relay.placement);
    if !relay.ice.passes() {
        relay.crypto.iter().for_each(|crypto| write_crypto(out, crypto, relay.crypto_padded));
        relay.dtls.iter().for_each(|dtls| write_dtls(out, dtls));
    }
    relay.ptime_ms.iter().for_each(|ptime| out.line("a=ptime:", ptime));
    write_ice(out, media, &relay.ice);
}

/// The party's lines that we have no say in, and `c=` among them.
fn write_passing(out: &mut Text, media: &MediaDescription, of: &MediaPlan, plan: &SessionPlan, passing: Passing) {
    for line in &media.lines {
        match (line.letter, our_address(of)) {
            (b'c', Some(address)) => write_connection(out, line, address, hold_passes(media, of, plan)),
            _ if media_passes(line, media, plan, passing) => out.pass(line),
            _ => {}
        }
    }
}

fn media_passes(line: &Line, media: &MediaDescription, plan: &SessionPlan, passing: Passing) -> bool {
    let Some((name, value)) = line.as_attribute() else { return true };
    match name {
        "mid" | "end-of-candidates" | "ptime" => false,
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
