//! The store as the server uses it: nothing is lost, nothing is written twice, changes are noticed.

use super::sqlite::SqliteStore;
use super::writer::{PENDING_BYTES_MAX, PendingWrites, run_writer};
use super::{Store, StoredKey, StoredKeys, Write};
use crate::core::keys::Account;
use crate::core::record::{CallRecord, LegRole, LiveCall, LiveLeg};
use crate::shell::Fault;
use crate::shell::data_dir::DataDir;
use crate::shell::keys::KeyWatch;
use crosspoint_contract::{BridgeId, CallKey, Generation, LegId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use zeroize::Zeroizing;

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";

async fn store() -> (TempDir, SqliteStore) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = SqliteStore::open(&DataDir::open(dir.path()).expect("open")).await.expect("store");
    (dir, store)
}

fn live(call_sid: &str, to: &str) -> Write {
    let call = serde_json::json!({
        "call_sid": call_sid, "account_sid": ACCOUNT, "key": CallKey(1), "dataplane": Generation(2), "bridge": BridgeId(3),
        "from": "client:alice", "to": to, "started_unix_ms": 1, "answered_unix_ms": 2, "ends_unix_ms": null, "legs": [],
    });
    Write::Live(Box::new(complete(call)))
}

/// Fields that a live call has beyond those named here take what JSON gives them.
fn complete(mut call: serde_json::Value) -> LiveCall {
    for (name, value) in [("path", serde_json::json!([])), ("key_sid", "SK1".into()), ("issuer", "SK1".into())] {
        call.as_object_mut().expect("an object").entry(name).or_insert(value);
    }
    serde_json::from_value(call).expect("a live call")
}

fn record(call_sid: &str, end_reason: &str, started_unix_ms: u64) -> Write {
    Write::Record(Box::new(CallRecord {
        call_sid: call_sid.into(),
        account_sid: ACCOUNT.into(),
        from: "client:alice".into(),
        to: "client:bob".into(),
        started_unix_ms,
        answered_unix_ms: None,
        ended_unix_ms: started_unix_ms + 10,
        end_reason: end_reason.into(),
        ended_by: "caller".into(),
        code: Some(31486),
        path: vec!["direct".into()],
        legs: Vec::new(),
    }))
}

fn key(sid: &str, algorithm: &str) -> StoredKey {
    StoredKey {
        sid: sid.into(),
        account_sid: ACCOUNT.into(),
        algorithm: algorithm.into(),
        material: Zeroizing::new("secret".into()),
        label: "for tests".into(),
        revoked: false,
        created_unix_ms: 7,
    }
}

async fn with_account() -> (TempDir, SqliteStore) {
    let (dir, store) = store().await;
    let account = Account { sid: ACCOUNT.into(), name: "acme".into(), suspended: false };
    store.add_account(&account, 5).await.expect("added");
    (dir, store)
}

#[tokio::test]
async fn record_is_written_once_and_the_live_call_is_forgotten_with_it() {
    let (_dir, store) = store().await;
    store.apply(&[live("CA1", "client:bob"), live("CA2", "client:bob")]).await.expect("saved");
    store.apply(&[record("CA1", "completed", 5)]).await.expect("written");
    store.apply(&[record("CA1", "failed", 5)]).await.expect("a repetition is harmless");
    let records = store.records(10).await.expect("read");
    assert_eq!(records.iter().map(|r| r.end_reason.as_str()).collect::<Vec<_>>(), ["completed"]);
    let live: Vec<String> = store.live_calls().await.expect("read").into_iter().map(|call| call.call_sid).collect();
    assert_eq!(live, ["CA2"]);
}

#[tokio::test]
async fn records_come_back_as_they_were_written_newest_first() {
    let (dir, store) = store().await;
    store.apply(&[record("CA1", "busy", 100), record("CA2", "completed", 200)]).await.expect("written");
    store.close().await;
    let again = SqliteStore::open(&DataDir::open(dir.path()).expect("open")).await.expect("an existing store opens");
    let records = again.records(10).await.expect("read");
    assert_eq!(records.iter().map(|r| r.call_sid.as_str()).collect::<Vec<_>>(), ["CA2", "CA1"]);
    let Write::Record(written) = record("CA1", "busy", 100) else { unreachable!() };
    assert_eq!(again.record("CA1").await.expect("read"), Some(*written));
    assert_eq!(again.record("CA9").await.expect("read"), None);
}

#[tokio::test]
async fn newest_live_state_of_a_call_replaces_the_older() {
    let (_dir, store) = store().await;
    let pending = Arc::new(PendingWrites::default());
    pending.put(live("CA1", "client:bob"));
    pending.put(live("CA1", "client:carol"));
    assert_eq!(pending.len(), 1);
    let writer = tokio::spawn(run_writer(store.clone(), pending.clone()));
    pending.flushed().await;
    writer.abort();
    assert_eq!(store.live_calls().await.expect("read")[0].to, "client:carol");
}

/// A store that fails while `broken` is set.
#[derive(Clone)]
struct Flaky {
    inner: SqliteStore,
    broken: Arc<AtomicBool>,
}

impl Store for Flaky {
    async fn apply(&self, writes: &[Write]) -> Result<(), Fault> {
        if self.broken.load(Ordering::Acquire) { Err(Fault::NoRandomness) } else { self.inner.apply(writes).await }
    }
    async fn live_calls(&self) -> Result<Vec<LiveCall>, Fault> {
        self.inner.live_calls().await
    }
    async fn records(&self, limit: u32) -> Result<Vec<CallRecord>, Fault> {
        self.inner.records(limit).await
    }
    async fn record(&self, call_sid: &str) -> Result<Option<CallRecord>, Fault> {
        self.inner.record(call_sid).await
    }
    async fn keys(&self) -> Result<StoredKeys, Fault> {
        self.inner.keys().await
    }
    async fn add_account(&self, account: &Account, created_unix_ms: u64) -> Result<(), Fault> {
        self.inner.add_account(account, created_unix_ms).await
    }
    async fn add_key(&self, key: &StoredKey) -> Result<(), Fault> {
        self.inner.add_key(key).await
    }
    async fn set_suspended(&self, sid: &str, suspended: bool) -> Result<bool, Fault> {
        self.inner.set_suspended(sid, suspended).await
    }
    async fn revoke_key(&self, sid: &str) -> Result<bool, Fault> {
        self.inner.revoke_key(sid).await
    }
}

#[tokio::test]
async fn disk_that_fails_for_a_while_loses_no_record_and_resurrects_no_call() {
    let (_dir, inner) = store().await;
    let store = Flaky { inner, broken: Arc::new(AtomicBool::new(true)) };
    let pending = Arc::new(PendingWrites::default());
    pending.put(live("CA1", "client:bob"));
    let writer = tokio::spawn(run_writer(store.clone(), pending.clone()));
    while pending.counters.failed.load(Ordering::Acquire) == 0 {
        tokio::task::yield_now().await;
    }
    pending.put(record("CA1", "completed", 5));
    store.broken.store(false, Ordering::Release);
    pending.flushed().await;
    writer.abort();
    assert_eq!(store.records(10).await.expect("read").len(), 1);
    assert_eq!(store.live_calls().await.expect("read"), []);
}

#[test]
fn what_waits_for_a_dead_disk_is_bounded_by_bytes_and_a_record_takes_its_calls_place() {
    let pending = PendingWrites::default();
    let sdp = "v".repeat(PENDING_BYTES_MAX / 8);
    let large = |sid: &str| match live(sid, "client:bob") {
        Write::Live(mut call) => {
            call.legs.push(leg(sdp.clone()));
            Write::Live(call)
        }
        record => record,
    };
    for i in 0..9 {
        pending.put(large(&format!("CA{i}")));
    }
    assert_eq!((pending.len(), pending.counters.dropped.load(Ordering::Relaxed)), (7, 2));
    pending.put(large("CA0"));
    assert_eq!(pending.counters.dropped.load(Ordering::Relaxed), 2, "a newer state of a call that waits has its room");
    pending.put(record("CA0", "completed", 5));
    pending.put(large("CA8"));
    assert_eq!((pending.len(), pending.counters.dropped.load(Ordering::Relaxed)), (8, 2));
}

fn leg(remote_sdp: String) -> LiveLeg {
    LiveLeg {
        leg: LegId(1),
        call_sid: "CA1".into(),
        role: LegRole::Caller,
        identity: "alice".into(),
        instance: String::new(),
        remote_sdp,
        local_sdp: String::new(),
        ice_restarts: 0,
        dtls_client: false,
        key_sid: String::new(),
        codec: None,
        reconnect_seconds: 0,
    }
}

#[tokio::test]
async fn keys_made_and_revoked_by_another_process_are_noticed() {
    let (dir, store) = with_account().await;
    let (table, mut watch) = KeyWatch::start(&store, false).await.expect("watch");
    assert!(table.keys.is_empty());
    let other = SqliteStore::open(&DataDir::open(dir.path()).expect("open")).await.expect("another process");
    other.add_key(&key("SK1", "ES256")).await.expect("added");
    let table = watch.changed().await.expect("readable").expect("a new key");
    assert!(!table.keys["SK1"].revoked);
    assert!(watch.changed().await.expect("readable").is_none(), "nothing changed since");
    assert!(other.revoke_key("SK1").await.expect("revoked"));
    assert!(watch.changed().await.expect("readable").expect("a revoked key").keys["SK1"].revoked);
    assert!(!other.revoke_key("SK2").await.expect("asked"), "an unknown key");
}

#[tokio::test]
async fn account_suspended_and_resumed_by_another_process_is_noticed() {
    let (dir, store) = with_account().await;
    let (_, mut watch) = KeyWatch::start(&store, false).await.expect("watch");
    let other = SqliteStore::open(&DataDir::used(dir.path()).expect("used")).await.expect("another process");
    for suspended in [true, false] {
        assert!(other.set_suspended(ACCOUNT, suspended).await.expect("written"));
        let table = watch.changed().await.expect("readable").expect("a change");
        assert_eq!(table.accounts[ACCOUNT].suspended, suspended);
    }
    assert!(!other.set_suspended("AC9", true).await.expect("asked"), "an unknown account");
}

#[tokio::test]
async fn record_is_found_by_the_sid_of_any_leg() {
    let (_dir, store) = store().await;
    let Write::Record(mut call) = record("CA1", "completed", 5) else { unreachable!("a record") };
    call.legs = serde_json::from_value(serde_json::json!([{
        "call_sid": "CA2", "role": "callee", "identity": "bob", "instance": "", "gateway": "", "region": "",
        "codec": null, "report": null,
    }]))
    .expect("a leg");
    store.apply(&[Write::Record(call), record("CA3", "completed", 6)]).await.expect("written");
    for (sid, found) in [("CA1", Some("CA1")), ("CA2", Some("CA1")), ("CA3", Some("CA3")), ("CA4", None)] {
        let record = store.record(sid).await.expect("readable");
        assert_eq!(record.as_ref().map(|record| record.call_sid.as_str()), found, "{sid}");
    }
}

#[tokio::test]
async fn call_records_written_meanwhile_are_no_change_of_keys() {
    let (_dir, store) = with_account().await;
    let (_, mut watch) = KeyWatch::start(&store, false).await.expect("watch");
    store.apply(&[record("CA1", "completed", 5)]).await.expect("written");
    assert!(watch.changed().await.expect("readable").is_none());
}

#[tokio::test]
async fn placeholder_key_is_in_force_in_dev_mode_only_even_if_stored() {
    let (_dir, store) = with_account().await;
    let mut smuggled = key("SK2", "HS256");
    smuggled.material = Zeroizing::new(crate::shell::token::DEV_SECRET.into());
    store.add_key(&smuggled).await.expect("added");
    let (production, _) = KeyWatch::start(&store, false).await.expect("watch");
    assert!(production.keys.is_empty() && production.accounts.len() == 1);
    let (dev, _) = KeyWatch::start(&store, true).await.expect("watch");
    assert!(dev.keys.contains_key(crate::shell::token::DEV_KEY_SID));
}

#[tokio::test]
async fn store_of_a_newer_version_is_left_alone() {
    let (dir, store) = store().await;
    store.close().await;
    let path = dir.path().join("store.db");
    let newer = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.expect("open");
    sqlx::raw_sql("PRAGMA user_version = 99").execute(&newer).await.expect("set");
    newer.close().await;
    let fault = SqliteStore::open(&DataDir::open(dir.path()).expect("open")).await.expect_err("too new");
    assert!(fault.to_string().contains("newer version (schema 99"), "{fault}");
}
