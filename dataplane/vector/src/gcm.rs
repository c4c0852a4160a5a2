//! AES-GCM (NIST SP 800-38D §7) with a nonce of 12 bytes.
//!
//! Input: nonce, associated data, payload. Output: the payload encrypted or decrypted in place, and its tag. Owns round keys
//! and hash key. Does not compare tags: who opens a packet does, in constant time.

use crate::Avx512;
use crate::aes::{AesKey, Counters, encrypt_zeros};
use crate::ghash::{Ghash, HashKey};
use crate::load::{bytes_16, load, load_16, mask, store};
use std::arch::x86_64::*;

const STRIDE_BYTES: usize = 256;

pub struct GcmKey {
    cipher: AesKey,
    hash: HashKey,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Seal,
    Open,
}

impl GcmKey {
    /// # Panics
    /// When the key has neither 16 nor 32 bytes.
    pub fn new(proof: Avx512, key: &[u8]) -> Self {
        let cipher = AesKey::new(proof, key);
        // SAFETY: an `Avx512` exists only where the processor has the instructions.
        let hash = unsafe { HashKey::new(encrypt_zeros(&cipher)) };
        GcmKey { cipher, hash }
    }

    /// Encrypts `payload` and returns its tag.
    #[inline]
    pub fn seal(&self, nonce: &[u8; 12], associated: &[u8], payload: &mut [u8]) -> [u8; 16] {
        self.run(Way::Seal, nonce, associated, payload)
    }

    /// Decrypts `payload` and returns the tag that an authentic packet has.
    #[inline]
    pub fn open(&self, nonce: &[u8; 12], associated: &[u8], payload: &mut [u8]) -> [u8; 16] {
        self.run(Way::Open, nonce, associated, payload)
    }

    #[inline]
    fn run(&self, way: Way, nonce: &[u8; 12], associated: &[u8], payload: &mut [u8]) -> [u8; 16] {
        // SAFETY: a key is made with an `Avx512` only, which exists only where the processor has the instructions.
        unsafe {
            match self.cipher.rounds() {
                10 => run::<10>(self, way, nonce, associated, payload),
                _ => run::<14>(self, way, nonce, associated, payload),
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,aes,vaes,pclmulqdq,vpclmulqdq")]
fn run<const ROUNDS: usize>(
    key: &GcmKey,
    way: Way,
    nonce: &[u8; 12],
    associated: &[u8],
    payload: &mut [u8],
) -> [u8; 16] {
    // SP 800-38D §7.1: the counter starts at 1 for the tag, at 2 for the payload.
    let mut iv = [0; 16];
    iv[..12].copy_from_slice(nonce);
    iv[15] = 1;
    let tag_mask = key.cipher.encrypt::<ROUNDS>(load_16(&iv));
    iv[15] = 2;
    let mut counters = Counters::new(iv);

    let (associated_blocks, payload_blocks) = (associated.len().div_ceil(16), payload.len().div_ceil(16));
    let mut ghash = Ghash::new(&key.hash, associated_blocks + payload_blocks + 1);
    let mut left = associated_blocks;
    for bytes in associated.chunks(64) {
        let count = left.min(4);
        ghash.absorb(reverse(load(bytes)), count, left);
        left -= count;
    }
    for stride in payload.chunks_mut(STRIDE_BYTES) {
        match stride.len().div_ceil(64) {
            1 => crypt(way, stride, key.cipher.encrypt_wide::<ROUNDS, 1>(counters.take()), &mut ghash),
            2 => crypt(way, stride, key.cipher.encrypt_wide::<ROUNDS, 2>(counters.take()), &mut ghash),
            3 => crypt(way, stride, key.cipher.encrypt_wide::<ROUNDS, 3>(counters.take()), &mut ghash),
            _ => crypt(way, stride, key.cipher.encrypt_wide::<ROUNDS, 4>(counters.take()), &mut ghash),
        }
    }
    let bits = |bytes: usize| (bytes as i64) * 8;
    let lengths = _mm_set_epi64x(bits(associated.len()), bits(payload.len()));
    ghash.absorb(_mm512_zextsi128_si512(lengths), 1, 1);
    bytes_16(_mm_xor_si128(reverse_16(ghash.finish()), tag_mask))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,vpclmulqdq,pclmulqdq")]
fn crypt<const N: usize>(way: Way, stride: &mut [u8], key_stream: [__m512i; N], ghash: &mut Ghash<'_>) {
    for (bytes, key_stream) in stride.chunks_mut(64).zip(key_stream) {
        let before = load(bytes);
        let after = _mm512_xor_si512(before, key_stream);
        store(bytes, after);
        // Zeros fill the last block; behind the bytes there is key stream.
        let encrypted = if way == Way::Open { before } else { _mm512_maskz_mov_epi8(mask(bytes.len()), after) };
        let count = bytes.len().div_ceil(16);
        ghash.absorb(reverse(encrypted), count, ghash.left_but_lengths());
    }
}

/// The bytes of each block backwards.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn reverse(blocks: __m512i) -> __m512i {
    let order = _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(order))
}

#[inline]
#[target_feature(enable = "ssse3")]
fn reverse_16(block: __m128i) -> __m128i {
    _mm_shuffle_epi8(block, _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0))
}
