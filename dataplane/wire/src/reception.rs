//! Reception statistics of one stream.
use crate::{rtcp::ReportBlock, time::Nanos};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub packets_received: u64,
    pub packets_lost: i64,
    pub jitter_us: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Reception {
    _private: (),
}
impl Reception {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn on_packet(&mut self, _sequence_number: u16, _rtp_timestamp: u32, _arrival: Nanos, _clock_rate_hz: u32) {
        unimplemented!()
    }
    /// The peer's sender report for this stream came in: for LSR and DLSR.
    pub fn on_sender_report(&mut self, _ntp: u64, _now: Nanos) {
        unimplemented!()
    }
    /// The block about this stream; the interval of `fraction_lost` begins anew.
    pub fn report_block(&mut self, _ssrc: u32, _now: Nanos) -> ReportBlock {
        unimplemented!()
    }
    pub fn figures(&self) -> Figures {
        unimplemented!()
    }
}

/// From a report block about a stream we send: the time from our SR to this block, less what the peer held it.
/// `None` when the block names no SR. `now` is on the clock our SRs took their NTP time from.
pub fn round_trip(_block: &ReportBlock, _now: Nanos) -> Option<Nanos> {
    unimplemented!()
}
