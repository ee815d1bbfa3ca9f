//! Password checks by login, for sessions that cannot read stored passwords.
//!
//! The password is proven by SCRAM and never sent. The login is abandoned if the server requests the password itself or
//! its MD5 hash; a login without authentication proves nothing.

use super::connect::Server;
use super::password::StoredVerifiers;
use crate::current::{CurrentState, StoredPassword};
use crate::desired::{DesiredState, Password};
use crate::name::Name;
use crate::scram::Verifier;
use bytes::BytesMut;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_postgres::Socket;
use tokio_postgres::config::{ChannelBinding as ChannelBindingMode, Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

/// Time limit of one login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of concurrent logins.
const MAX_CONCURRENT: usize = 4;

impl<T> Server<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    /// Determines the state of passwords that cannot be read. A password in `set` was stored by this run and counts as
    /// right; one that an earlier run recorded counts as right unless a login fails. For roles with LOGIN and a
    /// declared clear-text password, a login decides, to a database that the role owns or else to that of the session.
    /// A login without a clear result within 10 s decides nothing.
    pub(super) async fn probe(
        &self,
        current: &mut CurrentState,
        desired: &DesiredState,
        set: &StoredVerifiers,
    ) {
        let mut work: Vec<(Name, SecretString, String)> = Vec::new();
        for (name, wanted) in desired.passwords() {
            let Some(role) = current.roles.get_mut(name) else { continue };
            if role.password != StoredPassword::Unknown {
                continue;
            }
            if set.contains_key(name) {
                role.password = StoredPassword::Right(None);
                continue;
            }
            if self.known.get(name).is_some_and(|known| matches(known, wanted)) {
                // The record of an earlier run counts until a login shows otherwise.
                role.password = StoredPassword::Right(None);
            }
            if let (Password::Secret(secret), true) = (wanted, role.login) {
                let owned = current
                    .databases
                    .iter()
                    .find(|(_, database)| database.owned.owner == *name && database.allow_connections);
                let database = owned.map_or(&current.session.database, |(database, _)| database);
                work.push((name.clone(), secret.clone(), database.to_string()));
            }
        }
        for part in work.chunks(MAX_CONCURRENT) {
            let logins = part.iter().map(|(name, secret, database)| async move {
                let login = self.login(name, secret, database);
                tokio::time::timeout(LOGIN_TIMEOUT, login).await.ok().and_then(Result::ok).flatten()
            });
            let found = futures_util::future::join_all(logins).await;
            for ((name, ..), right) in part.iter().zip(found) {
                if let (Some(role), Some(right)) = (current.roles.get_mut(name), right) {
                    role.password = if right { StoredPassword::Right(None) } else { StoredPassword::Wrong };
                }
            }
        }
    }

    /// Attempts a login to a database, at the first host that can be connected to, over TLS if that is configured.
    /// Returns `true` if the password is right, `false` if it is wrong, and `None` if the server does not tell or no
    /// host can be connected to.
    ///
    /// # Errors
    /// Returns an I/O error if the connection breaks.
    async fn login(&self, user: &Name, secret: &SecretString, database: &str) -> io::Result<Option<bool>> {
        let ports = self.config.get_ports();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            let found = match host {
                Host::Unix(folder) => {
                    match tokio::net::UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await {
                        Ok(stream) => exchange(stream, user, secret, database).await?,
                        Err(_) => continue,
                    }
                }
                Host::Tcp(host) => {
                    let over_tls = match self.config.get_ssl_mode() {
                        SslMode::Disable => None,
                        _ => self.bound_login(user, secret, database).await,
                    };
                    if over_tls.is_some() || self.config.get_ssl_mode() == SslMode::Require {
                        return Ok(over_tls);
                    }
                    let address = self.config.get_hostaddrs().get(index).copied();
                    let connected = match address {
                        Some(address) => tokio::net::TcpStream::connect((address, port)).await,
                        None => tokio::net::TcpStream::connect((host.as_str(), port)).await,
                    };
                    match connected {
                        Ok(stream) => exchange(stream, user, secret, database).await?,
                        Err(_) => continue,
                    }
                }
            };
            return Ok(found);
        }
        Ok(None)
    }

    /// Attempts a login over TLS with channel binding, which only SCRAM provides: tokio-postgres then rejects a server
    /// that requests the password itself, or nothing. Returns `true` if the login succeeds, `false` if the password is
    /// wrong, and `None` if the attempt fails otherwise.
    async fn bound_login(&self, user: &Name, secret: &SecretString, database: &str) -> Option<bool> {
        let mut config = self.config.clone();
        config.user(user.as_str()).password(secret.expose_secret()).dbname(database);
        config.ssl_mode(SslMode::Require).channel_binding(ChannelBindingMode::Require);
        match config.connect(self.tls.clone()).await {
            Ok(_) => Some(true),
            Err(why) => (why.code() == Some(&SqlState::INVALID_PASSWORD)).then_some(false),
        }
    }
}

/// Returns `true` if the stored verifier is that of the declared password, which may be a verifier itself. `false` for
/// a declared absence of a password.
fn matches(known: &Verifier, wanted: &Password) -> bool {
    match wanted {
        Password::None => false,
        Password::Secret(secret) => known.matches(secret),
        Password::Verifier(verifier) => known == verifier,
    }
}

/// Performs a login by SCRAM-SHA-256 without channel binding over an open connection, and ends it. Returns `true` if
/// the password is right, `false` if it is wrong, and `None` if the server requests another method or the result is
/// unclear.
///
/// # Errors
/// Returns an error if the connection fails, or the server sends malformed messages.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    user: &Name,
    secret: &SecretString,
    database: &str,
) -> io::Result<Option<bool>> {
    let mut out = BytesMut::new();
    let parameters = [("user", user.as_str()), ("database", database), ("application_name", "pg-ensure")];
    frontend::startup_message(parameters, &mut out)?;
    stream.write_all(&out).await?;
    let mut input = BytesMut::new();
    let mut scram: Option<ScramSha256> = None;
    loop {
        let message = loop {
            if let Some(message) = Message::parse(&mut input)? {
                break message;
            }
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(None);
            }
        };
        out.clear();
        match message {
            Message::AuthenticationSasl(_) => {
                let password = secret.expose_secret().as_bytes();
                let state = scram.insert(ScramSha256::new(password, ChannelBinding::unsupported()));
                frontend::sasl_initial_response(SCRAM_SHA_256, state.message(), &mut out)?;
            }
            Message::AuthenticationSaslContinue(body) => {
                let Some(state) = scram.as_mut() else { return Ok(None) };
                state.update(body.data())?;
                frontend::sasl_response(state.message(), &mut out)?;
            }
            Message::AuthenticationSaslFinal(body) => {
                let Some(state) = scram.as_mut() else { return Ok(None) };
                state.finish(body.data())?;
                // The server has proven that it knows the verifier.
                frontend::terminate(&mut out);
                let _ = stream.write_all(&out).await;
                return Ok(Some(true));
            }
            Message::ErrorResponse(body) => {
                let wrong = code(&body)?.as_deref() == Some("28P01");
                return Ok((wrong && scram.is_some()).then_some(false));
            }
            // Other messages request the password itself or nothing, so the result is unknown.
            _ => return Ok(None),
        }
        stream.write_all(&out).await?;
    }
}

/// Returns the SQLSTATE of an error response. `None` if it has none.
///
/// # Errors
/// Returns an error if the response is malformed.
fn code(body: &postgres_protocol::message::backend::ErrorResponseBody) -> io::Result<Option<String>> {
    use fallible_iterator::FallibleIterator;
    let mut fields = body.fields();
    while let Some(field) = fields.next()? {
        if field.type_() == b'C' {
            return Ok(Some(String::from_utf8_lossy(field.value_bytes()).into_owned()));
        }
    }
    Ok(None)
}
