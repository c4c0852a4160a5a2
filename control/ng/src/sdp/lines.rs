//! The lines that are ours: one function for each attribute, as its RFC prints it.
//!
//! Input: the plan of a description. Output: text, line by line, for [`super::write()`]. Owns nothing, decides nothing.

use super::attributes::{BASE64, hash_name};
use super::{Candidate, Codec, CryptoLine, DtlsPlan, IcePlan, Line, MediaDescription, OurIce, Placement, RtcpPlan};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crosspoint_contract::Direction;
use std::fmt::{Display, Write};
use std::net::IpAddr;

pub(super) fn write_codec(out: &mut Text, codec: &Codec) {
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

pub(super) fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::SendReceive => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::ReceiveOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}

/// RFC 3605 §2.1, RFC 5761 §5.1.1.
pub(super) fn write_rtcp(out: &mut Text, placement: Placement) {
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
pub(super) fn write_crypto(out: &mut Text, crypto: &CryptoLine, padded: bool) {
    let CryptoLine { tag, suite, key_and_salt, .. } = crypto;
    let key = if padded { BASE64_STANDARD.encode(key_and_salt) } else { BASE64.encode(key_and_salt) };
    let lifetime = Prefixed('|', crypto.lifetime.as_ref());
    let mki = Prefixed('|', crypto.mki.map(|(value, bytes)| format!("{value}:{bytes}")));
    let parameters = Words(&crypto.parameters);
    out.line("a=crypto:", format_args!("{tag} {suite} inline:{key}{lifetime}{mki}{parameters}"));
}

/// RFC 4145 §4, RFC 8122 §5, RFC 8842 §4.
pub(super) fn write_dtls(out: &mut Text, dtls: &DtlsPlan) {
    out.line("a=setup:", dtls.setup.as_str());
    let hash = hash_name(dtls.fingerprint.hash);
    let digest: Vec<String> = dtls.fingerprint.digest.iter().map(|octet| format!("{octet:02X}")).collect();
    out.line("a=fingerprint:", format_args!("{hash} {}", digest.join(":")));
    dtls.tls_id.iter().for_each(|id| out.line("a=tls-id:", id));
}

/// RFC 8839 §5.
pub(super) fn write_ice(out: &mut Text, media: &MediaDescription, ice: &IcePlan) {
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
pub(super) fn write_end_of_candidates(out: &mut Text, ended: bool) {
    if ended {
        out.line("a=end-of-candidates", "");
    }
}

/// What is written, line by line.
pub(super) struct Text(pub(super) String);

impl Text {
    pub(super) fn line(&mut self, start: &str, rest: impl Display) {
        write!(self.0, "{start}{rest}\r\n").expect("memory takes what is written");
    }

    pub(super) fn pass(&mut self, line: &Line) {
        self.0.push(char::from(line.letter));
        self.line("=", &line.value);
    }
}

/// `IN IP4 192.0.2.1`.
pub(super) struct Address(pub(super) IpAddr);

impl Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = if self.0.is_ipv4() { "IP4" } else { "IP6" };
        write!(f, "IN {family} {}", self.0)
    }
}

/// `/2`, nothing for 1.
pub(super) struct Count(pub(super) u16);

impl Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 1 { Ok(()) } else { write!(f, "/{}", self.0) }
    }
}

/// Each with a blank before it.
pub(super) struct Words<'a, T>(pub(super) &'a [T]);

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
