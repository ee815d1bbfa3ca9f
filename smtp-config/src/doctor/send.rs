//! Sending of a message as Forgejo does, to a server whose certificate was verified.

use super::auth::{AuthError, authenticate};
use super::server::{addresses, connect};
use super::tls::{identity, verifying};
use super::wire::{Wire, WireError};
use super::{Options, helo};
use crate::decide::{AfterEhlo, Authentication, Exposure, after_ehlo, authentication};
use crate::effective::{EffectiveMailer, EffectiveTransport, SendmailCommand};
use crate::message::smtp_data;
use crate::protocol::Protocol;
use crate::reply::Reply;
use rustls::pki_types::ServerName;
use secrecy::SecretString;
use std::net::SocketAddr;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// Error of sending a message. If the connection broke, or a time limit passed, after the data of the message was sent,
/// the message may be delivered nevertheless; otherwise it was not sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// No connection to the server or socket could be made.
    #[error("{place} cannot be reached: {why}")]
    Unreachable {
        /// Host or path of the socket, a colon, and the port, which is empty for a socket.
        place: String,
        /// Reason for the failure.
        why: String,
    },
    /// The connection failed, or the server rejected a command or the message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The client certificate or its key cannot be loaded. Contains the reason.
    #[error("the client certificate cannot be loaded: {0}")]
    ClientCertificate(String),
    /// SMTP AUTH failed.
    #[error("authentication: {0}")]
    Auth(#[from] AuthError),
    /// STARTTLS is configured and not offered, or the password or a hash of it would be sent without TLS. Contains the
    /// reason.
    #[error("{0}: the password would go out in clear, so nothing was sent; take smtps on port 465")]
    Exposed(&'static str),
    /// Forgejo would not send the message: `PROTOCOL` is `dummy`, a user is set and the server does not offer AUTH, Go
    /// refuses PLAIN, or the host or a root certificate is not valid for TLS. Contains the reason.
    #[error("{0}")]
    Stopped(&'static str),
    /// `sendmail` could not be started, failed, or did not end within the time limit.
    #[error("{program}: {why}")]
    Sendmail {
        /// Path or name of the program.
        program: String,
        /// Standard error of the program, or the reason why it could not be run.
        why: String,
    },
}

/// Result of sending a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The server's reply to the message, on one line, or `accepted by sendmail`.
    pub answer: String,
    /// Description of a failed QUIT, for which Forgejo before 17 logs the delivered message as failed. `None`
    /// otherwise.
    pub caveat: Option<String>,
}

/// Sends a message rendered by [`Message`](crate::Message). With `PROTOCOL = sendmail`, runs the program. A certificate
/// that is not valid for the host is an error, also with `FORCE_TRUST_SERVER_CERT`. Without a password, an empty one is
/// used.
///
/// # Errors
/// Returns a [`SendError`] if the message was not sent, or its acceptance was not confirmed.
pub async fn send(
    mailer: &EffectiveMailer,
    password: Option<&SecretString>,
    recipient: &str,
    message: &str,
    options: &Options,
) -> Result<Sent, SendError> {
    let protocol = match mailer.transport {
        EffectiveTransport::Dummy => {
            return Err(SendError::Stopped("PROTOCOL = dummy: messages go to the log only"));
        }
        EffectiveTransport::Sendmail => return sendmail(mailer, recipient, message, options).await,
        EffectiveTransport::Unix => Protocol::Smtp,
        EffectiveTransport::Network(protocol) => protocol,
    };
    let mut wire = open_session(mailer, options).await?;
    if protocol == Protocol::Smtps {
        tls(mailer, options, &mut wire).await?;
    }
    wire.greeting().await?;
    let name = helo(mailer, options);
    let (mut offered, _) = wire.hello(name).await?;
    match after_ehlo(mailer.transport, offered.starttls()) {
        AfterEhlo::GoOn => {}
        AfterEhlo::GoOnInClear => return Err(SendError::Exposed("STARTTLS is not offered")),
        AfterEhlo::StartTls => {
            wire.expect("STARTTLS", "STARTTLS", 2).await?;
            tls(mailer, options, &mut wire).await?;
            offered = wire.expect("EHLO", &format!("EHLO {name}"), 2).await?;
        }
    }
    match authentication(mailer, wire.encryption(), offered.extension("AUTH")) {
        Authentication::NoUser | Authentication::NoneKnown => {}
        Authentication::NotOffered => return Err(SendError::Stopped("the server offers no AUTH")),
        Authentication::PlainRefused => {
            return Err(SendError::Stopped("Go refuses PLAIN over a Unix socket"));
        }
        Authentication::Start(mechanism, Exposure::Nothing) => {
            // Without a password Forgejo authenticates with an empty one.
            let empty = SecretString::from("");
            authenticate(&mut wire, mechanism, &mailer.user, password.unwrap_or(&empty)).await?;
        }
        Authentication::Start(..) => return Err(SendError::Exposed("there is no TLS")),
    }
    let reply = transaction(&mut wire, mailer, recipient, message, &offered).await?;
    let caveat = match wire.quit().await {
        Err(why) if !mailer.version.sends_by_go_mail() => Some(format!(
            "{why}: Forgejo {} logs a failure, although the message was delivered",
            mailer.version
        )),
        _ => None,
    };
    Ok(Sent { answer: reply.text(), caveat })
}

/// Performs a mail transaction. Returns the reply to the message.
///
/// # Errors
/// Returns a [`SendError`] if the server rejects a command or the message.
async fn transaction(
    wire: &mut Wire,
    mailer: &EffectiveMailer,
    recipient: &str,
    message: &str,
    offered: &Reply,
) -> Result<Reply, SendError> {
    let mut mail = format!("MAIL FROM:<{}>", mailer.envelope_from);
    if offered.extension("8BITMIME").is_some() {
        mail.push_str(" BODY=8BITMIME");
    }
    if offered.extension("SMTPUTF8").is_some() {
        mail.push_str(" SMTPUTF8");
    }
    wire.expect("MAIL FROM", &mail, 2).await?;
    wire.expect("RCPT TO", &format!("RCPT TO:<{recipient}>"), 2).await?;
    wire.expect("DATA", "DATA", 3).await?;
    wire.write("the message", smtp_data(message).as_bytes()).await?;
    let reply = wire.read("the end of the message").await?;
    if reply.is(2) { Ok(reply) } else { Err(WireError::Refused { stage: "the message", reply }.into()) }
}

/// Connects to the socket, or to the first address of the host that accepts.
///
/// # Errors
/// Returns [`SendError::Unreachable`] with the last reason if none does.
async fn open_session(mailer: &EffectiveMailer, options: &Options) -> Result<Wire, SendError> {
    let place = format!("{}:{}", mailer.shown_host(), mailer.port);
    let unreachable = |why: String| SendError::Unreachable { place: place.clone(), why };
    if mailer.transport == EffectiveTransport::Unix {
        let stream = UnixStream::connect(&mailer.host).await;
        let stream = stream.map_err(|why| unreachable(why.to_string()))?;
        return Ok(Wire::new(Box::new(stream), options.limit));
    }
    let port = mailer.port.parse().map_err(|_| unreachable("there is no such port".to_owned()))?;
    let mut last = "the name has no address".to_owned();
    for address in addresses(&mailer.host, options).await.map_err(unreachable)? {
        match connect(SocketAddr::new(address, port), options).await {
            Ok(stream) => return Ok(Wire::new(Box::new(stream), options.limit)),
            Err(why) => last = why.to_string(),
        }
    }
    Err(SendError::Unreachable { place, why: last })
}

/// Starts TLS, and verifies the certificate.
///
/// # Errors
/// Returns a [`SendError`] if the handshake fails or the client certificate cannot be loaded.
async fn tls(mailer: &EffectiveMailer, options: &Options, wire: &mut Wire) -> Result<(), SendError> {
    let name = ServerName::try_from(mailer.host.clone());
    let name =
        name.map_err(|_| SendError::Stopped("the host is not a name that a certificate could have"))?;
    let identity = identity(mailer).map_err(SendError::ClientCertificate)?;
    let config = verifying(&options.roots, identity);
    let config = config.map_err(|_| SendError::Stopped("a root certificate is not valid"))?;
    Ok(wire.begin_tls(config, name).await?)
}

/// Runs sendmail as Forgejo does: with the envelope sender, the configured arguments, `--` from Forgejo 12, and the
/// recipient. Line endings are LF.
///
/// # Errors
/// Returns [`SendError::Sendmail`] if it cannot be started, fails, or does not end within the time limit.
async fn sendmail(
    mailer: &EffectiveMailer,
    recipient: &str,
    message: &str,
    options: &Options,
) -> Result<Sent, SendError> {
    let SendmailCommand { path: program, args } = &mailer.sendmail;
    let failed = |why: String| SendError::Sendmail { program: program.clone(), why };
    // Forgejo drops arguments with an open quote.
    let mut words = crate::shell::shell_words(args).unwrap_or_default();
    if mailer.version.ends_sendmail_args() && words.last().is_none_or(|last| last != "--") {
        words.push("--".to_owned());
    }
    let mut child = tokio::process::Command::new(program)
        .args(["-f", &mailer.envelope_from, "-i"])
        .args(words)
        .arg(recipient)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|why| failed(why.to_string()))?;
    let mut input = child.stdin.take().ok_or_else(|| failed("no input".to_owned()))?;
    let text = message.replace("\r\n", "\n");
    let run = async {
        input.write_all(text.as_bytes()).await?;
        drop(input);
        child.wait_with_output().await
    };
    let ended = tokio::time::timeout(options.limit, run).await;
    let output = ended.map_err(|_| failed("it did not end in time".to_owned()))?;
    let output = output.map_err(|why| failed(why.to_string()))?;
    if output.status.success() {
        Ok(Sent { answer: "accepted by sendmail".to_owned(), caveat: None })
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
