//! Connections: retried while a server starts, and to the primary if several hosts are configured.

use super::error::{Error, transient};
use super::observer::{Event, Observer};
use crate::name::Name;
use crate::scram::Verifier;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Socket};

/// Time limits of connecting to a server, and of waiting for the lock that excludes concurrent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Time limit for opening one connection, with all attempts while the server is starting, recovering or not
    /// reachable. Also that for the end of archive recovery. Default: 1 min.
    pub connect: Duration,
    /// Time limit for taking the lock of a run while another run holds it. Default: 10 min.
    pub lock: Duration,
}

impl Default for Timeouts {
    /// Returns one minute for connecting, and ten minutes for the lock.
    fn default() -> Self {
        Self { connect: Duration::from_secs(60), lock: Duration::from_secs(600) }
    }
}

/// A server with its connection parameters. Connections are made when a method needs them.
///
/// With several hosts, the one that accepts writes is used. A single host that is a standby is not changed.
#[derive(Clone, Debug)]
pub struct Server<T> {
    pub(super) config: Config,
    pub(super) tls: T,
    pub(super) timeouts: Timeouts,
    pub(super) known: BTreeMap<Name, Verifier>,
}

/// An open connection, with the task that drives it.
pub(super) struct Connection {
    pub(super) client: Client,
    task: JoinHandle<()>,
}

impl Connection {
    /// Closes the connection, and waits up to 5 s until it is closed.
    pub(super) async fn close(self) {
        let Self { client, task } = self;
        drop(client);
        let _ = tokio::time::timeout(Duration::from_secs(5), task).await;
    }
}

impl<T> Server<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    /// Creates a server from connection parameters. Default database: `postgres`; default application name:
    /// `pg-ensure`. With several hosts, the one that accepts writes is used, unless `target_session_attrs` is set.
    #[must_use]
    pub fn new(mut config: Config, tls: T) -> Self {
        if config.get_dbname().is_none() {
            config.dbname("postgres");
        }
        if config.get_application_name().is_none() {
            config.application_name("pg-ensure");
        }
        let several = config.get_hosts().len().max(config.get_hostaddrs().len()) > 1;
        if several && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Self { config, tls, timeouts: Timeouts::default(), known: BTreeMap::new() }
    }

    /// Sets the time limits of connecting and of waiting for the lock. Default: [`Timeouts::default`].
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets the verifiers that earlier runs stored, as returned in [`AppliedChanges`](super::AppliedChanges). A session
    /// that cannot read stored passwords then assumes that these are still stored, unless a login shows otherwise.
    #[must_use]
    pub fn known_passwords(mut self, verifiers: BTreeMap<Name, Verifier>) -> Self {
        self.known = verifiers;
        self
    }

    /// Waits until the server accepts a connection; with several hosts, until one that accepts writes does, unless
    /// `target_session_attrs` is set.
    ///
    /// # Errors
    /// Returns an [`Error`] after [`Timeouts::connect`], or at once for an error that is not retried: the server rejects
    /// the login, or its certificate is not valid.
    pub async fn wait(&self) -> Result<(), Error> {
        self.connect(None).await?.close().await;
        Ok(())
    }

    /// Opens a connection to a database, or to the configured one for `None`. Retries transient errors until the time
    /// limit for connecting.
    ///
    /// # Errors
    /// Returns [`Error::Connect`] for a permanent error, or the last one within the time limit, and [`Error::Silent`]
    /// if an attempt has no result within it.
    pub(super) async fn connect(&self, database: Option<&Name>) -> Result<Connection, Error> {
        self.connect_observed(database, None).await
    }

    /// Opens a connection like [`connect`](Self::connect), in a session without time limits whose transactions may
    /// write, whatever the settings of roles and databases are. The observer is notified of the first failed attempt that is
    /// retried. The pause between attempts grows from 20 ms to 500 ms.
    ///
    /// # Errors
    /// Returns the errors of [`connect`](Self::connect).
    pub(super) async fn connect_observed(
        &self,
        database: Option<&Name>,
        mut observer: Option<&mut dyn Observer>,
    ) -> Result<Connection, Error> {
        let mut config = self.config.clone();
        if let Some(database) = database {
            config.dbname(database.as_str());
        }
        let limit = self.timeouts.connect;
        let end = Instant::now() + limit;
        let mut pause = Duration::from_millis(20);
        loop {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
            let why = match tokio::time::timeout(left, config.connect(self.tls.clone())).await {
                Err(_) => return Err(Error::Silent(limit.as_secs())),
                Ok(Ok((client, connection))) => {
                    let version = connection.parameter("server_version").and_then(major).unwrap_or(0);
                    let task = tokio::spawn(async move {
                        // The client reports the error of the connection.
                        let _ = connection.await;
                    });
                    let session = Connection { client, task };
                    let given = config.get_options().unwrap_or_default();
                    match session.client.batch_execute(&session_settings(version, given)).await {
                        Ok(()) => return Ok(session),
                        Err(why) => {
                            session.close().await;
                            why
                        }
                    }
                }
                Ok(Err(why)) => why,
            };
            if !(transient(&why) || is_timeout(&why)) || Instant::now() + pause >= end {
                let database = config.get_dbname().unwrap_or_default().to_owned();
                return Err(Error::Connect { database, server: address(&config), source: why });
            }
            if let Some(observer) = observer.take() {
                observer.event(&Event::Connecting(&why));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }
}

/// Settings of roles, databases or the server that would end a session or its statements, or refuse its changes, with
/// the values that sessions have instead, and the first version with the setting.
const SESSION_SETTINGS: [(&str, &str, u32); 6] = [
    ("statement_timeout", "0", 0),
    ("lock_timeout", "0", 0),
    ("idle_in_transaction_session_timeout", "0", 0),
    ("default_transaction_read_only", "off", 0),
    ("idle_session_timeout", "0", 14),
    ("transaction_timeout", "0", 17),
];

/// Returns the statements that set [`SESSION_SETTINGS`] on a server of a major version, without those that the
/// connection parameter `options` names, which are intended.
fn session_settings(version: u32, options: &str) -> String {
    let settings =
        SESSION_SETTINGS.iter().filter(|(name, _, from)| version >= *from && !options.contains(name));
    settings.map(|(name, value, _)| format!("SET {name} TO {value};")).collect()
}

/// Returns the major version in a `server_version`, such as `17.10 (Debian 17.10-1)` or `19beta1`. `None` if it does not
/// begin with a number.
fn major(version: &str) -> Option<u32> {
    let digits = version.find(|one: char| !one.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
}

/// Returns `true` if a time limit of the session, such as `statement_timeout`, ended the statement or the session.
fn is_timeout(why: &tokio_postgres::Error) -> bool {
    let code = why.code().map(SqlState::code);
    // Query canceled, and the time limits of idle transactions, of transactions and of idle sessions.
    code.is_some_and(|code| ["57014", "25P03", "25P04", "57P05"].contains(&code))
}

/// Returns hosts and ports (or sockets) of the connection parameters, separated by commas, for messages. Without hosts,
/// the addresses (`hostaddr`) take their place.
fn address(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(index)),
        Host::Unix(folder) => folder.join(format!(".s.PGSQL.{}", port(index))).display().to_string(),
    });
    let addresses = config.get_hostaddrs().iter().enumerate();
    let addresses = addresses.map(|(index, ip)| std::net::SocketAddr::new(*ip, port(index)).to_string());
    let all: Vec<String> = if config.get_hosts().is_empty() { addresses.collect() } else { hosts.collect() };
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_set_what_their_server_knows() {
        let names = |version, options| {
            let text = session_settings(version, options);
            text.split(';').filter_map(|one| one.split(' ').nth(1)).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(names(13, "").len(), 4);
        assert_eq!(names(16, "").last().map(String::as_str), Some("idle_session_timeout"));
        assert_eq!(names(17, "").last().map(String::as_str), Some("transaction_timeout"));
        assert!(!names(18, "-c lock_timeout=5s").contains(&"lock_timeout".to_owned()));
        for (text, expected) in
            [("17.10 (Debian 17.10-1)", Some(17)), ("19beta1", Some(19)), ("18", Some(18)), ("", None)]
        {
            assert_eq!(major(text), expected, "{text}");
        }
    }

    #[test]
    fn each_server_has_its_port_or_socket() {
        for (text, expected) in [
            (
                "host=/run/postgresql,db.example.org port=5432,6432",
                "/run/postgresql/.s.PGSQL.5432, db.example.org:6432",
            ),
            ("host=a,b", "a:5432, b:5432"),
            ("hostaddr=192.0.2.1,2001:db8::1 port=5433", "192.0.2.1:5433, [2001:db8::1]:5433"),
        ] {
            assert_eq!(address(&text.parse().expect("parameters")), expected, "{text}");
        }
    }
}
