//! The one task that writes: takes everything that is pending, writes it in one transaction, begins again.
//!
//! Input: [`PendingWrites::put`], from the core's loop, which never waits. Output: the store. While the store is slow
//! or fails, writes of one call replace each other, so what waits is bounded by the number of calls; a write that finds
//! [`PENDING_BYTES_MAX`] waiting is counted instead of kept, and a record is logged.

use super::{Store, Write};
use crate::core::record::{CallRecord, LegRecord, LiveCall, LiveLeg};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Bytes of writes that may wait: ten minutes of a dead disk at 150 ended calls a second, at about 2 KiB a record.
pub const PENDING_BYTES_MAX: usize = 192 << 20;

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

#[derive(Debug, Default)]
struct Waiting {
    by_call: HashMap<String, Write>,
    bytes: usize,
}

/// What waits to be written: per call the newest.
#[derive(Debug, Default)]
pub struct PendingWrites {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// Told after each transaction, and when nothing is pending.
    written: Notify,
    in_work: AtomicU64,
    pub counters: WriterCounters,
}

impl PendingWrites {
    pub fn put(&self, write: Write) {
        if let Some(refused) = self.waiting().put(write) {
            self.drop_and_log(&refused);
        }
        self.wake.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.waiting().by_call.len()
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
        let mut waiting = self.waiting();
        self.in_work.store(waiting.by_call.len() as u64, Ordering::Release);
        std::mem::take(&mut *waiting).by_call.into_values().collect()
    }

    /// After a failure: back, unless something newer came meanwhile. What has waited already is not refused.
    fn put_back(&self, writes: Vec<Write>) {
        let mut waiting = self.waiting();
        for older in writes {
            let newer = waiting.remove(older.call_sid());
            waiting.insert(older);
            if let Some(newer) = newer {
                waiting.supersede(newer);
            }
        }
    }
}

impl Waiting {
    /// Gives back what finds no room. A record always replaces its call's live state: it is the smaller of the two.
    fn put(&mut self, write: Write) -> Option<Write> {
        let frees = self.by_call.get(write.call_sid()).map_or(0, bytes);
        let is_full = self.bytes - frees + bytes(&write) > PENDING_BYTES_MAX;
        if is_full && (frees == 0 || matches!(write, Write::Live(_))) {
            return Some(write);
        }
        self.supersede(write);
        None
    }

    /// The newer live state replaces the older; nothing replaces a record.
    fn supersede(&mut self, newer: Write) {
        if !matches!(self.by_call.get(newer.call_sid()), Some(Write::Record(_))) {
            self.remove(newer.call_sid());
            self.insert(newer);
        }
    }

    fn insert(&mut self, write: Write) {
        self.bytes += bytes(&write);
        self.by_call.insert(write.call_sid().to_owned(), write);
    }

    fn remove(&mut self, call_sid: &str) -> Option<Write> {
        let write = self.by_call.remove(call_sid)?;
        self.bytes -= bytes(&write);
        Some(write)
    }
}

/// About what it holds in memory: the structs, and the texts that clients can make long.
fn bytes(write: &Write) -> usize {
    const LEG_TEXTS: usize = 256;
    match write {
        Write::Live(call) => {
            let leg = |leg: &LiveLeg| leg.remote_sdp.len() + leg.local_sdp.len() + leg.identity.len() + LEG_TEXTS;
            size_of::<LiveCall>() + call.from.len() + call.to.len() + call.legs.iter().map(leg).sum::<usize>()
        }
        Write::Record(record) => {
            let leg = |leg: &LegRecord| leg.identity.len() + size_of::<LegRecord>() + LEG_TEXTS;
            let texts = record.from.len() + record.to.len() + record.path.iter().map(String::len).sum::<usize>();
            size_of::<CallRecord>() + texts + record.legs.iter().map(leg).sum::<usize>()
        }
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
