//! What one stream's receiver knows: loss, jitter, and the round trip that report blocks reveal.
//!
//! Input: number, timestamp and arrival of each authentic packet; the stream's sender reports. Output: report blocks
//! for our own RTCP, figures for people. Owns the counts of one SSRC. Does not decide which packets are played.
//! RFC 3550 §6.4.1, A.1, A.3, A.8.

use crate::rtcp::ReportBlock;
use crate::time::Nanos;

/// RFC 3550 A.1: a jump forward of this many packets or more is a restart of the source, not loss.
const DROPOUT_MAX: u16 = 3000;
/// RFC 3550 A.1: a packet this late or later is from before such a restart.
const MISORDER_MAX: u16 = 100;

/// Totals since the stream began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub packets_received: u64,
    /// Expected less received; duplicates make it negative.
    pub packets_lost: i64,
    pub jitter_us: u32,
}

/// Reception of one stream.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    received: u64,
    /// Highest sequence number with its cycles; starts as that of the first packet.
    highest: u64,
    /// What was expected before the sequence last restarted.
    expected_before: u64,
    base: u64,
    /// The number that would confirm a restart: one behind a packet that fitted nowhere.
    restart_at: Option<u16>,
    /// Scaled by 16, in ticks (RFC 3550 A.8).
    jitter_q4: u32,
    transit: Option<u32>,
    clock_rate_hz: u32,
    expected_reported: u64,
    received_reported: u64,
    last_sender_report: Option<(u32, Nanos)>,
}

impl Reception {
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one packet.
    #[inline]
    pub fn on_packet(&mut self, sequence_number: u16, rtp_timestamp: u32, arrival: Nanos, clock_rate_hz: u32) {
        self.note_sequence(sequence_number);
        self.note_arrival(rtp_timestamp, arrival, clock_rate_hz);
    }

    /// RFC 3550 A.1, without the probation: SRTP has proved that the source is one.
    fn note_sequence(&mut self, sequence_number: u16) {
        self.received += 1;
        if self.received == 1 {
            return self.begin(sequence_number);
        }
        let ahead = sequence_number.wrapping_sub(self.highest as u16);
        if ahead < DROPOUT_MAX {
            self.highest += u64::from(ahead);
            self.restart_at = None;
        } else if ahead.wrapping_neg() >= MISORDER_MAX {
            if self.restart_at == Some(sequence_number) {
                // Two in a row from elsewhere: the packet before this one was already the new sequence's.
                self.expected_before = self.expected();
                self.begin(sequence_number.wrapping_sub(1));
                self.highest += 1;
            } else {
                self.restart_at = Some(sequence_number.wrapping_add(1));
            }
        }
    }

    fn begin(&mut self, sequence_number: u16) {
        self.base = u64::from(sequence_number);
        self.highest = self.base;
        self.restart_at = None;
    }

    /// RFC 3550 A.8: J += (|D| - J) / 16, with J scaled by 16 to keep the fraction.
    fn note_arrival(&mut self, rtp_timestamp: u32, arrival: Nanos, clock_rate_hz: u32) {
        if self.clock_rate_hz != clock_rate_hz {
            // Another payload type with another clock: transit times of the two do not compare.
            self.clock_rate_hz = clock_rate_hz;
            self.transit = None;
            self.jitter_q4 = 0;
        }
        let transit = arrival.as_ticks(clock_rate_hz).wrapping_sub(rtp_timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            // A jump of more than a second is a new timeline and no jitter.
            if difference <= clock_rate_hz {
                self.jitter_q4 = self.jitter_q4 + difference - ((self.jitter_q4 + 8) >> 4);
            }
        }
    }

    /// The stream's sender reported: for LSR and DLSR of the next block.
    pub fn on_sender_report(&mut self, ntp: u64, now: Nanos) {
        self.last_sender_report = Some(((ntp >> 16) as u32, now));
    }

    /// The block about this stream, named `ssrc`. The interval of `fraction_lost` begins anew.
    pub fn report_block(&mut self, ssrc: u32, now: Nanos) -> ReportBlock {
        let fraction_lost = self.take_fraction_lost();
        let (last_sender_report, delay) = match self.last_sender_report {
            Some((middle, at)) => (middle, (now - at).as_ntp_middle()),
            None => (0, 0),
        };
        ReportBlock {
            ssrc,
            fraction_lost,
            // RFC 3550 A.3: clamped to 24 bits with a sign.
            cumulative_lost: self.lost().clamp(-0x80_0000, 0x7f_ffff) as i32,
            extended_highest_sequence_number: self.highest as u32,
            jitter: self.jitter_q4 >> 4,
            last_sender_report,
            delay_since_last_sender_report: delay,
        }
    }

    pub fn figures(&self) -> Figures {
        let jitter_us = u64::from(self.jitter_q4) * 1_000_000 / 16 / u64::from(self.clock_rate_hz.max(1));
        Figures { packets_received: self.received, packets_lost: self.lost(), jitter_us: jitter_us as u32 }
    }

    fn expected(&self) -> u64 {
        if self.received == 0 { 0 } else { self.expected_before + self.highest - self.base + 1 }
    }

    fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    /// RFC 3550 A.3: lost of expected since the last report, in 1/256; none when duplicates outnumber losses.
    fn take_fraction_lost(&mut self) -> u8 {
        let (expected_total, received_total) = (self.expected(), self.received);
        let expected = expected_total - std::mem::replace(&mut self.expected_reported, expected_total);
        let received = received_total - std::mem::replace(&mut self.received_reported, received_total);
        let lost = expected.saturating_sub(received);
        if lost == 0 { 0 } else { ((lost << 8) / expected).min(255) as u8 }
    }
}

/// The round trip that a report block about a stream of ours reveals: from our SR to the block, less what the peer held
/// it. `now` is on the clock whose NTP form our SRs carry. `None` when the block names no SR, or none that can be.
pub fn round_trip(block: &ReportBlock, now: Nanos) -> Option<Nanos> {
    if block.last_sender_report == 0 {
        return None;
    }
    // RFC 3550 §6.4.1: A - LSR - DLSR, all in 1/65536 s.
    let units =
        now.as_ntp_middle().wrapping_sub(block.last_sender_report).wrapping_sub(block.delay_since_last_sender_report);
    // The peer's rounding may make it slightly negative.
    let units = units as i32;
    if units < -0x1_0000 { None } else { Some(Nanos::from_ntp_middle(units.max(0) as u32)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: u32 = 48_000;

    fn at(packet: u64) -> Nanos {
        Nanos::from_millis(1000 + 20 * packet)
    }

    fn steady(reception: &mut Reception, packets: impl IntoIterator<Item = u64>) {
        for packet in packets {
            reception.on_packet(packet as u16, packet as u32 * 960, at(packet), CLOCK);
        }
    }

    #[test]
    fn an_even_stream_loses_nothing_and_has_no_jitter() {
        let mut reception = Reception::new();
        steady(&mut reception, 65_000..66_500);
        assert_eq!(reception.figures(), Figures { packets_received: 1500, packets_lost: 0, jitter_us: 0 });
        let block = reception.report_block(7, at(0));
        assert_eq!((block.fraction_lost, block.extended_highest_sequence_number), (0, 66_499));
    }

    #[test]
    fn a_quarter_lost_is_reported_in_this_interval_and_not_in_the_next() {
        let mut reception = Reception::new();
        steady(&mut reception, (0..401).filter(|packet| packet % 4 != 1));
        let block = reception.report_block(7, at(0));
        assert_eq!((block.fraction_lost, block.cumulative_lost), (63, 100));
        steady(&mut reception, 401..500);
        let block = reception.report_block(7, at(0));
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 100));
    }

    #[test]
    fn late_packets_count_and_duplicates_make_loss_negative() {
        let mut reception = Reception::new();
        steady(&mut reception, [10, 12, 11, 13, 13]);
        assert_eq!(reception.figures().packets_lost, -1);
        assert_eq!(reception.report_block(1, at(0)).cumulative_lost, -1);
    }

    #[test]
    fn a_restarted_sequence_is_no_loss() {
        let mut reception = Reception::new();
        steady(&mut reception, 0..100);
        steady(&mut reception, 40_000..40_100);
        let figures = reception.figures();
        assert_eq!((figures.packets_received, figures.packets_lost), (200, 0));
    }

    #[test]
    fn one_stray_packet_moves_nothing() {
        let mut reception = Reception::new();
        steady(&mut reception, 0..100);
        steady(&mut reception, [40_000]);
        steady(&mut reception, 100..200);
        assert_eq!(reception.report_block(1, at(0)).extended_highest_sequence_number, 199);
    }

    #[test]
    fn jitter_follows_the_formula_of_the_rfc() {
        let mut reception = Reception::new();
        let (mut jitter, mut before) = (0.0f64, 0.0f64);
        for packet in 0..500u64 {
            let late_ms = (packet * 7919 % 13) as f64;
            let arrival = Nanos::from_micros(1_000_000 + packet * 20_000 + (late_ms * 1000.0) as u64);
            reception.on_packet(packet as u16, packet as u32 * 960, arrival, CLOCK);
            if packet > 0 {
                jitter += ((late_ms - before).abs() * 48.0 - jitter) / 16.0;
            }
            before = late_ms;
        }
        let measured = f64::from(reception.report_block(1, at(0)).jitter);
        assert!((measured - jitter).abs() <= 1.5, "{measured} against {jitter}");
        assert!((f64::from(reception.figures().jitter_us) / 1000.0 - jitter / 48.0).abs() < 0.1);
    }

    #[test]
    fn round_trip_is_what_the_peer_did_not_hold() {
        let sent = Nanos::from_millis(5000);
        let block = ReportBlock {
            last_sender_report: sent.as_ntp_middle(),
            delay_since_last_sender_report: Nanos::from_millis(700).as_ntp_middle(),
            ..Default::default()
        };
        let measured = round_trip(&block, sent + Nanos::from_millis(745)).unwrap();
        assert!(measured.as_micros().abs_diff(45_000) < 50, "{measured:?}");
        assert_eq!(round_trip(&ReportBlock::default(), sent), None);
        assert_eq!(round_trip(&block, sent + Nanos::from_millis(699)), Some(Nanos::ZERO), "rounding");
    }

    #[test]
    fn report_block_names_the_last_sender_report_and_its_age() {
        let mut reception = Reception::new();
        reception.on_sender_report(0x1122_3344_5566_7788, at(0));
        let block = reception.report_block(1, at(50));
        assert_eq!((block.last_sender_report, block.delay_since_last_sender_report), (0x3344_5566, 65_536));
    }
}
