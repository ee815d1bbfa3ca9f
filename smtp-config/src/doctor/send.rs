//! A message, sent as Forgejo would, if the server has proven who it is.

use super::auth::{AuthError, authenticate};
use super::server::{addresses, connect};
use super::tls::verifying;
use super::wire::{Wire, WireError};
use super::{Options, helo};
use crate::decide::{AfterEhlo, Authentication, Exposure, after_ehlo, authentication};
use crate::forgejo::{Effective, Spoken};
use crate::mailer::Protocol;
use crate::message::dotted;
use crate::reply::Reply;
use rustls::pki_types::ServerName;
use secrecy::SecretString;
use std::net::SocketAddr;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// Why a message was not sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The server cannot be reached.
    #[error("{place} cannot be reached: {why}")]
    Unreachable {
        /// Where it should be.
        place: String,
        /// Why not.
        why: String,
    },
    /// The conversation ended.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// There was no authentication.
    #[error("authentication: {0}")]
    Auth(#[from] AuthError),
    /// The password would have gone out in clear.
    #[error("{0}: the password would go out in clear, so nothing was sent; take smtps on port 465")]
    Exposed(&'static str),
    /// Forgejo would not get further.
    #[error("{0}")]
    Stopped(&'static str),
    /// The program sendmail.
    #[error("{program}: {why}")]
    Sendmail {
        /// The program.
        program: String,
        /// What it said.
        why: String,
    },
}

/// Sends a message that [`Message`](crate::Message) has rendered, and gives the server's answer. Any certificate that
/// is not valid for the host ends it, whatever `FORCE_TRUST_SERVER_CERT` says.
///
/// # Errors
///
/// Why it was not sent.
pub async fn send(
    mailer: &Effective,
    password: Option<&SecretString>,
    recipient: &str,
    message: &str,
    options: &Options,
) -> Result<String, SendError> {
    let protocol = match mailer.spoken {
        Spoken::Dummy => return Err(SendError::Stopped("PROTOCOL = dummy: messages go to the log only")),
        Spoken::Sendmail => return sendmail(mailer, recipient, message, options).await,
        Spoken::Unix => Protocol::Smtp,
        Spoken::Network(protocol) => protocol,
    };
    let mut wire = connected(mailer, options).await?;
    if protocol == Protocol::Smtps {
        tls(mailer, options, &mut wire).await?;
    }
    wire.greeting().await?;
    let hello = format!("EHLO {}", helo(mailer, options));
    let mut offered = wire.expect("EHLO", &hello, 2).await?;
    match after_ehlo(mailer.spoken, offered.extension("STARTTLS").is_some()) {
        AfterEhlo::GoOn => {}
        AfterEhlo::GoOnInClear => return Err(SendError::Exposed("STARTTLS is not offered")),
        AfterEhlo::StartTls => {
            wire.expect("STARTTLS", "STARTTLS", 2).await?;
            tls(mailer, options, &mut wire).await?;
            offered = wire.expect("EHLO", &hello, 2).await?;
        }
    }
    match authentication(mailer, wire.is_tls(), offered.extension("AUTH")) {
        Authentication::NoUser | Authentication::NoneKnown => {}
        Authentication::NotOffered => return Err(SendError::Stopped("the server offers no AUTH")),
        Authentication::PlainRefused => {
            return Err(SendError::Stopped("Go refuses PLAIN over a Unix socket"));
        }
        Authentication::Start(mechanism, Exposure::Nothing) => {
            let password = password.ok_or(SendError::Stopped("there is no password"))?;
            authenticate(&mut wire, mechanism, &mailer.user, password).await?;
        }
        Authentication::Start(..) => return Err(SendError::Exposed("there is no TLS")),
    }
    let reply = transaction(&mut wire, mailer, recipient, message, &offered).await?;
    wire.quit().await;
    Ok(reply.text())
}

async fn transaction(
    wire: &mut Wire,
    mailer: &Effective,
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
    wire.write("the message", dotted(message).as_bytes()).await?;
    let reply = wire.read("the end of the message").await?;
    if reply.is(2) { Ok(reply) } else { Err(WireError::Refused { stage: "the message", reply }.into()) }
}

async fn connected(mailer: &Effective, options: &Options) -> Result<Wire, SendError> {
    let place = format!("{}:{}", mailer.host, mailer.port);
    let unreachable = |why: String| SendError::Unreachable { place: place.clone(), why };
    if mailer.spoken == Spoken::Unix {
        let stream = UnixStream::connect(&mailer.host).await;
        let stream = stream.map_err(|why| unreachable(why.to_string()))?;
        return Ok(Wire::new(Box::new(stream), options.limit));
    }
    let port = mailer.port.parse().map_err(|_| unreachable("there is no such port".to_owned()))?;
    let mut last = "the name has no address".to_owned();
    for address in addresses(mailer, options).await.map_err(unreachable)? {
        match connect(SocketAddr::new(address, port), options).await {
            Ok(stream) => return Ok(Wire::new(Box::new(stream), options.limit)),
            Err(why) => last = why.to_string(),
        }
    }
    Err(SendError::Unreachable { place, why: last })
}

async fn tls(mailer: &Effective, options: &Options, wire: &mut Wire) -> Result<(), SendError> {
    let name = ServerName::try_from(mailer.host.clone());
    let name = name.map_err(|_| SendError::Stopped("the host is no name that a certificate could have"))?;
    let config = verifying(&options.roots);
    let config = config.map_err(|_| SendError::Stopped("a root certificate is none"))?;
    Ok(wire.begin_tls(config, name).await?)
}

/// As Forgejo calls it: the envelope's sender, its own arguments with `--` behind them, the recipient; LF line ends.
async fn sendmail(
    mailer: &Effective,
    recipient: &str,
    message: &str,
    options: &Options,
) -> Result<String, SendError> {
    let (program, args) = &mailer.sendmail;
    let failed = |why: String| SendError::Sendmail { program: program.clone(), why };
    let mut words =
        crate::mailer::shell_words(args).ok_or_else(|| failed("SENDMAIL_ARGS: an open quote".to_owned()))?;
    if words.last().is_none_or(|last| last != "--") {
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
        Ok("handed to sendmail".to_owned())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
