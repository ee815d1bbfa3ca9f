//! The connection: made when it is first needed, made anew when it breaks or its server hangs, and never waited for twice in a row.

use super::hosts;
use super::tls::Tls;
use super::{SCHEMA, failed};
use crate::store::StoreError;
use std::future::poll_fn;
use std::ops::Deref;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Notification, Socket};

/// How long an unreachable server is not asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a connection to one host may take to be made, until it has let us in, unless the configuration says so itself.
const WITHIN: Duration = Duration::from_secs(5);
/// How long a server may be silent before its connection counts as broken.
const SILENCE: Duration = Duration::from_secs(15);

/// How long a server that works takes at most to say that it is there.
const ALIVE: Duration = Duration::from_secs(5);

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
        if let Some(client) = &state.client
            && alive(client).await
        {
            return Ok(Held(state));
        }
        state.client = None;
        if let Some((at, why)) = &state.failed
            && at.elapsed() < PAUSE
        {
            return Err(StoreError::Database(why.clone()));
        }
        let made = async {
            let client = another(&self.way, |_| ()).await?;
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

/// Whether a connection is open and its server answers. One that hangs, as a machine that is paused does, keeps its connections open.
pub(super) async fn alive(client: &Client) -> bool {
    !client.is_closed() && matches!(timeout(ALIVE, client.check_connection()).await, Ok(Ok(())))
}

/// A connection of its own to the first host that can be written to. What is told on it goes to `told`, which is dropped when the
/// connection ends.
pub(super) async fn another<T>(way: &Way, told: T) -> Result<Client, StoreError>
where
    T: Fn(Notification) + Clone + Send + 'static,
{
    let mut why = StoreError::Database("no host is named".to_owned());
    for host in hosts::each_host(&way.config) {
        let limit = host.get_connect_timeout().copied().unwrap_or(WITHIN);
        match timeout(limit, open(&host, way.tls.clone(), told.clone())).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(failed)) => why = failed,
            Err(_) => {
                let name = hosts::name(&host);
                why = StoreError::Database(format!("{name} does not answer within {} s", limit.as_secs()));
            }
        }
    }
    Err(why)
}

async fn open<T>(host: &Config, tls: Option<Tls>, told: T) -> Result<Client, StoreError>
where
    T: Fn(Notification) + Send + 'static,
{
    let client = match tls {
        Some(tls) => {
            let (client, connection) = host.connect(tls).await.map_err(|why| failed(&why))?;
            tokio::spawn(drive(connection, told));
            client
        }
        None => {
            let (client, connection) = host.connect(NoTls).await.map_err(|why| failed(&why))?;
            tokio::spawn(drive(connection, told));
            client
        }
    };
    // A server that is at a loss must not hold up a renewal for ever.
    let limits = format!("SET statement_timeout = {}", STATEMENT.as_millis());
    client.batch_execute(&limits).await.map_err(|why| failed(&why))?;
    Ok(client)
}

/// Works on a connection until it ends.
async fn drive<S>(mut connection: tokio_postgres::Connection<Socket, S>, told: impl Fn(Notification))
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message {
            told(notification);
        }
    }
}

async fn prepare(client: &Client) -> Result<(), StoreError> {
    // Two that begin at once must not both make the tables.
    client.batch_execute("SELECT pg_advisory_lock(7103127101)").await.map_err(|why| failed(&why))?;
    let made = client.batch_execute(SCHEMA).await;
    client.batch_execute("SELECT pg_advisory_unlock(7103127101)").await.map_err(|why| failed(&why))?;
    made.map_err(|why| failed(&why))
}
