//! The connection: made when it is first needed, made anew when it breaks, and never waited for twice in a row.

use super::tls::Tls;
use super::{SCHEMA, failed};
use crate::store::StoreError;
use std::ops::Deref;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};

/// How long an unreachable server is not asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a connection may take to be made, unless the configuration says so itself.
const WITHIN: Duration = Duration::from_secs(5);
/// How long a server may be silent before its connection counts as broken.
const SILENCE: Duration = Duration::from_secs(15);

/// How long a statement may take.
const STATEMENT: Duration = Duration::from_secs(30);

/// The connection for everything but locks and news.
pub(super) struct Connection {
    way: Way,
    state: Mutex<State>,
}

/// How a connection is made.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) config: Config,
    pub(super) tls: Option<Tls>,
}

#[derive(Default)]
struct State {
    client: Option<Client>,
    prepared: bool,
    failed: Option<(Instant, String)>,
}

/// The connection while somebody has it.
pub(super) struct Held<'c>(MutexGuard<'c, State>);

impl Deref for Held<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.0.client.as_ref().expect("it is held only when there is one")
    }
}

impl Held<'_> {
    pub(super) fn as_mut(&mut self) -> &mut Client {
        self.0.client.as_mut().expect("it is held only when there is one")
    }
}

impl Connection {
    pub(super) fn new(mut config: Config, tls: Option<Tls>) -> Self {
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(WITHIN);
        }
        // A server that is gone without a word must not be waited for.
        config.tcp_user_timeout(SILENCE).keepalives_idle(SILENCE).keepalives_interval(Duration::from_secs(5));
        if config.get_application_name().is_none() {
            config.application_name("acme-dns01");
        }
        Self { way: Way { config, tls }, state: Mutex::default() }
    }

    pub(super) const fn way(&self) -> &Way {
        &self.way
    }

    /// The connection, made if it is not there, with the tables made if they are missing.
    pub(super) async fn held(&self) -> Result<Held<'_>, StoreError> {
        let mut state = self.state.lock().await;
        if state.client.as_ref().is_some_and(|client| !client.is_closed()) {
            return Ok(Held(state));
        }
        state.client = None;
        if let Some((at, why)) = &state.failed
            && at.elapsed() < PAUSE
        {
            return Err(StoreError::Database(why.clone()));
        }
        let made = async {
            let client = another(&self.way).await?;
            if !state.prepared {
                prepare(&client).await?;
            }
            Ok(client)
        };
        match made.await {
            Ok(client) => *state = State { client: Some(client), prepared: true, failed: None },
            Err(why) => {
                if let StoreError::Database(why) = &why {
                    state.failed = Some((Instant::now(), why.clone()));
                }
                return Err(why);
            }
        }
        Ok(Held(state))
    }
}

/// A connection of its own.
pub(super) async fn another(way: &Way) -> Result<Client, StoreError> {
    let client = match way.tls.clone() {
        Some(tls) => {
            let (client, connection) = way.config.connect(tls).await.map_err(|why| failed(&why))?;
            tokio::spawn(connection);
            client
        }
        None => {
            let (client, connection) = way.config.connect(NoTls).await.map_err(|why| failed(&why))?;
            tokio::spawn(connection);
            client
        }
    };
    // A server that is at a loss must not hold up a renewal for ever.
    let limits = format!("SET statement_timeout = {}", STATEMENT.as_millis());
    client.batch_execute(&limits).await.map_err(|why| failed(&why))?;
    Ok(client)
}

async fn prepare(client: &Client) -> Result<(), StoreError> {
    // Two that begin at once must not both make the tables.
    client.batch_execute("SELECT pg_advisory_lock(7103127101)").await.map_err(|why| failed(&why))?;
    let made = client.batch_execute(SCHEMA).await;
    client.batch_execute("SELECT pg_advisory_unlock(7103127101)").await.map_err(|why| failed(&why))?;
    made.map_err(|why| failed(&why))
}
