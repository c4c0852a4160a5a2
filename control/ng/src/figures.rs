//! The figures of a call as `query` and `delete` tell them, under rtpengine's keys.
//!
//! Input: a call with the reports that were read last. Output: a dictionary. Owns nothing.

use crate::call::Call;
use crate::dictionary::{Dict, Value};
use crate::party::{Local, Media, MuxVerdict, Party, PartyId};
use crate::sdes::suite_name;
use crate::sdp::Protocol;
use crosspoint_contract::{DtlsRole, LegReport, Quality, Spread, StreamReport};
use std::net::SocketAddr;

const RTP_HEADER_BYTES: u64 = 12;

/// Of all parties, or of those named.
pub fn call(call: &Call, parties: Option<&[PartyId]>) -> Dict {
    let all: Vec<PartyId> = (0..call.parties.len()).collect();
    let parties = parties.unwrap_or(&all);
    let mut tags = Dict::with_capacity(parties.len());
    for id in parties {
        tags.set(&tag_name(call, *id), party(call, *id));
    }
    let locals = || parties.iter().flat_map(|id| call.parties[*id].legs());
    let medias = || parties.iter().flat_map(|id| &call.parties[*id].media);
    let rtp = medias().fold(Totals::default(), |sum, media| {
        media.legs().fold(sum, |sum, local| sum.and(Totals::media(media, &local.report)))
    });
    let rtcp = locals().fold(Totals::default(), |sum, local| sum.and(Totals::rtcp(&local.report)));
    Dict::with_capacity(7)
        .with("created", call.created_us / 1_000_000)
        .with("created_us", call.created_us % 1_000_000)
        .with("last signal", call.last_signal_us / 1_000_000)
        .with("SSRC", ssrcs(call, parties))
        .with("tags", tags)
        .with("totals", Dict::new().with("RTP", rtp.dict()).with("RTCP", rtcp.dict()))
}

/// A party without a tag has a name of its own among the tags.
fn tag_name(call: &Call, id: PartyId) -> String {
    match call.parties[id].tag.as_str() {
        "" => format!("<untagged {id}>"),
        tag => tag.into(),
    }
}

fn party(call: &Call, id: PartyId) -> Dict {
    let party = &call.parties[id];
    let mut dict = Dict::with_capacity(7).with("tag", party.tag.as_str());
    if let Some(via_branch) = &party.via_branch {
        dict.push("via-branch", via_branch.as_str());
    }
    if let Some(label) = &party.label {
        dict.push("label", label.as_str());
    }
    let sources = party.sources.iter().map(|source| association(call, source.party, source.by_dialogue));
    let subscribers = call.subscribers(id).map(|(other, source)| association(call, other, source.by_dialogue));
    dict.push("created", party.created_us / 1_000_000);
    dict.push("subscriptions", Value::List(sources.collect()));
    dict.push("subscribers", Value::List(subscribers.collect()));
    let medias =
        party.media.iter().enumerate().map(|(index, media)| Value::Dict(self::media(index, media, party, call)));
    dict.push("medias", Value::List(medias.collect()));
    dict
}

fn association(call: &Call, party: PartyId, by_dialogue: bool) -> Value {
    let kind = if by_dialogue { "offer/answer" } else { "pub/sub" };
    Value::Dict(Dict::new().with("tag", call.parties[party].tag.as_str()).with("type", kind))
}

fn media(index: usize, media: &Media, party: &Party, call: &Call) -> Dict {
    let mut dict = Dict::with_capacity(5).with("index", (index + 1) as u64).with("type", media.kind.as_str());
    if media.protocol.is_rtp() || media.protocol == Protocol::Udptl {
        dict.push("protocol", media.protocol.as_str());
    }
    if let Some(codec) = codec_in_use(media) {
        dict.push("codec", codec);
    }
    let streams = [stream(media, false, call), stream(media, true, call)];
    dict.push("streams", Value::List(streams.into_iter().map(Value::Dict).collect()));
    dict.push("flags", Value::List(flags(media, party).into_iter().map(Value::from).collect()));
    dict
}

/// What the party's newest packets carry, once there are any.
fn codec_in_use(media: &Media) -> Option<String> {
    let payload_type = newest_stream(media.local.as_ref()?)?.payload_type;
    let codec = media.heard.as_ref()?.codecs.iter().find(|codec| codec.payload_type == payload_type)?;
    let channels = if codec.channels > 1 { format!("/{}", codec.channels) } else { String::new() };
    Some(format!("{}/{}{channels}", codec.name, codec.clock_rate_hz))
}

fn newest_stream(local: &Local) -> Option<&StreamReport> {
    local.streams.iter().filter(|stream| stream.packets > 0).min_by_key(|stream| stream.idle_ms)
}

fn flags(media: &Media, party: &Party) -> Vec<&'static str> {
    let dtls = media.keying.dtls;
    let all = [
        ("initialized", media.heard.is_some()),
        ("asymmetric", media.treatment.asymmetric),
        ("send", media.direction.receives()),
        ("recv", media.direction.sends()),
        ("rtcp-mux", media.rtcp_mux.agreed || media.rtcp_mux.verdict == MuxVerdict::Yes),
        ("DTLS-SRTP", dtls.is_some()),
        ("DTLS role active", dtls == Some(DtlsRole::Client)),
        ("DTLS role passive", dtls == Some(DtlsRole::Server)),
        ("SDES", media.keying.sdes.is_some()),
        ("ICE", media.ice.is_some()),
        ("trickle ICE", media.heard.as_ref().is_some_and(|heard| heard.trickle)),
        ("ICE controlling", party.was_offered && media.ice_lite != Some(true)),
        ("unidirectional", media.treatment.unidirectional),
    ];
    all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
}

/// RTP or RTCP of a line, as rtpengine counts streams.
fn stream(media: &Media, is_rtcp: bool, call: &Call) -> Dict {
    let mut dict = Dict::with_capacity(9);
    let local = media.local.as_ref();
    if let Some(local) = local {
        let port = if is_rtcp { local.rtcp.unwrap_or(0) } else { local.rtp };
        dict.push("local port", u64::from(port));
        dict.push("local address", local.address.to_string());
        dict.push("family", family(local.rtp_address()));
    }
    let heard = media.heard.as_ref();
    let said = heard.map(|heard| if is_rtcp { heard.rtcp } else { heard.rtp });
    let learnt = local.and_then(|local| local.connected_to.or(local.report.remote_addr)).filter(|_| !is_rtcp);
    dict.push("endpoint", endpoint(learnt.or(said)));
    dict.push("advertised endpoint", endpoint(said));
    if let Some(suite) = local.and_then(|local| local.report.suite) {
        dict.push("crypto suite", suite_name(suite));
    } else if let Some(pair) = &media.keying.sdes {
        dict.push("crypto suite", pair.suite.name());
    }
    dict.push("last packet", local.map_or(call.created_us, |local| last_packet_us(local, call)) / 1_000_000);
    dict.push("flags", Value::List(stream_flags(media, is_rtcp).into_iter().map(Value::from).collect()));
    if let Some(stream) = local.and_then(newest_stream) {
        dict.push("SSRC", u64::from(stream.ssrc));
    }
    let totals = local.map_or(Totals::default(), |local| match is_rtcp {
        true => Totals::rtcp(&local.report),
        false => Totals::media(media, &local.report),
    });
    dict.push("stats", totals.dict());
    dict
}

fn family(address: SocketAddr) -> &'static str {
    if address.is_ipv6() { "IPv6" } else { "IPv4" }
}

fn endpoint(address: Option<SocketAddr>) -> Dict {
    let Some(address) = address else { return Dict::new() };
    Dict::with_capacity(3)
        .with("family", family(address))
        .with("address", address.ip().to_string())
        .with("port", u64::from(address.port()))
}

/// A stream that was never heard counts from the call's beginning.
fn last_packet_us(local: &Local, call: &Call) -> u64 {
    newest_stream(local)
        .map_or(call.created_us, |stream| local.read_us.saturating_sub(u64::from(stream.idle_ms) * 1000))
}

fn stream_flags(media: &Media, is_rtcp: bool) -> Vec<&'static str> {
    let mux = media.rtcp_mux.agreed;
    let local = media.local.as_ref();
    let all = [
        ("RTP", !is_rtcp),
        ("RTCP", is_rtcp || mux),
        ("fallback RTCP", is_rtcp && mux),
        ("filled", media.heard.is_some()),
        ("confirmed", local.is_some_and(|local| local.report.packets_received > 0)),
        ("kernelized", local.is_some_and(|local| local.report.packets_received > 0)),
        ("strict source address", media.treatment.strict_source),
        ("media handover", media.treatment.media_handover),
        ("ICE", media.ice.is_some()),
    ];
    all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
}

/// Packets, bytes and errors of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    packets: u64,
    bytes: u64,
    errors: u64,
}

impl Totals {
    /// rtpengine counts the bytes of a packet with its RTP header (RFC 3550 §5.1: 12 bytes), if it has one.
    fn media(media: &Media, report: &LegReport) -> Totals {
        let header_bytes = if media.protocol.is_rtp() { RTP_HEADER_BYTES } else { 0 };
        let bytes = report.bytes_received + header_bytes * report.packets_received;
        Totals { packets: report.packets_received, bytes, errors: report.packets_dropped }
    }

    fn rtcp(report: &LegReport) -> Totals {
        Totals { packets: report.rtcp_packets_received, bytes: report.rtcp_bytes_received, errors: 0 }
    }

    fn and(self, other: Totals) -> Totals {
        Totals {
            packets: self.packets + other.packets,
            bytes: self.bytes + other.bytes,
            errors: self.errors + other.errors,
        }
    }

    fn dict(self) -> Dict {
        Dict::with_capacity(3).with("packets", self.packets).with("bytes", self.bytes).with("errors", self.errors)
    }
}

/// What each receiver reports of what it hears, under the SSRC that it sends with itself, as rtpengine has it; who sends
/// nothing is shown under the SSRC of what it hears.
fn ssrcs(call: &Call, parties: &[PartyId]) -> Dict {
    let mut dict = Dict::new();
    for id in parties {
        for (index, media) in call.parties[*id].media.iter().enumerate() {
            for local in media.legs() {
                for stream in local.streams.iter().filter(|stream| stream.quality.samples > 0) {
                    let reporter = reporter(call, *id, index).unwrap_or(stream.ssrc);
                    dict.set(&reporter.to_string(), ssrc(stream, local.opened_us));
                }
            }
        }
    }
    dict
}

fn reporter(call: &Call, party: PartyId, index: usize) -> Option<u32> {
    let (listener, source) = call.subscribers(party).next()?;
    let local = call.parties[listener].media.get(source.line(index)?)?.local.as_ref()?;
    Some(newest_stream(local)?.ssrc)
}

fn ssrc(stream: &StreamReport, opened_us: u64) -> Dict {
    let quality = &stream.quality;
    let samples = u64::from(quality.samples.max(1));
    let at = |ms: u32| (opened_us + u64::from(ms) * 1000) / 1_000_000;
    let average = sample(quality, |spread| spread.sum / samples).with("samples", u64::from(quality.samples));
    let lowest = Sample { mos: quality.mos_x10.min, worst: true };
    let highest = Sample { mos: quality.mos_x10.max, worst: false };
    let progression = Dict::new().with("interval", 0).with("entries", Value::List(Vec::new()));
    Dict::with_capacity(5)
        .with("cumulative loss", stream.packets_lost.max(0))
        .with("average MOS", average)
        .with("lowest MOS", lowest.dict(quality).with("reported at", at(quality.mos_x10.min_at_ms)))
        .with("highest MOS", highest.dict(quality).with("reported at", at(quality.mos_x10.max_at_ms)))
        .with("MOS progression", progression)
}

/// The best or the worst of what was reported.
struct Sample {
    mos: u32,
    worst: bool,
}

impl Sample {
    fn dict(&self, quality: &Quality) -> Dict {
        let worst = self.worst;
        let mut dict = sample(quality, |spread| u64::from(if worst { spread.max } else { spread.min }));
        dict.set("MOS", u64::from(self.mos));
        dict
    }
}

fn sample(quality: &Quality, of: impl Fn(&Spread) -> u64) -> Dict {
    Dict::with_capacity(7)
        .with("MOS", of(&quality.mos_x10))
        .with("round-trip time", of(&quality.round_trip_us))
        .with("round-trip time leg", of(&quality.round_trip_us))
        .with("jitter", of(&quality.jitter_ms))
        .with("packet loss", of(&quality.packet_loss_percent))
}
