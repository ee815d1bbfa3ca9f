//! The connection to the database: opened on first use, and again when it breaks or the server stops responding.

use super::database::{Database, alive};
use super::{SCHEMA, failed};
use crate::store::StoreError;
use std::ops::Deref;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Client;

/// Time after a failed connection attempt during which further attempts fail at once.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// The connection for everything but locks and notifications.
pub(super) struct Connection {
    database: Database,
    state: Mutex<ConnectionState>,
}

/// State of the connection, reset when it is opened again.
#[derive(Default)]
struct ConnectionState {
    /// The connection. `None` before the first use, and after it broke.
    client: Option<Client>,
    /// `true` once the tables exist.
    prepared: bool,
    /// Time and description of the last failed attempt. `None` after a successful one.
    failed: Option<(Instant, String)>,
}

/// Exclusive access to the open connection.
pub(super) struct ConnectionGuard<'c>(MutexGuard<'c, ConnectionState>);

impl Deref for ConnectionGuard<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.0.client.as_ref().expect("it is held only when there is one")
    }
}

impl ConnectionGuard<'_> {
    /// Returns the client for a transaction.
    pub(super) fn as_mut(&mut self) -> &mut Client {
        self.0.client.as_mut().expect("it is held only when there is one")
    }
}

impl Connection {
    /// Creates a connection that is opened on first use.
    pub(super) fn new(database: Database) -> Self {
        Self { database, state: Mutex::default() }
    }

    /// Returns the database to which this connects.
    pub(super) const fn database(&self) -> &Database {
        &self.database
    }

    /// Returns the connection, locked. Connects if it is not open or does not respond, and creates missing tables at
    /// the first connection.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the connection or the creation of the tables fails, and the former error if that was
    /// less than [`RECONNECT_PAUSE`] ago.
    pub(super) async fn held(&self) -> Result<ConnectionGuard<'_>, StoreError> {
        let mut state = self.state.lock().await;
        if let Some(client) = &state.client
            && alive(client).await
        {
            return Ok(ConnectionGuard(state));
        }
        state.client = None;
        if let Some((at, why)) = &state.failed
            && at.elapsed() < RECONNECT_PAUSE
        {
            return Err(StoreError::Database(why.clone()));
        }
        let made = async {
            let client = self.database.connect().await?;
            if !state.prepared {
                prepare(&client).await?;
            }
            Ok(client)
        };
        match made.await {
            Ok(client) => *state = ConnectionState { client: Some(client), prepared: true, failed: None },
            Err(why) => {
                if let StoreError::Database(why) = &why {
                    state.failed = Some((Instant::now(), why.clone()));
                }
                return Err(why);
            }
        }
        Ok(ConnectionGuard(state))
    }
}

/// Creates the missing tables, under an advisory lock.
///
/// # Errors
/// Returns a [`StoreError`] if a statement fails.
async fn prepare(client: &Client) -> Result<(), StoreError> {
    // Two processes that start at the same time must not both create the tables.
    client.batch_execute("SELECT pg_advisory_lock(7103127101)").await.map_err(|why| failed(&why))?;
    let made = client.batch_execute(SCHEMA).await;
    client.batch_execute("SELECT pg_advisory_unlock(7103127101)").await.map_err(|why| failed(&why))?;
    made.map_err(|why| failed(&why))
}
