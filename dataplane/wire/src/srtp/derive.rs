//! Makes session keys from a master key: the AES-CM pseudo-random function with key derivation rate zero.
//!
//! Input: a master key. Output: key bytes for one purpose. Runs at key exchange only. RFC 3711 §4.3, RFC 6188 §3,
//! RFC 7714 §11.

use super::MasterKey;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256, Block};

/// RFC 3711 §4.3.2: which session key is wanted; SRTCP adds three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Label {
    Encryption = 0,
    Authentication = 1,
    Salt = 2,
}

/// The two protocols have their own session keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Rtp,
    Rtcp,
}

/// Fills `output` with the session key for `label`.
pub(super) fn derive(master: &MasterKey, protocol: Protocol, label: Label, output: &mut [u8]) {
    let label = label as u8 + if protocol == Protocol::Rtcp { 3 } else { 0 };
    // RFC 3711 §4.3.1: x = key_id XOR master_salt, where the label is the top byte of the 56-bit key_id.
    let mut iv = [0u8; 16];
    iv[..14].copy_from_slice(master.salt_padded());
    iv[7] ^= label;
    match master.key().len() {
        32 => key_stream(&Aes256::new_from_slice(master.key()).expect("a 32-byte key"), iv, output),
        _ => key_stream(&Aes128::new_from_slice(master.key()).expect("a 16-byte key"), iv, output),
    }
}

/// RFC 3711 §4.3.3: the AES-CM key stream whose counter is the last two bytes of `iv`.
fn key_stream<C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>>(
    cipher: &C,
    mut iv: [u8; 16],
    output: &mut [u8],
) {
    for (counter, chunk) in (0u16..).zip(output.chunks_mut(16)) {
        iv[14..].copy_from_slice(&counter.to_be_bytes());
        let mut block = Block::from(iv);
        cipher.encrypt_block(&mut block);
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
}
