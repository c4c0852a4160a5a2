//! The one task that writes: takes everything that is pending, writes it in one transaction, begins again.
//!
//! Input: [`PendingWrites::put`], from the core's loop, which never waits. Output: the store. While the store is slow
//! or fails, writes of one call replace each other, so what waits is bounded by the number of calls; a record that
//! finds [`PENDING_MAX`] calls waiting is logged and counted instead of kept.

use super::{Store, Write};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Calls whose writes may wait: ten minutes of a dead disk at 150 calls a second, at about 2 KiB each.
pub const PENDING_MAX: usize = 100_000;

/// Pause after the store refused, doubled up to the most.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Totals since start.
#[derive(Debug, Default)]
pub struct WriterCounters {
    pub written: AtomicU64,
    /// Transactions that the store refused; each is tried again.
    pub failed: AtomicU64,
    /// Writes that found as many waiting as may wait.
    pub dropped: AtomicU64,
}

/// What waits to be written: per call the newest.
#[derive(Debug, Default)]
pub struct PendingWrites {
    by_call: Mutex<HashMap<String, Write>>,
    wake: Notify,
    /// Told after each transaction, and when nothing is pending.
    written: Notify,
    in_work: AtomicU64,
    pub counters: WriterCounters,
}

impl PendingWrites {
    pub fn put(&self, write: Write) {
        let mut by_call = self.by_call.lock().unwrap_or_else(PoisonError::into_inner);
        let full = by_call.len() >= PENDING_MAX;
        match by_call.entry(write.call_sid().to_owned()) {
            Entry::Occupied(mut entry) => supersede(entry.get_mut(), write),
            Entry::Vacant(_) if full => self.drop_and_log(&write),
            Entry::Vacant(entry) => drop(entry.insert(write)),
        }
        self.wake.notify_one();
    }

    fn drop_and_log(&self, write: &Write) {
        self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        // The log is the last place where the record can be found.
        if let Write::Record(record) = write {
            let record = serde_json::to_string(record).unwrap_or_default();
            tracing::error!(kind = "record_not_stored", record, "the store does not keep up");
        }
    }

    /// Calls with a write that is not on disk yet.
    pub fn len(&self) -> usize {
        self.by_call.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.in_work.load(Ordering::Acquire) == 0
    }

    /// Returns when everything put before has been written.
    pub async fn flushed(&self) {
        loop {
            let written = self.written.notified();
            if self.is_empty() {
                return;
            }
            written.await;
        }
    }

    fn take(&self) -> Vec<Write> {
        let mut by_call = self.by_call.lock().unwrap_or_else(PoisonError::into_inner);
        self.in_work.store(by_call.len() as u64, Ordering::Release);
        by_call.drain().map(|(_, write)| write).collect()
    }

    /// After a failure: back, unless something newer came meanwhile.
    fn put_back(&self, writes: Vec<Write>) {
        let mut by_call = self.by_call.lock().unwrap_or_else(PoisonError::into_inner);
        for older in writes {
            match by_call.entry(older.call_sid().to_owned()) {
                Entry::Occupied(mut entry) => {
                    let newer = std::mem::replace(entry.get_mut(), older);
                    supersede(entry.get_mut(), newer);
                }
                Entry::Vacant(entry) => drop(entry.insert(older)),
            }
        }
    }
}

/// The newer live state replaces the older; nothing replaces a record.
fn supersede(waiting: &mut Write, newer: Write) {
    if matches!(waiting, Write::Live(_)) {
        *waiting = newer;
    }
}

/// Runs until the process ends; abort it only after [`PendingWrites::flushed`].
pub async fn run_writer(store: impl Store, pending: Arc<PendingWrites>) {
    let mut pause = RETRY_MIN;
    loop {
        let writes = pending.take();
        if writes.is_empty() {
            pending.written.notify_waiters();
            pending.wake.notified().await;
            continue;
        }
        match store.apply(&writes).await {
            Ok(()) => {
                pending.counters.written.fetch_add(writes.len() as u64, Ordering::Relaxed);
                pause = RETRY_MIN;
            }
            Err(fault) => {
                pending.counters.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(kind = "store_failed", %fault, waiting = writes.len(), "calls go on; trying again");
                pending.put_back(writes);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}
