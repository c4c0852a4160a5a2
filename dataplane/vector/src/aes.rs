//! AES (FIPS 197) over counters: key schedule and key stream.
//!
//! Input: a key of 16 or 32 bytes; a first counter block. Output: key stream XORed over bytes in place. Owns round keys.

use crate::Avx512;
use crate::load::{bytes_16, load, load_16, store};
use std::arch::x86_64::*;
use zeroize::{Zeroize, ZeroizeOnDrop};

const ROUNDS_MAX: usize = 14;

/// Bytes that are worked on together: four registers.
const STRIDE_BYTES: usize = 256;

/// Round keys for encryption.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
#[repr(align(16))]
pub struct AesKey {
    round_keys: [[u8; 16]; ROUNDS_MAX + 1],
    /// 10 for a key of 16 bytes, 14 for one of 32.
    rounds: usize,
}

impl AesKey {
    /// # Panics
    /// When the key has neither 16 nor 32 bytes.
    pub fn new(_: Avx512, key: &[u8]) -> Self {
        assert!(key.len() == 16 || key.len() == 32, "an AES key has 16 or 32 bytes");
        // SAFETY: an `Avx512` exists only where the processor has the instructions.
        unsafe { expand(key) }
    }

    /// XORs the key stream over `data`. The counter is the last 32 bits of `iv` and counts up by one a block.
    #[inline]
    pub fn apply_key_stream(&self, iv: [u8; 16], data: &mut [u8]) {
        // SAFETY: a key is made with an `Avx512` only, which exists only where the processor has the instructions.
        unsafe {
            let counters = Counters::new(iv);
            match self.rounds {
                10 => apply::<10>(self, counters, data),
                _ => apply::<14>(self, counters, data),
            }
        }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn round_key(&self, round: usize) -> __m128i {
        load_16(&self.round_keys[round])
    }

    /// One block.
    #[inline]
    #[target_feature(enable = "aes")]
    pub(crate) fn encrypt<const ROUNDS: usize>(&self, block: __m128i) -> __m128i {
        let mut state = _mm_xor_si128(block, self.round_key(0));
        for round in 1..ROUNDS {
            state = _mm_aesenc_si128(state, self.round_key(round));
        }
        _mm_aesenclast_si128(state, self.round_key(ROUNDS))
    }

    /// `N` registers of four blocks.
    #[inline]
    #[target_feature(enable = "avx512f,vaes")]
    pub(crate) fn encrypt_wide<const ROUNDS: usize, const N: usize>(&self, mut blocks: [__m512i; N]) -> [__m512i; N] {
        let key = _mm512_broadcast_i32x4(self.round_key(0));
        for block in &mut blocks {
            *block = _mm512_xor_si512(*block, key);
        }
        for round in 1..ROUNDS {
            let key = _mm512_broadcast_i32x4(self.round_key(round));
            for block in &mut blocks {
                *block = _mm512_aesenc_epi128(*block, key);
            }
        }
        let key = _mm512_broadcast_i32x4(self.round_key(ROUNDS));
        for block in &mut blocks {
            *block = _mm512_aesenclast_epi128(*block, key);
        }
        blocks
    }
}

/// FIPS 197 §5.2.
#[target_feature(enable = "aes,sse2")]
fn expand(key: &[u8]) -> AesKey {
    let key_words = key.len() / 4;
    let rounds = key_words + 6;
    let mut words = [0u32; 4 * (ROUNDS_MAX + 1)];
    for (word, bytes) in words.iter_mut().zip(key.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    let mut round_constant = 1u32;
    for i in key_words..4 * (rounds + 1) {
        let mut word = words[i - 1];
        if i % key_words == 0 {
            word = substitute(word.rotate_right(8)) ^ round_constant;
            round_constant = (round_constant << 1) ^ if round_constant & 0x80 != 0 { 0x11b } else { 0 };
        } else if key_words > 6 && i % key_words == 4 {
            word = substitute(word);
        }
        words[i] = words[i - key_words] ^ word;
    }
    let mut expanded = AesKey { round_keys: [[0; 16]; ROUNDS_MAX + 1], rounds };
    for (word, target) in words.iter().zip(expanded.round_keys.as_flattened_mut().chunks_exact_mut(4)) {
        target.copy_from_slice(&word.to_le_bytes());
    }
    words.zeroize();
    expanded
}

/// SubWord: the last round shifts rows, which does nothing to four equal columns.
#[target_feature(enable = "aes,sse2")]
fn substitute(word: u32) -> u32 {
    let columns = _mm_aesenclast_si128(_mm_set1_epi32(word as i32), _mm_setzero_si128());
    _mm_cvtsi128_si32(columns) as u32
}

/// Consecutive counter blocks, four a register; the count stands in native order.
#[derive(Clone, Copy)]
pub(crate) struct Counters {
    next: __m512i,
}

impl Counters {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
    pub fn new(iv: [u8; 16]) -> Self {
        let native = swap_counts(_mm512_broadcast_i32x4(load_16(&iv)));
        Counters { next: _mm512_add_epi32(native, in_last_word([0, 1, 2, 3])) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn take<const N: usize>(&mut self) -> [__m512i; N] {
        let mut blocks = [_mm512_setzero_si512(); N];
        for block in &mut blocks {
            *block = swap_counts(self.next);
            self.next = _mm512_add_epi32(self.next, in_last_word([4; 4]));
        }
        blocks
    }
}

/// A number for the last 32 bits of each block.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_last_word(n: [i32; 4]) -> __m512i {
    _mm512_setr_epi32(0, 0, 0, n[0], 0, 0, 0, n[1], 0, 0, 0, n[2], 0, 0, 0, n[3])
}

/// Turns the last 32 bits of each block between network and native order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn swap_counts(blocks: __m512i) -> __m512i {
    let order = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 14, 13, 12);
    _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(order))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes")]
fn apply<const ROUNDS: usize>(key: &AesKey, mut counters: Counters, data: &mut [u8]) {
    for stride in data.chunks_mut(STRIDE_BYTES) {
        match stride.len().div_ceil(64) {
            1 => xor(stride, key.encrypt_wide::<ROUNDS, 1>(counters.take())),
            2 => xor(stride, key.encrypt_wide::<ROUNDS, 2>(counters.take())),
            3 => xor(stride, key.encrypt_wide::<ROUNDS, 3>(counters.take())),
            _ => xor(stride, key.encrypt_wide::<ROUNDS, 4>(counters.take())),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor<const N: usize>(data: &mut [u8], key_stream: [__m512i; N]) {
    for (bytes, key_stream) in data.chunks_mut(64).zip(key_stream) {
        let value = _mm512_xor_si512(load(bytes), key_stream);
        store(bytes, value);
    }
}

/// The encryption of zeros: the hash key of GCM.
#[target_feature(enable = "aes,sse2")]
pub(crate) fn encrypt_zeros(key: &AesKey) -> [u8; 16] {
    let zeros = _mm_setzero_si128();
    bytes_16(if key.rounds == 10 { key.encrypt::<10>(zeros) } else { key.encrypt::<14>(zeros) })
}
