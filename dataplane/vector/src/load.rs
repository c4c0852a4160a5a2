//! Bytes into registers and back: the only places that touch memory by pointer.

use std::arch::x86_64::*;

/// Up to 64 bytes; the rest of the register is zero.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn load(bytes: &[u8]) -> __m512i {
    debug_assert!(bytes.len() <= 64);
    // SAFETY: the mask covers exactly the slice's bytes (its length is at most 64); masked-out bytes are not read.
    unsafe { _mm512_maskz_loadu_epi8(mask(bytes.len()), bytes.as_ptr().cast()) }
}

/// The first bytes of the register, as many as the slice has; at most 64.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn store(bytes: &mut [u8], value: __m512i) {
    debug_assert!(bytes.len() <= 64);
    // SAFETY: the mask covers exactly the slice's bytes; masked-out bytes are not written.
    unsafe { _mm512_mask_storeu_epi8(bytes.as_mut_ptr().cast(), mask(bytes.len()), value) }
}

/// One bit a byte, for the first `len` bytes.
#[inline]
pub(crate) fn mask(len: usize) -> u64 {
    if len >= 64 { u64::MAX } else { (1 << len) - 1 }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load_block(block: &[u8; 64]) -> __m512i {
    // SAFETY: the array has 64 bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load_words(words: &[u32; 16]) -> __m512i {
    // SAFETY: the array has 64 bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn words(value: __m512i) -> [u32; 16] {
    let mut words = [0; 16];
    // SAFETY: the array has 64 bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), value) }
    words
}

#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn load_16(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the array has 16 bytes; the load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn bytes_16(value: __m128i) -> [u8; 16] {
    let mut bytes = [0; 16];
    // SAFETY: the array has 16 bytes; the store needs no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) }
    bytes
}
