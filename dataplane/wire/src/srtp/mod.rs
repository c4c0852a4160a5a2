//! SRTP and SRTCP: protects and unprotects packets in place.
//!
//! Input: one RTP or RTCP packet in a buffer, keys from DTLS or SDP. Output: the same packet protected or in the
//! clear, in the same buffer. Owns session keys, rollover counters and replay windows. Does not know where keys come
//! from, never re-keys, and leaves header extensions in the clear (no RFC 6904).
//! RFC 3711, RFC 6188 (AES-256), RFC 7714 (GCM).
//!
//! ```text
//!  unprotect   header -> index estimate -> replay check -> authenticate -> decrypt -> commit index
//!              (nothing of the state changes before the last step)
//!  protect     header -> index estimate -> repeat check -> encrypt -> tag -> commit index
//! ```
//!
//! `derive` makes session keys, `transform` holds the ciphers for the `engine` of the process, `hmac` the authenticator, `index`
//! the counters and windows. Where the tag is computed apart from the cipher, a packet can be worked on in two halves, so that
//! the tags of several packets, each of another key, are made together:
//!
//! ```text
//!  begin_rtp (each packet) -> authenticated (each) -> tags (all at once) -> finish_rtp (each)
//! ```

mod derive;
mod engine;
mod hmac;
mod index;
mod mki;
mod receiver;
mod sender;
mod transform;
#[cfg(test)]
mod vectors;

pub use crosspoint_vector::{Authenticated, HmacStates, LANES};
pub use engine::Engine;
pub use index::{QUIET_TURNS, StreamState};
pub use mki::{MKI_BYTES_MAX, Mki};
pub use receiver::{Opening, SrtpReceiver};
pub use sender::{Sealing, SrtpSender};

use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Streams (SSRCs) one key keeps counters for, in each direction, for RTP and for RTCP.
pub const STREAMS_MAX: usize = 8;

/// Most bytes that protecting a packet adds: a GCM tag, the SRTCP index, and an MKI.
pub const OVERHEAD_BYTES_MAX: usize = 20 + MKI_BYTES_MAX;

/// The crypto suites of SRTP, as registered by IANA for DTLS-SRTP and SDES.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    AesCm128HmacSha1_80,
    AesCm128HmacSha1_32,
    AesCm256HmacSha1_80,
    AeadAes128Gcm,
    AeadAes256Gcm,
}

impl Suite {
    /// Length of the master key.
    pub const fn key_bytes(self) -> usize {
        match self {
            Suite::AesCm256HmacSha1_80 | Suite::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    /// Length of the master salt.
    pub const fn salt_bytes(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 12,
            _ => 14,
        }
    }

    /// Whether the tag is computed apart from the cipher, so that those of several packets can be made together.
    pub const fn has_separate_tag(self) -> bool {
        !matches!(self, Suite::AeadAes128Gcm | Suite::AeadAes256Gcm)
    }

    /// Length of the authentication tag of an SRTP packet.
    pub const fn rtp_tag_bytes(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1_32 => 4,
            _ => self.rtcp_tag_bytes(),
        }
    }

    /// RFC 3711 §5.2, RFC 4568 §6.2: the 32-bit tag is for SRTP only; SRTCP keeps 80 bits.
    pub const fn rtcp_tag_bytes(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
            _ => 10,
        }
    }
}

/// What is wrong with one packet. None of these changes any state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SrtpError {
    #[error("packet is too short or malformed for its suite, or the buffer has no room for the tag")]
    Malformed,
    #[error("authentication tag is wrong")]
    Unauthentic,
    #[error("packet index was seen before or is older than the replay window")]
    Replayed,
    #[error("the key has protected as many packets as it may")]
    Exhausted,
    #[error("the key keeps count of as many streams as it can, and all of them are in use")]
    TooManyStreams,
}

/// Master key and salt for one direction. Erased from memory when dropped; never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey {
    #[zeroize(skip)]
    suite: Suite,
    key: [u8; 32],
    salt: [u8; 14],
}

impl MasterKey {
    /// `None` when the lengths are not those of the suite.
    pub fn new(suite: Suite, key: &[u8], salt: &[u8]) -> Option<Self> {
        if key.len() != suite.key_bytes() || salt.len() != suite.salt_bytes() {
            return None;
        }
        let mut master = MasterKey { suite, key: [0; 32], salt: [0; 14] };
        master.key[..key.len()].copy_from_slice(key);
        master.salt[..salt.len()].copy_from_slice(salt);
        Some(master)
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }

    pub fn key(&self) -> &[u8] {
        &self.key[..self.suite.key_bytes()]
    }

    pub fn salt(&self) -> &[u8] {
        &self.salt[..self.suite.salt_bytes()]
    }

    /// The salt as the key derivation takes it: RFC 7714 §11 pads the shorter one with zeros.
    fn salt_padded(&self) -> &[u8; 14] {
        &self.salt
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKey").field("suite", &self.suite).finish_non_exhaustive()
    }
}

/// Rollover counters and replay windows of one direction as plain values, so that another process can go on with
/// the same keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectionState {
    pub rtp: Vec<StreamState>,
    pub rtcp: Vec<StreamState>,
    /// The index of the last SRTCP packet sent; 0 in a receiver.
    pub rtcp_index: u32,
}

/// RFC 3711 §3.4: the fixed header and sender SSRC of RTCP stay in the clear.
const RTCP_CLEAR_BYTES: usize = 8;
/// The E-bit and the 31-bit SRTCP index behind the packet.
const RTCP_INDEX_BYTES: usize = 4;
const RTCP_ENCRYPTED: u32 = 1 << 31;

/// The SSRC of the first packet in an RTCP compound, to which index and key stream belong.
fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    let clear: &[u8; RTCP_CLEAR_BYTES] = packet.first_chunk().ok_or(SrtpError::Malformed)?;
    if clear[0] >> 6 != 2 {
        return Err(SrtpError::Malformed);
    }
    Ok(u32::from_be_bytes([clear[4], clear[5], clear[6], clear[7]]))
}

/// Packets from which on sixteen lanes are faster than the processor's SHA-1 instructions one after the other.
const VECTOR_PACKETS_MIN: usize = 5;

/// The tag of `packets[i]`, whole, into `tags[i]`; at most [`LANES`] packets.
#[inline]
pub fn tags(engine: Engine, packets: &[Authenticated<'_>], tags: &mut [[u8; 20]; LANES]) {
    match engine {
        Engine::Vector(processor) if packets.len() >= VECTOR_PACKETS_MIN => {
            crosspoint_vector::tags(processor, packets, tags);
        }
        _ => {
            for (packet, tag) in packets.iter().zip(tags) {
                *tag = hmac::tag(packet.states, packet.message, packet.trailer);
            }
        }
    }
}
