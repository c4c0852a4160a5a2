//! Time as this crate sees it: nanoseconds that the caller read from one monotonic clock.
//!
//! Owns the conversions to the units that RTP and NTP use. Does not read a clock.

use std::ops::{Add, AddAssign, Sub};

/// Nanoseconds since an origin that the caller chose; also a span between two such times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    pub const ZERO: Nanos = Nanos(0);

    pub const fn from_secs(secs: u64) -> Self {
        Nanos(secs * 1_000_000_000)
    }

    pub const fn from_millis(millis: u64) -> Self {
        Nanos(millis * 1_000_000)
    }

    pub const fn from_micros(micros: u64) -> Self {
        Nanos(micros * 1_000)
    }

    pub const fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// The span since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    /// The span in ticks of an RTP clock, modulo 2^32 as RTP timestamps are.
    pub const fn as_ticks(self, clock_rate_hz: u32) -> u32 {
        (self.0 as u128 * clock_rate_hz as u128 / 1_000_000_000) as u32
    }

    /// The 64-bit NTP format: 32 bits of seconds, 32 bits of fraction.
    ///
    /// RFC 3550 §4 and §6.4.1: only differences matter to us, so any origin serves; a caller that wants wall-clock
    /// sender reports adds the offset to the NTP epoch first.
    pub const fn as_ntp(self) -> u64 {
        let seconds = self.0 / 1_000_000_000;
        let fraction = ((self.0 % 1_000_000_000) << 32) / 1_000_000_000;
        (seconds << 32) | fraction
    }

    /// The middle 32 bits of the NTP format (RFC 3550 §4), in which LSR and DLSR count: 1/65536 s.
    pub const fn as_ntp_middle(self) -> u32 {
        (self.as_ntp() >> 16) as u32
    }

    /// A span that is given in 1/65536 s.
    pub const fn from_ntp_middle(units: u32) -> Nanos {
        Nanos((units as u64 * 1_000_000_000) >> 16)
    }
}

impl Add for Nanos {
    type Output = Nanos;

    fn add(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, other: Nanos) {
        *self = *self + other;
    }
}

impl Sub for Nanos {
    type Output = Nanos;

    /// Saturating, as [`Nanos::since`].
    fn sub(self, earlier: Nanos) -> Nanos {
        self.since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_second_is_half_an_ntp_second() {
        assert_eq!(Nanos::from_millis(1500).as_ntp(), (1 << 32) | (1 << 31));
        assert_eq!(Nanos::from_millis(1500).as_ntp_middle(), 0x0001_8000);
        assert_eq!(Nanos::from_ntp_middle(0x0001_8000), Nanos::from_millis(1500));
    }

    #[test]
    fn ticks_wrap_as_rtp_timestamps_do() {
        assert_eq!(Nanos::from_millis(20).as_ticks(48_000), 960);
        let days = Nanos::from_secs(100_000);
        assert_eq!(days.as_ticks(48_000), (100_000u64 * 48_000) as u32);
    }

    #[test]
    fn a_span_into_the_past_is_zero() {
        assert_eq!(Nanos(1) - Nanos(2), Nanos::ZERO);
    }
}
