//! A store in PostgreSQL: several machines share accounts, orders and certificates. Who works on a certificate holds an
//! advisory lock; a new certificate is told to all by NOTIFY.
//!
//! The connection is not encrypted: use the server's socket, or a network that is (a tailnet).

use super::{Lock, Pair, Store, StoreError, StoredAccount};
use crate::ledger::{Entry, Ledger, Limits};
use crate::machine::{Record, State};
use crate::time::Time;
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use tokio::sync::{Mutex, mpsc};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Row};

/// The channel on which the ids of new certificates are told.
const CHANNEL: &str = "acme_dns01_certificate";

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

/// A store in PostgreSQL.
pub struct PostgresStore {
    config: Config,
    client: Mutex<Client>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("database", &self.config.get_dbname()).finish_non_exhaustive()
    }
}

fn failed(why: &tokio_postgres::Error) -> StoreError {
    StoreError::Database(why.as_db_error().map_or_else(|| why.to_string(), ToString::to_string))
}

fn damaged(why: &serde_json::Error) -> StoreError {
    StoreError::Damaged { path: "the database".to_owned(), why: why.to_string() }
}

async fn connect(config: &Config) -> Result<Client, StoreError> {
    let (client, connection) = config.connect(NoTls).await.map_err(|why| failed(&why))?;
    tokio::spawn(connection);
    Ok(client)
}

impl PostgresStore {
    /// Connects, and makes the tables that are missing.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn open(config: Config) -> Result<Self, StoreError> {
        let client = connect(&config).await?;
        // Two that begin at once must not both make the tables.
        client.batch_execute("SELECT pg_advisory_lock(7103127101)").await.map_err(|why| failed(&why))?;
        let made = client.batch_execute(SCHEMA).await;
        client.batch_execute("SELECT pg_advisory_unlock(7103127101)").await.map_err(|why| failed(&why))?;
        made.map_err(|why| failed(&why))?;
        Ok(Self { config, client: Mutex::new(client) })
    }

    /// The ids of certificates as they change, by whomever; ends when the connection does.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn changes(&self) -> Result<mpsc::UnboundedReceiver<String>, StoreError> {
        let (client, mut connection) = self.config.connect(NoTls).await.map_err(|why| failed(&why))?;
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let messages = std::future::poll_fn(|context| {
                while let std::task::Poll::Ready(message) = connection.poll_message(context) {
                    match message {
                        Some(Ok(AsyncMessage::Notification(told))) => {
                            if sender.send(told.payload().to_owned()).is_err() {
                                return std::task::Poll::Ready(());
                            }
                        }
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return std::task::Poll::Ready(()),
                    }
                }
                std::task::Poll::Pending
            });
            messages.await;
        });
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await.map_err(|why| failed(&why))?;
        // The connection lives as long as its client does.
        let lasting = receiver;
        let (forward, ids) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (_client, mut lasting) = (client, lasting);
            while let Some(id) = lasting.recv().await {
                if forward.send(id).is_err() {
                    return;
                }
            }
        });
        Ok(ids)
    }

    /// The connection, made anew if it broke.
    async fn client(&self) -> Result<tokio::sync::MutexGuard<'_, Client>, StoreError> {
        let mut client = self.client.lock().await;
        if client.is_closed() {
            *client = connect(&self.config).await?;
        }
        Ok(client)
    }

    async fn one(&self, sql: &str, id: &str) -> Result<Option<Row>, StoreError> {
        self.client().await?.query_opt(sql, &[&id]).await.map_err(|why| failed(&why))
    }

    async fn set(&self, sql: &str, id: &str, one: &str, other: Option<&str>) -> Result<(), StoreError> {
        let client = self.client().await?;
        match other {
            Some(other) => client.execute(sql, &[&id, &one, &other]).await,
            None => client.execute(sql, &[&id, &one]).await,
        }
        .map(|_| ())
        .map_err(|why| failed(&why))
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn lock(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        // A lock belongs to a connection, and is gone with it.
        let client = connect(&self.config).await?;
        let sql = "SELECT pg_try_advisory_lock(hashtextextended('acme-dns01 ' || $1, 0))";
        let taken: bool = client.query_one(sql, &[&name]).await.map_err(|why| failed(&why))?.get(0);
        Ok(taken.then(|| Lock::new(client)))
    }

    async fn journal(&self, id: &str) -> Result<Vec<Record>, StoreError> {
        let sql = "SELECT record FROM acme_dns01_journal WHERE id = $1 ORDER BY number";
        let rows = self.client().await?.query(sql, &[&id]).await.map_err(|why| failed(&why))?;
        let records = rows.iter().map(|row| serde_json::from_str(row.get(0)));
        records.collect::<Result<_, _>>().map_err(|why| damaged(&why))
    }

    async fn append(&self, id: &str, record: &Record) -> Result<(), StoreError> {
        let line = serde_json::to_string(record).map_err(|why| damaged(&why))?;
        self.set("INSERT INTO acme_dns01_journal (id, record) VALUES ($1, $2)", id, &line, None).await
    }

    async fn compact(&self, id: &str, state: &State) -> Result<(), StoreError> {
        let line =
            serde_json::to_string(&Record::State(Box::new(state.clone()))).map_err(|why| damaged(&why))?;
        let sql = "WITH old AS (DELETE FROM acme_dns01_journal WHERE id = $1) \
                   INSERT INTO acme_dns01_journal (id, record) VALUES ($1, $2)";
        self.set(sql, id, &line, None).await
    }

    async fn pending_key(&self, id: &str) -> Result<Option<SecretString>, StoreError> {
        let row = self.one("SELECT pending_key FROM acme_dns01_certificate WHERE id = $1", id).await?;
        Ok(row.and_then(|row| row.get::<_, Option<String>>(0)).map(Into::into))
    }

    async fn save_pending_key(&self, id: &str, key: &SecretString) -> Result<(), StoreError> {
        let sql = "INSERT INTO acme_dns01_certificate (id, pending_key) VALUES ($1, $2) \
                   ON CONFLICT (id) DO UPDATE SET pending_key = excluded.pending_key";
        self.set(sql, id, key.expose_secret(), None).await
    }

    async fn stage(&self, id: &str, pair: &Pair) -> Result<(), StoreError> {
        let sql = "INSERT INTO acme_dns01_certificate (id, staged_chain, staged_key) VALUES ($1, $2, $3) \
                   ON CONFLICT (id) DO UPDATE SET staged_chain = excluded.staged_chain, staged_key = excluded.staged_key";
        self.set(sql, id, &pair.chain, Some(pair.key.expose_secret())).await
    }

    async fn install(&self, id: &str) -> Result<(), StoreError> {
        let sql = "UPDATE acme_dns01_certificate SET previous_chain = chain, previous_key = key, chain = staged_chain, \
                   key = staged_key, staged_chain = NULL, staged_key = NULL, pending_key = NULL \
                   WHERE id = $1 AND staged_chain IS NOT NULL";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(|why| failed(&why))?;
        transaction.execute(sql, &[&id]).await.map_err(|why| failed(&why))?;
        transaction
            .execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &id])
            .await
            .map_err(|why| failed(&why))?;
        transaction.commit().await.map_err(|why| failed(&why))
    }

    async fn exchange(&self, id: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE acme_dns01_certificate SET previous_chain = chain, previous_key = key, chain = previous_chain, \
                   key = previous_key WHERE id = $1 AND previous_chain IS NOT NULL";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(|why| failed(&why))?;
        let changed = transaction.execute(sql, &[&id]).await.map_err(|why| failed(&why))?;
        transaction
            .execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &id])
            .await
            .map_err(|why| failed(&why))?;
        transaction.commit().await.map_err(|why| failed(&why))?;
        Ok(changed == 1)
    }

    async fn current(&self, id: &str) -> Result<Option<Pair>, StoreError> {
        let sql = "SELECT chain, key FROM acme_dns01_certificate WHERE id = $1 AND chain IS NOT NULL";
        let row = self.one(sql, id).await?;
        Ok(row.map(|row| Pair { chain: row.get(0), key: row.get::<_, String>(1).into() }))
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
        let client = self.client().await?;
        client
            .execute(sql, &[&authority, &account.key.expose_secret(), &account.url, &next])
            .await
            .map(|_| ())
            .map_err(|why| failed(&why))
    }

    async fn ledger(&self) -> Result<Ledger, StoreError> {
        let rows =
            self.client().await?.query("SELECT entry FROM acme_dns01_ledger ORDER BY number", &[]).await;
        let list: Vec<String> = rows.map_err(|why| failed(&why))?.iter().map(|row| row.get(0)).collect();
        // The ledger is a list of entries.
        serde_json::from_str(&format!("[{}]", list.join(","))).map_err(|why| damaged(&why))
    }

    async fn note(&self, entry: Entry, now: Time, limits: &Limits) -> Result<Ledger, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(|why| failed(&why))?;
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
        let before = ledger.entries().len();
        let line = serde_json::to_string(&entry).map_err(|why| damaged(&why))?;
        ledger.record(entry, now, limits);
        if ledger.entries().len() <= before {
            // Old entries fell out: all that count are written anew.
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
}
