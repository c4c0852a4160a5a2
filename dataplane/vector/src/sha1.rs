//! HMAC-SHA1 (RFC 2104, FIPS 180-4) of up to sixteen messages at once, one a 32-bit lane.
//!
//! Input: for each message its key's states, its bytes and a short trailer. Output: the tags. Owns nothing.
//!
//! ```text
//!  message | trailer | 0x80 | zeros | length in bits     whole blocks are read where they lie, the end is put together here
//!  block b of all lanes --transpose--> word t of all lanes --80 rounds--> states; a lane that has ended keeps its state
//! ```

use crate::load::{load_block, load_words, words};
use crate::{Authenticated, Avx512, HmacStates, LANES, TRAILER_BYTES_MAX};
use std::arch::x86_64::*;

const BLOCK_BYTES: usize = 64;
/// A partial block, the trailer, the padding's first byte and the length.
const END_BYTES: usize = 2 * BLOCK_BYTES;
const _: () = assert!(BLOCK_BYTES - 1 + TRAILER_BYTES_MAX + 1 + 8 <= END_BYTES);

/// The tag of `packets[i]` into `tags[i]`.
///
/// # Panics
/// With more than [`LANES`] packets, or a trailer longer than [`TRAILER_BYTES_MAX`].
#[inline]
pub fn tags(_: Avx512, packets: &[Authenticated<'_>], tags: &mut [[u8; 20]; LANES]) {
    assert!(packets.len() <= LANES, "one packet a lane");
    if packets.is_empty() {
        return;
    }
    // SAFETY: an `Avx512` exists only where the processor has the instructions.
    unsafe { all_tags(packets, tags) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn all_tags(packets: &[Authenticated<'_>], tags: &mut [[u8; 20]; LANES]) {
    let mut ends = [[0u8; END_BYTES]; LANES];
    let mut blocks = [0; LANES];
    for ((packet, end), blocks) in packets.iter().zip(&mut ends).zip(&mut blocks) {
        *blocks = fill_end(packet, end);
    }
    let mut state = load_states(packets, |states| &states.inner);
    for b in 0..blocks.iter().copied().max().unwrap_or(0) {
        let mut live = 0u16;
        let mut sources: [&[u8; BLOCK_BYTES]; LANES] = [ends[0].first_chunk().expect("longer than a block"); LANES];
        for (lane, packet) in packets.iter().enumerate().filter(|(lane, _)| b < blocks[*lane]) {
            live |= 1 << lane;
            sources[lane] = source(packet.message, &ends[lane], b);
        }
        let after = compress(state, transpose(sources));
        for (word, after) in state.iter_mut().zip(after) {
            *word = _mm512_mask_mov_epi32(*word, live, after);
        }
    }
    let outer = compress(load_states(packets, |states| &states.outer), outer_block(state));
    for (i, word) in outer.into_iter().enumerate() {
        for (tag, word) in tags.iter_mut().zip(words(word)) {
            tag[4 * i..][..4].copy_from_slice(&word.to_be_bytes());
        }
    }
}

/// What follows the whole blocks of the message. Returns how many blocks there are in all.
#[inline]
fn fill_end(packet: &Authenticated<'_>, end: &mut [u8; END_BYTES]) -> usize {
    let whole = packet.message.len() / BLOCK_BYTES;
    let rest = &packet.message[whole * BLOCK_BYTES..];
    let total = rest.len() + packet.trailer.len();
    end[..rest.len()].copy_from_slice(rest);
    end[rest.len()..total].copy_from_slice(packet.trailer);
    end[total] = 0x80;
    // FIPS 180-4 §5.1.1; the key's pad was a block before the message.
    let end_blocks = (total + 1 + 8).div_ceil(BLOCK_BYTES);
    let bits = 8 * (BLOCK_BYTES + whole * BLOCK_BYTES + total) as u64;
    end[end_blocks * BLOCK_BYTES - 8..][..8].copy_from_slice(&bits.to_be_bytes());
    whole + end_blocks
}

#[inline]
fn source<'a>(message: &'a [u8], end: &'a [u8; END_BYTES], block: usize) -> &'a [u8; BLOCK_BYTES] {
    let at = block * BLOCK_BYTES;
    let whole_bytes = message.len() / BLOCK_BYTES * BLOCK_BYTES;
    let from = if at < whole_bytes { &message[at..] } else { &end[at - whole_bytes..] };
    from.first_chunk().expect("a whole block")
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_states(packets: &[Authenticated<'_>], of: impl Fn(&HmacStates) -> &[u32; 5]) -> [__m512i; 5] {
    let mut columns = [[0; LANES]; 5];
    for (lane, packet) in packets.iter().enumerate() {
        for (column, word) in columns.iter_mut().zip(of(packet.states)) {
            column[lane] = *word;
        }
    }
    let mut state = [_mm512_setzero_si512(); 5];
    for (word, column) in state.iter_mut().zip(&columns) {
        *word = load_words(column);
    }
    state
}

/// The inner hash, padded, behind the block of the outer pad.
#[inline]
#[target_feature(enable = "avx512f")]
fn outer_block(inner: [__m512i; 5]) -> [__m512i; 16] {
    let mut block = [_mm512_setzero_si512(); 16];
    block[..5].copy_from_slice(&inner);
    block[5] = _mm512_set1_epi32(i32::MIN);
    block[15] = _mm512_set1_epi32(8 * (BLOCK_BYTES as i32 + 20));
    block
}

/// Sixteen blocks become sixteen words of each: rows to columns, network to native order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose(sources: [&[u8; BLOCK_BYTES]; LANES]) -> [__m512i; 16] {
    let native = _mm512_broadcast_i32x4(_mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
    let mut rows = [_mm512_setzero_si512(); 16];
    for (row, source) in rows.iter_mut().zip(sources) {
        *row = _mm512_shuffle_epi8(load_block(source), native);
    }
    // Within each 128-bit lane L: rows[4g + j] becomes word 4L + j of rows 4g to 4g + 3.
    for g in 0..4 {
        let [a, b, c, d] = [rows[4 * g], rows[4 * g + 1], rows[4 * g + 2], rows[4 * g + 3]];
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        rows[4 * g] = _mm512_unpacklo_epi64(ab_low, cd_low);
        rows[4 * g + 1] = _mm512_unpackhi_epi64(ab_low, cd_low);
        rows[4 * g + 2] = _mm512_unpacklo_epi64(ab_high, cd_high);
        rows[4 * g + 3] = _mm512_unpackhi_epi64(ab_high, cd_high);
    }
    // Between the lanes: 0x88 takes lanes 0 and 2 of both, 0xdd lanes 1 and 3.
    let mut columns = [_mm512_setzero_si512(); 16];
    for j in 0..4 {
        let even_low = _mm512_shuffle_i32x4::<0x88>(rows[j], rows[4 + j]);
        let odd_low = _mm512_shuffle_i32x4::<0xdd>(rows[j], rows[4 + j]);
        let even_high = _mm512_shuffle_i32x4::<0x88>(rows[8 + j], rows[12 + j]);
        let odd_high = _mm512_shuffle_i32x4::<0xdd>(rows[8 + j], rows[12 + j]);
        columns[j] = _mm512_shuffle_i32x4::<0x88>(even_low, even_high);
        columns[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even_low, even_high);
        columns[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high);
        columns[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high);
    }
    columns
}

/// FIPS 180-4 §4.1.1 as truth tables of three inputs.
const CHOOSE: i32 = 0xca;
const PARITY: i32 = 0x96;
const MAJORITY: i32 = 0xe8;

/// FIPS 180-4 §6.1.2.
#[inline]
#[target_feature(enable = "avx512f")]
fn compress(state: [__m512i; 5], mut block: [__m512i; 16]) -> [__m512i; 5] {
    let mut s = state;
    twenty::<0, CHOOSE>(&mut s, &mut block, 0x5a82_7999);
    twenty::<20, PARITY>(&mut s, &mut block, 0x6ed9_eba1);
    twenty::<40, MAJORITY>(&mut s, &mut block, 0x8f1b_bcdc_u32 as i32);
    twenty::<60, PARITY>(&mut s, &mut block, 0xca62_c1d6_u32 as i32);
    for (word, before) in s.iter_mut().zip(state) {
        *word = _mm512_add_epi32(*word, before);
    }
    s
}

/// Twenty rounds with one function and constant. Written out, so that every index is known and words stay in registers.
#[inline]
#[target_feature(enable = "avx512f")]
fn twenty<const FIRST: usize, const F: i32>(s: &mut [__m512i; 5], w: &mut [__m512i; 16], constant: i32) {
    let constant = _mm512_set1_epi32(constant);
    macro_rules! rounds {
        ($($i:literal)*) => {$(
            let word = schedule(w, FIRST + $i);
            // The five words change places in each round; here their names do. FIRST is a multiple of five.
            round::<F>(s, [5 - $i % 5, 6 - $i % 5, 7 - $i % 5, 8 - $i % 5, 9 - $i % 5], _mm512_add_epi32(word, constant));
        )*};
    }
    rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
}

/// FIPS 180-4 §6.1.2 step 3, without moving the words: `at` says where a to e are, modulo five.
#[inline]
#[target_feature(enable = "avx512f")]
fn round<const F: i32>(s: &mut [__m512i; 5], at: [usize; 5], addend: __m512i) {
    let [a, b, c, d, e] = at.map(|at| at % 5);
    let mixed = _mm512_ternarylogic_epi32::<F>(s[b], s[c], s[d]);
    let sum = _mm512_add_epi32(_mm512_add_epi32(s[e], addend), mixed);
    s[e] = _mm512_add_epi32(sum, _mm512_rol_epi32::<5>(s[a]));
    s[b] = _mm512_rol_epi32::<30>(s[b]);
}

/// FIPS 180-4 §6.1.2 step 1: word `t`, in a ring of sixteen.
#[inline]
#[target_feature(enable = "avx512f")]
fn schedule(w: &mut [__m512i; 16], t: usize) -> __m512i {
    if t >= 16 {
        let others = _mm512_ternarylogic_epi32::<PARITY>(w[(t + 13) % 16], w[(t + 8) % 16], w[(t + 2) % 16]);
        w[t % 16] = _mm512_rol_epi32::<1>(_mm512_xor_si512(others, w[t % 16]));
    }
    w[t % 16]
}
