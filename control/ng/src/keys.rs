//! Everything that must not be guessed: ICE credentials, SDES keys, tags, the order of ports.
//!
//! Input: a seed from the shell's random source, once. Output: fresh values. Owns the generator, a cryptographically secure
//! one (ChaCha20), so that keys may come from it; the same seed gives the same values, so that a test may tell them.

use crate::sdes::Suite;
use crosspoint_contract::{IceCredentials, SdesKey};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

#[derive(Debug)]
pub struct Draw(ChaCha20Rng);

impl Draw {
    pub fn seeded(seed: [u8; 32]) -> Draw {
        Draw(ChaCha20Rng::from_seed(seed))
    }

    /// RFC 8445 §5.3: at least 24 bits in the fragment, at least 128 in the password. 8 and 26 characters are what rtpengine writes.
    pub fn ice_credentials(&mut self) -> IceCredentials {
        IceCredentials { ufrag: self.alphanumeric(8), pwd: self.alphanumeric(26) }
    }

    /// RFC 4568 §6.1: "a master key and salt … MUST be cryptographically random".
    pub fn sdes_key(&mut self, suite: Suite) -> SdesKey {
        let mut key_and_salt = vec![0; suite.key_and_salt_bytes()];
        self.0.fill_bytes(&mut key_and_salt);
        SdesKey { suite: suite.srtp(), key_and_salt, mki: None }
    }

    pub fn alphanumeric(&mut self, length: usize) -> String {
        (0..length).map(|_| ALPHANUMERIC[self.below(ALPHANUMERIC.len() as u32) as usize] as char).collect()
    }

    /// Hexadecimal digits, two for each byte.
    pub fn hexadecimal(&mut self, bytes: usize) -> String {
        (0..bytes).map(|_| format!("{:02x}", self.0.next_u32() as u8)).collect()
    }

    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Fisher and Yates.
    pub fn shuffle(&mut self, values: &mut [u16]) {
        for last in (1..values.len()).rev() {
            let other = self.below(last as u32 + 1) as usize;
            values.swap(last, other);
        }
    }

    /// Each number below `bound` equally likely, to one part in 2^26 and better.
    fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(bound)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_values_and_another_gives_others() {
        let draw = |seed| Draw::seeded([seed; 32]).ice_credentials();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!((draw(1).ufrag.len(), draw(1).pwd.len()), (8, 26));
    }

    #[test]
    fn a_key_is_as_long_as_its_suite_wants_it() {
        for suite in Suite::OURS {
            let key = Draw::seeded([3; 32]).sdes_key(suite);
            assert_eq!(key.key_and_salt.len(), suite.key_and_salt_bytes());
            assert!(key.key_and_salt.iter().any(|byte| *byte != 0));
        }
    }
}
