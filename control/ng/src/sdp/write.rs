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
//! - owned attributes go by their names, also where they do not parse or stand in the session: 10.5 passes `a=candidate`
//!   without a type, `a=fingerprint` of a wrong length, `a=crypto` and `a=rtcp` of the session, and with them the party's
//!   address or keys;
//! - where we speak ICE of our own, stray ICE attributes of a party without credentials go, also under `ICE=optional`;
//! - a format that nobody names gets no `a=rtpmap`; 10.5 writes `a=rtpmap:97 /0`. A format listed twice is listed once;
//! - an m-line that passes untouched gets its own `c=`, but no `a=mid` of ours;
//! - a rejected m-line says `a=end-of-candidates` only if the party did, and keeps the party's ICE only where others do.

use super::attributes::parse_direction;
use super::lines::{
    Address, Count, Text, Words, direction_name, write_codec, write_crypto, write_dtls, write_end_of_candidates,
    write_ice, write_rtcp,
};
use super::{
    Codec, Line, MediaDescription, MediaPlan, Placement, Protocol, RelayPlan, SdpError, SessionDescription, SessionPlan,
};
use std::fmt::Display;
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
    let hold = hold_passes(description, plan);
    let passing = |of: &MediaPlan| Passing { hold, ..Passing::of(of) };
    let of_any = plan.media.iter().map(passing).fold(Passing::default(), Passing::or);
    // As in 10.5, the first m-line decides for the session.
    write_session(&mut out, description, plan, plan.media.first().map(passing).unwrap_or_default());
    for (media, of) in description.media.iter().zip(&plan.media) {
        match of {
            MediaPlan::Untouched => write_untouched(&mut out, media),
            MediaPlan::Rejected { protocol, mid, .. } => {
                write_media_line(&mut out, media, 0, protocol, &media.formats);
                write_passing(&mut out, media, of, plan, of_any);
                mid.iter().for_each(|mid| out.line("a=mid:", mid));
                write_end_of_candidates(&mut out, media.ice.end_of_candidates);
            }
            MediaPlan::Relayed(relay) => write_relayed(&mut out, media, of, relay, plan, passing(of)),
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
    /// The zero address.
    hold: bool,
}

impl Passing {
    fn of(plan: &MediaPlan) -> Self {
        match plan {
            MediaPlan::Relayed(relay) => {
                Self { transport: relay.ice.passes(), placement: relay.placement == Placement::Theirs, hold: false }
            }
            _ => Self::default(),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            transport: self.transport | other.transport,
            placement: self.placement | other.placement,
            hold: self.hold | other.hold,
        }
    }
}

fn write_session(out: &mut Text, description: &SessionDescription, plan: &SessionPlan, passing: Passing) {
    for line in &description.lines {
        match line.letter {
            b'o' => write_origin(out, description, plan),
            b's' => out.line("s=", plan.name.as_ref().unwrap_or(&line.value)),
            b'c' => write_session_connection(out, line, description, plan, passing),
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
fn write_session_connection(
    out: &mut Text,
    line: &Line,
    description: &SessionDescription,
    plan: &SessionPlan,
    passing: Passing,
) {
    let mut ours = description.media.iter().zip(&plan.media).filter_map(|(media, of)| Some((media, our_address(of)?)));
    let spoken_for = ours.clone().find(|(media, ..)| !media.has_connection);
    match spoken_for.or_else(|| ours.next().filter(|_| plan.replace_connection)) {
        Some((.., address)) => write_connection(out, line, address, passing.hold),
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

/// Not where ICE is spoken, by the party or by us, on any m-line.
fn hold_passes(description: &SessionDescription, plan: &SessionPlan) -> bool {
    let they_speak_ice = description.media.iter().any(|media| media.ice.is_offered());
    !plan.hide_hold && !they_speak_ice && !plan.media.iter().any(MediaPlan::speaks_our_ice)
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

fn write_relayed(
    out: &mut Text,
    media: &MediaDescription,
    of: &MediaPlan,
    relay: &RelayPlan,
    plan: &SessionPlan,
    passing: Passing,
) {
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
    write_passing(out, media, of, plan, passing);
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
            (b'c', Some(address)) => write_connection(out, line, address, passing.hold),
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
