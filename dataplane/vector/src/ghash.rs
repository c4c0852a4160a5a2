//! GHASH (NIST SP 800-38D §6.4) over the blocks of one message, four a multiplication.
//!
//! Input: the hash key; blocks with their bytes reversed. Output: the hash, bytes reversed. Owns the powers of the key.
//!
//! It is computed as POLYVAL (RFC 8452 appendix A), whose bit order is the processor's: reverse the bytes of each block, and
//! take the hash key times x. A window of up to 16 blocks is multiplied by falling powers, added up, and reduced once:
//!
//! ```text
//!  y' = reduce((y + b1) H^n + b2 H^(n-1) + … + bn H)
//! ```

use std::arch::x86_64::*;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Blocks with one reduction. 172 bytes of RTP are 12: header, ten of payload, the lengths.
const WINDOW_BLOCKS: usize = 16;

/// `powers[WINDOW_BLOCKS - n]` is the n-th power. Three zeros behind, because four are loaded at any place.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
#[repr(align(16))]
pub(crate) struct HashKey {
    powers: [u128; WINDOW_BLOCKS + 3],
}

impl HashKey {
    #[target_feature(enable = "avx512f,avx512dq,vpclmulqdq,pclmulqdq")]
    pub fn new(encrypted_zeros: [u8; 16]) -> Self {
        let first = times_x(u128::from_be_bytes(encrypted_zeros));
        let mut powers = [0; WINDOW_BLOCKS + 3];
        powers[WINDOW_BLOCKS - 1] = first;
        for i in (0..WINDOW_BLOCKS - 1).rev() {
            powers[i] = multiply(powers[i + 1], first);
        }
        HashKey { powers }
    }

    /// The powers from the n-th down, one a lane.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn powers_from(&self, n: usize) -> __m512i {
        let four: &[u128; 4] =
            self.powers[WINDOW_BLOCKS - n..].first_chunk().expect("three zeros are behind the last power");
        // SAFETY: the array has 64 bytes; the load needs no alignment.
        unsafe { _mm512_loadu_si512(four.as_ptr().cast()) }
    }
}

/// RFC 8452 appendix A: doubling modulo x^128 + x^127 + x^126 + x^121 + 1. Runs at key exchange; no branch on the key.
fn times_x(value: u128) -> u128 {
    let carry = (value >> 127).wrapping_neg();
    (value << 1) ^ (carry & 0xC200_0000_0000_0000_0000_0000_0000_0001)
}

#[target_feature(enable = "avx512f,avx512dq,vpclmulqdq,pclmulqdq")]
fn multiply(a: u128, b: u128) -> u128 {
    let mut product = Product::zero();
    product.add(_mm512_zextsi128_si512(from_u128(a)), _mm512_zextsi128_si512(from_u128(b)));
    to_u128(product.reduce())
}

#[inline]
#[target_feature(enable = "sse2")]
fn from_u128(value: u128) -> __m128i {
    _mm_set_epi64x((value >> 64) as i64, value as i64)
}

#[inline]
#[target_feature(enable = "sse2")]
fn to_u128(value: __m128i) -> u128 {
    u128::from_le_bytes(crate::load::bytes_16(value))
}

/// Sums of products before reduction, one a lane.
#[derive(Clone, Copy)]
struct Product {
    low: __m512i,
    middle: __m512i,
    high: __m512i,
}

impl Product {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn zero() -> Self {
        let zero = _mm512_setzero_si512();
        Product { low: zero, middle: zero, high: zero }
    }

    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn add(&mut self, a: __m512i, b: __m512i) {
        self.low = _mm512_xor_si512(self.low, _mm512_clmulepi64_epi128::<0x00>(a, b));
        self.high = _mm512_xor_si512(self.high, _mm512_clmulepi64_epi128::<0x11>(a, b));
        let crossed = (_mm512_clmulepi64_epi128::<0x01>(a, b), _mm512_clmulepi64_epi128::<0x10>(a, b));
        // 0x96: the XOR of all three.
        self.middle = _mm512_ternarylogic_epi64::<0x96>(self.middle, crossed.0, crossed.1);
    }

    /// The sum over the lanes, times x^-128, modulo the polynomial: twice a multiple of it is added that clears the low 64 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,pclmulqdq")]
    fn reduce(self) -> __m128i {
        let middle = sum(self.middle);
        let low = _mm_xor_si128(sum(self.low), _mm_slli_si128::<8>(middle));
        let high = _mm_xor_si128(sum(self.high), _mm_srli_si128::<8>(middle));
        let polynomial = _mm_set_epi64x(0, 0xC200_0000_0000_0000_u64 as i64);
        let folded = _mm_xor_si128(swap(low), _mm_clmulepi64_si128::<0x00>(low, polynomial));
        let folded_again = _mm_xor_si128(swap(folded), _mm_clmulepi64_si128::<0x00>(folded, polynomial));
        _mm_xor_si128(high, folded_again)
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn swap(halves: __m128i) -> __m128i {
    _mm_shuffle_epi32::<0b01_00_11_10>(halves)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn sum(lanes: __m512i) -> __m128i {
    let half = _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
    _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

/// One message on its way through the hash.
pub(crate) struct Ghash<'k> {
    key: &'k HashKey,
    product: Product,
    /// The hash of the windows before; goes into the first block of the next.
    carried: __m128i,
    /// Blocks still to come in this window.
    window: usize,
    /// Blocks still to come in this window and all after it.
    left: usize,
}

impl<'k> Ghash<'k> {
    /// For a message of `blocks` blocks in all.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn new(key: &'k HashKey, blocks: usize) -> Self {
        Ghash { key, product: Product::zero(), carried: _mm_setzero_si128(), window: 0, left: blocks }
    }

    /// Takes the next `count` blocks, at most four, in the first lanes; the other lanes are zero. `in_segment`: how many blocks
    /// come in fours from here, these included, before a shorter step may follow.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,vpclmulqdq,pclmulqdq")]
    pub fn absorb(&mut self, blocks: __m512i, count: usize, in_segment: usize) {
        let mut blocks = blocks;
        if self.window == 0 {
            self.window = window(in_segment, self.left);
            blocks = _mm512_xor_si512(blocks, _mm512_zextsi128_si512(self.carried));
        }
        self.product.add(blocks, self.key.powers_from(self.window));
        self.window -= count;
        self.left -= count;
        if self.window == 0 {
            self.carried = self.product.reduce();
            self.product = Product::zero();
        }
    }

    /// Blocks still to come before the last one, which holds the lengths.
    #[inline]
    pub fn left_but_lengths(&self) -> usize {
        self.left - 1
    }

    #[inline]
    pub fn finish(self) -> __m128i {
        debug_assert_eq!(self.left, 0, "every block was announced");
        self.carried
    }
}

/// How many blocks the next window takes: all that are left, or else as many as end at the end of a step.
#[inline]
fn window(in_segment: usize, left: usize) -> usize {
    if left <= WINDOW_BLOCKS {
        left
    } else if in_segment >= WINDOW_BLOCKS {
        WINDOW_BLOCKS
    } else {
        in_segment + (WINDOW_BLOCKS - in_segment) / 4 * 4
    }
}
