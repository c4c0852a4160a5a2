//! The ciphers of SRTP on wide vectors: AES counter mode, AES-GCM, and HMAC-SHA1 over sixteen packets at once.
//!
//! Input: keys once, then packets already split into what is clear, encrypted and authenticated. Output: the same bytes
//! sealed or opened in place, tags. Owns round keys and precomputed powers, erased when dropped. Knows nothing of RTP, and
//! needs a processor that has AVX-512 with VAES and VPCLMULQDQ: who holds an [`Avx512`] has asked it.
//!
//! ```text
//!  one packet     AES: 4 blocks a register, up to 16 blocks in flight     GHASH: 4 blocks a multiplication, one reduction
//!  16 packets     SHA-1: one packet a 32-bit lane
//! ```
//!
//! Why this is written here and not taken from a library: the kept ones (aws-lc, RustCrypto) are made for long messages under
//! one key. A relay has short ones, each under another key, so their set-up per message costs as much as the work; and none
//! has HMAC over several messages at once. They stay the fall-back and the oracles of the tests. Nothing here branches or
//! indexes by secret bytes.

#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(target_arch = "x86_64")]
mod aes;
#[cfg(target_arch = "x86_64")]
mod gcm;
#[cfg(target_arch = "x86_64")]
mod ghash;
#[cfg(target_arch = "x86_64")]
mod load;
#[cfg(target_arch = "x86_64")]
mod sha1;

#[cfg(not(target_arch = "x86_64"))]
mod absent;
#[cfg(not(target_arch = "x86_64"))]
pub use absent::{AesKey, Avx512, GcmKey, tags};

#[cfg(target_arch = "x86_64")]
pub use aes::AesKey;
#[cfg(target_arch = "x86_64")]
pub use gcm::GcmKey;
#[cfg(target_arch = "x86_64")]
pub use sha1::tags;

/// Packets that [`tags`] takes at once.
pub const LANES: usize = 16;

/// HMAC-SHA1 (RFC 2104) after its key: the states behind the inner and the outer pad.
#[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct HmacStates {
    pub inner: [u32; 5],
    pub outer: [u32; 5],
}

/// What one tag covers: `message`, then `trailer` (the rollover counter of RFC 3711 §4.2, or nothing).
#[derive(Clone, Copy)]
pub struct Authenticated<'a> {
    pub states: &'a HmacStates,
    pub message: &'a [u8],
    pub trailer: &'a [u8],
}

/// The longest trailer.
pub const TRAILER_BYTES_MAX: usize = 4;

/// Proof that this processor has every instruction that this crate uses.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("vpclmulqdq");
        has.then_some(Avx512(()))
    }
}
