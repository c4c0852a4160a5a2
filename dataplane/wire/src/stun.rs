//! STUN messages as ICE uses them: read in place, written into a caller's buffer.
//!
//! Input: a datagram that `classify` took for STUN. Output: a [`Message`] that borrows it, or the length of a message
//! written. Owns nothing. Serves the Binding method only; no retransmission, no authentication beyond the short-term
//! credentials of ICE. RFC 8489, RFC 8445 §7.1.
//!
//! ```text
//! |0 0| type (14) | length (16) |  length counts everything behind the 20-byte head, a multiple of 4
//! |   magic cookie 0x2112A442   |
//! |   transaction id (96)       |
//! |   attributes: type (16) | length (16) | value, padded to 4 |
//! ```

use aws_lc_rs::hmac;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// The Binding method, the only one ICE uses.
pub const BINDING: u16 = 0x001;

/// A buffer of this length holds any message this module writes.
pub const MESSAGE_BYTES_MAX: usize = 256;

const HEAD_BYTES: usize = 20;
const MAGIC_COOKIE: u32 = 0x2112_A442;
const INTEGRITY_BYTES: usize = 20;
/// RFC 8489 §14.7.
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// RFC 8489 §18.3 and RFC 8445 §16.1.
mod attribute {
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const PRIORITY: u16 = 0x0024;
    pub const USE_CANDIDATE: u16 = 0x0025;
    pub const FINGERPRINT: u16 = 0x8028;
    pub const ICE_CONTROLLED: u16 = 0x8029;
    pub const ICE_CONTROLLING: u16 = 0x802A;
}

/// RFC 8489 §14: types below this must be understood by the receiver of a request.
const COMPREHENSION_OPTIONAL: u16 = 0x8000;

pub type TransactionId = [u8; 12];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StunError {
    #[error("message breaks STUN syntax")]
    Malformed,
    #[error("buffer is too short for the message")]
    BufferTooShort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A message whose syntax was checked. Attributes behind MESSAGE-INTEGRITY are not seen, FINGERPRINT excepted.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    raw: &'a [u8],
    /// Where MESSAGE-INTEGRITY and FINGERPRINT begin.
    integrity_at: Option<usize>,
    fingerprint_at: Option<usize>,
    /// The first attribute that we would have to understand and do not.
    unknown: Option<u16>,
}

impl<'a> Message<'a> {
    pub fn parse(datagram: &'a [u8]) -> Result<Self, StunError> {
        let head: &[u8; HEAD_BYTES] = datagram.first_chunk().ok_or(StunError::Malformed)?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        // RFC 8489 §5: two zero bits, the cookie, and a length that is a multiple of four and the datagram's.
        let well_formed = head[0] & 0xc0 == 0
            && head[4..8] == MAGIC_COOKIE.to_be_bytes()
            && len.is_multiple_of(4)
            && HEAD_BYTES + len == datagram.len();
        if !well_formed {
            return Err(StunError::Malformed);
        }
        let mut message = Message { raw: datagram, integrity_at: None, fingerprint_at: None, unknown: None };
        message.check_attributes()?;
        Ok(message)
    }

    fn check_attributes(&mut self) -> Result<(), StunError> {
        let mut at = HEAD_BYTES;
        while at < self.raw.len() {
            let (kind, value) = attribute_at(self.raw, at).ok_or(StunError::Malformed)?;
            match kind {
                // RFC 8489 §14.7: FINGERPRINT is the last attribute.
                attribute::FINGERPRINT if value.len() == 4 && at + 8 == self.raw.len() => {
                    self.fingerprint_at = Some(at)
                }
                // RFC 8489 §14.5: whatever else follows MESSAGE-INTEGRITY is ignored.
                _ if self.integrity_at.is_some() => {}
                attribute::MESSAGE_INTEGRITY if value.len() == INTEGRITY_BYTES => self.integrity_at = Some(at),
                attribute::MESSAGE_INTEGRITY | attribute::FINGERPRINT => return Err(StunError::Malformed),
                _ if !is_known(kind) && self.unknown.is_none() => self.unknown = Some(kind),
                _ => {}
            }
            at += 4 + value.len().next_multiple_of(4);
        }
        Ok(())
    }

    /// RFC 8489 §5: the class is bits 4 and 8 of the type.
    pub fn class(&self) -> Class {
        match (self.raw[0] & 0x01, self.raw[1] & 0x10) {
            (0, 0) => Class::Request,
            (0, _) => Class::Indication,
            (_, 0) => Class::Success,
            _ => Class::Error,
        }
    }

    /// The other twelve bits of the type.
    pub fn method(&self) -> u16 {
        let kind = u16::from_be_bytes([self.raw[0], self.raw[1]]);
        (kind & 0x000f) | ((kind & 0x00e0) >> 1) | ((kind & 0x3e00) >> 2)
    }

    pub fn transaction_id(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.raw[8..HEAD_BYTES]);
        id
    }

    /// `(our ufrag, peer's ufrag)` of a request that the peer sent us (RFC 8445 §7.2.2).
    pub fn username(&self) -> Option<(&'a str, &'a str)> {
        std::str::from_utf8(self.attribute(attribute::USERNAME)?).ok()?.split_once(':')
    }

    pub fn priority(&self) -> Option<u32> {
        self.attribute(attribute::PRIORITY)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// The controlling peer nominates this pair (RFC 8445 §8.1.1).
    pub fn use_candidate(&self) -> bool {
        self.attribute(attribute::USE_CANDIDATE).is_some()
    }

    /// The tie-breaker of a peer that claims the controlling role.
    pub fn ice_controlling(&self) -> Option<u64> {
        self.attribute(attribute::ICE_CONTROLLING)?.try_into().ok().map(u64::from_be_bytes)
    }

    pub fn ice_controlled(&self) -> Option<u64> {
        self.attribute(attribute::ICE_CONTROLLED)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// The first attribute that a receiver must understand and this one does not (RFC 8489 §6.3.1).
    pub fn unknown_attribute(&self) -> Option<u16> {
        self.unknown
    }

    pub fn error_code(&self) -> Option<u16> {
        let value = self.attribute(attribute::ERROR_CODE)?;
        Some(u16::from(*value.get(2)? & 7) * 100 + u16::from(*value.get(3)?))
    }

    /// RFC 8489 §14.2.
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        let value = self.attribute(attribute::XOR_MAPPED_ADDRESS)?;
        let port = u16::from_be_bytes([*value.get(2)?, *value.get(3)?]) ^ (MAGIC_COOKIE >> 16) as u16;
        let ip = match (value[1], value.len()) {
            (1, 8) => {
                let bits = u32::from_be_bytes(value[4..8].try_into().ok()?);
                IpAddr::V4(Ipv4Addr::from_bits(bits ^ MAGIC_COOKIE))
            }
            (2, 20) => {
                let bits = u128::from_be_bytes(value[4..20].try_into().ok()?);
                IpAddr::V6(Ipv6Addr::from_bits(bits ^ xor_pad(&self.transaction_id())))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// Whether MESSAGE-INTEGRITY is there and was made with `pwd`.
    pub fn verify_integrity(&self, pwd: &[u8]) -> bool {
        let Some(at) = self.integrity_at else { return false };
        let expected = integrity(self.raw, at, pwd);
        expected.as_ref().ct_eq(&self.raw[at + 4..at + 4 + INTEGRITY_BYTES]).into()
    }

    pub fn has_integrity(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// Whether FINGERPRINT is there and right. ICE demands it (RFC 8445 §7.1).
    pub fn verify_fingerprint(&self) -> bool {
        let Some(at) = self.fingerprint_at else { return false };
        self.raw[at + 4..at + 8] == fingerprint(&self.raw[..at]).to_be_bytes()
    }

    /// The first attribute of a kind that integrity covers.
    fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        let end = self.integrity_at.or(self.fingerprint_at).unwrap_or(self.raw.len());
        let mut at = HEAD_BYTES;
        while at < end {
            let (kind, value) = attribute_at(self.raw, at)?;
            if kind == wanted {
                return Some(value);
            }
            at += 4 + value.len().next_multiple_of(4);
        }
        None
    }
}

/// Writes the success response to a Binding request that came from `mapped`, integrity by our own `pwd`.
pub fn write_binding_success(
    buffer: &mut [u8],
    transaction_id: &TransactionId,
    mapped: SocketAddr,
    pwd: &[u8],
) -> Result<usize, StunError> {
    let mut writer = Writer::new(buffer, Class::Success, transaction_id)?;
    writer.xor_mapped_address(mapped, transaction_id)?;
    writer.finish(Some(pwd))
}

/// Writes an error response. Without `pwd` it carries no integrity: the request proved no knowledge of it
/// (RFC 8489 §9.1.3).
pub fn write_binding_error(
    buffer: &mut [u8],
    transaction_id: &TransactionId,
    code: u16,
    unknown_attribute: Option<u16>,
    pwd: Option<&[u8]>,
) -> Result<usize, StunError> {
    let mut writer = Writer::new(buffer, Class::Error, transaction_id)?;
    writer.attribute(attribute::ERROR_CODE, &[0, 0, (code / 100) as u8, (code % 100) as u8])?;
    if let Some(kind) = unknown_attribute {
        writer.attribute(attribute::UNKNOWN_ATTRIBUTES, &kind.to_be_bytes())?;
    }
    writer.finish(pwd)
}

/// What a Binding request of ICE says (RFC 8445 §7.2.2).
#[derive(Clone, Copy, Debug)]
pub struct BindingRequest<'a> {
    /// The ufrag of the agent that receives the request, which stands first in USERNAME.
    pub remote_ufrag: &'a str,
    pub local_ufrag: &'a str,
    pub priority: u32,
    pub tie_breaker: u64,
    pub controlling: bool,
    pub use_candidate: bool,
}

/// Writes a Binding request, integrity by the receiver's `pwd`.
pub fn write_binding_request(
    buffer: &mut [u8],
    transaction_id: &TransactionId,
    request: &BindingRequest<'_>,
    pwd: &[u8],
) -> Result<usize, StunError> {
    let mut writer = Writer::new(buffer, Class::Request, transaction_id)?;
    writer.username(request.remote_ufrag, request.local_ufrag)?;
    writer.attribute(attribute::PRIORITY, &request.priority.to_be_bytes())?;
    let role = if request.controlling { attribute::ICE_CONTROLLING } else { attribute::ICE_CONTROLLED };
    writer.attribute(role, &request.tie_breaker.to_be_bytes())?;
    if request.use_candidate {
        writer.attribute(attribute::USE_CANDIDATE, &[])?;
    }
    writer.finish(Some(pwd))
}

/// Appends attributes to a message in a caller's buffer.
struct Writer<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    fn new(buffer: &'b mut [u8], class: Class, transaction_id: &TransactionId) -> Result<Self, StunError> {
        let head: &mut [u8; HEAD_BYTES] = buffer.first_chunk_mut().ok_or(StunError::BufferTooShort)?;
        let kind = BINDING
            | match class {
                Class::Request => 0x000,
                Class::Indication => 0x010,
                Class::Success => 0x100,
                Class::Error => 0x110,
            };
        head[..2].copy_from_slice(&kind.to_be_bytes());
        head[2..4].fill(0);
        head[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        head[8..].copy_from_slice(transaction_id);
        Ok(Writer { buffer, len: HEAD_BYTES })
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) -> Result<(), StunError> {
        let room = self.reserve(kind, value.len())?;
        room.copy_from_slice(value);
        Ok(())
    }

    fn username(&mut self, remote: &str, local: &str) -> Result<(), StunError> {
        let room = self.reserve(attribute::USERNAME, remote.len() + 1 + local.len())?;
        let (front, back) = room.split_at_mut(remote.len());
        front.copy_from_slice(remote.as_bytes());
        back[0] = b':';
        back[1..].copy_from_slice(local.as_bytes());
        Ok(())
    }

    fn xor_mapped_address(&mut self, mapped: SocketAddr, transaction_id: &TransactionId) -> Result<(), StunError> {
        let mut value = [0; 20];
        value[2..4].copy_from_slice(&(mapped.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes());
        let len = match mapped.ip().to_canonical() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                value[4..8].copy_from_slice(&(ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes());
                8
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                value[4..20].copy_from_slice(&(ip.to_bits() ^ xor_pad(transaction_id)).to_be_bytes());
                20
            }
        };
        self.attribute(attribute::XOR_MAPPED_ADDRESS, &value[..len])
    }

    /// Ends the message with integrity, if there is a password, and fingerprint.
    fn finish(mut self, pwd: Option<&[u8]>) -> Result<usize, StunError> {
        if let Some(pwd) = pwd {
            let at = self.len;
            self.reserve(attribute::MESSAGE_INTEGRITY, INTEGRITY_BYTES)?;
            let tag = integrity(&self.buffer[..self.len], at, pwd);
            self.buffer[at + 4..self.len].copy_from_slice(tag.as_ref());
        }
        let at = self.len;
        self.reserve(attribute::FINGERPRINT, 4)?;
        let crc = fingerprint(&self.buffer[..at]);
        self.buffer[at + 4..self.len].copy_from_slice(&crc.to_be_bytes());
        Ok(self.len)
    }

    /// Makes room for a value, pads it, and keeps the message's length true.
    fn reserve(&mut self, kind: u16, value_len: usize) -> Result<&mut [u8], StunError> {
        let at = self.len;
        let end = at + 4 + value_len.next_multiple_of(4);
        let room = self.buffer.get_mut(at..end).ok_or(StunError::BufferTooShort)?;
        room[..2].copy_from_slice(&kind.to_be_bytes());
        room[2..4].copy_from_slice(&(value_len as u16).to_be_bytes());
        room[4 + value_len..].fill(0);
        self.len = end;
        self.buffer[2..4].copy_from_slice(&((end - HEAD_BYTES) as u16).to_be_bytes());
        Ok(&mut self.buffer[at + 4..at + 4 + value_len])
    }
}

fn is_known(kind: u16) -> bool {
    use attribute::*;
    kind >= COMPREHENSION_OPTIONAL
        || matches!(
            kind,
            USERNAME
                | MESSAGE_INTEGRITY
                | ERROR_CODE
                | UNKNOWN_ATTRIBUTES
                | XOR_MAPPED_ADDRESS
                | PRIORITY
                | USE_CANDIDATE
        )
}

/// Type and value of the attribute at `at`, whose padding is within the message.
fn attribute_at(raw: &[u8], at: usize) -> Option<(u16, &[u8])> {
    let head: &[u8; 4] = raw.get(at..)?.first_chunk()?;
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    raw.get(at + 4..at + 4 + len.next_multiple_of(4))?;
    Some((u16::from_be_bytes([head[0], head[1]]), &raw[at + 4..at + 4 + len]))
}

/// RFC 8489 §14.5: HMAC-SHA1 over everything before the attribute at `at`, with a length as if it were the last.
fn integrity(raw: &[u8], at: usize, pwd: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd));
    context.update(&raw[..2]);
    context.update(&((at + 4 + INTEGRITY_BYTES - HEAD_BYTES) as u16).to_be_bytes());
    context.update(&raw[4..at]);
    context.sign()
}

/// RFC 8489 §14.7: over everything before the attribute, whose length already counts it.
fn fingerprint(front: &[u8]) -> u32 {
    crc32fast::hash(front) ^ FINGERPRINT_XOR
}

/// RFC 8489 §14.2: an IPv6 address is XORed with the cookie and the transaction id.
fn xor_pad(transaction_id: &TransactionId) -> u128 {
    let mut pad = [0; 16];
    pad[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    pad[4..].copy_from_slice(transaction_id);
    u128::from_be_bytes(pad)
}

#[cfg(test)]
pub(crate) mod test_support {
    use super::*;

    /// Gives a changed message, whose last attributes are integrity and fingerprint, valid ones again.
    pub(crate) fn resign(message: &[u8], pwd: &[u8]) -> Vec<u8> {
        let at = message.len() - 8 - 4 - INTEGRITY_BYTES;
        let mut buffer = message.to_vec();
        let writer = Writer { buffer: &mut buffer, len: at };
        let len = writer.finish(Some(pwd)).expect("the message has kept its length");
        buffer.truncate(len);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

    /// RFC 5769 §2.1.
    const SAMPLE_REQUEST: &str = "
        00 01 00 58 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
        80 22 00 10 53 54 55 4e 20 74 65 73 74 20 63 6c 69 65 6e 74
        00 24 00 04 6e 00 01 ff
        80 29 00 08 93 2f f9 b1 51 26 3b 36
        00 06 00 09 65 76 74 6a 3a 68 36 76 59 20 20 20
        00 08 00 14 9a ea a7 0c bf d8 cb 56 78 1e f2 b5 b2 d3 f2 49 c1 b5 71 a2
        80 28 00 04 e5 7a 3b cf";

    /// RFC 5769 §2.2.
    const SAMPLE_RESPONSE_IPV4: &str = "
        01 01 00 3c 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
        80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20
        00 20 00 08 00 01 a1 47 e1 12 a6 43
        00 08 00 14 2b 91 f5 99 fd 9e 90 c3 8c 74 89 f9 2a f9 ba 53 f0 6b e7 d7
        80 28 00 04 c0 7d 4c 96";

    /// RFC 5769 §2.3.
    const SAMPLE_RESPONSE_IPV6: &str = "
        01 01 00 48 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
        80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20
        00 20 00 14 00 02 a1 47 01 13 a9 fa a5 d3 f1 79 bc 25 f4 b5 be d2 b9 d9
        00 08 00 14 a3 82 95 4e 4b e6 7b f1 17 84 c9 7c 82 92 c2 75 bf e3 ed 41
        80 28 00 04 c8 fb 0b 4c";

    #[test]
    fn sample_request_of_rfc_5769_is_understood() {
        let raw = bytes(SAMPLE_REQUEST);
        let message = Message::parse(&raw).unwrap();
        assert_eq!((message.class(), message.method()), (Class::Request, BINDING));
        assert_eq!(message.username(), Some(("evtj", "h6vY")));
        assert_eq!(message.priority(), Some(0x6e00_01ff));
        assert_eq!(message.ice_controlled(), Some(0x932f_f9b1_5126_3b36));
        assert_eq!((message.ice_controlling(), message.use_candidate()), (None, false));
        assert!(message.verify_integrity(PASSWORD) && message.verify_fingerprint());
        assert!(!message.verify_integrity(b"VOkJxbRl1RmTxUk/WvJxBT"));
    }

    #[test]
    fn sample_responses_of_rfc_5769_are_understood() {
        for (sample, mapped) in [
            (SAMPLE_RESPONSE_IPV4, "192.0.2.1:32853"),
            (SAMPLE_RESPONSE_IPV6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ] {
            let raw = bytes(sample);
            let message = Message::parse(&raw).unwrap();
            assert_eq!(message.class(), Class::Success);
            assert_eq!(message.xor_mapped_address(), Some(mapped.parse().unwrap()));
            assert!(message.verify_integrity(PASSWORD) && message.verify_fingerprint());
        }
    }

    #[test]
    fn every_flipped_bit_breaks_syntax_integrity_or_fingerprint() {
        let raw = bytes(SAMPLE_REQUEST);
        for bit in 0..raw.len() * 8 {
            let mut flipped = raw.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let intact = Message::parse(&flipped).is_ok_and(|m| m.verify_integrity(PASSWORD) && m.verify_fingerprint());
            assert!(!intact, "bit {bit}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        let request = BindingRequest {
            remote_ufrag: "theirs",
            local_ufrag: "ours",
            priority: 77,
            tie_breaker: 1 << 40,
            controlling: true,
            use_candidate: true,
        };
        let len = write_binding_request(&mut buffer, &[3; 12], &request, b"pwd").unwrap();
        let message = Message::parse(&buffer[..len]).unwrap();
        assert_eq!(message.username(), Some(("theirs", "ours")));
        assert_eq!((message.priority(), message.ice_controlling()), (Some(77), Some(1 << 40)));
        assert!(message.use_candidate() && message.verify_integrity(b"pwd") && message.verify_fingerprint());

        let len = write_binding_error(&mut buffer, &[3; 12], 420, Some(0x7777), Some(b"pwd")).unwrap();
        let message = Message::parse(&buffer[..len]).unwrap();
        assert_eq!((message.class(), message.error_code()), (Class::Error, Some(420)));

        for mapped in ["192.0.2.7:9", "[2001:db8::7]:9", "[::ffff:192.0.2.7]:9"] {
            let mapped: SocketAddr = mapped.parse().unwrap();
            let len = write_binding_success(&mut buffer, &[3; 12], mapped, b"pwd").unwrap();
            let read = Message::parse(&buffer[..len]).unwrap().xor_mapped_address().unwrap();
            assert_eq!((read.ip(), read.port()), (mapped.ip().to_canonical(), 9));
        }
    }

    #[test]
    fn an_attribute_that_must_be_understood_and_is_not_is_named() {
        let raw = bytes("00 01 00 08 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae 77 77 00 04 00 00 00 00");
        assert_eq!(Message::parse(&raw).unwrap().unknown_attribute(), Some(0x7777));
    }

    #[test]
    fn attributes_behind_the_integrity_are_not_seen() {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        let mut writer = Writer::new(&mut buffer, Class::Request, &[1; 12]).unwrap();
        let at = writer.len;
        writer.reserve(attribute::MESSAGE_INTEGRITY, INTEGRITY_BYTES).unwrap();
        writer.attribute(attribute::USE_CANDIDATE, &[]).unwrap();
        let len = writer.len;
        let tag = integrity(&buffer[..len], at, b"pwd");
        buffer[at + 4..at + 24].copy_from_slice(tag.as_ref());
        let message = Message::parse(&buffer[..len]).unwrap();
        assert!(message.verify_integrity(b"pwd") && !message.use_candidate());
    }

    #[test]
    fn a_buffer_too_short_is_an_error() {
        for len in 0..60 {
            let mut buffer = vec![0; len];
            let written = write_binding_success(&mut buffer, &[0; 12], "192.0.2.1:1".parse().unwrap(), b"pwd");
            assert_eq!(written, Err(StunError::BufferTooShort));
        }
    }
}
