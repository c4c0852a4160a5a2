//! Which code does the ciphers' work: this processor's wide vectors, or the libraries.
//!
//! Input: what the processor has, and a choice of whoever starts the process. Output: the engine that new keys are made for.
//! Owns that choice, once for the process. Both engines give the same bytes; a key stays with the engine it was made for.

use crosspoint_vector::Avx512;
use std::sync::OnceLock;

#[derive(Clone, Copy, Debug)]
pub enum Engine {
    /// AVX-512 with VAES and VPCLMULQDQ, and HMAC over sixteen packets at once.
    Vector(Avx512),
    /// aws-lc and RustCrypto, which choose for themselves among what the processor has.
    Portable,
}

static CHOSEN: OnceLock<Engine> = OnceLock::new();

impl Engine {
    /// The fastest that works here.
    pub fn detect() -> Self {
        Avx512::detect().map_or(Engine::Portable, Engine::Vector)
    }

    /// Makes `self` the engine of all keys that are made from now on. The first choice stays; `false` if this was not it.
    pub fn choose(self) -> bool {
        CHOSEN.set(self).is_ok()
    }

    /// What was chosen, or else the fastest.
    pub fn chosen() -> Self {
        *CHOSEN.get_or_init(Self::detect)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Engine::Vector(_) => "vector",
            Engine::Portable => "portable",
        }
    }
}
