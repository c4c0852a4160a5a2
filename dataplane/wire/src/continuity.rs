//! One outgoing stream, continuous whatever feeds it.
use crate::time::Nanos;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    pub sequence_number: u16,
    pub timestamp: u32,
    pub marker: bool,
}

#[derive(Clone, Debug)]
pub struct Continuity {
    ssrc: u32,
}
impl Continuity {
    pub fn new(ssrc: u32, _first_sequence_number: u16, _first_timestamp: u32) -> Self {
        Continuity { ssrc }
    }
    /// The SSRC of the outgoing stream.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }
    pub fn map(
        &mut self,
        _source_ssrc: u32,
        _sequence_number: u16,
        _timestamp: u32,
        _marker: bool,
        _arrival: Nanos,
        _clock_rate_hz: u32,
    ) -> Mapped {
        unimplemented!()
    }
    /// Takes a number for a packet of our own; later source packets move up by one.
    pub fn reserve(&mut self) -> u16 {
        unimplemented!()
    }
    /// The outgoing timestamp that `now` corresponds to, for packets of our own and for sender reports.
    pub fn timestamp_at(&self, _now: Nanos, _clock_rate_hz: u32) -> u32 {
        unimplemented!()
    }
}
