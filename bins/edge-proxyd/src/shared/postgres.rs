//! The store, in PostgreSQL.
//!
//! Keys are in an ordinary table, so that replicas have them and a promoted one goes on with the tickets that there are. Sessions
//! are in a table that is not logged, and that is what makes them single-use beyond one server: a replica never has them, a
//! promoted one begins without any, and a crash forgets them all, so that none that was taken comes back.

use acme_dns01::store::{Database, Encryption};
use edge_proxy::{SealedKey, SealedSession, SharedStore, StoreError, StoreFuture};
use std::fmt::Display;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Statement};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS edge_proxy_ticket_key (
    epoch bigint PRIMARY KEY, sealed bytea NOT NULL, ends timestamptz NOT NULL);
CREATE UNLOGGED TABLE IF NOT EXISTS edge_proxy_session (
    id bytea PRIMARY KEY, sealed bytea NOT NULL, ends timestamptz NOT NULL);
CREATE INDEX IF NOT EXISTS edge_proxy_session_ends ON edge_proxy_session (ends);
";

const MAKE_KEY: &str =
    "INSERT INTO edge_proxy_ticket_key VALUES ($1, $2, to_timestamp($3)) ON CONFLICT DO NOTHING";
const END_KEYS: &str = "DELETE FROM edge_proxy_ticket_key WHERE ends <= now()";
const KEYS: &str = "SELECT epoch, sealed, extract(epoch FROM ends)::float8 FROM edge_proxy_ticket_key";
const PUT: &str =
    "INSERT INTO edge_proxy_session VALUES ($1, $2, now() + $3 * interval '1 second') ON CONFLICT DO NOTHING";
const TAKE: &str = "DELETE FROM edge_proxy_session WHERE id = $1 AND ends > now() RETURNING sealed";
/// Those that have ended, and the oldest of more than [`MOST`], a part at a time. Edges that do the same do not wait for each other.
const END: &str = "DELETE FROM edge_proxy_session WHERE id IN (SELECT id FROM edge_proxy_session \
     WHERE ends <= greatest(now(), (SELECT ends FROM edge_proxy_session ORDER BY ends DESC OFFSET $1 LIMIT 1)) \
     ORDER BY ends LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// Sessions that are kept.
const MOST: i64 = 200_000;
/// Sessions that are deleted at once, and how often in a row.
const PART: i64 = 5000;
const PARTS: usize = 20;

/// How long a server that works takes at most to say that it is there.
const ALIVE: Duration = Duration::from_secs(1);
/// How long a connection to one host may take, unless the connection string says so itself, and to all of them.
const WITHIN: Duration = Duration::from_secs(1);
const ALL: Duration = Duration::from_secs(3);
/// How long a server may be silent before the connection counts as broken.
const SILENCE: Duration = Duration::from_secs(5);

/// The tables are made by one edge at a time.
const LOCK: i64 = 7_103_127_102;

pub(super) struct Postgres {
    database: Database,
    connection: RwLock<Option<Arc<Connection>>>,
}

struct Connection {
    client: Client,
    put: Statement,
    take: Statement,
}

impl Postgres {
    /// A store in this database, in libpq's words. Nothing is connected to.
    ///
    /// # Errors
    /// In words, with the key.
    pub(super) fn new(text: &str, roots: Option<&Path>) -> Result<Self, String> {
        // What is wrong is not said: the password is in it.
        let mut config: Config = text.trim().parse().map_err(|_| {
            "database: is no connection string of libpq: host=… dbname=… user=… password=…".to_owned()
        })?;
        let wrong =
            |path: &Path, why: &dyn Display| format!("database_roots = \"{}\": {why}", path.display());
        let pem = roots.map(|path| std::fs::read_to_string(path).map_err(|why| wrong(path, &why)));
        let encryption = Encryption::of(&config, pem.transpose()?).ok_or(
            "database: is elsewhere, and what is sent would cross the network as it is: write sslmode=require, with \
             database_roots for a CA of your own, or sslmode=disable for a network that is encrypted itself",
        )?;
        // So that each of them has been asked before [`SharedStore::keys`] has to answer.
        let share = ALL / u32::try_from(config.get_hosts().len().max(1)).unwrap_or(u32::MAX);
        let limit = config.get_connect_timeout().map_or(WITHIN, |limit| (*limit).min(share)).min(share);
        config.connect_timeout(limit).tcp_user_timeout(SILENCE);
        if config.get_application_name().is_none() {
            config.application_name("edge-proxyd");
        }
        let database =
            Database::new(config, &encryption).map_err(|why| wrong(roots.unwrap_or(Path::new("")), &why))?;
        Ok(Self { database, connection: RwLock::default() })
    }

    /// The connection, if there is one. It is made by [`SharedStore::keys`] alone, so that nobody who is in a hurry waits for it.
    fn connected(&self) -> Result<Arc<Connection>, StoreError> {
        let connection = self.connection.read().unwrap_or_else(PoisonError::into_inner).clone();
        connection
            .filter(|connection| !connection.client.is_closed())
            .ok_or_else(|| StoreError("there is no connection to the database".into()))
    }

    fn set(&self, connection: Option<Arc<Connection>>) {
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    async fn connection(&self) -> Result<Arc<Connection>, StoreError> {
        if let Ok(connection) = self.connected() {
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

    /// What failed, in words. A server that has become a replica is left.
    fn failed(&self, why: &tokio_postgres::Error) -> StoreError {
        if why.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
            self.set(None);
        }
        failed(why)
    }

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
        for _ in 0..PARTS {
            if client.execute(END, &[&MOST, &PART]).await.map_err(failed)? < PART.cast_unsigned() {
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

/// Whether the server answers. One that hangs, as a machine that is paused does, keeps its connections open.
async fn alive(client: &Client) -> bool {
    matches!(timeout(ALIVE, client.check_connection()).await, Ok(Ok(())))
}

/// Makes the tables where they are missing, and makes sure that sessions are not in what is replicated.
async fn prepare(client: &Client) -> Result<(), StoreError> {
    let failed = |why| failed(&why);
    client.batch_execute("SET statement_timeout = 5000").await.map_err(failed)?;
    let there = "SELECT to_regclass('edge_proxy_ticket_key') IS NOT NULL \
         AND to_regclass('edge_proxy_session_ends') IS NOT NULL";
    // Whoever may not make tables may use those that there are.
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
        let why = "the table edge_proxy_session is logged, so that a replica could bring back a session that was used: DROP TABLE \
                   edge_proxy_session, and it is made again as it should be";
        Err(StoreError(why.into()))
    }
}

fn failed(why: &tokio_postgres::Error) -> StoreError {
    let words = why.as_db_error().map_or_else(
        || {
            let below = std::error::Error::source(why).map(|below| format!(": {below}"));
            format!("the database is away: {why}{}", below.unwrap_or_default())
        },
        |why| format!("the database says: {why}"),
    );
    StoreError(words)
}

impl SharedStore for Postgres {
    fn keys<'a>(&'a self, made: &'a [SealedKey]) -> StoreFuture<'a, Vec<SealedKey>> {
        Box::pin(async {
            if let Ok(connection) = self.connected()
                && !alive(&connection.client).await
            {
                self.set(None);
            }
            self.all_keys(made).await
        })
    }

    fn put(&self, session: SealedSession) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let Connection { client, put, .. } = &*self.connected()?;
            let lifetime = session.lifetime.as_secs() as f64;
            let put = client.execute(put, &[&session.id.as_slice(), &session.sealed, &lifetime]).await;
            put.map(drop).map_err(|why| self.failed(&why))
        })
    }

    fn take<'a>(&'a self, id: &'a [u8; 32]) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let Connection { client, take, .. } = &*self.connected()?;
            let taken = client.query_opt(take, &[&id.as_slice()]).await.map_err(|why| self.failed(&why))?;
            Ok(taken.map(|row| row.get(0)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        Postgres::new(text, None).err().expect("it is wrong")
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
