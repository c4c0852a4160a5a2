//! What a translating leg keeps (RFC 3550 §7.2): where its peer's packets go, what is withheld of them, and how each of
//! its streams fares.
//!
//! Input: forwarding and filters by command, packets and reports by the stages. Output: sinks for `stages::relay`, figures
//! for [`StreamReport`]. Owns the figures. Does not change packets: identity, numbers and times are the source's.

use crate::leg::{LegHandle, NO_SLOT};
use crosspoint_contract::{Codec, FlowFilter, Format, LegId, Medium, Quality, Spread, StreamReport};
use crosspoint_wire::Nanos;
use crosspoint_wire::reception::Reception;
use crosspoint_wire::rtcp::ReportBlock;
use crosspoint_wire::telephone_event::DigitListener;

/// Streams of one peer whose figures are kept: a source changes its SSRC when a call is transferred or held. A further one
/// takes the place of the stream that was silent longest.
pub const STREAMS_PER_RELAY_MAX: usize = 4;

/// No leg.
pub const NOBODY: LegHandle = LegHandle { slot: NO_SLOT, leg: LegId(u64::MAX) };

pub struct Relay {
    /// Named, not only placed: a leg that has gone leaves its name behind, never its place to another call.
    pub sinks: Box<[LegHandle]>,
    /// Whose packets this leg's peer gets, as last told: its reports are about that leg's streams.
    pub source: LegHandle,
    pub filter: FlowFilter,
    pub medium: Medium,
    /// Not RTP: datagrams pass as they are. The table counts such legs, see `LegTable::set_opaque`.
    pub is_opaque: bool,
    pub formats: Box<[RelayFormat]>,
    pub digits_heard: DigitListener,
    pub streams: [RelayStream; STREAMS_PER_RELAY_MAX],
}

/// What is worth knowing of a payload type to somebody who passes it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayFormat {
    pub payload_type: u8,
    pub content: Content,
    pub clock_rate_hz: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    TelephoneEvent,
    /// Audio whose silence is this byte over and over.
    Silenceable(u8),
    Other,
}

/// Silence in G.711 (zero in both laws, with the inverted bits of each) and G.722 (the code of no change).
const PCMU_SILENCE: u8 = 0xFF;
const PCMA_SILENCE: u8 = 0xD5;
const G722_SILENCE: u8 = 0xFA;

impl RelayFormat {
    pub fn new(format: &Format) -> Self {
        let content = match format.codec {
            Codec::TelephoneEvent => Content::TelephoneEvent,
            Codec::Pcmu => Content::Silenceable(PCMU_SILENCE),
            Codec::Pcma => Content::Silenceable(PCMA_SILENCE),
            Codec::G722 => Content::Silenceable(G722_SILENCE),
            _ => Content::Other,
        };
        RelayFormat { payload_type: format.payload_type & 0x7f, content, clock_rate_hz: format.clock_rate_hz.max(1) }
    }

    /// RFC 3551 §6, table 4 and 5, for payload types that no description names.
    fn by_convention(payload_type: u8, medium: Medium) -> Self {
        let (content, clock_rate_hz) = match (payload_type, medium) {
            (0, _) => (Content::Silenceable(PCMU_SILENCE), 8000),
            (8, _) => (Content::Silenceable(PCMA_SILENCE), 8000),
            // RFC 3551 §4.5.2: its clock runs at 8000 although it samples at 16000.
            (9, _) => (Content::Silenceable(G722_SILENCE), 8000),
            (6, _) => (Content::Other, 16_000),
            (10 | 11, _) => (Content::Other, 44_100),
            (14 | 25..=34, _) | (_, Medium::Video) => (Content::Other, 90_000),
            _ => (Content::Other, 8000),
        };
        RelayFormat { payload_type, content, clock_rate_hz }
    }

    /// RFC 3264 §5.1: the peer numbers its formats as who receives them asked for, so the sink's list comes first.
    pub fn find(payload_type: u8, sink: &[RelayFormat], own: &[RelayFormat], medium: Medium) -> Self {
        let named = sink.iter().chain(own).find(|format| format.payload_type == payload_type);
        named.copied().unwrap_or_else(|| Self::by_convention(payload_type, medium))
    }
}

/// One SSRC of the peer.
#[derive(Clone, Debug)]
pub struct RelayStream {
    /// Meaningful with `packets`.
    pub ssrc: u32,
    pub packets: u64,
    pub payload_bytes: u64,
    pub last_heard: Nanos,
    /// Of its newest packet.
    pub format: Option<RelayFormat>,
    pub reception: Reception,
    /// Its two newest sender reports: the middle of the NTP time, and when it crossed here. Newest first.
    sender_reports: [(u32, Nanos); 2],
    pub quality: Quality,
}

impl Default for RelayStream {
    fn default() -> Self {
        RelayStream {
            ssrc: 0,
            packets: 0,
            payload_bytes: 0,
            last_heard: Nanos::ZERO,
            format: None,
            reception: Reception::new(),
            sender_reports: [(0, Nanos::ZERO); 2],
            quality: Quality::default(),
        }
    }
}

impl RelayStream {
    pub fn note_sender_report(&mut self, ntp: u64, now: Nanos) {
        self.sender_reports = [((ntp >> 16) as u32, now), self.sender_reports[0]];
    }

    /// From here to whoever wrote the block and back.
    pub fn round_trip(&self, block: &ReportBlock, now: Nanos) -> Option<Nanos> {
        let known = |(middle, _): &&(u32, Nanos)| *middle == block.last_sender_report && *middle != 0;
        let &(_, crossed) = self.sender_reports.iter().find(known)?;
        Some(Nanos(now.since(crossed).0.saturating_sub(Nanos::from_ntp_middle(block.delay_since_last_sender_report).0)))
    }

    /// Takes in what a receiver says of the stream. `round_trip` is of the whole way, as far as it is known.
    pub fn note_report(&mut self, block: &ReportBlock, round_trip: Nanos, at_ms: u32) {
        let clock_rate_hz = self.format.map_or(8000, |format| format.clock_rate_hz);
        let jitter_ms = (u64::from(block.jitter) * 1000 / u64::from(clock_rate_hz)).min(u64::from(u32::MAX)) as u32;
        let loss_percent = u32::from(block.fraction_lost) * 100 / 256;
        let round_trip_us = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
        let quality = &mut self.quality;
        let is_first = quality.samples == 0;
        quality.samples = quality.samples.saturating_add(1);
        let mos_x10 = mean_opinion_x10(round_trip_us, jitter_ms, loss_percent);
        add(&mut quality.mos_x10, mos_x10, at_ms, is_first);
        add(&mut quality.jitter_ms, jitter_ms, at_ms, is_first);
        add(&mut quality.packet_loss_percent, loss_percent, at_ms, is_first);
        add(&mut quality.round_trip_us, round_trip_us, at_ms, is_first);
    }

    pub fn report(&self, now: Nanos) -> StreamReport {
        let figures = self.reception.figures();
        StreamReport {
            ssrc: self.ssrc,
            packets: self.packets,
            payload_bytes: self.payload_bytes,
            packets_lost: figures.packets_lost,
            jitter_us: figures.jitter_us,
            payload_type: self.format.map_or(0, |format| format.payload_type),
            idle_ms: u32::try_from(now.since(self.last_heard).as_millis()).unwrap_or(u32::MAX),
            quality: self.quality.clone(),
        }
    }
}

fn add(spread: &mut Spread, value: u32, at_ms: u32, is_first: bool) {
    spread.sum += u64::from(value);
    if is_first || value < spread.min {
        (spread.min, spread.min_at_ms) = (value, at_ms);
    }
    if is_first || value > spread.max {
        (spread.max, spread.max_at_ms) = (value, at_ms);
    }
}

/// ITU-T G.107 in its usual simplification: delay and loss lower the rating R from 93.2, and R maps to a score of 1 to 4.5.
/// Jitter counts twice, because a receiver's buffer turns it into delay; 10 ms are the codec's.
fn mean_opinion_x10(round_trip_us: u32, jitter_ms: u32, loss_percent: u32) -> u32 {
    let latency_ms = f64::from(round_trip_us) / 1000.0 + 2.0 * f64::from(jitter_ms) + 10.0;
    let delay = if latency_ms < 160.0 { latency_ms / 40.0 } else { (latency_ms - 120.0) / 10.0 };
    let rating = (93.2 - delay - 2.5 * f64::from(loss_percent)).clamp(0.0, 100.0);
    let score = 1.0 + 0.035 * rating + 0.000_007 * rating * (rating - 60.0) * (100.0 - rating);
    (score.max(1.0) * 10.0) as u32
}

impl Relay {
    pub fn new() -> Box<Self> {
        Box::new(Relay {
            sinks: Box::default(),
            source: NOBODY,
            filter: FlowFilter::default(),
            medium: Medium::Audio,
            is_opaque: false,
            formats: Box::default(),
            digits_heard: DigitListener::new(),
            streams: std::array::from_fn(|_| RelayStream::default()),
        })
    }

    /// The stream with this SSRC; a new one takes the place that was silent longest.
    #[inline]
    pub fn stream(&mut self, ssrc: u32) -> &mut RelayStream {
        let at = self.streams.iter().position(|stream| stream.ssrc == ssrc && stream.packets > 0);
        match at {
            Some(at) => &mut self.streams[at],
            None => self.replace_stream(ssrc),
        }
    }

    #[cold]
    fn replace_stream(&mut self, ssrc: u32) -> &mut RelayStream {
        let oldest = (0..STREAMS_PER_RELAY_MAX)
            .min_by_key(|&at| self.streams[at].last_heard)
            .expect("a relay has room for streams");
        self.streams[oldest] = RelayStream { ssrc, ..RelayStream::default() };
        &mut self.streams[oldest]
    }

    pub fn known_stream(&mut self, ssrc: u32) -> Option<&mut RelayStream> {
        self.streams.iter_mut().find(|stream| stream.packets > 0 && stream.ssrc == ssrc)
    }

    /// Packets lost on the way to us, and the jitter of the newest stream in microseconds.
    pub fn loss_and_jitter(&self) -> (i64, u32) {
        let heard = || self.streams.iter().filter(|stream| stream.packets > 0);
        let newest = heard().max_by_key(|stream| stream.last_heard);
        let lost = heard().map(|stream| stream.reception.figures().packets_lost).sum();
        (lost, newest.map_or(0, |stream| stream.reception.figures().jitter_us))
    }

    /// Formats may mean something else from now on.
    pub fn forget_formats(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.format = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_falls_with_delay_jitter_and_loss_between_its_bounds() {
        assert_eq!(mean_opinion_x10(0, 0, 0), 44);
        assert_eq!(mean_opinion_x10(20_000, 5, 0), 43);
        assert_eq!(mean_opinion_x10(400_000, 0, 0), 33);
        assert_eq!(mean_opinion_x10(20_000, 5, 10), 34);
        assert_eq!(mean_opinion_x10(0, 0, 100), 10);
        assert_eq!(mean_opinion_x10(u32::MAX, u32::MAX, 100), 10);
    }

    #[test]
    fn a_fifth_stream_takes_the_place_of_the_one_that_was_silent_longest() {
        let mut relay = Relay::new();
        for ssrc in 1..=4 {
            let stream = relay.stream(ssrc);
            (stream.packets, stream.last_heard) = (1, Nanos::from_secs(10 - u64::from(ssrc)));
        }
        relay.stream(5).packets = 1;
        assert!(relay.known_stream(4).is_none());
        assert!((1..=3).all(|ssrc| relay.known_stream(ssrc).is_some()));
    }

    #[test]
    fn spread_keeps_the_extremes_and_when_they_were_seen() {
        let mut stream = RelayStream::default();
        for (jitter, at_ms) in [(160, 1000), (80, 2000), (800, 3000)] {
            stream.note_report(&ReportBlock { jitter, ..ReportBlock::default() }, Nanos::ZERO, at_ms);
        }
        let expected = Spread { sum: 130, min: 10, max: 100, min_at_ms: 2000, max_at_ms: 3000 };
        assert_eq!((stream.quality.samples, stream.quality.jitter_ms), (3, expected));
    }
}
