//! Tells what a datagram on a shared WebRTC port is, from its first two bytes.
//!
//! Input: a received datagram. Output: which parser it belongs to. Owns nothing. Does not validate: a datagram may
//! still be malformed for its parser. RFC 7983 §7, RFC 5761 §4.

/// The protocol a datagram claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    /// None of ours: ZRTP, TURN channels, QUIC, noise, or empty.
    Unknown,
}

/// Shortest datagram that a second byte can be read from and that any of the four could be.
const DATAGRAM_BYTES_MIN: usize = 2;

#[inline]
pub fn classify(datagram: &[u8]) -> Kind {
    if datagram.len() < DATAGRAM_BYTES_MIN {
        return Kind::Unknown;
    }
    // RFC 7983 §7, figure 3: the ranges of the first byte.
    match datagram[0] {
        0..=3 => Kind::Stun,
        20..=63 => Kind::Dtls,
        128..=191 => rtp_or_rtcp(datagram[1]),
        _ => Kind::Unknown,
    }
}

/// RFC 5761 §4: RTCP packet types 192–223 stand where RTP has marker and payload types 64–95, which are
/// therefore not used for RTP when both share a port.
#[inline]
fn rtp_or_rtcp(second: u8) -> Kind {
    if (192..=223).contains(&second) { Kind::Rtcp } else { Kind::Rtp }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_byte_ranges_are_those_of_rfc_7983() {
        for first in 0..=255u8 {
            let expected = match first {
                0..=3 => Kind::Stun,
                20..=63 => Kind::Dtls,
                128..=191 => Kind::Rtp,
                _ => Kind::Unknown,
            };
            assert_eq!(classify(&[first, 0x00, 0, 0]), expected, "first byte {first}");
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_its_packet_type() {
        assert_eq!(classify(&[0x80, 200]), Kind::Rtcp);
        assert_eq!(classify(&[0x81, 206]), Kind::Rtcp);
        assert_eq!(classify(&[0x80, 111]), Kind::Rtp);
        assert_eq!(classify(&[0x80, 0x80 | 111]), Kind::Rtp);
        assert_eq!(classify(&[0x80, 0x80 | 63]), Kind::Rtp);
        assert_eq!(classify(&[0x80, 0x80 | 96]), Kind::Rtp);
    }

    #[test]
    fn too_short_to_tell_is_unknown() {
        assert_eq!(classify(&[]), Kind::Unknown);
        assert_eq!(classify(&[0x80]), Kind::Unknown);
    }
}
