//! HMAC-SHA1 (RFC 2104) whose two pads are hashed once, when the key is made.
//!
//! Input: a key; then messages with a short trailer. Output: tags, one at a time here, up to sixteen at once by
//! `crosspoint-vector`. Owns the two states. The compression function is `sha1`'s: its `Hmac` copies and buffers each message,
//! which costs a short packet a fifth of its time.

use crosspoint_vector::HmacStates;
use sha1::block_api::compress;
use zeroize::Zeroize;

const BLOCK_BYTES: usize = 64;
pub(super) const TAG_BYTES: usize = 20;

/// FIPS 180-4 §5.3.1.
const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

pub(super) fn states(key: &[u8; TAG_BYTES]) -> HmacStates {
    HmacStates { inner: behind_pad(key, 0x36), outer: behind_pad(key, 0x5c) }
}

fn behind_pad(key: &[u8; TAG_BYTES], pad: u8) -> [u32; 5] {
    let mut block = [pad; BLOCK_BYTES];
    for (byte, key) in block.iter_mut().zip(key) {
        *byte ^= key;
    }
    let mut state = START;
    compress(&mut state, &[block]);
    block.zeroize();
    state
}

/// The tag over `message` and `trailer`, which is four bytes or none.
#[inline]
pub(super) fn tag(states: &HmacStates, message: &[u8], trailer: &[u8]) -> [u8; TAG_BYTES] {
    let (whole, rest) = message.as_chunks::<BLOCK_BYTES>();
    let mut state = states.inner;
    compress(&mut state, whole);

    let mut end = [0; 2 * BLOCK_BYTES];
    end[..rest.len()].copy_from_slice(rest);
    let used = rest.len() + trailer.len();
    end[rest.len()..used].copy_from_slice(trailer);
    finish(&mut state, &mut end, used, message.len() + trailer.len());

    let mut end = [0; 2 * BLOCK_BYTES];
    for (bytes, word) in end.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    let mut state = states.outer;
    finish(&mut state, &mut end, TAG_BYTES, TAG_BYTES);

    let mut tag = [0; TAG_BYTES];
    for (bytes, word) in tag.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    tag
}

/// FIPS 180-4 §5.1.1: pads the `used` bytes at the start of `end` and takes them in. The pad of the key came before the message.
#[inline]
fn finish(state: &mut [u32; 5], end: &mut [u8; 2 * BLOCK_BYTES], used: usize, message_len: usize) {
    end[used] = 0x80;
    let blocks = (used + 1 + 8).div_ceil(BLOCK_BYTES);
    let bits = 8 * (BLOCK_BYTES + message_len) as u64;
    end[blocks * BLOCK_BYTES - 8..][..8].copy_from_slice(&bits.to_be_bytes());
    compress(state, &end.as_chunks::<BLOCK_BYTES>().0[..blocks]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};
    use sha1::Sha1;

    #[test]
    fn tags_are_those_of_the_hmac_crate_at_every_length() {
        let key = [9; TAG_BYTES];
        let states = states(&key);
        for len in 0..400 {
            for trailer in [&[][..], &[1, 2, 3, 4]] {
                let message = vec![7; len];
                let mut hmac = Hmac::<Sha1>::new_from_slice(&key).unwrap();
                hmac.update(&message);
                hmac.update(trailer);
                let expected: [u8; TAG_BYTES] = hmac.finalize().into_bytes().into();
                assert_eq!(tag(&states, &message, trailer), expected, "{len} and {}", trailer.len());
            }
        }
    }
}
