//! SRTP suites: their names on both sides, and the packets of a batch sorted by them, so that each suite's code runs over
//! all its packets before the next.
//!
//! Input: packets as a stage meets them. Output: their indices by suite, in arrival order. Owns one index list a
//! suite, on the stack. All packets of a leg have one suite, so grouping keeps the order within a leg.

use crate::batch::BATCH_CAPACITY;
use crosspoint_contract::{HashFunction, SrtpSuite};
use crosspoint_wire::dtls::Hash;
use crosspoint_wire::srtp::Suite;

pub const SUITES: usize = 5;

const _: () = assert!(BATCH_CAPACITY <= u8::MAX as usize + 1);
const _: () = assert!(SrtpSuite::AeadAes256Gcm as usize + 1 == SUITES);

pub struct BySuite {
    indices: [[u8; BATCH_CAPACITY]; SUITES],
    lens: [usize; SUITES],
}

impl BySuite {
    pub fn new() -> Self {
        BySuite { indices: [[0; BATCH_CAPACITY]; SUITES], lens: [0; SUITES] }
    }

    #[inline]
    pub fn push(&mut self, suite: SrtpSuite, i: usize) {
        let len = &mut self.lens[suite as usize];
        self.indices[suite as usize][*len] = i as u8;
        *len += 1;
    }

    /// Indices of the packets, suite after suite.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.indices.iter().zip(self.lens).flat_map(|(indices, len)| indices[..len].iter().map(|&i| usize::from(i)))
    }
}

impl Default for BySuite {
    fn default() -> Self {
        Self::new()
    }
}

/// What the contract calls the suite.
pub fn contract_suite(suite: Suite) -> SrtpSuite {
    match suite {
        Suite::AesCm128HmacSha1_80 => SrtpSuite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32 => SrtpSuite::AesCm128HmacSha1_32,
        Suite::AesCm256HmacSha1_80 => SrtpSuite::AesCm256HmacSha1_80,
        Suite::AeadAes128Gcm => SrtpSuite::AeadAes128Gcm,
        Suite::AeadAes256Gcm => SrtpSuite::AeadAes256Gcm,
    }
}

/// The same the other way.
pub fn wire_suite(suite: SrtpSuite) -> Suite {
    match suite {
        SrtpSuite::AesCm128HmacSha1_80 => Suite::AesCm128HmacSha1_80,
        SrtpSuite::AesCm128HmacSha1_32 => Suite::AesCm128HmacSha1_32,
        SrtpSuite::AesCm256HmacSha1_80 => Suite::AesCm256HmacSha1_80,
        SrtpSuite::AeadAes128Gcm => Suite::AeadAes128Gcm,
        SrtpSuite::AeadAes256Gcm => Suite::AeadAes256Gcm,
    }
}

/// Whether the tags of several packets can be made together.
pub fn has_separate_tag(suite: SrtpSuite) -> bool {
    wire_suite(suite).has_separate_tag()
}

/// Hash functions of fingerprints likewise.
pub fn wire_hash(hash: HashFunction) -> Hash {
    match hash {
        HashFunction::Sha1 => Hash::Sha1,
        HashFunction::Sha224 => Hash::Sha224,
        HashFunction::Sha256 => Hash::Sha256,
        HashFunction::Sha384 => Hash::Sha384,
        HashFunction::Sha512 => Hash::Sha512,
    }
}
