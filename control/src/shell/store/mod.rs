//! What outlives the process: accounts, keys, live calls and call records.
//!
//! [`Store`] is the seam: SQLite is embedded ([`sqlite`]); an implementation over a server that several nodes share
//! can take its place. The running server writes only through [`writer`], so that a slow disk never holds a call.

pub mod sqlite;
pub mod writer;

pub use sqlite::SqliteStore;
pub use writer::{PendingWrites, run_writer};

#[cfg(test)]
mod tests;

use super::fault::Fault;
use crate::core::keys::{Account, ApiKey, KeyMaterial, KeyTable};
use crate::core::record::{CallRecord, LiveCall};
use std::future::Future;
use zeroize::Zeroizing;

/// One write of the running server.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Insert or replace by `call_sid`.
    Live(Box<LiveCall>),
    /// Insert unless it is there, and forget the live call, in one transaction.
    Record(Box<CallRecord>),
}

impl Write {
    pub fn call_sid(&self) -> &str {
        match self {
            Write::Live(call) => &call.call_sid,
            Write::Record(record) => &record.call_sid,
        }
    }
}

/// A key as it is stored and listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    pub sid: String,
    pub account_sid: String,
    /// `HS256`, `HS384`, `HS512`, `ES256` or `EdDSA`: the one algorithm its tokens may name.
    pub algorithm: String,
    /// The secret, or the public key in PEM.
    pub material: Zeroizing<String>,
    pub label: String,
    pub revoked: bool,
    pub created_unix_ms: u64,
}

impl StoredKey {
    fn to_api_key(&self) -> Option<ApiKey> {
        let secret = || Zeroizing::new(self.material.as_bytes().to_vec());
        let material = match self.algorithm.as_str() {
            "HS256" => KeyMaterial::Hs256(secret()),
            "HS384" => KeyMaterial::Hs384(secret()),
            "HS512" => KeyMaterial::Hs512(secret()),
            "ES256" => KeyMaterial::es256(&self.material),
            "EdDSA" => KeyMaterial::eddsa(&self.material),
            _ => return None,
        };
        Some(ApiKey { sid: self.sid.clone(), account_sid: self.account_sid.clone(), material, revoked: self.revoked })
    }

    /// Whether it verifies by a shared secret, so that we can also sign with it.
    pub fn is_secret(&self) -> bool {
        self.algorithm.starts_with("HS")
    }
}

/// Accounts and keys as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredKeys {
    pub accounts: Vec<Account>,
    pub keys: Vec<StoredKey>,
}

impl StoredKeys {
    /// What the core verifies with. Keys of an unknown algorithm are left out: such a key verifies nothing.
    pub fn table(&self) -> KeyTable {
        KeyTable {
            accounts: self.accounts.iter().map(|account| (account.sid.clone(), account.clone())).collect(),
            keys: self.keys.iter().filter_map(StoredKey::to_api_key).map(|key| (key.sid.clone(), key)).collect(),
        }
    }
}

/// What the server and the commands ask of a store.
pub trait Store: Clone + Send + Sync + 'static {
    /// Carries out all writes in one transaction.
    fn apply(&self, writes: &[Write]) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Calls that an earlier process left unfinished.
    fn live_calls(&self) -> impl Future<Output = Result<Vec<LiveCall>, Fault>> + Send;
    /// The newest records first.
    fn records(&self, limit: u32) -> impl Future<Output = Result<Vec<CallRecord>, Fault>> + Send;
    /// By the SID of the call or of any of its legs.
    fn record(&self, call_sid: &str) -> impl Future<Output = Result<Option<CallRecord>, Fault>> + Send;
    fn keys(&self) -> impl Future<Output = Result<StoredKeys, Fault>> + Send;
    fn add_account(&self, account: &Account, created_unix_ms: u64) -> impl Future<Output = Result<(), Fault>> + Send;
    fn add_key(&self, key: &StoredKey) -> impl Future<Output = Result<(), Fault>> + Send;
    /// False if there is no such account.
    fn set_suspended(&self, sid: &str, suspended: bool) -> impl Future<Output = Result<bool, Fault>> + Send;
    /// False if there is no such key.
    fn revoke_key(&self, sid: &str) -> impl Future<Output = Result<bool, Fault>> + Send;
}
