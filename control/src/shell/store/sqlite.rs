//! The embedded store: one SQLite file (WAL, owner-only) in the data directory.
//!
//! Calls are stored as JSON, versioned by their fields, beside the columns that are searched. The schema is a list
//! of steps; `PRAGMA user_version` says how many have been taken.

use super::{Store, StoredKey, StoredKeys, Write};
use crate::core::keys::Account;
use crate::core::record::{CallRecord, LiveCall};
use crate::shell::data_dir::{DataDir, STORE};
use crate::shell::fault::Fault;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Connection, Row, SqliteConnection, SqlitePool};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SCHEMA: &[&str] = &["
    CREATE TABLE accounts (
        sid TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        suspended INTEGER NOT NULL DEFAULT 0,
        created_unix_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE api_keys (
        sid TEXT PRIMARY KEY,
        account_sid TEXT NOT NULL REFERENCES accounts (sid),
        algorithm TEXT NOT NULL,
        material TEXT NOT NULL,
        label TEXT NOT NULL,
        revoked INTEGER NOT NULL DEFAULT 0,
        created_unix_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE calls (
        call_sid TEXT PRIMARY KEY,
        account_sid TEXT NOT NULL,
        started_unix_ms INTEGER NOT NULL,
        ended_unix_ms INTEGER NOT NULL,
        end_reason TEXT NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX calls_by_start ON calls (started_unix_ms);
    CREATE TABLE live_calls (
        call_sid TEXT PRIMARY KEY,
        call TEXT NOT NULL
    ) STRICT;
"];

/// How long a statement waits for another process (`crosspoint keys …`) that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct SqliteStore {
    path: PathBuf,
    pool: SqlitePool,
}

impl SqliteStore {
    /// Opens `store.db` in the data directory; makes it, and brings its schema up to date.
    pub async fn open(dir: &DataDir) -> Result<SqliteStore, Fault> {
        let path = dir.join(STORE);
        // SQLite gives its journal the file's permissions, so the file must be owner-only before it is opened.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| Fault::DataDirectory { path: dir.path().to_owned(), source })?;
        let pool = SqlitePoolOptions::new().max_connections(3).connect_with(options(&path)).await;
        let store = SqliteStore { pool: pool.map_err(|source| Fault::Store { path: path.clone(), source })?, path };
        store.migrate().await?;
        Ok(store)
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn migrate(&self) -> Result<(), Fault> {
        let known = SCHEMA.len();
        let mut connection = self.pool.acquire().await.map_err(|e| self.fault(e))?;
        // IMMEDIATE: two processes that start at once take the steps one after the other.
        let mut steps = connection.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.fault(e))?;
        let found: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *steps).await.map_err(|e| self.fault(e))?;
        let taken = usize::try_from(found).unwrap_or(usize::MAX);
        if taken > known {
            return Err(Fault::StoreTooNew { path: self.path.clone(), found, known: known as i64 });
        }
        for (step, sql) in SCHEMA.iter().enumerate().skip(taken) {
            sqlx::raw_sql(*sql).execute(&mut *steps).await.map_err(|e| self.fault(e))?;
            let version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", step + 1));
            sqlx::raw_sql(version).execute(&mut *steps).await.map_err(|e| self.fault(e))?;
        }
        steps.commit().await.map_err(|e| self.fault(e))
    }

    /// A connection that tells when *another* connection has changed the store.
    pub async fn watch(&self) -> Result<StoreWatch, Fault> {
        let connection = SqliteConnection::connect_with(&options(&self.path)).await.map_err(|e| self.fault(e))?;
        Ok(StoreWatch { store: self.clone(), connection, version: 0 })
    }

    fn fault(&self, source: sqlx::Error) -> Fault {
        Fault::Store { path: self.path.clone(), source }
    }

    /// A row that this version cannot read is left alone and left out.
    fn read_json<T: DeserializeOwned>(&self, row: &SqliteRow) -> Result<Option<T>, Fault> {
        let text: &str = row.try_get(0).map_err(|e| self.fault(e))?;
        let read = serde_json::from_str(text);
        if let Err(error) = &read {
            tracing::warn!(%error, kind = "stored_call_unreadable", "a stored call does not parse; it stays where it is");
        }
        Ok(read.ok())
    }

    async fn try_apply(&self, writes: &[Write]) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        for write in writes {
            match write {
                Write::Live(call) => save_live(&mut transaction, call).await?,
                Write::Record(record) => write_record(&mut transaction, record).await?,
            }
        }
        transaction.commit().await
    }

    async fn try_keys(&self) -> Result<StoredKeys, sqlx::Error> {
        let accounts = sqlx::query("SELECT sid, name, suspended FROM accounts ORDER BY created_unix_ms, sid")
            .try_map(|row: SqliteRow| {
                Ok(Account { sid: row.try_get(0)?, name: row.try_get(1)?, suspended: row.try_get(2)? })
            })
            .fetch_all(&self.pool)
            .await?;
        let keys = sqlx::query(
            "SELECT sid, account_sid, algorithm, material, label, revoked, created_unix_ms FROM api_keys
             ORDER BY created_unix_ms, sid",
        )
        .try_map(|row: SqliteRow| {
            Ok(StoredKey {
                sid: row.try_get(0)?,
                account_sid: row.try_get(1)?,
                algorithm: row.try_get(2)?,
                material: row.try_get::<String, _>(3)?.into(),
                label: row.try_get(4)?,
                revoked: row.try_get(5)?,
                created_unix_ms: row.try_get::<i64, _>(6)?.unsigned_abs(),
            })
        })
        .fetch_all(&self.pool)
        .await?;
        Ok(StoredKeys { accounts, keys })
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // With WAL this survives the process's death; a power cut may cost the last transactions, never the file.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
}

async fn save_live(connection: &mut SqliteConnection, call: &LiveCall) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR REPLACE INTO live_calls (call_sid, call) VALUES (?, ?)")
        .bind(&call.call_sid)
        .bind(serde_json::to_string(call).map_err(|error| sqlx::Error::Encode(error.into()))?)
        .execute(connection)
        .await
        .map(drop)
}

async fn write_record(connection: &mut SqliteConnection, record: &CallRecord) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT OR IGNORE INTO calls (call_sid, account_sid, started_unix_ms, ended_unix_ms, end_reason, record)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&record.call_sid)
    .bind(&record.account_sid)
    .bind(record.started_unix_ms.cast_signed())
    .bind(record.ended_unix_ms.cast_signed())
    .bind(&record.end_reason)
    .bind(serde_json::to_string(record).map_err(|error| sqlx::Error::Encode(error.into()))?)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM live_calls WHERE call_sid = ?").bind(&record.call_sid).execute(connection).await.map(drop)
}

impl Store for SqliteStore {
    async fn apply(&self, writes: &[Write]) -> Result<(), Fault> {
        self.try_apply(writes).await.map_err(|e| self.fault(e))
    }

    async fn live_calls(&self) -> Result<Vec<LiveCall>, Fault> {
        let query = "SELECT call FROM live_calls WHERE call_sid NOT IN (SELECT call_sid FROM calls)";
        let rows = sqlx::query(query).fetch_all(&self.pool).await.map_err(|e| self.fault(e))?;
        rows.iter().filter_map(|row| self.read_json(row).transpose()).collect()
    }

    async fn records(&self, limit: u32) -> Result<Vec<CallRecord>, Fault> {
        let query = "SELECT record FROM calls ORDER BY started_unix_ms DESC, call_sid LIMIT ?";
        let rows = sqlx::query(query).bind(limit).fetch_all(&self.pool).await.map_err(|e| self.fault(e))?;
        rows.iter().filter_map(|row| self.read_json(row).transpose()).collect()
    }

    async fn record(&self, call_sid: &str) -> Result<Option<CallRecord>, Fault> {
        // No index finds a leg: the caller's, whose SID is the call's, is found by the first.
        let queries = [
            "SELECT record FROM calls WHERE call_sid = ?",
            "SELECT record FROM calls, json_each(record, '$.legs') WHERE json_extract(value, '$.call_sid') = ? LIMIT 1",
        ];
        let mut row = None;
        for query in queries {
            if row.is_none() {
                let query = sqlx::query(query).bind(call_sid);
                row = query.fetch_optional(&self.pool).await.map_err(|e| self.fault(e))?;
            }
        }
        row.map_or(Ok(None), |row| self.read_json(&row))
    }

    async fn keys(&self) -> Result<StoredKeys, Fault> {
        self.try_keys().await.map_err(|e| self.fault(e))
    }

    async fn add_account(&self, account: &Account, created_unix_ms: u64) -> Result<(), Fault> {
        sqlx::query("INSERT INTO accounts (sid, name, suspended, created_unix_ms) VALUES (?, ?, ?, ?)")
            .bind(&account.sid)
            .bind(&account.name)
            .bind(account.suspended)
            .bind(created_unix_ms.cast_signed())
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(|e| self.fault(e))
    }

    async fn add_key(&self, key: &StoredKey) -> Result<(), Fault> {
        sqlx::query(
            "INSERT INTO api_keys (sid, account_sid, algorithm, material, label, revoked, created_unix_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&key.sid)
        .bind(&key.account_sid)
        .bind(&key.algorithm)
        .bind(key.material.as_str())
        .bind(&key.label)
        .bind(key.revoked)
        .bind(key.created_unix_ms.cast_signed())
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(|e| self.fault(e))
    }

    async fn set_suspended(&self, sid: &str, suspended: bool) -> Result<bool, Fault> {
        let query = sqlx::query("UPDATE accounts SET suspended = ? WHERE sid = ?").bind(suspended).bind(sid);
        let done = query.execute(&self.pool).await.map_err(|e| self.fault(e))?;
        Ok(done.rows_affected() == 1)
    }

    async fn revoke_key(&self, sid: &str) -> Result<bool, Fault> {
        let query = sqlx::query("UPDATE api_keys SET revoked = 1 WHERE sid = ?").bind(sid);
        let done = query.execute(&self.pool).await.map_err(|e| self.fault(e))?;
        Ok(done.rows_affected() == 1)
    }
}

/// Notices what `crosspoint keys` and `crosspoint accounts` changed while the server runs.
#[derive(Debug)]
pub struct StoreWatch {
    store: SqliteStore,
    connection: SqliteConnection,
    version: i64,
}

impl StoreWatch {
    /// The accounts and keys, if anything at all was written since the last time; at first always.
    pub async fn changed(&mut self) -> Result<Option<StoredKeys>, Fault> {
        let query = sqlx::query_scalar("PRAGMA data_version");
        let version: i64 = query.fetch_one(&mut self.connection).await.map_err(|e| self.store.fault(e))?;
        if version == self.version {
            return Ok(None);
        }
        let keys = self.store.keys().await?;
        self.version = version;
        Ok(Some(keys))
    }
}
