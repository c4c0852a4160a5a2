//! RTCP compound packets: read by iteration, written into a caller's buffer.
//!
//! Input: a compound packet in the clear. Output: [`Packet`]s that borrow it, or the length of what was written. Owns
//! nothing; `reception` makes the figures. Does not decide when to report. RFC 3550 §6, RFC 4585 (PLI, NACK),
//! RFC 5104 (FIR), draft-alvestrand-rmcat-remb, draft-holmer-rmcat-transport-wide-cc.
//!
//! ```text
//! |V=2|P| count/format | packet type (8) | length in words - 1 (16) | SSRC of the sender (32) | … |
//! ```

use thiserror::Error;

/// RFC 3550 §12.1 and RFC 4585 §6.1.
mod packet_type {
    pub const SENDER_REPORT: u8 = 200;
    pub const RECEIVER_REPORT: u8 = 201;
    pub const SOURCE_DESCRIPTION: u8 = 202;
    pub const BYE: u8 = 203;
    pub const TRANSPORT_FEEDBACK: u8 = 205;
    pub const PAYLOAD_FEEDBACK: u8 = 206;
}

/// The FMT field of feedback packets.
mod format {
    /// RFC 4585 §6.2.1.
    pub const NACK: u8 = 1;
    pub const TRANSPORT_CC: u8 = 15;
    /// RFC 4585 §6.3.1.
    pub const PLI: u8 = 1;
    /// RFC 5104 §4.3.1.
    pub const FIR: u8 = 4;
    /// RFC 4585 §6.4: application layer feedback, whose content names itself.
    pub const APPLICATION: u8 = 15;
}

const HEAD_BYTES: usize = 4;
const SSRC_BYTES: usize = 4;
const SENDER_INFO_BYTES: usize = 20;
const REPORT_BLOCK_BYTES: usize = 24;
const SDES_CNAME: u8 = 1;

/// RFC 3550 §6.4.1: the count field has five bits.
pub const REPORT_BLOCKS_MAX: usize = 31;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtcpError {
    #[error("compound packet breaks RTCP syntax")]
    Malformed,
    #[error("buffer is too short, or the content too long, for the packet")]
    TooLong,
}

/// What a receiver says of one stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    pub ssrc: u32,
    /// Of the packets expected since the last report, in 1/256.
    pub fraction_lost: u8,
    /// 24 bits, signed: duplicates make it negative.
    pub cumulative_lost: i32,
    pub extended_highest_sequence_number: u32,
    /// In ticks of the stream's clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last SR from this source; 0 when there was none.
    pub last_sender_report: u32,
    /// In 1/65536 s.
    pub delay_since_last_sender_report: u32,
}

/// What a sender says of its own stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    pub ssrc: u32,
    /// 32 bits of seconds, 32 bits of fraction.
    pub ntp: u64,
    /// The same moment on the stream's clock.
    pub rtp_timestamp: u32,
    pub packet_count: u32,
    /// Of payload.
    pub octet_count: u32,
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    SenderReport {
        info: SenderInfo,
        reports: ReportBlocks<'a>,
    },
    ReceiverReport {
        ssrc: u32,
        reports: ReportBlocks<'a>,
    },
    SourceDescription {
        chunks: &'a [u8],
    },
    Bye {
        ssrcs: Ssrcs<'a>,
    },
    /// The receiver wants a key frame of `media_ssrc`.
    Pli {
        sender_ssrc: u32,
        media_ssrc: u32,
    },
    /// The same, for the SSRCs in the entries.
    Fir {
        sender_ssrc: u32,
        entries: FirEntries<'a>,
    },
    /// The receiver misses packets.
    Nack {
        sender_ssrc: u32,
        media_ssrc: u32,
        missing: Missing<'a>,
    },
    /// The receiver's estimate of the bit rate that reaches it.
    Remb {
        sender_ssrc: u32,
        bitrate_bps: u64,
        ssrcs: Ssrcs<'a>,
    },
    /// Arrival times of packets by transport-wide number; `feedback` begins at the base sequence number.
    TransportCc {
        sender_ssrc: u32,
        media_ssrc: u32,
        feedback: &'a [u8],
    },
    /// Well-formed, and none of the above.
    Other {
        packet_type: u8,
        body: &'a [u8],
    },
}

/// Checks a whole compound packet, so that iterating over it cannot fail.
pub fn parse(compound: &[u8]) -> Result<Packets<'_>, RtcpError> {
    let mut packets = Packets { rest: compound };
    // RFC 5506: a compound may be a single packet of any type, so the first is not demanded to be a report.
    while !packets.rest.is_empty() {
        packets.next_checked()?;
    }
    if compound.is_empty() { Err(RtcpError::Malformed) } else { Ok(Packets { rest: compound }) }
}

/// The packets of a compound that [`parse`] accepted.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        if self.rest.is_empty() { None } else { self.next_checked().ok() }
    }
}

impl<'a> Packets<'a> {
    fn next_checked(&mut self) -> Result<Packet<'a>, RtcpError> {
        let head: &[u8; HEAD_BYTES] = self.rest.first_chunk().ok_or(RtcpError::Malformed)?;
        if head[0] >> 6 != 2 {
            return Err(RtcpError::Malformed);
        }
        let len = HEAD_BYTES + 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (packet, rest) = self.rest.split_at_checked(len).ok_or(RtcpError::Malformed)?;
        let body = without_padding(packet, rest)?;
        self.rest = rest;
        read_packet(head[0] & 0x1f, head[1], body).ok_or(RtcpError::Malformed)
    }
}

/// RFC 3550 §6.4.1: only the last packet of a compound may be padded; its last byte counts the padding.
fn without_padding<'a>(packet: &'a [u8], rest: &[u8]) -> Result<&'a [u8], RtcpError> {
    let body = &packet[HEAD_BYTES..];
    if packet[0] & 0x20 == 0 {
        return Ok(body);
    }
    let padding = usize::from(*body.last().ok_or(RtcpError::Malformed)?);
    if padding == 0 || !padding.is_multiple_of(4) || padding > body.len() || !rest.is_empty() {
        return Err(RtcpError::Malformed);
    }
    Ok(&body[..body.len() - padding])
}

fn read_packet(count: u8, packet_type: u8, body: &[u8]) -> Option<Packet<'_>> {
    let blocks = usize::from(count) * REPORT_BLOCK_BYTES;
    Some(match packet_type {
        packet_type::SENDER_REPORT => {
            let (info, rest) = body.split_at_checked(SSRC_BYTES + SENDER_INFO_BYTES)?;
            Packet::SenderReport { info: read_sender_info(info)?, reports: ReportBlocks { raw: rest.get(..blocks)? } }
        }
        packet_type::RECEIVER_REPORT => {
            let (ssrc, rest) = body.split_at_checked(SSRC_BYTES)?;
            Packet::ReceiverReport { ssrc: word(ssrc, 0)?, reports: ReportBlocks { raw: rest.get(..blocks)? } }
        }
        packet_type::SOURCE_DESCRIPTION => Packet::SourceDescription { chunks: body },
        packet_type::BYE => Packet::Bye { ssrcs: Ssrcs { raw: body.get(..usize::from(count) * SSRC_BYTES)? } },
        packet_type::TRANSPORT_FEEDBACK | packet_type::PAYLOAD_FEEDBACK => read_feedback(count, packet_type, body)?,
        _ => Packet::Other { packet_type, body },
    })
}

fn read_sender_info(raw: &[u8]) -> Option<SenderInfo> {
    Some(SenderInfo {
        ssrc: word(raw, 0)?,
        ntp: (u64::from(word(raw, 4)?) << 32) | u64::from(word(raw, 8)?),
        rtp_timestamp: word(raw, 12)?,
        packet_count: word(raw, 16)?,
        octet_count: word(raw, 20)?,
    })
}

/// RFC 4585 §6.1: SSRC of the sender, SSRC of the media, feedback control information.
fn read_feedback(format: u8, packet_type: u8, body: &[u8]) -> Option<Packet<'_>> {
    let (sender_ssrc, media_ssrc) = (word(body, 0)?, word(body, 4)?);
    let information = &body[8..];
    Some(match (packet_type, format) {
        (packet_type::TRANSPORT_FEEDBACK, format::NACK) => {
            Packet::Nack { sender_ssrc, media_ssrc, missing: Missing { raw: information, pending: None } }
        }
        (packet_type::TRANSPORT_FEEDBACK, format::TRANSPORT_CC) if information.len() >= 8 => {
            Packet::TransportCc { sender_ssrc, media_ssrc, feedback: information }
        }
        (packet_type::PAYLOAD_FEEDBACK, format::PLI) => Packet::Pli { sender_ssrc, media_ssrc },
        (packet_type::PAYLOAD_FEEDBACK, format::FIR) => {
            Packet::Fir { sender_ssrc, entries: FirEntries { raw: information } }
        }
        (packet_type::PAYLOAD_FEEDBACK, format::APPLICATION) if information.starts_with(b"REMB") => {
            read_remb(sender_ssrc, information)?
        }
        _ => Packet::Other { packet_type, body },
    })
}

/// draft-alvestrand-rmcat-remb §2.2: "REMB", count of SSRCs (8), exponent (6), mantissa (18), SSRCs.
fn read_remb(sender_ssrc: u32, information: &[u8]) -> Option<Packet<'_>> {
    let word = word(information, 4)?;
    let (exponent, mantissa) = ((word >> 18) & 0x3f, u64::from(word & 0x3_ffff));
    // More than 64 bits hold is a peer without a limit.
    let bitrate_bps = if exponent > 46 && mantissa != 0 { u64::MAX } else { mantissa.wrapping_shl(exponent) };
    let ssrcs = information.get(8..8 + SSRC_BYTES * (word >> 24) as usize)?;
    Some(Packet::Remb { sender_ssrc, bitrate_bps, ssrcs: Ssrcs { raw: ssrcs } })
}

/// The report blocks of one SR or RR.
#[derive(Clone, Copy, Debug)]
pub struct ReportBlocks<'a> {
    raw: &'a [u8],
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (raw, rest) = self.raw.split_at_checked(REPORT_BLOCK_BYTES)?;
        self.raw = rest;
        let loss = word(raw, 4)?;
        Some(ReportBlock {
            ssrc: word(raw, 0)?,
            fraction_lost: (loss >> 24) as u8,
            // The sign of the 24-bit number is carried over.
            cumulative_lost: (loss << 8) as i32 >> 8,
            extended_highest_sequence_number: word(raw, 8)?,
            jitter: word(raw, 12)?,
            last_sender_report: word(raw, 16)?,
            delay_since_last_sender_report: word(raw, 20)?,
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Ssrcs<'a> {
    raw: &'a [u8],
}

impl Iterator for Ssrcs<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let ssrc = word(self.raw, 0)?;
        self.raw = &self.raw[SSRC_BYTES..];
        Some(ssrc)
    }
}

/// `(SSRC, sequence number of the command)` (RFC 5104 §4.3.1.1).
#[derive(Clone, Copy, Debug)]
pub struct FirEntries<'a> {
    raw: &'a [u8],
}

impl Iterator for FirEntries<'_> {
    type Item = (u32, u8);

    fn next(&mut self) -> Option<(u32, u8)> {
        let (entry, rest) = self.raw.split_at_checked(8)?;
        self.raw = rest;
        Some((word(entry, 0)?, entry[4]))
    }
}

/// Sequence numbers of a NACK, each pair of PID and bit mask spelled out (RFC 4585 §6.2.1).
#[derive(Clone, Copy, Debug)]
pub struct Missing<'a> {
    raw: &'a [u8],
    /// The pair that is being spelled out.
    pending: Option<(u16, u16)>,
}

impl Iterator for Missing<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if let Some((first, mask)) = self.pending.filter(|(_, mask)| *mask != 0) {
            self.pending = Some((first, mask & (mask - 1)));
            return Some(first.wrapping_add(1 + mask.trailing_zeros() as u16));
        }
        let pair = word(self.raw, 0)?;
        self.raw = &self.raw[4..];
        let (first, mask) = ((pair >> 16) as u16, pair as u16);
        self.pending = Some((first, mask));
        Some(first)
    }
}

/// Writes a report with at most [`REPORT_BLOCKS_MAX`] blocks — an SR when we send, else an RR — and the SDES with CNAME
/// that RFC 3550 §6.1 wants in each compound. Returns the length.
pub fn write_report(
    buffer: &mut [u8],
    ssrc: u32,
    sender: Option<&SenderInfo>,
    blocks: &[ReportBlock],
    cname: &str,
) -> Result<usize, RtcpError> {
    if blocks.len() > REPORT_BLOCKS_MAX {
        return Err(RtcpError::TooLong);
    }
    let mut writer = Writer { buffer, len: 0 };
    let packet_type = if sender.is_some() { packet_type::SENDER_REPORT } else { packet_type::RECEIVER_REPORT };
    let start = writer.begin(blocks.len() as u8, packet_type, ssrc)?;
    if let Some(info) = sender {
        writer.put(&info.ntp.to_be_bytes())?;
        writer.words(&[info.rtp_timestamp, info.packet_count, info.octet_count])?;
    }
    blocks.iter().try_for_each(|block| writer.report_block(block))?;
    writer.end(start);
    writer.source_description(ssrc, cname)?;
    Ok(writer.len)
}

/// Writes a BYE; returns its length. In a compound it stands behind a report (RFC 3550 §6.1).
pub fn write_bye(buffer: &mut [u8], ssrc: u32) -> Result<usize, RtcpError> {
    let mut writer = Writer { buffer, len: 0 };
    let start = writer.begin(1, packet_type::BYE, ssrc)?;
    Ok(writer.end(start))
}

/// Writes a picture loss indication; returns its length. Alone it is a reduced-size packet (RFC 5506).
pub fn write_pli(buffer: &mut [u8], sender_ssrc: u32, media_ssrc: u32) -> Result<usize, RtcpError> {
    let mut writer = Writer { buffer, len: 0 };
    let start = writer.begin(format::PLI, packet_type::PAYLOAD_FEEDBACK, sender_ssrc)?;
    writer.words(&[media_ssrc])?;
    Ok(writer.end(start))
}

/// Writes a NACK for one sequence number and those of the 16 behind it that `mask` names.
pub fn write_nack(
    buffer: &mut [u8],
    sender_ssrc: u32,
    media_ssrc: u32,
    first: u16,
    mask: u16,
) -> Result<usize, RtcpError> {
    let mut writer = Writer { buffer, len: 0 };
    let start = writer.begin(format::NACK, packet_type::TRANSPORT_FEEDBACK, sender_ssrc)?;
    writer.words(&[media_ssrc, (u32::from(first) << 16) | u32::from(mask)])?;
    Ok(writer.end(start))
}

/// Appends packets to a caller's buffer.
struct Writer<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl Writer<'_> {
    /// Writes the head, without a length yet, and the first SSRC. Returns where the packet begins.
    fn begin(&mut self, count: u8, packet_type: u8, ssrc: u32) -> Result<usize, RtcpError> {
        let start = self.len;
        self.put(&[0x80 | count, packet_type, 0, 0])?;
        self.words(&[ssrc])?;
        Ok(start)
    }

    /// Puts the length of the packet that begins at `start` into its head. Returns where it ends.
    fn end(&mut self, start: usize) -> usize {
        let words = ((self.len - start) / 4 - 1) as u16;
        self.buffer[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
        self.len
    }

    fn report_block(&mut self, block: &ReportBlock) -> Result<(), RtcpError> {
        self.words(&[
            block.ssrc,
            (u32::from(block.fraction_lost) << 24) | (block.cumulative_lost as u32 & 0xff_ffff),
            block.extended_highest_sequence_number,
            block.jitter,
            block.last_sender_report,
            block.delay_since_last_sender_report,
        ])
    }

    /// RFC 3550 §6.5: one chunk; its items end with a zero byte and are padded with zeros.
    fn source_description(&mut self, ssrc: u32, cname: &str) -> Result<(), RtcpError> {
        let start = self.begin(1, packet_type::SOURCE_DESCRIPTION, ssrc)?;
        let len = u8::try_from(cname.len()).map_err(|_| RtcpError::TooLong)?;
        self.put(&[SDES_CNAME, len])?;
        self.put(cname.as_bytes())?;
        self.put(&[0; 4][..4 - (self.len - start) % 4])?;
        self.end(start);
        Ok(())
    }

    fn words(&mut self, words: &[u32]) -> Result<(), RtcpError> {
        words.iter().try_for_each(|word| self.put(&word.to_be_bytes()))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), RtcpError> {
        let room = self.buffer.get_mut(self.len..self.len + bytes.len()).ok_or(RtcpError::TooLong)?;
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }
}

/// The big-endian word at `at`.
fn word(raw: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*raw.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 0x0102_0304,
        fraction_lost: 25,
        cumulative_lost: -3,
        extended_highest_sequence_number: 0x0001_ffff,
        jitter: 480,
        last_sender_report: 0xaabb_ccdd,
        delay_since_last_sender_report: 65_536,
    };

    const INFO: SenderInfo =
        SenderInfo { ssrc: 9, ntp: 0x1122_3344_5566_7788, rtp_timestamp: 960, packet_count: 5, octet_count: 800 };

    #[test]
    fn a_sender_report_is_read_back_and_carries_its_cname() {
        for cname in ["", "a", "ab", "abc", "abcd", "0123456789abcdef"] {
            let mut buffer = [0xff; 256];
            let len = write_report(&mut buffer, 9, Some(&INFO), &[BLOCK, ReportBlock::default()], cname).unwrap();
            assert_eq!(len % 4, 0);
            let packets: Vec<_> = parse(&buffer[..len]).unwrap().collect();
            let Packet::SenderReport { info, reports } = packets[0] else { panic!("{packets:?}") };
            assert_eq!(info, INFO);
            assert_eq!(reports.collect::<Vec<_>>(), [BLOCK, ReportBlock::default()]);
            let Packet::SourceDescription { chunks } = packets[1] else { panic!("{packets:?}") };
            assert_eq!(&chunks[4..6], [SDES_CNAME, cname.len() as u8]);
            assert_eq!(&chunks[6..6 + cname.len()], cname.as_bytes());
            assert!(chunks[6 + cname.len()..].iter().all(|byte| *byte == 0) && chunks.len() > 6 + cname.len());
            assert_eq!(packets.len(), 2);
        }
    }

    #[test]
    fn a_receiver_report_with_a_bye_is_one_compound() {
        let mut buffer = [0; 128];
        let len = write_report(&mut buffer, 9, None, &[], "c").unwrap();
        let len = len + write_bye(&mut buffer[len..], 9).unwrap();
        let packets: Vec<_> = parse(&buffer[..len]).unwrap().collect();
        assert!(matches!(packets[0], Packet::ReceiverReport { ssrc: 9, .. }));
        let Packet::Bye { ssrcs } = packets[2] else { panic!("{packets:?}") };
        assert_eq!(ssrcs.collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn feedback_is_understood() {
        let mut buffer = [0; 64];
        let len = write_pli(&mut buffer, 1, 2).unwrap();
        assert!(matches!(parse(&buffer[..len]).unwrap().next(), Some(Packet::Pli { sender_ssrc: 1, media_ssrc: 2 })));

        let len = write_nack(&mut buffer, 1, 2, 65_534, 0b1000_0000_0000_0101).unwrap();
        let Some(Packet::Nack { missing, .. }) = parse(&buffer[..len]).unwrap().next() else { panic!() };
        assert_eq!(missing.collect::<Vec<_>>(), [65_534, 65_535, 1, 14]);

        let fir = [0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 3, 0, 0, 0];
        let Some(Packet::Fir { entries, .. }) = parse(&fir).unwrap().next() else { panic!() };
        assert_eq!(entries.collect::<Vec<_>>(), [(7, 3)]);

        let remb = [0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0x0b, 0xe8, 0x48, 0, 0, 0, 7];
        let Some(Packet::Remb { bitrate_bps, ssrcs, .. }) = parse(&remb).unwrap().next() else { panic!() };
        assert_eq!(bitrate_bps, 0x3_e848 << 2);
        assert_eq!(ssrcs.collect::<Vec<_>>(), [7]);

        let transport_cc = [0x8f, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0, 1, 0, 0, 0, 0];
        let Some(Packet::TransportCc { feedback, media_ssrc: 2, .. }) = parse(&transport_cc).unwrap().next() else {
            panic!()
        };
        assert_eq!(feedback.len(), 8);
    }

    #[test]
    fn an_impossible_bit_rate_saturates() {
        let mut remb = [0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 0, 0xff, 0xff, 0xff];
        assert!(matches!(parse(&remb).unwrap().next(), Some(Packet::Remb { bitrate_bps: u64::MAX, .. })));
        remb[17..].fill(0);
        assert!(matches!(parse(&remb).unwrap().next(), Some(Packet::Remb { bitrate_bps: 0, .. })));
    }

    #[test]
    fn broken_compounds_are_refused_whole() {
        let mut buffer = [0; 128];
        let len = write_report(&mut buffer, 9, Some(&INFO), &[BLOCK], "c").unwrap();
        for cut in (0..len).filter(|cut| *cut != 52) {
            assert!(parse(&buffer[..cut]).is_err(), "cut at {cut}");
        }
        for (at, byte) in [(0, 0x41), (0, 0x82), (1, 206), (3, 200)] {
            let mut broken = buffer;
            broken[at] = byte;
            let refused = parse(&broken[..len]).is_err();
            assert!(refused || (at, byte) == (1, 206), "byte {at} = {byte}");
        }
    }

    #[test]
    fn padding_is_taken_off_the_last_packet_only() {
        let mut buffer = [0; 64];
        let len = write_bye(&mut buffer, 9).unwrap();
        buffer[0] |= 0x20;
        buffer[3] += 1;
        buffer[len + 3] = 4;
        assert!(matches!(parse(&buffer[..len + 4]).unwrap().next(), Some(Packet::Bye { .. })));
        let twice = [&buffer[..len + 4], &buffer[..len + 4]].concat();
        assert!(parse(&twice).is_err());
    }
}
