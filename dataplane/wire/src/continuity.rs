//! One outgoing stream that stays continuous whatever feeds it.
//!
//! Input: SSRC, sequence number and timestamp of each source packet. Output: the numbers it is sent with. Owns the
//! offsets between source and outgoing stream. Does not reorder, repeat or drop for its own reasons: what the source lost
//! stays a gap, what it sent late stays late. RFC 3550 §5.1.
//!
//! ```text
//!  source   A10 A11 A13 A12 |      B700 B701 |      B702
//!  own                      |                |  D D
//!  out       50  51  53  52 |        54   55 | 56 57 58      A late A12 is 52 even now: segments remember.
//!            \___ segment ___/ \__ segment __/   \_ segment
//! ```
//!
//! A segment begins when the source changes, its clock does, or numbers are taken for packets of our own or saved. The last
//! [`SEGMENTS_MAX`] are kept, so that a late packet takes the number it would have had.

use crate::time::Nanos;

/// Segments kept for late packets.
const SEGMENTS_MAX: usize = 8;

/// RFC 3550 A.1: a larger jump forward is another sequence, not loss.
const DROPOUT_MAX: i16 = 3000;

/// A packet further behind is of another sequence, too. A second of high-rate video.
const LATE_MAX: i16 = 1000;

/// What comes later than this is not late: numbers come round, within 22 minutes of voice, while a source is withheld.
const LATE_SPAN_MAX: Nanos = Nanos::from_secs(2);

/// The numbers a source packet is sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    pub sequence_number: u16,
    pub timestamp: u32,
    /// Set by us on the first packet of another source: playout may adapt there (RFC 3551 §4.1).
    pub marker: bool,
}

/// A run of source packets with the same offsets.
#[derive(Clone, Copy, Debug)]
struct Segment {
    source_ssrc: u32,
    clock_rate_hz: u32,
    /// First and highest sequence number of the source in it.
    first: u16,
    highest: u16,
    sequence_offset: u16,
    timestamp_offset: u32,
    /// When the highest came.
    newest_at: Nanos,
}

impl Segment {
    fn holds(&self, source_ssrc: u32, sequence_number: u16, arrival: Nanos) -> bool {
        self.source_ssrc == source_ssrc
            && self.is_recent(arrival)
            && distance(self.first, sequence_number) >= 0
            && distance(self.highest, sequence_number) <= 0
    }

    /// Whether packets of it may still be on their way.
    fn is_recent(&self, arrival: Nanos) -> bool {
        arrival.since(self.newest_at) <= LATE_SPAN_MAX
    }

    /// Whether the packet is behind the end of it, not ahead, nor of another sequence.
    fn is_late(&self, sequence_number: u16, arrival: Nanos) -> bool {
        self.is_recent(arrival) && (-LATE_MAX..=0).contains(&distance(self.highest, sequence_number))
    }

    fn map(&self, sequence_number: u16, timestamp: u32, marker: bool) -> Mapped {
        Mapped {
            sequence_number: sequence_number.wrapping_add(self.sequence_offset),
            timestamp: timestamp.wrapping_add(self.timestamp_offset),
            marker,
        }
    }
}

/// The outgoing stream.
#[derive(Clone, Debug)]
pub struct Continuity {
    ssrc: u32,
    /// The highest number given out.
    highest: u16,
    /// Timestamp and time of the newest source packet: the stream's clock runs on from here.
    newest: Option<(u32, Nanos)>,
    first_timestamp: u32,
    /// Newest first.
    segments: [Option<Segment>; SEGMENTS_MAX],
    /// The number that would confirm that the source began another sequence.
    restart_at: Option<u16>,
    /// What the source sends was not passed on for a while; its next packet follows the last one sent.
    interrupted: bool,
}

impl Continuity {
    /// The three should be random (RFC 3550 §5.1); the sequence number below 2^15, so that the first packets may be lost
    /// without the receiver's rollover counter going wrong (RFC 3711 §3.3.1).
    pub fn new(ssrc: u32, first_sequence_number: u16, first_timestamp: u32) -> Self {
        Continuity {
            ssrc,
            highest: first_sequence_number.wrapping_sub(1),
            newest: None,
            first_timestamp,
            segments: [None; SEGMENTS_MAX],
            restart_at: None,
            interrupted: false,
        }
    }

    /// Says that packets of the source may be missing because we withheld them (hold, another bridge), so that the
    /// receiver is not told of a loss that never happened.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// The SSRC of the outgoing stream.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The numbers for a source packet; `None` when it is to be dropped: it is late from a time nobody remembers, or
    /// the first sign of a jump that the next packet may confirm.
    #[inline]
    pub fn map(
        &mut self,
        source_ssrc: u32,
        sequence_number: u16,
        timestamp: u32,
        marker: bool,
        arrival: Nanos,
        clock_rate_hz: u32,
    ) -> Option<Mapped> {
        let Some(current) = self.segments[0].filter(|segment| segment.source_ssrc == source_ssrc) else {
            return self.map_other_source(source_ssrc, sequence_number, timestamp, marker, arrival, clock_rate_hz);
        };
        if current.is_late(sequence_number, arrival) {
            return self.map_late(source_ssrc, sequence_number, timestamp, marker, arrival);
        }
        match distance(current.highest, sequence_number) {
            _ if self.interrupted => Some(self.switch(source_ssrc, sequence_number, timestamp, arrival, clock_rate_hz)),
            1..=DROPOUT_MAX => {
                self.restart_at = None;
                if current.clock_rate_hz != clock_rate_hz {
                    let offset = current.sequence_offset;
                    self.begin(source_ssrc, sequence_number, offset, timestamp, arrival, clock_rate_hz);
                }
                Some(self.advance(sequence_number, timestamp, marker, arrival))
            }
            _ if self.restart_at == Some(sequence_number) => {
                Some(self.switch(source_ssrc, sequence_number, timestamp, arrival, clock_rate_hz))
            }
            _ => {
                self.restart_at = Some(sequence_number.wrapping_add(1));
                None
            }
        }
    }

    /// Takes the next number for a packet of our own. Source packets that follow move up by one.
    pub fn reserve(&mut self) -> u16 {
        self.highest = self.highest.wrapping_add(1);
        if let Some(current) = self.segments[0] {
            let first = current.highest.wrapping_add(1);
            // A segment that no packet has used yet is changed in place, so that a digit costs one and not twelve.
            if distance(current.first, current.highest) >= 0 {
                self.push(Segment { first, ..current });
            }
            if let Some(segment) = &mut self.segments[0] {
                segment.sequence_offset = segment.sequence_offset.wrapping_add(1);
            }
        }
        self.highest
    }

    /// Says that this packet of the source is not passed on although its neighbours are: its number goes to the next one,
    /// or the receiver would miss it. A packet that comes late leaves its gap.
    pub fn withhold(&mut self, source_ssrc: u32, sequence_number: u16) {
        let Some(current) = self.segments[0].filter(|segment| segment.source_ssrc == source_ssrc) else { return };
        let ahead = distance(current.highest, sequence_number);
        if self.interrupted || !(1..=DROPOUT_MAX).contains(&ahead) {
            return;
        }
        let is_unused = distance(current.first, current.highest) < 0;
        if !is_unused || ahead > 1 {
            // What is missing in between may come yet.
            let missing = Segment { highest: sequence_number.wrapping_sub(1), ..current };
            self.highest = missing.highest.wrapping_add(missing.sequence_offset);
            self.segments[0] = Some(missing);
            self.push(current);
        }
        if let Some(segment) = &mut self.segments[0] {
            (segment.first, segment.highest) = (sequence_number.wrapping_add(1), sequence_number);
            segment.sequence_offset = segment.sequence_offset.wrapping_sub(1);
        }
    }

    /// The outgoing timestamp of the moment `now`, for packets of our own and for sender reports.
    pub fn timestamp_at(&self, now: Nanos, clock_rate_hz: u32) -> u32 {
        match self.newest {
            Some((timestamp, at)) if now >= at => timestamp.wrapping_add((now - at).as_ticks(clock_rate_hz)),
            Some((timestamp, at)) => timestamp.wrapping_sub((at - now).as_ticks(clock_rate_hz)),
            None => self.first_timestamp.wrapping_add(now.as_ticks(clock_rate_hz)),
        }
    }

    fn map_other_source(
        &mut self,
        source_ssrc: u32,
        sequence_number: u16,
        timestamp: u32,
        marker: bool,
        arrival: Nanos,
        clock_rate_hz: u32,
    ) -> Option<Mapped> {
        // The newest segment of that source, if it was here: a packet behind its end is late, one ahead a return.
        let left_at = self.segments.iter().flatten().find(|segment| segment.source_ssrc == source_ssrc);
        if left_at.is_some_and(|left| left.is_late(sequence_number, arrival)) {
            return self.map_late(source_ssrc, sequence_number, timestamp, marker, arrival);
        }
        Some(self.switch(source_ssrc, sequence_number, timestamp, arrival, clock_rate_hz))
    }

    fn map_late(
        &self,
        source_ssrc: u32,
        sequence_number: u16,
        timestamp: u32,
        marker: bool,
        arrival: Nanos,
    ) -> Option<Mapped> {
        let mut segments = self.segments.iter().flatten();
        let segment = segments.find(|segment| segment.holds(source_ssrc, sequence_number, arrival))?;
        Some(segment.map(sequence_number, timestamp, marker))
    }

    /// Begins with another source: the next number, and the time that has passed.
    fn switch(
        &mut self,
        source_ssrc: u32,
        sequence_number: u16,
        timestamp: u32,
        arrival: Nanos,
        clock_rate_hz: u32,
    ) -> Mapped {
        (self.restart_at, self.interrupted) = (None, false);
        let offset = self.highest.wrapping_add(1).wrapping_sub(sequence_number);
        self.begin(source_ssrc, sequence_number, offset, timestamp, arrival, clock_rate_hz);
        self.advance(sequence_number, timestamp, true, arrival)
    }

    /// Begins a segment whose first packet is sent with the timestamp of the moment, one tick on at least.
    fn begin(
        &mut self,
        source_ssrc: u32,
        sequence_number: u16,
        sequence_offset: u16,
        timestamp: u32,
        arrival: Nanos,
        clock_rate_hz: u32,
    ) {
        let now = self.timestamp_at(arrival, clock_rate_hz);
        let moment = match self.newest {
            Some((newest, _)) if (now.wrapping_sub(newest) as i32) < 1 => newest.wrapping_add(1),
            _ => now,
        };
        self.push(Segment {
            source_ssrc,
            clock_rate_hz,
            first: sequence_number,
            highest: sequence_number.wrapping_sub(1),
            sequence_offset,
            timestamp_offset: moment.wrapping_sub(timestamp),
            newest_at: arrival,
        });
    }

    fn push(&mut self, segment: Segment) {
        self.segments.rotate_right(1);
        self.segments[0] = Some(segment);
    }

    /// Maps a packet that is ahead of all others of the current segment.
    #[inline]
    fn advance(&mut self, sequence_number: u16, timestamp: u32, marker: bool, arrival: Nanos) -> Mapped {
        let segment = self.segments[0].as_mut().expect("a segment was begun");
        (segment.highest, segment.newest_at) = (sequence_number, arrival);
        let mapped = segment.map(sequence_number, timestamp, marker);
        self.highest = mapped.sequence_number;
        self.newest = Some((mapped.timestamp, arrival));
        mapped
    }
}

/// How far `to` is ahead of `from`; negative when behind (RFC 1982).
fn distance(from: u16, to: u16) -> i16 {
    to.wrapping_sub(from) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const CLOCK: u32 = 48_000;
    const FRAME: u32 = 960;
    const A: u32 = 0xaaaa;
    const B: u32 = 0xbbbb;

    fn at(packet: u64) -> Nanos {
        Nanos::from_millis(20 * packet)
    }

    /// Maps packet `seq` of a source whose timestamps follow its numbers, arriving in the slot `slot`.
    fn map(out: &mut Continuity, source: u32, seq: u16, slot: u64) -> Option<Mapped> {
        out.map(source, seq, u32::from(seq).wrapping_mul(FRAME), false, at(slot), CLOCK)
    }

    fn sequence(mapped: Option<Mapped>) -> u16 {
        mapped.unwrap().sequence_number
    }

    #[test]
    fn one_source_keeps_its_gaps_and_its_order() {
        let mut out = Continuity::new(1, 50, 0);
        let first = map(&mut out, A, 65_534, 0).unwrap();
        assert_eq!((first.sequence_number, first.marker), (50, true));
        assert_eq!(sequence(map(&mut out, A, 65_535, 1)), 51);
        assert_eq!(sequence(map(&mut out, A, 1, 3)), 53);
        let late = map(&mut out, A, 0, 4).unwrap();
        assert_eq!((late.sequence_number, late.marker), (52, false));
    }

    #[test]
    fn another_source_goes_on_at_the_next_number_and_the_passed_time() {
        let mut out = Continuity::new(1, 50, 7000);
        let before = map(&mut out, A, 10, 0).unwrap();
        let after = map(&mut out, B, 700, 5).unwrap();
        assert_eq!(after.sequence_number, before.sequence_number + 1);
        assert_eq!(after.timestamp, before.timestamp + 5 * FRAME);
        assert!(after.marker);
        let next = map(&mut out, B, 701, 6).unwrap();
        assert_eq!((next.sequence_number, next.timestamp, next.marker), (52, after.timestamp + FRAME, false));
    }

    #[test]
    fn timestamps_rise_even_when_sources_change_within_a_tick() {
        let mut out = Continuity::new(1, 0, u32::MAX);
        let before = map(&mut out, A, 10, 3).unwrap();
        let after = map(&mut out, B, 700, 3).unwrap();
        assert_eq!(after.timestamp, before.timestamp.wrapping_add(1));
    }

    #[test]
    fn a_late_packet_of_the_former_source_takes_its_own_place() {
        let mut out = Continuity::new(1, 50, 0);
        let [first, _, third] = [10, 11, 13].map(|seq| map(&mut out, A, seq, 0).unwrap());
        assert_eq!(sequence(map(&mut out, B, 700, 4)), 54);
        let late = map(&mut out, A, 12, 5).unwrap();
        assert_eq!((late.sequence_number, late.timestamp), (52, first.timestamp + 2 * FRAME));
        assert_eq!(third.sequence_number, 53);
        assert_eq!(sequence(map(&mut out, B, 701, 5)), 55, "and does not turn the switch back");
        assert_eq!(sequence(map(&mut out, A, 14, 6)), 56, "a newer one does");
    }

    #[test]
    fn packets_of_our_own_move_the_source_up_and_never_share_a_number() {
        let mut out = Continuity::new(1, 50, 0);
        assert_eq!(out.reserve(), 50);
        assert_eq!(sequence(map(&mut out, A, 10, 0)), 51);
        assert_eq!(sequence(map(&mut out, A, 12, 1)), 53);
        assert_eq!([out.reserve(), out.reserve()], [54, 55]);
        assert_eq!(sequence(map(&mut out, A, 11, 2)), 52, "late from before");
        assert_eq!(sequence(map(&mut out, A, 14, 2)), 57);
        assert_eq!(sequence(map(&mut out, A, 13, 2)), 56, "late from behind");
    }

    #[test]
    fn no_two_packets_get_one_number_whatever_happens() {
        let mut out = Continuity::new(1, 60_000, 0);
        let mut given = HashSet::new();
        let (mut random, mut next) = (1u32, [500u16, 64_000]);
        for slot in 0..20_000u64 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let source = usize::from((random >> 16) % 97 == 0) ^ usize::from(slot / 200 % 2 == 0);
            let ahead = ((random >> 24) % 3) as u16;
            next[source] = next[source].wrapping_add(1);
            let number = match (random >> 20) % 16 {
                0 => Some(out.reserve()),
                1 => {
                    out.withhold(source as u32, next[source].wrapping_add(ahead * 200));
                    None
                }
                _ => map(&mut out, source as u32, next[source].wrapping_add(ahead * 200), slot)
                    .map(|m| m.sequence_number),
            };
            // The same source packet comes again when `ahead` falls back; its number is then the same.
            if let Some(number) = number {
                given.insert((number, source, next[source].wrapping_add(ahead * 200)));
            }
            if slot % 1000 == 999 {
                let numbers: HashSet<u16> = given.iter().map(|(number, ..)| *number).collect();
                assert_eq!(numbers.len(), given.len());
                given.clear();
            }
        }
    }

    #[test]
    fn a_jump_within_a_source_needs_two_packets_and_leaves_no_gap() {
        let mut out = Continuity::new(1, 50, 0);
        map(&mut out, A, 10, 0);
        assert_eq!(map(&mut out, A, 30_000, 1), None);
        let after = map(&mut out, A, 30_001, 2).unwrap();
        assert_eq!((after.sequence_number, after.timestamp), (51, 2 * FRAME));
        assert_eq!(map(&mut out, A, 5, 3), None, "a stray from before");
        assert_eq!(sequence(map(&mut out, A, 30_002, 3)), 52);
    }

    #[test]
    fn packets_that_we_withheld_leave_no_gap_and_those_of_before_keep_their_place() {
        let mut out = Continuity::new(1, 50, 0);
        assert_eq!(sequence(map(&mut out, A, 10, 0)), 50);
        assert_eq!(sequence(map(&mut out, A, 12, 2)), 52);
        out.interrupt();
        let resumed = map(&mut out, A, 500, 50);
        assert_eq!(sequence(resumed), 53);
        assert!(resumed.unwrap().marker);
        assert_eq!(sequence(map(&mut out, A, 11, 51)), 51, "late from before the interruption");
        assert_eq!(sequence(map(&mut out, A, 502, 52)), 55, "real loss is still told");
    }

    #[test]
    fn packets_behind_a_long_interruption_are_not_taken_for_late_ones_of_before() {
        let mut out = Continuity::new(1, 50, 0);
        for seq in 10..300 {
            map(&mut out, A, seq, u64::from(seq));
        }
        out.interrupt();
        // The source went on for a whole circle of numbers but 100, which takes 22 minutes.
        let resumed = map(&mut out, A, 199, 65_735).unwrap();
        assert_eq!((resumed.sequence_number, resumed.marker), (50 + 290, true));
        assert_eq!(sequence(map(&mut out, A, 200, 65_736)), 50 + 291);
        assert_eq!(map(&mut out, A, 150, 65_737), None, "its number of before is used up");
        map(&mut out, B, 700, 65_738);
        // The same with another source in between.
        assert_eq!(sequence(map(&mut out, A, 180, 131_000)), 50 + 293);
    }

    #[test]
    fn single_packets_that_we_withheld_leave_no_gap_and_what_was_lost_between_them_does() {
        let mut out = Continuity::new(1, 50, 0);
        assert_eq!(sequence(map(&mut out, A, 10, 0)), 50);
        out.withhold(A, 11);
        out.withhold(A, 12);
        out.withhold(B, 13);
        let next = map(&mut out, A, 13, 3).unwrap();
        assert_eq!((next.sequence_number, next.timestamp, next.marker), (51, 3 * FRAME, false));
        out.withhold(A, 15);
        assert_eq!(sequence(map(&mut out, A, 16, 6)), 53, "14 is lost so far");
        assert_eq!(sequence(map(&mut out, A, 14, 6)), 52, "and late in the end");
        out.withhold(A, 18);
        assert_eq!(out.reserve(), 55);
        assert_eq!(sequence(map(&mut out, A, 17, 9)), 54);
        assert_eq!(sequence(map(&mut out, A, 19, 9)), 56);
        out.withhold(A, 9);
        assert_eq!(sequence(map(&mut out, A, 20, 10)), 57, "a late one changes nothing");
    }

    #[test]
    fn another_clock_goes_on_at_the_passed_time_without_a_gap() {
        let mut out = Continuity::new(1, 50, 0);
        out.map(A, 10, 4800, false, at(0), 48_000);
        let mapped = out.map(A, 11, 99, false, at(1), 8_000).unwrap();
        assert_eq!((mapped.sequence_number, mapped.timestamp, mapped.marker), (51, 160, false));
    }

    #[test]
    fn the_clock_runs_between_packets() {
        let mut out = Continuity::new(1, 50, 100);
        assert_eq!(out.timestamp_at(at(1), CLOCK), 100 + FRAME);
        let mapped = map(&mut out, A, 10, 2).unwrap();
        assert_eq!(mapped.timestamp, 100 + 2 * FRAME);
        assert_eq!(out.timestamp_at(at(3), CLOCK), mapped.timestamp + FRAME);
        assert_eq!(out.timestamp_at(at(1), CLOCK), mapped.timestamp - FRAME);
    }
}
