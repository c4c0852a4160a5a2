//! Accounts and the keys that may sign tokens for them, as loaded from the store.

use jsonwebtoken::{Algorithm, DecodingKey};
use std::collections::HashMap;
use zeroize::Zeroizing;

/// All accounts and keys, replaced as a whole when the store changes.
#[derive(Debug, Default)]
pub struct KeyTable {
    /// By account SID (`AC` + 32 hex).
    pub accounts: HashMap<String, Account>,
    /// By key SID (`SK` + 32 hex), the token's `iss`.
    pub keys: HashMap<String, ApiKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub sid: String,
    pub name: String,
    pub suspended: bool,
}

#[derive(Debug)]
pub struct ApiKey {
    pub sid: String,
    pub account_sid: String,
    pub material: KeyMaterial,
    pub revoked: bool,
}

/// What verifies a token, and thereby the one algorithm it may name.
pub enum KeyMaterial {
    Hs256(Zeroizing<Vec<u8>>),
    Hs384(Zeroizing<Vec<u8>>),
    Hs512(Zeroizing<Vec<u8>>),
    Es256(PublicKey),
    EdDsa(PublicKey),
}

/// A public key, parsed when the table is made: parsing it costs more than a check of a forged token should.
#[derive(Clone)]
pub struct PublicKey(Option<DecodingKey>);

impl PublicKey {
    /// `None` if the PEM could not be read; such a key verifies nothing.
    pub fn decoding_key(&self) -> Option<&DecodingKey> {
        self.0.as_ref()
    }
}

impl KeyMaterial {
    /// From PEM (SubjectPublicKeyInfo) of a P-256 key.
    pub fn es256(pem: &str) -> KeyMaterial {
        KeyMaterial::Es256(PublicKey(DecodingKey::from_ec_pem(pem.as_bytes()).ok()))
    }

    /// From PEM (SubjectPublicKeyInfo) of an Ed25519 key.
    pub fn eddsa(pem: &str) -> KeyMaterial {
        KeyMaterial::EdDsa(PublicKey(DecodingKey::from_ed_pem(pem.as_bytes()).ok()))
    }

    /// The one that its tokens may name.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            KeyMaterial::Hs256(_) => Algorithm::HS256,
            KeyMaterial::Hs384(_) => Algorithm::HS384,
            KeyMaterial::Hs512(_) => Algorithm::HS512,
            KeyMaterial::Es256(_) => Algorithm::ES256,
            KeyMaterial::EdDsa(_) => Algorithm::EdDSA,
        }
    }

    /// It can verify nothing, because its public key cannot be read.
    pub fn is_unusable(&self) -> bool {
        match self {
            KeyMaterial::Hs256(_) | KeyMaterial::Hs384(_) | KeyMaterial::Hs512(_) => false,
            KeyMaterial::Es256(public) | KeyMaterial::EdDsa(public) => public.0.is_none(),
        }
    }
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            KeyMaterial::Hs256(_) => "Hs256(masked)",
            KeyMaterial::Hs384(_) => "Hs384(masked)",
            KeyMaterial::Hs512(_) => "Hs512(masked)",
            KeyMaterial::Es256(_) => "Es256(public)",
            KeyMaterial::EdDsa(_) => "EdDsa(public)",
        })
    }
}
