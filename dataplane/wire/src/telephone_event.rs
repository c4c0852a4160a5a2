//! Telephone events (DTMF digits) in RTP: heard once each, and sent.
//!
//! Input of [`DigitListener`]: the packets of a telephone-event payload type; output: a digit when one begins. Input of
//! [`DigitSender`]: a string of digits and the time; output: the payloads to send. Owns what is in progress. Does not
//! detect tones in audio, and numbers no packets: `continuity` does. RFC 4733.
//!
//! ```text
//! | event (8) |E|R| volume (6) | duration (16) |
//!
//!  time   0   20   40   60   80  100  120        200 ms
//!  sent   M                   E    E    E         M …      duration 20, 40, 60, 80, then 100 three times
//! ```

use crate::rtp::RtpHeader;
use crate::time::Nanos;

/// Digits that may wait to be sent.
pub const DIGITS_WAITING_MAX: usize = 64;

const END_BIT: u8 = 0x80;
/// In -dBm0. RFC 4733 §2.3.4 lets receivers ignore it.
const VOLUME: u8 = 10;

const STEP: Nanos = Nanos::from_millis(20);
/// Packets that say the event goes on, before the three that say it has ended.
const ONGOING_STEPS: u32 = 4;
/// RFC 4733 §2.5.1.4: the last packet is sent three times.
const END_REPETITIONS: u32 = 3;
/// From the beginning of one digit to that of the next: 100 ms of tone, 100 ms of pause.
const DIGIT_PERIOD: Nanos = Nanos::from_millis(200);
/// What `w` stands for.
const WAIT: Nanos = Nanos::from_millis(500);

/// The digit of an event code (RFC 4733 §3.2).
fn digit_of(event: u8) -> Option<char> {
    b"0123456789*#ABCD".get(usize::from(event)).map(|digit| char::from(*digit))
}

fn event_of(digit: u8) -> Option<u8> {
    b"0123456789*#ABCD".iter().position(|known| *known == digit.to_ascii_uppercase()).map(|event| event as u8)
}

/// Hears the digits of one leg.
#[derive(Clone, Debug, Default)]
pub struct DigitListener {
    last: Option<Heard>,
}

/// The newest event.
#[derive(Clone, Copy, Debug)]
struct Heard {
    ssrc: u32,
    event: u8,
    timestamp: u32,
    duration: u16,
}

impl DigitListener {
    pub fn new() -> Self {
        Self::default()
    }

    /// A digit, once per event: at the first of its packets that arrives, whichever that is.
    pub fn on_packet(&mut self, header: &RtpHeader, payload: &[u8]) -> Option<char> {
        let &[event, _, high, low, ..] = payload else { return None };
        let duration = u16::from_be_bytes([high, low]);
        let heard = Heard { ssrc: header.ssrc, event, timestamp: header.timestamp, duration };
        let last = self.last.replace(heard);
        let Some(last) = last.filter(|last| last.ssrc == header.ssrc) else { return digit_of(event) };
        // RFC 4733 §2.3.2: all packets of an event carry the timestamp of its beginning.
        let ahead = header.timestamp.wrapping_sub(last.timestamp) as i32;
        if ahead <= 0 {
            self.last = Some(Heard { duration: last.duration.max(if ahead == 0 { duration } else { 0 }), ..last });
            return None;
        }
        // RFC 4733 §2.5.1.3: an event longer than the field goes on as another segment, without a marker.
        let is_next_segment = !header.marker
            && event == last.event
            && last.duration == u16::MAX
            && header.timestamp == last.timestamp.wrapping_add(u32::from(u16::MAX));
        if is_next_segment { None } else { digit_of(event) }
    }
}

/// A packet to send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    pub payload: [u8; 4],
    /// Set on the first packet of an event.
    pub marker: bool,
    /// Of the event's beginning, the same in all its packets (RFC 4733 §2.3.2).
    pub timestamp: u32,
}

/// Sends digits on one leg, one after the other.
#[derive(Clone, Debug)]
pub struct DigitSender {
    clock_rate_hz: u32,
    waiting: [u8; DIGITS_WAITING_MAX],
    waiting_len: usize,
    state: Sending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// Nothing is due before the given time, if there is one: the pause behind the last digit.
    Resting(Option<Nanos>),
    /// `step` packets of the event are sent.
    Event { event: Event, step: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    code: u8,
    started: Nanos,
    timestamp: u32,
}

impl Event {
    /// When packet `step` is due.
    fn due_at(&self, step: u32) -> Nanos {
        Nanos(self.started.0 + STEP.0 * u64::from(step))
    }
}

impl DigitSender {
    /// `clock_rate_hz` is that of the telephone-event payload type.
    pub fn new(clock_rate_hz: u32) -> Self {
        DigitSender { clock_rate_hz, waiting: [0; DIGITS_WAITING_MAX], waiting_len: 0, state: Sending::Resting(None) }
    }

    /// Queues `0-9 * # A-D` and `w`, which waits half a second. False when a character is none of these or they do not
    /// fit; nothing is queued then.
    pub fn queue(&mut self, digits: &str) -> bool {
        let known = digits.bytes().all(|digit| digit == b'w' || event_of(digit).is_some());
        let end = self.waiting_len + digits.len();
        if !known || end > DIGITS_WAITING_MAX {
            return false;
        }
        self.waiting[self.waiting_len..end].copy_from_slice(digits.as_bytes());
        self.waiting_len = end;
        true
    }

    /// The packet that is due, if any. Call again until `None`. `timestamp` is that of the outgoing stream at `now`
    /// ([`Continuity::timestamp_at`](crate::continuity::Continuity::timestamp_at)); an event that begins takes it.
    pub fn next(&mut self, now: Nanos, timestamp: u32) -> Option<EventPacket> {
        loop {
            match self.state {
                Sending::Event { event, step } => return self.next_of_event(now, event, step),
                Sending::Resting(until) if until.is_some_and(|until| until > now) => return None,
                Sending::Resting(_) if self.waiting_len == 0 => {
                    self.state = Sending::Resting(None);
                    return None;
                }
                Sending::Resting(_) => self.begin(now, timestamp),
            }
        }
    }

    /// When [`next`](Self::next) has something to do again; `None` when idle.
    pub fn next_deadline(&self) -> Option<Nanos> {
        match self.state {
            Sending::Event { event, step } => Some(event.due_at(step)),
            Sending::Resting(until) if self.waiting_len > 0 => Some(until.unwrap_or(Nanos::ZERO)),
            Sending::Resting(_) => None,
        }
    }

    /// Nothing is being sent and nothing waits. Audio of the same stream is best left out until then.
    pub fn is_idle(&self) -> bool {
        self.waiting_len == 0 && matches!(self.state, Sending::Resting(_))
    }

    fn begin(&mut self, now: Nanos, timestamp: u32) {
        let digit = self.waiting[0];
        self.waiting.copy_within(1..self.waiting_len, 0);
        self.waiting_len -= 1;
        self.state = match event_of(digit) {
            Some(code) => Sending::Event { event: Event { code, started: now, timestamp }, step: 0 },
            None => Sending::Resting(Some(now + WAIT)),
        };
    }

    fn next_of_event(&mut self, now: Nanos, event: Event, step: u32) -> Option<EventPacket> {
        if event.due_at(step) > now {
            return None;
        }
        let next = step + 1;
        self.state = if next == ONGOING_STEPS + END_REPETITIONS {
            Sending::Resting(Some(event.started + DIGIT_PERIOD))
        } else {
            Sending::Event { event, step: next }
        };
        let duration = (STEP.as_ticks(self.clock_rate_hz) * (step.min(ONGOING_STEPS) + 1)) as u16;
        let [high, low] = duration.to_be_bytes();
        let flags = VOLUME | if step >= ONGOING_STEPS { END_BIT } else { 0 };
        Some(EventPacket { payload: [event.code, flags, high, low], marker: step == 0, timestamp: event.timestamp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(timestamp: u32, marker: bool) -> RtpHeader {
        RtpHeader::new(101, marker, 0, timestamp, 1)
    }

    fn sent(digits: &str, until: Nanos) -> Vec<(Nanos, EventPacket)> {
        let mut sender = DigitSender::new(8000);
        assert!(sender.queue(digits));
        let mut packets = Vec::new();
        let mut now = Nanos::from_secs(1);
        while let Some(deadline) = sender.next_deadline().filter(|deadline| *deadline <= until) {
            now = now.max(deadline);
            while let Some(packet) = sender.next(now, now.as_ticks(8000)) {
                packets.push((now, packet));
            }
        }
        assert!(sender.is_idle());
        packets
    }

    #[test]
    fn a_digit_is_seven_packets_the_last_three_alike() {
        let packets = sent("5", Nanos::from_secs(9));
        let durations: Vec<_> = packets.iter().map(|(_, p)| u16::from_be_bytes([p.payload[2], p.payload[3]])).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
        let ends: Vec<_> = packets.iter().map(|(_, p)| p.payload[1] & END_BIT != 0).collect();
        assert_eq!(ends, [false, false, false, false, true, true, true]);
        assert!(packets.iter().enumerate().all(|(i, (_, p))| p.marker == (i == 0) && p.payload[0] == 5));
        for pair in packets.windows(2) {
            assert_eq!(pair[1].0 - pair[0].0, STEP);
            assert_eq!(pair[0].1.timestamp, pair[1].1.timestamp);
        }
    }

    #[test]
    fn what_is_sent_is_heard_once_each_even_if_most_packets_are_lost() {
        for keep in [1, 2, 3, 7] {
            let mut listener = DigitListener::new();
            let heard: String = sent("12#w22*D", Nanos::from_secs(9))
                .chunks(7)
                .flat_map(|digit| digit.iter().step_by(keep))
                .filter_map(|(_, p)| listener.on_packet(&packet(p.timestamp, p.marker), &p.payload))
                .collect();
            assert_eq!(heard, "12#22*D");
        }
    }

    #[test]
    fn w_waits_half_a_second() {
        let packets = sent("1w2", Nanos::from_secs(9));
        assert_eq!(packets[7].0 - packets[0].0, DIGIT_PERIOD + WAIT);
    }

    #[test]
    fn what_is_no_digit_or_too_long_is_refused_whole() {
        let mut sender = DigitSender::new(8000);
        assert!(!sender.queue("12x") && sender.is_idle());
        assert!(sender.queue(&"1".repeat(60)) && !sender.queue("12345") && sender.queue("1234"));
        assert!(sender.next_deadline().is_some());
    }

    #[test]
    fn a_late_packet_of_an_earlier_event_is_not_a_digit() {
        let mut listener = DigitListener::new();
        assert_eq!(listener.on_packet(&packet(1000, true), &[1, 0, 0, 160]), Some('1'));
        assert_eq!(listener.on_packet(&packet(5000, true), &[2, 0, 0, 160]), Some('2'));
        assert_eq!(listener.on_packet(&packet(1000, false), &[1, 0x80, 3, 32]), None);
        assert_eq!(listener.on_packet(&packet(5000, false), &[2, 0x80, 3, 32]), None);
        assert_eq!(listener.on_packet(&packet(9000, true), &[2, 0, 0, 160]), Some('2'));
    }

    #[test]
    fn an_event_longer_than_its_field_is_one_digit() {
        let mut listener = DigitListener::new();
        assert_eq!(listener.on_packet(&packet(1000, true), &[1, 0, 0xff, 0xff]), Some('1'));
        assert_eq!(listener.on_packet(&packet(1000 + 0xffff, false), &[1, 0, 0, 160]), None);
    }

    #[test]
    fn hook_flash_and_short_payloads_are_no_digits() {
        let mut listener = DigitListener::new();
        assert_eq!(listener.on_packet(&packet(1, true), &[16, 0, 0, 160]), None);
        assert_eq!(listener.on_packet(&packet(2, true), &[1, 0, 0]), None);
    }
}
