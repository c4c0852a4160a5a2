//! Accounts and the keys that may sign tokens for them, as loaded from the store.

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
    /// Public key in PEM (SubjectPublicKeyInfo).
    Es256(String),
    EdDsa(String),
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
