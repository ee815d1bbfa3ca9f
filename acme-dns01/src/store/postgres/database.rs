//! The database, and connections to the host that accepts writes.

use super::tls::MakeRustlsConnect;
use super::{Encryption, failed, hosts};
use crate::deferred::Deferred;
use crate::store::StoreError;
use std::fmt;
use std::future::poll_fn;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Notification, Socket};

/// Default time limit for connecting to one host, including authentication.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Default time without a response after which a connection counts as broken.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
/// Time limit of a liveness check.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit of a statement, enforced by the server.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A PostgreSQL database on one or more hosts, one of which accepts writes. Used by
/// [`PostgresStore`](super::PostgresStore), and available to programs that store other data in the same database.
#[derive(Clone)]
pub struct Database {
    source: ParameterSource,
}

/// Source of the connection parameters.
#[derive(Clone)]
enum ParameterSource {
    /// Parameters that are known at the start.
    Ready(Parameters),
    /// Parameters that may become available later.
    Deferred(Deferred<Database>),
}

/// Parameters of connections.
#[derive(Clone)]
struct Parameters {
    /// One configuration for each host of the connection string.
    hosts: Vec<Config>,
    /// TLS of every connection. `None` connects without encryption.
    tls: Option<MakeRustlsConnect>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configurations contain passwords.
        let hosts: Vec<String> = match &self.source {
            ParameterSource::Ready(known) => known.hosts.iter().map(hosts::name).collect(),
            ParameterSource::Deferred(_) => Vec::new(),
        };
        f.debug_struct("Database").field("hosts", &hosts).finish_non_exhaustive()
    }
}

impl Database {
    /// Creates a handle from connection parameters. No connection is made. TLS is determined by `encryption` and not by
    /// `config`. `connect_timeout` applies to each host, including authentication (default: 5 s). `tcp_user_timeout` is
    /// the time without a response after which a connection counts as broken (default: 15 s); TCP keepalives begin
    /// after it and repeat every third of it. The application name defaults to `acme-dns01`.
    ///
    /// # Errors
    /// Returns [`StoreError::Database`] if the root certificates are not valid.
    pub fn new(mut config: Config, encryption: &Encryption) -> Result<Self, StoreError> {
        let tls = MakeRustlsConnect::from_encryption(encryption)?;
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        // A server that disappears without closing the connection must be detected.
        let silence = config.get_tcp_user_timeout().copied().unwrap_or(SILENCE_TIMEOUT);
        config.tcp_user_timeout(silence).keepalives_idle(silence).keepalives_interval(silence / 3);
        if config.get_application_name().is_none() {
            config.application_name("acme-dns01");
        }
        Ok(Self { source: ParameterSource::Ready(Parameters { hosts: hosts::each(&config), tls }) })
    }

    /// Creates a handle whose connection parameters may become available later. Until then, every connection fails with
    /// [`StoreError::Database`] and the description of what is missing.
    #[must_use]
    pub const fn deferred(source: Deferred<Self>) -> Self {
        Self { source: ParameterSource::Deferred(source) }
    }

    /// Connects to the first host that accepts writes. Hosts that are unreachable, in recovery or do not respond within
    /// the time limit are skipped.
    ///
    /// # Errors
    /// Returns [`StoreError::Database`] with the error of the last host, or if there is no host.
    pub async fn connect(&self) -> Result<Client, StoreError> {
        self.listening(|_| ()).await
    }

    /// Connects like [`connect`](Self::connect), and passes notifications to `told`, which is dropped when the
    /// connection ends.
    ///
    /// # Errors
    /// Returns [`StoreError::Database`] with the error of the last host if none accepts the connection, or if there is
    /// no host.
    pub(super) async fn listening<T>(&self, told: T) -> Result<Client, StoreError>
    where
        T: Fn(Notification) + Clone + Send + 'static,
    {
        let obtained = match &self.source {
            ParameterSource::Ready(_) => None,
            ParameterSource::Deferred(later) => Some(later.get().await.map_err(StoreError::Database)?),
        };
        let ParameterSource::Ready(known) = &obtained.as_ref().unwrap_or(self).source else {
            return Err(StoreError::Database("its parameters are not available".to_owned()));
        };
        let mut why = StoreError::Database("no host is named".to_owned());
        for host in &known.hosts {
            let limit = host.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
            match timeout(limit, open(host, known.tls.clone(), told.clone())).await {
                Ok(Ok(client)) => return Ok(client),
                Ok(Err(StoreError::Database(failed))) => {
                    why = StoreError::Database(format!("{}: {failed}", hosts::name(host)));
                }
                Ok(Err(failed)) => why = failed,
                Err(_) => {
                    let name = hosts::name(host);
                    why = StoreError::Database(format!("{name} does not answer within {limit:?}"));
                }
            }
        }
        Err(why)
    }
}

/// Returns `true` if the connection is open and the server responds without an error within 5 s. The connections of a
/// suspended host stay open without responding.
pub(super) async fn alive(client: &Client) -> bool {
    !client.is_closed() && matches!(timeout(LIVENESS_TIMEOUT, client.check_connection()).await, Ok(Ok(())))
}

/// Connects to one host, spawns the task that drives the connection, and sets the time limit of statements to 30 s. Has
/// no time limit itself.
///
/// # Errors
/// Returns a [`StoreError`] if the connection or the first statement fails.
async fn open<T>(host: &Config, tls: Option<MakeRustlsConnect>, told: T) -> Result<Client, StoreError>
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
    // A server that hangs must not delay a renewal indefinitely.
    let limits = format!("SET statement_timeout = {}", STATEMENT_TIMEOUT.as_millis());
    client.batch_execute(&limits).await.map_err(|why| failed(&why))?;
    Ok(client)
}

/// Drives a connection until it ends or fails, and passes each notification to `told`. Other messages, and the error,
/// are dropped.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_and_what_is_shown() {
        let tls = |roots: &str| Some(Encryption::Tls { roots: Some(roots.to_owned()) });
        for (text, wanted) in [
            ("host=/run/postgresql,localhost,::1 user=u password=secret", Some(Encryption::None)),
            ("host=db,localhost user=u password=secret", None),
            ("host=db user=u password=secret sslmode=disable", Some(Encryption::None)),
            ("host=localhost user=u password=secret sslmode=require", tls("")),
        ] {
            let config: Config = text.parse().expect("a configuration");
            let encryption = Encryption::of(&config, Some(String::new()));
            assert_eq!(encryption, wanted, "{text}");
            let Some(encryption) = encryption else { continue };
            let database = Database::new(config, &encryption).expect("roots");
            let ParameterSource::Ready(known) = &database.source else { panic!("{text}") };
            assert_eq!(known.tls.is_some(), text.contains("require"), "{text}");
            let shown = format!("{database:?}");
            assert!(!shown.contains("secret") && shown.contains("hosts"), "{shown}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_fails_names_its_host() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join(".s.PGSQL.5432");
        for (text, name) in [
            ("host=127.0.0.1 port=1 user=u".to_owned(), "127.0.0.1:1: ".to_owned()),
            (format!("host={} user=u", folder.path().display()), format!("{}: ", socket.display())),
        ] {
            let database =
                Database::new(text.parse().expect("a configuration"), &Encryption::None).expect("a handle");
            let why = database.connect().await.expect_err("nobody listens").to_string();
            assert!(why.starts_with(&format!("the database: {name}")), "{why}");
        }
    }
}
