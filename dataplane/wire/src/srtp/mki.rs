//! The master key identifier: a few bytes in each packet that name the key (RFC 3711 §3.1, RFC 4568 §6.1).
//!
//! Input: a packet beside its authentication tag. Output: the same packet with the identifier put in or taken out. Owns its
//! value. It is not authenticated; a wrong one means another key than ours.
//!
//! ```text
//!  AES-CM   SRTP  payload | MKI | tag         SRTCP  payload | E, index | MKI | tag
//!  GCM      SRTP  payload with tag | MKI      SRTCP  payload with tag | E, index | MKI
//! ```

use super::SrtpError;

/// RFC 4568 §6.1 allows 128 bytes for a number that nobody counts up; longer ones would not fit behind a packet.
pub const MKI_BYTES_MAX: usize = 16;

/// One identifier, as long as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mki {
    bytes: [u8; MKI_BYTES_MAX],
    len: usize,
}

impl Mki {
    /// RFC 4568 §6.1: the value in network byte order, filled up with zeros in front. `None` when it does not fit into `len`.
    pub fn new(value: u32, len: usize) -> Option<Self> {
        let mut bytes = [0; MKI_BYTES_MAX];
        let field = bytes.get_mut(..len).filter(|_| len > 0)?;
        let value = value.to_be_bytes();
        let kept = len.min(value.len());
        field[len - kept..].copy_from_slice(&value[value.len() - kept..]);
        let fits = value[..value.len() - kept].iter().all(|byte| *byte == 0);
        fits.then_some(Mki { bytes, len })
    }

    #[allow(clippy::len_without_is_empty)] // none is empty
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes it out in front of the last `behind` bytes; returns the packet's new length.
    pub(super) fn take_out(&self, packet: &mut [u8], behind: usize) -> Result<usize, SrtpError> {
        let len = packet.len().checked_sub(self.len).ok_or(SrtpError::Malformed)?;
        let at = len.checked_sub(behind).ok_or(SrtpError::Malformed)?;
        if packet[at..at + self.len] != self.bytes[..self.len] {
            return Err(SrtpError::Unauthentic);
        }
        packet.copy_within(at + self.len.., at);
        Ok(len)
    }

    /// Puts it in front of the last `behind` bytes of `buffer[..len]`; returns the packet's new length.
    pub(super) fn put_in(&self, buffer: &mut [u8], len: usize, behind: usize) -> Result<usize, SrtpError> {
        let at = len.checked_sub(behind).ok_or(SrtpError::Malformed)?;
        if len + self.len > buffer.len() {
            return Err(SrtpError::Malformed);
        }
        buffer.copy_within(at..len, at + self.len);
        buffer[at..at + self.len].copy_from_slice(&self.bytes[..self.len]);
        Ok(len + self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MasterKey, SrtpReceiver, SrtpSender, Suite};
    use super::*;

    const SUITES: [Suite; 5] = [
        Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32,
        Suite::AesCm256HmacSha1_80,
        Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm,
    ];

    const RTP: &[u8] = &[0x80, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 1, 2, 3, 4, 5];
    const RTCP: &[u8] = &[0x80, 201, 0, 1, 0, 0, 0, 7];

    fn master(suite: Suite) -> MasterKey {
        MasterKey::new(suite, &vec![1; suite.key_bytes()], &vec![2; suite.salt_bytes()]).expect("right lengths")
    }

    #[test]
    fn value_stands_at_the_end_of_its_field_and_must_fit() {
        assert_eq!(Mki::new(0x0102, 4).map(|mki| mki.bytes[..4].to_vec()), Some(vec![0, 0, 1, 2]));
        assert_eq!(Mki::new(1, 6).map(|mki| mki.bytes[..6].to_vec()), Some(vec![0, 0, 0, 0, 0, 1]));
        assert_eq!(Mki::new(256, 1), None);
        assert_eq!(Mki::new(1, 0), None);
        assert_eq!(Mki::new(1, MKI_BYTES_MAX + 1), None);
    }

    #[test]
    fn identifier_stands_where_the_rfc_puts_it_and_comes_out_again() {
        for suite in SUITES {
            let mki = Mki::new(0xABCD, 4);
            let (mut plain, mut named) =
                (SrtpSender::new(&master(suite)), SrtpSender::new(&master(suite)).with_mki(mki));
            let mut receiver = SrtpReceiver::new(&master(suite)).with_mki(mki);
            for (packet, is_rtp) in [(RTP, true), (RTCP, false)] {
                let protect = |sender: &mut SrtpSender| {
                    let mut buffer = [0; 100];
                    buffer[..packet.len()].copy_from_slice(packet);
                    let len = match is_rtp {
                        true => sender.protect_rtp(&mut buffer, packet.len()),
                        false => sender.protect_rtcp(&mut buffer, packet.len()),
                    };
                    buffer[..len.expect("protects")].to_vec()
                };
                let (without, mut with) = (protect(&mut plain), protect(&mut named));
                let tag = match (suite, is_rtp) {
                    (Suite::AeadAes128Gcm | Suite::AeadAes256Gcm, _) => 0,
                    (_, true) => suite.rtp_tag_bytes(),
                    (_, false) => suite.rtcp_tag_bytes(),
                };
                let (front, back) = without.split_at(without.len() - tag);
                assert_eq!(with, [front, &[0, 0, 0xAB, 0xCD], back].concat(), "{suite:?}");
                let len = match is_rtp {
                    true => receiver.unprotect_rtp(&mut with),
                    false => receiver.unprotect_rtcp(&mut with),
                };
                assert_eq!(len.map(|len| with[..len].to_vec()), Ok(packet.to_vec()), "{suite:?}");
            }
        }
    }

    #[test]
    fn packet_with_another_identifier_or_none_is_not_opened() {
        let suite = Suite::AesCm128HmacSha1_80;
        for other in [Mki::new(2, 4), None] {
            let mut sender = SrtpSender::new(&master(suite)).with_mki(other);
            let mut receiver = SrtpReceiver::new(&master(suite)).with_mki(Mki::new(1, 4));
            let mut buffer = [0; 100];
            buffer[..RTP.len()].copy_from_slice(RTP);
            let len = sender.protect_rtp(&mut buffer, RTP.len()).expect("protects");
            assert_eq!(receiver.unprotect_rtp(&mut buffer[..len]), Err(SrtpError::Unauthentic));
        }
    }
}
