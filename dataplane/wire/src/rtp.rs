//! The RTP header: read once, rewritten in place.
//!
//! Input: a datagram that `classify` took for RTP. Output: a [`RtpHeader`] of copied fields and offsets, and functions
//! that overwrite one field of the datagram. Owns nothing. Does not touch the payload. RFC 3550 §5.1, RFC 8285.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---+-+-+-------+-+-------------+-------------------------------+
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! +---+-+-+-------+-+-------------+-------------------------------+
//! |                           timestamp                           |
//! |                             SSRC                              |
//! |                      CSRC * CC (0..15)                        |
//! | extension if X: profile (16)  | length in words (16)  | words |
//! +---------------------------------------------------------------+
//! ```

use std::ops::Range;
use thiserror::Error;

/// The header without CSRCs and extension.
pub const FIXED_BYTES: usize = 12;

const ONE_BYTE_PROFILE: u16 = 0xBEDE;
/// RFC 8285 §4.3: the low four bits are for the application.
const TWO_BYTE_PROFILE: u16 = 0x1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtpError {
    #[error("packet ends inside its header")]
    Truncated,
    #[error("RTP version is not 2")]
    Version,
    #[error("padding is longer than the payload, or zero")]
    Padding,
}

/// What the header of one packet says; offsets are from the packet's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    pub ssrc: u32,
    pub timestamp: u32,
    pub sequence_number: u16,
    pub payload_type: u8,
    pub marker: bool,
    pub csrc_count: u8,
    /// Bytes of padding behind the payload, its own count byte included; 0 without padding.
    pub padding_len: u8,
    /// "Defined by profile" of the header extension; meaningful with `has_extension`.
    pub extension_profile: u16,
    pub has_extension: bool,
    /// The extension's elements, behind its four bytes of profile and length.
    pub extension_offset: u16,
    pub extension_len: u16,
    pub payload_offset: usize,
    /// Without padding.
    pub payload_len: usize,
}

impl RtpHeader {
    /// Reads a packet in the clear, padding included.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<RtpHeader, RtpError> {
        let mut header = Self::parse_protected(packet)?;
        // RFC 3550 §5.1: the last byte of the padding counts the padding, itself included.
        if packet[0] & 0x20 != 0 {
            let padding_len = *packet.last().ok_or(RtpError::Truncated)?;
            if padding_len == 0 || usize::from(padding_len) > header.payload_len {
                return Err(RtpError::Padding);
            }
            header.padding_len = padding_len;
            header.payload_len -= usize::from(padding_len);
        }
        Ok(header)
    }

    /// Reads the part that SRTP leaves in the clear. The payload is then everything behind the header: padding is
    /// encrypted and the authentication tag is still there.
    #[inline]
    pub fn parse_protected(packet: &[u8]) -> Result<RtpHeader, RtpError> {
        let fixed: &[u8; FIXED_BYTES] = packet.first_chunk().ok_or(RtpError::Truncated)?;
        if fixed[0] >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let csrc_count = fixed[0] & 0x0f;
        let mut header = RtpHeader {
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            sequence_number: u16::from_be_bytes([fixed[2], fixed[3]]),
            payload_type: fixed[1] & 0x7f,
            marker: fixed[1] & 0x80 != 0,
            csrc_count,
            padding_len: 0,
            extension_profile: 0,
            has_extension: fixed[0] & 0x10 != 0,
            extension_offset: 0,
            extension_len: 0,
            payload_offset: FIXED_BYTES + 4 * usize::from(csrc_count),
            payload_len: 0,
        };
        if header.has_extension {
            header.read_extension(packet)?;
        }
        header.payload_len = packet.len().checked_sub(header.payload_offset).ok_or(RtpError::Truncated)?;
        Ok(header)
    }

    fn read_extension(&mut self, packet: &[u8]) -> Result<(), RtpError> {
        let start = self.payload_offset;
        let word: &[u8; 4] = packet.get(start..).and_then(|rest| rest.first_chunk()).ok_or(RtpError::Truncated)?;
        let len = 4 * usize::from(u16::from_be_bytes([word[2], word[3]]));
        self.payload_offset = start + 4 + len;
        if self.payload_offset > packet.len() {
            return Err(RtpError::Truncated);
        }
        self.extension_profile = u16::from_be_bytes([word[0], word[1]]);
        // A UDP datagram is shorter than 64 KiB, so both fit.
        self.extension_offset = u16::try_from(start + 4).map_err(|_| RtpError::Truncated)?;
        self.extension_len = u16::try_from(len).map_err(|_| RtpError::Truncated)?;
        Ok(())
    }

    /// The payload, without padding.
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        &packet[self.payload_range()]
    }

    pub fn payload_range(&self) -> Range<usize> {
        self.payload_offset..self.payload_offset + self.payload_len
    }

    /// The bytes of the header extension behind its four-byte head; empty without extension.
    pub fn extension_range(&self) -> Range<usize> {
        let start = usize::from(self.extension_offset);
        start..start + usize::from(self.extension_len)
    }

    /// The elements of an RFC 8285 extension; none for any other profile.
    pub fn extensions(&self, packet: &[u8]) -> Extensions {
        let form = match self.extension_profile {
            ONE_BYTE_PROFILE => Some(Form::OneByte),
            profile if profile & 0xfff0 == TWO_BYTE_PROFILE => Some(Form::TwoByte),
            _ => None,
        };
        let range = self.extension_range();
        let end = range.end.min(packet.len());
        Extensions { form: form.filter(|_| self.has_extension), at: range.start, end }
    }

    /// Writes a header without CSRCs and extension; `payload_len` and offsets of `self` are not used.
    /// Returns its length, or nothing when `buffer` is too short.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let fixed: &mut [u8; FIXED_BYTES] = buffer.first_chunk_mut()?;
        fixed[0] = 0x80;
        fixed[1] = (u8::from(self.marker) << 7) | (self.payload_type & 0x7f);
        fixed[2..4].copy_from_slice(&self.sequence_number.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        Some(FIXED_BYTES)
    }

    /// A header to [`write`](Self::write).
    pub fn new(payload_type: u8, marker: bool, sequence_number: u16, timestamp: u32, ssrc: u32) -> RtpHeader {
        RtpHeader {
            ssrc,
            timestamp,
            sequence_number,
            payload_type,
            marker,
            csrc_count: 0,
            padding_len: 0,
            extension_profile: 0,
            has_extension: false,
            extension_offset: 0,
            extension_len: 0,
            payload_offset: FIXED_BYTES,
            payload_len: 0,
        }
    }
}

// The setters take a packet that `RtpHeader::parse` accepted: it has the fixed header.

/// Keeps the marker.
#[inline]
pub fn set_payload_type(packet: &mut [u8], payload_type: u8) {
    packet[1] = (packet[1] & 0x80) | (payload_type & 0x7f);
}

/// Keeps the payload type.
#[inline]
pub fn set_marker(packet: &mut [u8], marker: bool) {
    packet[1] = (packet[1] & 0x7f) | (u8::from(marker) << 7);
}

#[inline]
pub fn set_sequence_number(packet: &mut [u8], sequence_number: u16) {
    packet[2..4].copy_from_slice(&sequence_number.to_be_bytes());
}

#[inline]
pub fn set_timestamp(packet: &mut [u8], timestamp: u32) {
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
}

#[inline]
pub fn set_ssrc(packet: &mut [u8], ssrc: u32) {
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    OneByte,
    TwoByte,
}

/// One element of a header extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionElement {
    /// As negotiated in SDP; 1..=14 in the one-byte form, 1..=255 in the two-byte form.
    pub id: u8,
    /// The element's value within the packet.
    pub value: Range<usize>,
    head_offset: usize,
    form: Form,
}

impl ExtensionElement {
    /// Gives the element another id. An id that the form cannot carry erases the element.
    pub fn set_id(&self, packet: &mut [u8], id: u8) {
        match self.form {
            Form::OneByte if (1..=14).contains(&id) => {
                packet[self.head_offset] = (id << 4) | (packet[self.head_offset] & 0x0f);
            }
            Form::TwoByte if id != 0 => packet[self.head_offset] = id,
            _ => self.erase(packet),
        }
    }

    /// Turns the element into padding; the packet keeps its length.
    pub fn erase(&self, packet: &mut [u8]) {
        // RFC 8285 §4.1.2, §4.1.3: padding bytes have the value 0 and may stand between elements.
        packet[self.head_offset..self.value.end].fill(0);
    }
}

/// A cursor over extension elements. It does not hold the packet, so that the packet may be rewritten between steps.
#[derive(Clone, Debug)]
pub struct Extensions {
    form: Option<Form>,
    at: usize,
    end: usize,
}

impl Extensions {
    /// The next well-formed element. An element that overruns the extension ends it.
    pub fn next(&mut self, packet: &[u8]) -> Option<ExtensionElement> {
        let form = self.form?;
        while self.at < self.end && packet[self.at] == 0 {
            self.at += 1;
        }
        if self.at >= self.end {
            return None;
        }
        let head_offset = self.at;
        let (id, start, len) = match form {
            Form::OneByte => (packet[head_offset] >> 4, head_offset + 1, usize::from(packet[head_offset] & 0x0f) + 1),
            Form::TwoByte if head_offset + 1 < self.end => {
                (packet[head_offset], head_offset + 2, usize::from(packet[head_offset + 1]))
            }
            Form::TwoByte => return None,
        };
        // RFC 8285 §4.2: id 15 is reserved and ends the one-byte form.
        if start + len > self.end || (form == Form::OneByte && id == 15) {
            self.at = self.end;
            return None;
        }
        self.at = start + len;
        Some(ExtensionElement { id, value: start..start + len, head_offset, form })
    }
}
