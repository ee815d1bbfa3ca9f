//! A store in PostgreSQL, in which several hosts share accounts, orders and certificates. The process that works on a
//! certificate holds an advisory lock. NOTIFY announces a new certificate.
//!
//! The lock is a fence too: PostgreSQL itself takes a line of a journal, or a certificate, only while the connection
//! that holds the lock is alive. A host whose connection broke cannot continue an order that another host has taken
//! over.
//!
//! Keys are on their way over the connection: [`Encryption`]. Locks belong to sessions, so that a pooler between has to
//! keep sessions, not transactions.

mod connect;
mod database;
mod hosts;
mod listen;
mod tls;

use super::{CertificatePair, Changes, Lock, Store, StoreError, StoredAccount};
use crate::ledger::{Entry, Ledger, Limits};
use crate::machine::{Record, State};
use crate::time::Time;
use async_trait::async_trait;
use connect::{Connection, ConnectionGuard};
pub use database::Database;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row};

/// Channel of the notifications, whose payload is the certificate's id.
const CHANNEL: &str = "acme_dns01_certificate";

/// Statements that create the tables and the index, unless they exist.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS acme_dns01_account (
    authority text PRIMARY KEY, key text NOT NULL, url text, next_key text);
CREATE TABLE IF NOT EXISTS acme_dns01_journal (
    number bigserial PRIMARY KEY, id text NOT NULL, record text NOT NULL);
CREATE INDEX IF NOT EXISTS acme_dns01_journal_id ON acme_dns01_journal (id, number);
CREATE TABLE IF NOT EXISTS acme_dns01_certificate (
    id text PRIMARY KEY, chain text, key text, previous_chain text, previous_key text,
    staged_chain text, staged_key text, pending_key text);
CREATE TABLE IF NOT EXISTS acme_dns01_ledger (number bigserial PRIMARY KEY, entry text NOT NULL);
";

/// SQL expression of the advisory lock key of the name `$1`.
const KEY: &str = "hashtextextended('acme-dns01 ' || $1, 0)";

/// SQL expression of a second advisory lock key of the name `$1`. Writers share that lock for one transaction, and a
/// new holder of the name's lock takes it exclusively, so that no write of the previous holder is still in progress.
const WRITING: &str = "hashtextextended('acme-dns01 writing ' || $1, 0)";

/// SQL condition that is true while the backend with process id `$2` holds the lock of the name `$1`.
const FENCE: &str = "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid = $2 \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     AND (classid::bigint << 32 | objid::bigint) = hashtextextended('acme-dns01 ' || $1, 0))";

/// Encryption of the connection to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// No encryption: for a Unix-domain socket, or a network that is itself encrypted, such as a tailnet.
    None,
    /// TLS, with the server's certificate verified against its host name.
    Tls {
        /// Additional root certificates in PEM, trusted beside the system's. `None` adds none.
        roots: Option<String>,
    },
}

impl Encryption {
    /// Returns the encryption that connection parameters select: TLS for `sslmode=require`, with `roots` (PEM) in
    /// addition to the system's; none for `sslmode=disable`, or if every host is a Unix-domain socket or a loopback
    /// address. Returns `None` for any other parameters: unencrypted data would cross a network without
    /// `sslmode=disable`.
    #[must_use]
    pub fn of(config: &Config, roots: Option<String>) -> Option<Self> {
        let here = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
        };
        match config.get_ssl_mode() {
            SslMode::Require => Some(Self::Tls { roots }),
            SslMode::Disable => Some(Self::None),
            _ => config.get_hosts().iter().all(here).then_some(Self::None),
        }
    }
}

/// A store in PostgreSQL 14 or later.
pub struct PostgresStore {
    connection: Connection,
    /// Process ids of the backends that hold this process's locks, by the lock's name.
    locks: Arc<Mutex<HashMap<String, i32>>>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("database", self.connection.database()).finish_non_exhaustive()
    }
}

/// A held advisory lock with its connection. Dropping it releases the lock and removes its entry in `locks`.
struct AdvisoryLock {
    _client: Arc<Client>,
    name: String,
    backend: i32,
    locks: Arc<Mutex<HashMap<String, i32>>>,
}

impl Drop for AdvisoryLock {
    fn drop(&mut self) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if locks.get(&self.name) == Some(&self.backend) {
            locks.remove(&self.name);
        }
    }
}

/// Converts an error of the client to [`StoreError::Database`], with the server's message, or else the error and its
/// cause.
fn failed(why: &tokio_postgres::Error) -> StoreError {
    let words = why.as_db_error().map_or_else(
        || {
            let below = std::error::Error::source(why).map(|below| format!(": {below}"));
            format!("{why}{}", below.unwrap_or_default())
        },
        ToString::to_string,
    );
    StoreError::Database(words)
}

/// Converts an error of parsing or encoding stored JSON to [`StoreError::Damaged`].
fn damaged(why: &serde_json::Error) -> StoreError {
    StoreError::Damaged { path: "the database".to_owned(), why: why.to_string() }
}

impl PostgresStore {
    /// Creates a store in this database, without connecting. With several hosts, the first that accepts writes is used,
    /// so that a promoted replica is found. TLS is determined by `encryption` and not by `config`. The connection is
    /// made on first use, and again after it breaks or the server stops responding. Missing tables are then created.
    ///
    /// # Errors
    /// Returns [`StoreError::Database`] if the root certificates are not valid.
    pub fn new(config: Config, encryption: &Encryption) -> Result<Self, StoreError> {
        let database = Database::new(config, encryption)?;
        Ok(Self::of(database))
    }

    /// Creates a store in this database like [`new`](Self::new).
    #[must_use]
    pub fn of(database: Database) -> Self {
        Self { connection: Connection::new(database), locks: Arc::default() }
    }

    /// Returns the connection, for exclusive use, opened if necessary.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the connection cannot be opened.
    async fn held(&self) -> Result<ConnectionGuard<'_>, StoreError> {
        self.connection.held().await
    }

    /// Runs a query with the parameter `id`. `None` if it returns no row.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the connection cannot be opened, or the query fails.
    async fn one(&self, sql: &str, id: &str) -> Result<Option<Row>, StoreError> {
        self.held().await?.query_opt(sql, &[&id]).await.map_err(|why| failed(&why))
    }

    /// Executes a statement in a transaction, if this process still holds the certificate's lock. `$1` is the id, and
    /// `more` are the parameters from `$2` on. If `notify`, listening hosts are notified of the certificate. Returns
    /// the number of changed rows.
    ///
    /// # Errors
    /// Returns [`StoreError::LockLost`], without an effect, if the lock is not held, and [`StoreError::Database`] if
    /// the connection or a statement fails.
    async fn execute_fenced(
        &self,
        id: &str,
        sql: &str,
        more: &[&(dyn ToSql + Sync)],
        notify: bool,
    ) -> Result<u64, StoreError> {
        let lost = || StoreError::LockLost { id: id.to_owned() };
        let backend = self.locks.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied();
        let backend = backend.ok_or_else(lost)?;
        let mut held = self.held().await?;
        let work = async {
            let transaction = held.as_mut().transaction().await?;
            transaction.query_one(&format!("SELECT pg_advisory_xact_lock_shared({WRITING})"), &[&id]).await?;
            let fence = format!("SELECT {FENCE}");
            if !transaction.query_one(&fence, &[&id, &backend]).await?.get::<_, bool>(0) {
                return Ok(None);
            }
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![&id];
            values.extend(more);
            let changed = transaction.execute(sql, &values).await?;
            if notify {
                transaction.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &id]).await?;
            }
            transaction.commit().await?;
            Ok(Some(changed))
        };
        work.await.map_err(|why| failed(&why))?.ok_or_else(lost)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn lock(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        // The first connection creates the tables.
        drop(self.held().await?);
        // The lock belongs to a separate connection, and is released with it.
        let client = Arc::new(self.connection.database().connect().await?);
        let sql = format!("SELECT pg_try_advisory_lock({KEY}), pg_backend_pid()");
        let row = client.query_one(&sql, &[&name]).await.map_err(|why| failed(&why))?;
        if !row.get::<_, bool>(0) {
            return Ok(None);
        }
        let alone = format!("SELECT pg_advisory_xact_lock({WRITING})");
        client.query_one(&alone, &[&name]).await.map_err(|why| failed(&why))?;
        let backend = row.get(1);
        self.locks.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), backend);
        let watched = client.clone();
        let locked =
            AdvisoryLock { _client: client, name: name.to_owned(), backend, locks: self.locks.clone() };
        Ok(Some(Lock::revocable(locked, move || watched.is_closed())))
    }

    async fn journal(&self, id: &str) -> Result<Vec<Record>, StoreError> {
        let sql = "SELECT record FROM acme_dns01_journal WHERE id = $1 ORDER BY number";
        let rows = self.held().await?.query(sql, &[&id]).await.map_err(|why| failed(&why))?;
        let records = rows.iter().map(|row| serde_json::from_str(row.get(0)));
        records.collect::<Result<_, _>>().map_err(|why| damaged(&why))
    }

    async fn append(&self, id: &str, record: &Record) -> Result<(), StoreError> {
        let line = serde_json::to_string(record).map_err(|why| damaged(&why))?;
        let sql = "INSERT INTO acme_dns01_journal (id, record) VALUES ($1, $2)";
        self.execute_fenced(id, sql, &[&line], false).await.map(|_| ())
    }

    async fn compact(&self, id: &str, state: &State) -> Result<(), StoreError> {
        let line =
            serde_json::to_string(&Record::State(Box::new(state.clone()))).map_err(|why| damaged(&why))?;
        let sql = "WITH old AS (DELETE FROM acme_dns01_journal WHERE id = $1) \
                   INSERT INTO acme_dns01_journal (id, record) VALUES ($1, $2)";
        self.execute_fenced(id, sql, &[&line], false).await.map(|_| ())
    }

    async fn pending_key(&self, id: &str) -> Result<Option<SecretString>, StoreError> {
        let row = self.one("SELECT pending_key FROM acme_dns01_certificate WHERE id = $1", id).await?;
        Ok(row.and_then(|row| row.get::<_, Option<String>>(0)).map(Into::into))
    }

    async fn save_pending_key(&self, id: &str, key: &SecretString) -> Result<(), StoreError> {
        let sql = "INSERT INTO acme_dns01_certificate (id, pending_key) VALUES ($1, $2) \
                   ON CONFLICT (id) DO UPDATE SET pending_key = excluded.pending_key";
        self.execute_fenced(id, sql, &[&key.expose_secret()], false).await.map(|_| ())
    }

    async fn stage(&self, id: &str, pair: &CertificatePair) -> Result<(), StoreError> {
        // A pair in place is not staged again, since that would replace the previous pair at the next installation.
        let sql = "INSERT INTO acme_dns01_certificate AS known (id, staged_chain, staged_key) VALUES ($1, $2, $3) \
                   ON CONFLICT (id) DO UPDATE SET staged_chain = excluded.staged_chain, staged_key = excluded.staged_key \
                   WHERE (known.chain, known.key) IS DISTINCT FROM (excluded.staged_chain, excluded.staged_key)";
        self.execute_fenced(id, sql, &[&pair.chain, &pair.key.expose_secret()], false).await.map(|_| ())
    }

    async fn install(&self, id: &str) -> Result<(), StoreError> {
        let sql = "UPDATE acme_dns01_certificate SET previous_chain = chain, previous_key = key, chain = staged_chain, \
                   key = staged_key, staged_chain = NULL, staged_key = NULL, \
                   pending_key = nullif(pending_key, staged_key) \
                   WHERE id = $1 AND staged_chain IS NOT NULL";
        if self.execute_fenced(id, sql, &[], true).await? == 0 && self.current(id).await?.is_none() {
            let why = "nothing is staged, and nothing is in place".to_owned();
            return Err(StoreError::Damaged { path: format!("acme_dns01_certificate, id {id}"), why });
        }
        Ok(())
    }

    async fn exchange(&self, id: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE acme_dns01_certificate SET previous_chain = chain, previous_key = key, chain = previous_chain, \
                   key = previous_key WHERE id = $1 AND previous_chain IS NOT NULL";
        self.execute_fenced(id, sql, &[], true).await.map(|changed| changed == 1)
    }

    async fn previous(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        let sql = "SELECT previous_chain, previous_key FROM acme_dns01_certificate WHERE id = $1 AND previous_chain IS NOT NULL";
        let row = self.one(sql, id).await?;
        Ok(row.map(|row| CertificatePair { chain: row.get(0), key: row.get::<_, String>(1).into() }))
    }

    async fn current(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        let sql = "SELECT chain, key FROM acme_dns01_certificate WHERE id = $1 AND chain IS NOT NULL";
        let row = self.one(sql, id).await?;
        Ok(row.map(|row| CertificatePair { chain: row.get(0), key: row.get::<_, String>(1).into() }))
    }

    async fn forget(&self, id: &str) -> Result<(), StoreError> {
        let sql = "WITH old AS (DELETE FROM acme_dns01_journal WHERE id = $1) \
                   DELETE FROM acme_dns01_certificate WHERE id = $1";
        self.execute_fenced(id, sql, &[], false).await.map(|_| ())
    }

    async fn account(&self, authority: &str) -> Result<Option<StoredAccount>, StoreError> {
        let sql = "SELECT key, url, next_key FROM acme_dns01_account WHERE authority = $1";
        let row = self.one(sql, authority).await?;
        Ok(row.map(|row| StoredAccount {
            key: row.get::<_, String>(0).into(),
            url: row.get(1),
            next_key: row.get::<_, Option<String>>(2).map(Into::into),
        }))
    }

    async fn save_account(&self, authority: &str, account: &StoredAccount) -> Result<(), StoreError> {
        let sql = "INSERT INTO acme_dns01_account (authority, key, url, next_key) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (authority) DO UPDATE SET key = excluded.key, url = excluded.url, next_key = excluded.next_key";
        let next = account.next_key.as_ref().map(ExposeSecret::expose_secret);
        let held = self.held().await?;
        held.execute(sql, &[&authority, &account.key.expose_secret(), &account.url, &next])
            .await
            .map(|_| ())
            .map_err(|why| failed(&why))
    }

    async fn ledger(&self) -> Result<Ledger, StoreError> {
        let rows = self.held().await?.query("SELECT entry FROM acme_dns01_ledger ORDER BY number", &[]).await;
        let list: Vec<String> = rows.map_err(|why| failed(&why))?.iter().map(|row| row.get(0)).collect();
        // The ledger is serialized as a list of entries.
        serde_json::from_str(&format!("[{}]", list.join(","))).map_err(|why| damaged(&why))
    }

    async fn note(&self, entry: Entry, now: Time, limits: &Limits) -> Result<Ledger, StoreError> {
        let mut held = self.held().await?;
        let transaction = held.as_mut().transaction().await.map_err(|why| failed(&why))?;
        transaction
            .execute("LOCK TABLE acme_dns01_ledger IN EXCLUSIVE MODE", &[])
            .await
            .map_err(|why| failed(&why))?;
        let rows = transaction
            .query("SELECT entry FROM acme_dns01_ledger ORDER BY number", &[])
            .await
            .map_err(|why| failed(&why))?;
        let list: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let mut ledger: Ledger =
            serde_json::from_str(&format!("[{}]", list.join(","))).map_err(|why| damaged(&why))?;
        let before = ledger.entries().count();
        let line = serde_json::to_string(&entry).map_err(|why| damaged(&why))?;
        ledger.record(entry, now, limits);
        if ledger.entries().count() <= before {
            // Entries were dropped, so all remaining ones are written again.
            transaction.execute("DELETE FROM acme_dns01_ledger", &[]).await.map_err(|why| failed(&why))?;
            for entry in ledger.entries() {
                let line = serde_json::to_string(entry).map_err(|why| damaged(&why))?;
                let sql = "INSERT INTO acme_dns01_ledger (entry) VALUES ($1)";
                transaction.execute(sql, &[&line]).await.map_err(|why| failed(&why))?;
            }
        } else {
            let sql = "INSERT INTO acme_dns01_ledger (entry) VALUES ($1)";
            transaction.execute(sql, &[&line]).await.map_err(|why| failed(&why))?;
        }
        transaction.commit().await.map_err(|why| failed(&why))?;
        Ok(ledger)
    }

    fn changes(&self) -> Option<Changes> {
        Some(listen::changes(self.connection.database().clone()))
    }
}
