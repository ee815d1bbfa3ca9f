//! The connection: made when it is first needed, made anew when it breaks or its server hangs, and never waited for twice in a row.

use super::database::{Database, alive};
use super::{SCHEMA, failed};
use crate::store::StoreError;
use std::ops::Deref;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Client;

/// Pause before an unreachable server is tried again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// The connection for everything but locks and news.
pub(super) struct Connection {
    database: Database,
    state: Mutex<ConnectionState>,
}

#[derive(Default)]
struct ConnectionState {
    client: Option<Client>,
    prepared: bool,
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
    pub(super) fn as_mut(&mut self) -> &mut Client {
        self.0.client.as_mut().expect("it is held only when there is one")
    }
}

impl Connection {
    pub(super) fn new(database: Database) -> Self {
        Self { database, state: Mutex::default() }
    }

    pub(super) const fn database(&self) -> &Database {
        &self.database
    }

    /// Returns the connection, locked. Connects if it is not open, and creates missing tables at the first connection.
    ///
    /// # Errors
    /// The connection fails, or failed less than [`RECONNECT_PAUSE`] ago.
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

async fn prepare(client: &Client) -> Result<(), StoreError> {
    // Two that begin at once must not both make the tables.
    client.batch_execute("SELECT pg_advisory_lock(7103127101)").await.map_err(|why| failed(&why))?;
    let made = client.batch_execute(SCHEMA).await;
    client.batch_execute("SELECT pg_advisory_unlock(7103127101)").await.map_err(|why| failed(&why))?;
    made.map_err(|why| failed(&why))
}
