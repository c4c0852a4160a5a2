//! Telephone events (DTMF) in RTP.
use crate::{rtp::RtpHeader, time::Nanos};

#[derive(Clone, Debug, Default)]
pub struct DigitListener {
    _private: (),
}
impl DigitListener {
    pub fn new() -> Self {
        Self::default()
    }
    /// A digit, once per event.
    pub fn on_packet(&mut self, _header: &RtpHeader, _payload: &[u8]) -> Option<char> {
        unimplemented!()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    pub payload: [u8; 4],
    pub marker: bool,
    /// When the event began; its RTP timestamp is the outgoing stream's at this time, the same for all its packets.
    pub started: Nanos,
}

#[derive(Clone, Debug)]
pub struct DigitSender {
    _clock_rate_hz: u32,
}
impl DigitSender {
    pub fn new(clock_rate_hz: u32) -> Self {
        DigitSender { _clock_rate_hz: clock_rate_hz }
    }
    /// False when a character is no digit or the queue is full; nothing is queued then.
    pub fn queue(&mut self, _digits: &str) -> bool {
        unimplemented!()
    }
    /// The packet that is due, if any. Call again until `None`, then at `next_deadline`.
    pub fn next(&mut self, _now: Nanos) -> Option<EventPacket> {
        unimplemented!()
    }
    pub fn next_deadline(&self) -> Option<Nanos> {
        unimplemented!()
    }
    pub fn is_idle(&self) -> bool {
        unimplemented!()
    }
}
