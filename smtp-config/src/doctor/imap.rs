//! Checks of incoming mail: connection, TLS, greeting, login and mailbox over IMAP (RFC 9051).

use super::server::{addresses, connect};
use super::tls::{days_left, verifying};
use super::tls_error::fix;
use super::{Check, Options, Report};
use crate::effective_incoming::EffectiveIncoming;
use crate::host::is_loopback;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::net::SocketAddr;
use std::time::SystemTime;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Maximum length of a response line, in bytes.
const MAX_LINE_LEN: u64 = 16 * 1024;
/// Maximum number of lines in a response to a command.
const MAX_LINES: usize = 256;

/// Checks the IMAP server of incoming mail: connection, TLS, greeting, login and mailbox, at the first address of the
/// host. The password is sent only over TLS, to a server whose certificate was verified; without TLS, the login is
/// skipped. The mailbox is opened read-only. Returns the checks in order.
pub async fn examine_incoming(
    incoming: &EffectiveIncoming,
    password: Option<&SecretString>,
    options: &Options,
) -> Vec<Check> {
    let mut report = Report::new();
    report.about.clone_from(&incoming.host);
    match addresses(&incoming.host, options).await {
        Err(why) => report.fail("incoming-name", why, "correct HOST of [email.incoming], or the DNS"),
        Ok(all) => {
            let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
            report.pass("incoming-name", shown.join(", "));
            if let Some(first) = all.first() {
                let port = u16::try_from(incoming.port).unwrap_or(0);
                server(&mut report, incoming, SocketAddr::new(*first, port), password, options).await;
            }
        }
    }
    report.checks
}

/// Checks connection, TLS and, with a password, login and mailbox at an address of the server of incoming mail.
async fn server(
    report: &mut Report,
    incoming: &EffectiveIncoming,
    address: SocketAddr,
    password: Option<&SecretString>,
    options: &Options,
) {
    report.about = address.to_string();
    let stream = match connect(address, options).await {
        Ok(stream) => stream,
        Err(why) => {
            return report.fail(
                "incoming-connect",
                why.to_string(),
                "correct HOST and PORT, or start the server",
            );
        }
    };
    report.pass("incoming-connect", "connected");
    if !incoming.tls {
        if !is_loopback(&incoming.host) {
            let detail = "without TLS: Forgejo sends the password in clear; it was not sent here";
            report.fail("incoming-tls", detail, "write USE_TLS = true and PORT = 993");
        }
        return session(report, incoming, Imap::new(Box::new(stream), options), None).await;
    }
    let name = ServerName::try_from(incoming.host.clone());
    let (Ok(name), Ok(config)) = (name, verifying(&options.roots, None)) else {
        let detail = "the host is not a name that a certificate could have";
        return report.fail("incoming-tls", detail, "correct HOST");
    };
    let handshake = timeout(options.limit, TlsConnector::from(config).connect(name, stream)).await;
    let stream = match handshake {
        Err(_) => {
            let fix = "993 is the port for USE_TLS = true";
            return report.fail("incoming-tls", "the TLS handshake did not end in time", fix);
        }
        Ok(Err(why)) => {
            let advice = match why.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidMessage(_)) => "993 is the port for USE_TLS = true",
                _ => fix(&why, false),
            };
            return report.fail("incoming-tls", super::tls_error::explained(&why), advice);
        }
        Ok(Ok(stream)) => stream,
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let days = chain.first().and_then(|der| days_left(der, i64::try_from(now).unwrap_or(i64::MAX)));
    match days {
        Some(days) if days < 7 => {
            let detail = format!("valid for {}, for {days} days more", incoming.host);
            report.warn("incoming-tls", detail, "renew the certificate");
        }
        Some(days) => {
            report.pass("incoming-tls", format!("valid for {}, for {days} days more", incoming.host));
        }
        None => report.pass("incoming-tls", format!("valid for {}", incoming.host)),
    }
    if incoming.accepts_any_certificate {
        let detail = "SKIP_TLS_VERIFY: Forgejo accepts any certificate";
        report.fail("incoming-trust", detail, "remove it: the certificate is valid");
    }
    session(report, incoming, Imap::new(Box::new(stream), options), password).await;
}

/// Checks greeting, login and mailbox. The login is skipped if `password` is `None`.
async fn session(
    report: &mut Report,
    incoming: &EffectiveIncoming,
    mut imap: Imap,
    password: Option<&SecretString>,
) {
    match imap.line().await {
        Ok(line) if line.starts_with("* OK") => report.pass("incoming-greeting", printable(&line)),
        Ok(line) => return report.fail("incoming-greeting", printable(&line), "is this an IMAP server?"),
        Err(why) => return report.fail("incoming-greeting", why.to_string(), "is this an IMAP server?"),
    }
    let Some(password) = password else {
        report.skip("incoming-login", "there is no password, or no TLS to send it over");
        return;
    };
    let command = format!("LOGIN {} ", string(&incoming.username));
    match imap.command("a", &command, Some(password)).await {
        // The text of the response may repeat the password.
        Ok(answer) if answer.status == "OK" => report.pass("incoming-login", "OK"),
        Ok(answer) => {
            let fix = "correct USERNAME and PASSWORD; many providers want a password that is made for mail programs";
            return report.fail("incoming-login", format!("refused: {}", answer.status), fix);
        }
        Err(why) => return report.fail("incoming-login", why.to_string(), "look at the server's log"),
    }
    report.about.clone_from(&incoming.mailbox);
    match imap.command("b", &format!("EXAMINE {}", string(&incoming.mailbox)), None).await {
        Ok(answer) if answer.status == "OK" => report.pass("incoming-mailbox", "the mailbox exists"),
        Ok(answer) => {
            report.fail("incoming-mailbox", format!("{} {}", answer.status, answer.text), "correct MAILBOX");
        }
        Err(why) => report.fail("incoming-mailbox", why.to_string(), "look at the server's log"),
    }
    let _ = imap.command("c", "LOGOUT", None).await;
}

/// The tagged response that completes a command: status in upper case, and text, both without control characters.
struct TaggedResponse {
    status: String,
    text: String,
}

/// A stream of bytes in both directions.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to an IMAP server, with a time limit for each read and write.
struct Imap {
    io: BufReader<Box<dyn Stream>>,
    limit: std::time::Duration,
}

impl Imap {
    /// Creates a connection over a stream.
    fn new(io: Box<dyn Stream>, options: &Options) -> Self {
        Self { io: BufReader::new(io), limit: options.limit }
    }

    /// Reads a line, without its ending.
    ///
    /// # Errors
    /// Returns an error after the time limit, at the end of the stream, or for a line longer than 16 KiB.
    async fn line(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        let read = (&mut self.io).take(MAX_LINE_LEN);
        let mut read = read;
        let ended = timeout(self.limit, read.read_until(b'\n', &mut bytes)).await;
        ended.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))??;
        if !bytes.ends_with(b"\n") {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ends early or is too long"));
        }
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// Writes a text.
    ///
    /// # Errors
    /// Returns an error after the time limit, or if writing fails.
    async fn write(&mut self, text: &str) -> io::Result<()> {
        let io = self.io.get_mut();
        let sent = timeout(self.limit, async {
            io.write_all(text.as_bytes()).await?;
            io.flush().await
        });
        sent.await.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))?
    }

    /// Sends a command, with a secret as a synchronizing literal at its end, and reads up to its tagged response. If
    /// the server rejects the literal, its response is returned, and the secret is not sent.
    ///
    /// # Errors
    /// Returns an error if reading or writing fails, or after 256 lines without a tagged response.
    async fn command(
        &mut self,
        tag: &str,
        text: &str,
        secret: Option<&SecretString>,
    ) -> io::Result<TaggedResponse> {
        match secret {
            None => self.write(&format!("{tag} {text}\r\n")).await?,
            Some(secret) => {
                let secret = secret.expose_secret();
                self.write(&format!("{tag} {text}{{{}}}\r\n", secret.len())).await?;
                let line = self.line().await?;
                if !line.starts_with('+') {
                    return Ok(answer(tag, &line).unwrap_or_else(|| TaggedResponse {
                        status: "the server refused a literal".to_owned(),
                        text: String::new(),
                    }));
                }
                self.write(&format!("{secret}\r\n")).await?;
            }
        }
        for _ in 0..MAX_LINES {
            let line = self.line().await?;
            if let Some(found) = answer(tag, &line) {
                return Ok(found);
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that does not end"))
    }
}

/// Parses a tagged response. `None` for a line without this tag.
fn answer(tag: &str, line: &str) -> Option<TaggedResponse> {
    let rest = line.strip_prefix(tag)?.strip_prefix(' ')?;
    let (status, text) = rest.split_once(' ').unwrap_or((rest, ""));
    Some(TaggedResponse { status: printable(&status.to_ascii_uppercase()), text: printable(text) })
}

/// Returns an IMAP quoted string, without control characters.
fn string(text: &str) -> String {
    let safe: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", safe.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Replaces control characters by spaces.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
