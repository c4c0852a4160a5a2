//! Sealed bridge tokens: which call, held by which node, for whom.
//!
//! A client that is told of a call gets one; whichever gateway it answers or resumes through learns from the token
//! alone where the call is held. Input: [`BridgeToken`] to seal, text to open. Output: text, or the token.
//!
//! ```text
//!   base64url( version 1 | nonce 12 bytes | AES-256-GCM( JSON ) | tag 16 bytes )      additional data: the version
//! ```
//!
//! Owns the node's key. Does not decide whether the bearer may use the token: its identity is compared by the core.
//! NIST SP 800-38D §8.2.2: nonces are random, which is sound for 2^32 seals of a key.

use super::refusal::Refusal;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;
/// Longest text that is looked at: a token with the longest names is below this.
const TEXT_BYTES_MAX: usize = 2048;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeToken {
    /// SID by which the leg's client knows the call.
    pub call_sid: String,
    /// The node that holds the call.
    pub node: String,
    pub account_sid: String,
    /// Only a session of this identity may use the token.
    pub identity: String,
    pub expires_unix_ms: u64,
}

pub struct Sealer {
    key: LessSafeKey,
}

impl Sealer {
    pub fn new(key: [u8; 32]) -> Sealer {
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("AES-256 keys have 32 bytes");
        Sealer { key: LessSafeKey::new(key) }
    }

    /// `nonce` must be fresh random bytes.
    pub fn seal(&self, token: &BridgeToken, nonce: [u8; NONCE_LEN]) -> String {
        let mut body = serde_json::to_vec(token).expect("plain values always serialize");
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from([VERSION]), &mut body)
            .expect("a token is far below the limit of GCM");
        BASE64_URL_SAFE_NO_PAD.encode([&[VERSION], &nonce[..], &body[..]].concat())
    }

    /// Whatever is wrong with a token, its bearer learns only that it is invalid.
    pub fn open(&self, text: &str, unix_ms: u64) -> Result<BridgeToken, Refusal> {
        let token = self.unseal(text).ok_or(Refusal::BridgeTokenInvalid)?;
        if token.expires_unix_ms <= unix_ms {
            return Err(Refusal::BridgeTokenInvalid);
        }
        Ok(token)
    }

    fn unseal(&self, text: &str) -> Option<BridgeToken> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (head, body) = bytes.split_at_mut_checked(1 + NONCE_LEN)?;
        let (version, nonce) = head.split_first()?;
        if *version != VERSION {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let body = self.key.open_in_place(nonce, Aad::from([VERSION]), body).ok()?;
        serde_json::from_slice(body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> BridgeToken {
        BridgeToken {
            call_sid: "CA1".into(),
            node: "node1".into(),
            account_sid: "AC1".into(),
            identity: "bob".into(),
            expires_unix_ms: 1000,
        }
    }

    #[test]
    fn sealed_token_opens_under_its_key_until_it_expires() {
        let sealer = Sealer::new([7; 32]);
        let text = sealer.seal(&token(), [1; 12]);
        assert_eq!(sealer.open(&text, 999), Ok(token()));
        assert_eq!(sealer.open(&text, 1000), Err(Refusal::BridgeTokenInvalid));
        assert_eq!(Sealer::new([8; 32]).open(&text, 0), Err(Refusal::BridgeTokenInvalid));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let sealer = Sealer::new([7; 32]);
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(sealer.seal(&token(), [1; 12])).expect("our own text");
        for i in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[i / 8] ^= 1 << (i % 8);
            let text = BASE64_URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(sealer.open(&text, 0), Err(Refusal::BridgeTokenInvalid), "bit {i}");
        }
    }
}
