//! RTCP compound packets.
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtcpError {
    #[error("compound packet breaks RTCP syntax")]
    Malformed,
    #[error("buffer is too short")]
    BufferTooShort,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    pub ssrc: u32,
    pub fraction_lost: u8,
    /// 24 bits, signed.
    pub cumulative_lost: i32,
    pub extended_highest_sequence_number: u32,
    /// In ticks of the stream's clock.
    pub jitter: u32,
    pub last_sender_report: u32,
    pub delay_since_last_sender_report: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    pub ssrc: u32,
    pub ntp: u64,
    pub rtp_timestamp: u32,
    pub packet_count: u32,
    pub octet_count: u32,
}

/// Report blocks of one SR or RR.
#[derive(Clone, Copy, Debug)]
pub struct ReportBlocks<'a> {
    raw: &'a [u8],
}
impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;
    fn next(&mut self) -> Option<ReportBlock> {
        let _ = self.raw;
        unimplemented!()
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    SenderReport { info: SenderInfo, reports: ReportBlocks<'a> },
    ReceiverReport { ssrc: u32, reports: ReportBlocks<'a> },
    SourceDescription { raw: &'a [u8] },
    Bye { raw: &'a [u8] },
    Pli { sender_ssrc: u32, media_ssrc: u32 },
    Fir { sender_ssrc: u32, raw: &'a [u8] },
    Nack { sender_ssrc: u32, media_ssrc: u32, raw: &'a [u8] },
    Remb { sender_ssrc: u32, bitrate_bps: u64 },
    TransportCc { sender_ssrc: u32, media_ssrc: u32, raw: &'a [u8] },
    Other { packet_type: u8, raw: &'a [u8] },
}

/// Checks the whole compound packet and iterates over its packets.
pub fn parse(_compound: &[u8]) -> Result<Packets<'_>, RtcpError> {
    unimplemented!()
}

#[derive(Clone, Debug)]
pub struct Packets<'a> {
    _rest: &'a [u8],
}
impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;
    fn next(&mut self) -> Option<Packet<'a>> {
        unimplemented!()
    }
}

/// Writes SR (or RR when `sender` is `None`) with report blocks, and SDES with CNAME; returns the length.
pub fn write_report(
    _buffer: &mut [u8],
    _ssrc: u32,
    _sender: Option<&SenderInfo>,
    _blocks: &[ReportBlock],
    _cname: &str,
) -> Result<usize, RtcpError> {
    unimplemented!()
}

/// Writes a BYE for one SSRC behind whatever the caller has in front; returns its length.
pub fn write_bye(_buffer: &mut [u8], _ssrc: u32) -> Result<usize, RtcpError> {
    unimplemented!()
}

pub fn write_pli(_buffer: &mut [u8], _sender_ssrc: u32, _media_ssrc: u32) -> Result<usize, RtcpError> {
    unimplemented!()
}
