//! SRTP and SRTCP.
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite { AesCm128HmacSha1_80, AesCm128HmacSha1_32, AesCm256HmacSha1_80, AeadAes128Gcm, AeadAes256Gcm }

impl Suite {
    pub const fn key_bytes(self) -> usize { match self { Suite::AesCm256HmacSha1_80 | Suite::AeadAes256Gcm => 32, _ => 16 } }
    pub const fn salt_bytes(self) -> usize { match self { Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 12, _ => 14 } }
}

/// Most bytes that protecting a packet adds.
pub const OVERHEAD_BYTES_MAX: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SrtpError {
    #[error("packet is too short or malformed for its suite")]
    Malformed,
    #[error("authentication tag is wrong")]
    Unauthentic,
    #[error("packet index was seen before or is older than the replay window")]
    Replayed,
    #[error("the key has protected as many packets as it may")]
    Exhausted,
}

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey { #[zeroize(skip)] suite: Suite, key: [u8; 32], salt: [u8; 14] }

impl MasterKey {
    /// `None` when the lengths are not those of the suite.
    pub fn new(suite: Suite, key: &[u8], salt: &[u8]) -> Option<Self> {
        if key.len() != suite.key_bytes() || salt.len() != suite.salt_bytes() { return None; }
        let mut this = MasterKey { suite, key: [0; 32], salt: [0; 14] };
        this.key[..key.len()].copy_from_slice(key);
        this.salt[..salt.len()].copy_from_slice(salt);
        Some(this)
    }
    pub fn suite(&self) -> Suite { self.suite }
    pub fn key(&self) -> &[u8] { &self.key[..self.suite.key_bytes()] }
    pub fn salt(&self) -> &[u8] { &self.salt[..self.suite.salt_bytes()] }
}

pub struct SrtpReceiver { _suite: Suite }
impl SrtpReceiver {
    pub fn new(master: &MasterKey) -> Self { SrtpReceiver { _suite: master.suite } }
    /// Returns the length of the clear packet, which replaces the protected one at the start of `packet`.
    pub fn unprotect_rtp(&mut self, _packet: &mut [u8]) -> Result<usize, SrtpError> { unimplemented!() }
    pub fn unprotect_rtcp(&mut self, _packet: &mut [u8]) -> Result<usize, SrtpError> { unimplemented!() }
}

pub struct SrtpSender { _suite: Suite }
impl SrtpSender {
    pub fn new(master: &MasterKey) -> Self { SrtpSender { _suite: master.suite } }
    /// Protects the packet in `buffer[..len]` in place; `buffer` has room for [`OVERHEAD_BYTES_MAX`] more. Returns the new length.
    pub fn protect_rtp(&mut self, _buffer: &mut [u8], _len: usize) -> Result<usize, SrtpError> { unimplemented!() }
    pub fn protect_rtcp(&mut self, _buffer: &mut [u8], _len: usize) -> Result<usize, SrtpError> { unimplemented!() }
}
