//! The shared store in PostgreSQL.
//!
//! Ticket keys are in an ordinary table, so that they are replicated, and a promoted replica can decrypt existing
//! tickets. Sessions are in an unlogged table, so that each is used only once: a replica has none, a promoted one
//! starts without any, and a crash removes all, so that no used session returns.

use crate::key_fault::KeyFault;
use acme_dns01::store::{Database, Encryption};
use edge_proxy::{SealedKey, SealedSession, SharedStore, StoreError, StoreFuture};
use std::fmt::Display;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Statement};

/// The statements that create the tables and the index, unless they exist.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS edge_proxy_ticket_key (
    epoch bigint PRIMARY KEY, sealed bytea NOT NULL, ends timestamptz NOT NULL);
CREATE UNLOGGED TABLE IF NOT EXISTS edge_proxy_session (
    id bytea PRIMARY KEY, sealed bytea NOT NULL, ends timestamptz NOT NULL);
CREATE INDEX IF NOT EXISTS edge_proxy_session_ends ON edge_proxy_session (ends);
";

/// Inserts a ticket key, unless one of its epoch exists. Parameters: the epoch, the sealed key, and its end in seconds
/// since 1970.
const MAKE_KEY: &str =
    "INSERT INTO edge_proxy_ticket_key VALUES ($1, $2, to_timestamp($3)) ON CONFLICT DO NOTHING";
/// Deletes expired ticket keys.
const END_KEYS: &str = "DELETE FROM edge_proxy_ticket_key WHERE ends <= now()";
/// Selects all ticket keys: epoch, sealed key, and end in seconds since 1970.
const KEYS: &str = "SELECT epoch, sealed, extract(epoch FROM ends)::float8 FROM edge_proxy_ticket_key";
/// Inserts a session, unless it exists. Parameters: the identifier, the sealed session, and its lifetime in seconds.
const PUT: &str =
    "INSERT INTO edge_proxy_session VALUES ($1, $2, now() + $3 * interval '1 second') ON CONFLICT DO NOTHING";
/// Deletes a session that has not expired, and returns its sealed content. Parameter: the identifier.
const TAKE: &str = "DELETE FROM edge_proxy_session WHERE id = $1 AND ends > now() RETURNING sealed";
/// Deletes expired sessions, and those beyond the number `$1` that expire first, at most `$2` in all. Instances that do
/// so at the same time do not wait for each other.
const END: &str = "DELETE FROM edge_proxy_session WHERE id IN (SELECT id FROM edge_proxy_session \
     WHERE ends <= greatest(now(), (SELECT ends FROM edge_proxy_session ORDER BY ends DESC OFFSET $1 LIMIT 1)) \
     ORDER BY ends LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// The largest number of sessions that remain stored after a deletion.
const MAX_SESSIONS: i64 = 200_000;
/// The largest number of sessions that one statement deletes.
const BATCH_SIZE: i64 = 5000;
/// The largest number of such deletions in a row.
const MAX_BATCHES: usize = 20;

/// The longest wait for the response to a check whether the server works.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The time limit for a connection to one host, unless the connection string has one.
const HOST_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The time limit for a connection, over all hosts of the connection string together.
const TOTAL_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The time for which sent data may remain unacknowledged before a connection is closed (`TCP_USER_TIMEOUT`).
const SILENCE_TIMEOUT: Duration = Duration::from_secs(5);

/// The key of the advisory lock under which the tables are created.
const LOCK: i64 = 7_103_127_102;

/// The shared store in a PostgreSQL database.
pub(super) struct Postgres {
    /// The settings of connections.
    database: Database,
    /// The current connection. `None` if there is none.
    connection: RwLock<Option<Arc<Connection>>>,
}

/// A connection, with its prepared statements.
struct Connection {
    /// The connected client.
    client: Client,
    /// The statement [`PUT`].
    put: Statement,
    /// The statement [`TAKE`].
    take: Statement,
}

impl Postgres {
    /// Creates a store from a libpq connection string, without connecting. `roots` is a file of additional authorities
    /// for TLS. Sets timeouts for connecting, and the application name `edge-proxyd` unless there is one.
    ///
    /// # Errors
    /// The connection string is not valid or would send data to a remote server without encryption, or `roots` cannot
    /// be read or is not valid.
    pub(super) fn new(text: &str, roots: Option<&Path>) -> Result<Self, KeyFault> {
        let of_database = |why| KeyFault::new("shared", "database", why);
        // The cause is left out: it may contain the password.
        let mut config: Config = text.trim().parse().map_err(|_| {
            of_database("not a valid libpq connection string: expected host=… dbname=… user=… password=…")
        })?;
        let wrong = |path: &Path, why: &dyn Display| {
            let fix = "write the path of the authorities of the database in PEM";
            KeyFault::new("shared", "database_roots", format_args!("{why}: {fix}")).value(path.display())
        };
        let pem = roots.map(|path| std::fs::read_to_string(path).map_err(|why| wrong(path, &why)));
        let encryption = Encryption::of(&config, pem.transpose()?).ok_or_else(|| {
            of_database(
                "the server is remote and the connection would not be encrypted: write sslmode=require, with \
                 database_roots for a CA of your own, or sslmode=disable for a network that is encrypted itself",
            )
        })?;
        // Every host must have been tried before [`SharedStore::keys`] returns.
        let share =
            TOTAL_CONNECT_TIMEOUT / u32::try_from(config.get_hosts().len().max(1)).unwrap_or(u32::MAX);
        let limit =
            config.get_connect_timeout().map_or(HOST_CONNECT_TIMEOUT, |limit| (*limit).min(share)).min(share);
        config.connect_timeout(limit).tcp_user_timeout(SILENCE_TIMEOUT);
        if config.get_application_name().is_none() {
            config.application_name("edge-proxyd");
        }
        let database =
            Database::new(config, &encryption).map_err(|why| wrong(roots.unwrap_or(Path::new("")), &why))?;
        Ok(Self { database, connection: RwLock::default() })
    }

    /// Returns the current connection. Never connects, so that handshakes do not wait: only [`SharedStore::keys`]
    /// connects.
    ///
    /// # Errors
    /// There is no open connection.
    fn current_connection(&self) -> Result<Arc<Connection>, StoreError> {
        let connection = self.connection.read().unwrap_or_else(PoisonError::into_inner).clone();
        connection
            .filter(|connection| !connection.client.is_closed())
            .ok_or_else(|| StoreError("there is no connection to the database".into()))
    }

    /// Replaces the current connection, by none with `None`.
    fn set(&self, connection: Option<Arc<Connection>>) {
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// Returns the current connection, or opens one and prepares the tables and statements.
    ///
    /// # Errors
    /// The database could not be reached, or the tables not be prepared.
    async fn connection(&self) -> Result<Arc<Connection>, StoreError> {
        if let Ok(connection) = self.current_connection() {
            return Ok(connection);
        }
        let client = self.database.connect().await.map_err(|why| StoreError(why.to_string()))?;
        prepare(&client).await?;
        let put = client.prepare(PUT).await.map_err(|why| failed(&why))?;
        let take = client.prepare(TAKE).await.map_err(|why| failed(&why))?;
        let connection = Arc::new(Connection { client, put, take });
        self.set(Some(connection.clone()));
        Ok(connection)
    }

    /// Converts an error by [`failed`]. If the server has become a read-only replica, the current connection is
    /// dropped.
    fn failed(&self, why: &tokio_postgres::Error) -> StoreError {
        if why.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
            self.set(None);
        }
        failed(why)
    }

    /// Connects if necessary, stores the ticket keys `made`, deletes expired keys and surplus or expired sessions, and
    /// returns all keys.
    ///
    /// # Errors
    /// The database could not be reached, or a statement failed.
    async fn all_keys(&self, made: &[SealedKey]) -> Result<Vec<SealedKey>, StoreError> {
        let connection = self.connection().await?;
        let client = &connection.client;
        let failed = |why| self.failed(&why);
        for key in made {
            let (epoch, ends) = (key.epoch.cast_signed(), key.ends as f64);
            client.execute(MAKE_KEY, &[&epoch, &key.sealed, &ends]).await.map_err(failed)?;
        }
        client.execute(END_KEYS, &[]).await.map_err(failed)?;
        let rows = client.query(KEYS, &[]).await.map_err(failed)?;
        for _ in 0..MAX_BATCHES {
            if client.execute(END, &[&MAX_SESSIONS, &BATCH_SIZE]).await.map_err(failed)?
                < BATCH_SIZE.cast_unsigned()
            {
                break;
            }
        }
        let key = |row: &tokio_postgres::Row| SealedKey {
            epoch: row.get::<_, i64>(0).cast_unsigned(),
            sealed: row.get(1),
            ends: row.get::<_, f64>(2) as u64,
        };
        Ok(rows.iter().map(key).collect())
    }
}

/// Returns true if the server responds to a check within [`RESPONSE_TIMEOUT`]. A connection to a server that hangs,
/// such as a paused machine, remains open, which is why it is checked.
async fn is_alive(client: &Client) -> bool {
    matches!(timeout(RESPONSE_TIMEOUT, client.check_connection()).await, Ok(Ok(())))
}

/// Creates the tables and the index under an advisory lock if they are missing, and verifies that the table of sessions
/// is unlogged. Limits statements of this connection to 5 s.
///
/// # Errors
/// A statement failed, or the table of sessions is logged.
async fn prepare(client: &Client) -> Result<(), StoreError> {
    let failed = |why| failed(&why);
    client.batch_execute("SET statement_timeout = 5000").await.map_err(failed)?;
    let there = "SELECT to_regclass('edge_proxy_ticket_key') IS NOT NULL \
         AND to_regclass('edge_proxy_session_ends') IS NOT NULL";
    // A role without permission to create tables may use existing ones.
    if !client.query_one(there, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(failed)?;
        let made = client.batch_execute(SCHEMA).await;
        client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await.map_err(failed)?;
        made.map_err(failed)?;
    }
    let unlogged = "SELECT relpersistence = 'u' FROM pg_class WHERE oid = 'edge_proxy_session'::regclass";
    if client.query_one(unlogged, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        Ok(())
    } else {
        let why = "the table edge_proxy_session is logged, so a replica could bring back a used session: DROP TABLE \
                   edge_proxy_session, and it is created again as unlogged";
        Err(StoreError(why.into()))
    }
}

/// Converts an error into one with a message: of the database, or that the database is unreachable, with the cause.
fn failed(why: &tokio_postgres::Error) -> StoreError {
    let words = why.as_db_error().map_or_else(
        || {
            let below = std::error::Error::source(why).map(|below| format!(": {below}"));
            format!("the database is unreachable: {why}{}", below.unwrap_or_default())
        },
        |why| format!("database error: {why}"),
    );
    StoreError(words)
}

impl SharedStore for Postgres {
    fn keys<'a>(&'a self, made: &'a [SealedKey]) -> StoreFuture<'a, Vec<SealedKey>> {
        Box::pin(async {
            if let Ok(connection) = self.current_connection()
                && !is_alive(&connection.client).await
            {
                self.set(None);
            }
            self.all_keys(made).await
        })
    }

    fn put(&self, session: SealedSession) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let Connection { client, put, .. } = &*self.current_connection()?;
            let lifetime = session.lifetime.as_secs() as f64;
            let put = client.execute(put, &[&session.id.as_slice(), &session.sealed, &lifetime]).await;
            put.map(drop).map_err(|why| self.failed(&why))
        })
    }

    fn take<'a>(&'a self, id: &'a [u8; 32]) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let Connection { client, take, .. } = &*self.current_connection()?;
            let taken = client.query_opt(take, &[&id.as_slice()]).await.map_err(|why| self.failed(&why))?;
            Ok(taken.map(|row| row.get(0)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        Postgres::new(text, None).err().expect("it is wrong").to_string()
    }

    #[test]
    fn what_a_connection_string_may_be() {
        assert!(!wrong("host=db password=secret nonsense").contains("secret"));
        assert!(wrong("host=db.example.org user=edge").contains("sslmode=require"));
        for text in [
            "host=/run/postgresql user=edge",
            "host=127.0.0.1,::1 port=5432,5433 user=edge",
            "host=100.64.0.2,100.64.0.3 user=edge sslmode=disable",
            "host=db.example.org user=edge sslmode=require\n",
        ] {
            let made = Postgres::new(text, None).expect(text);
            let hosts = text.split(' ').find_map(|word| word.strip_prefix("host=")).expect("hosts").trim();
            let said = format!("{:?}", made.database);
            assert!(hosts.split(',').all(|host| said.contains(host)) && !said.contains("edge"), "{said}");
        }
    }
}
