//! Which accounts and keys are in force: those of the store, and in dev mode the placeholder account.
//!
//! A running server looks every half second whether another process (`crosspoint keys …`) has written to the store, and
//! at once when a token names a key that it does not know ([`super::fresh_keys`]).

use super::core_loop::Arrival;
use super::fault::Fault;
use super::fresh_keys::FreshKeys;
use super::store::sqlite::StoreWatch;
use super::store::{SqliteStore, Store, StoredKeys};
use super::token::{DEV_ACCOUNT_SID, DEV_KEY_SID, DEV_SECRET};
use crate::core::input::Input;
use crate::core::keys::{Account, ApiKey, KeyMaterial, KeyTable};
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use zeroize::Zeroizing;

const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Between two looks, however many tokens of unknown keys are shown.
pub const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(20);
/// Sessions that may wait for one look; further ones go on with the known keys.
const LOOKERS_MAX: usize = 1024;

/// What the core shall verify with. Outside dev mode the placeholder's SIDs and secret verify nothing, whoever stored
/// them: everybody knows them.
pub fn in_force(stored: &StoredKeys, dev: bool) -> KeyTable {
    let mut table = stored.table();
    if dev {
        let account = Account { sid: DEV_ACCOUNT_SID.into(), name: "dev".into(), suspended: false };
        let key = ApiKey {
            sid: DEV_KEY_SID.into(),
            account_sid: DEV_ACCOUNT_SID.into(),
            material: KeyMaterial::Hs256(Zeroizing::new(DEV_SECRET.as_bytes().to_vec())),
            revoked: false,
        };
        table.accounts.insert(account.sid.clone(), account);
        table.keys.insert(key.sid.clone(), key);
    } else {
        table.keys.retain(|_, key| !is_placeholder(key));
    }
    table
}

fn is_placeholder(key: &ApiKey) -> bool {
    let has_placeholder_secret = match &key.material {
        KeyMaterial::Hs256(secret) | KeyMaterial::Hs384(secret) | KeyMaterial::Hs512(secret) => {
            secret.as_slice() == DEV_SECRET.as_bytes()
        }
        KeyMaterial::Es256(_) | KeyMaterial::EdDsa(_) => false,
    };
    key.sid == DEV_KEY_SID || has_placeholder_secret
}

/// The keys in force now, and what will notice when they change.
#[derive(Debug)]
pub struct KeyWatch {
    watch: StoreWatch,
    known: StoredKeys,
    dev: bool,
    known_sids: watch::Sender<HashSet<String>>,
    looks: mpsc::Sender<oneshot::Sender<()>>,
    lookers: mpsc::Receiver<oneshot::Sender<()>>,
}

impl KeyWatch {
    pub async fn start(store: &SqliteStore, dev: bool) -> Result<(KeyTable, KeyWatch), Fault> {
        let mut watch = store.watch().await?;
        let known = match watch.changed().await? {
            Some(keys) => keys,
            None => store.keys().await?,
        };
        let table = in_force(&known, dev);
        let (known_sids, _) = watch::channel(sids(&table));
        let (looks, lookers) = mpsc::channel(LOOKERS_MAX);
        Ok((table, KeyWatch { watch, known, dev, known_sids, looks, lookers }))
    }

    /// For sessions, to ask for a look.
    pub fn fresh_keys(&self) -> FreshKeys {
        FreshKeys { known: self.known_sids.subscribe(), looks: self.looks.clone() }
    }

    /// The new table, if accounts or keys are others than before.
    pub async fn changed(&mut self) -> Result<Option<KeyTable>, Fault> {
        let Some(stored) = self.watch.changed().await? else { return Ok(None) };
        if stored == self.known {
            return Ok(None);
        }
        self.known = stored;
        Ok(Some(in_force(&self.known, self.dev)))
    }

    /// Tells the core of each change until it is gone.
    pub async fn run(mut self, arrivals: mpsc::Sender<Arrival>) {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waiting = Vec::new();
        while !arrivals.is_closed() {
            tokio::select! {
                _ = ticks.tick() => {}
                Some(looker) = self.lookers.recv() => waiting.push(looker),
            }
            let looked = Instant::now();
            while let Ok(looker) = self.lookers.try_recv() {
                waiting.push(looker);
            }
            self.look(&arrivals).await;
            if !waiting.is_empty() {
                for looker in waiting.drain(..) {
                    // One that went away needs no answer.
                    let _ = looker.send(());
                }
                sleep_until(looked + LOOK_INTERVAL_MIN).await;
            }
        }
    }

    async fn look(&mut self, arrivals: &mpsc::Sender<Arrival>) {
        match self.changed().await {
            Ok(None) => {}
            Ok(Some(table)) => {
                tracing::info!(kind = "keys_changed", accounts = table.accounts.len(), keys = table.keys.len());
                let known = sids(&table);
                let _ = arrivals.send(Arrival::Input(Input::KeysChanged(table))).await;
                self.known_sids.send_replace(known);
            }
            Err(fault) => tracing::warn!(kind = "keys_unreadable", %fault, "the known keys stay in force"),
        }
    }
}

fn sids(table: &KeyTable) -> HashSet<String> {
    table.keys.keys().cloned().collect()
}
