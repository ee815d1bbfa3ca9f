//! A connection to an SMTP server: commands and replies, each with a time limit. What is sent is neither stored nor
//! logged.

use crate::decide::{Encryption, StartTlsSupport};
use crate::reply::{Reply, ReplyError, reply};
use rustls::pki_types::{CertificateDer, ServerName};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A stream of bytes in both directions.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Error of an SMTP session.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The server sent or accepted nothing within the time limit.
    #[error("no answer to {stage} within {} s", limit.as_secs_f32())]
    Silent {
        /// Step during which the client waited.
        stage: &'static str,
        /// The time limit.
        limit: Duration,
    },
    /// The server closed the connection during this step.
    #[error("the connection was closed at {0}")]
    Closed(&'static str),
    /// Reading or writing failed.
    #[error("the connection broke at {stage}")]
    Io {
        /// Step during which it failed.
        stage: &'static str,
        /// Error of the operating system.
        #[source]
        why: io::Error,
    },
    /// The server sent a malformed reply.
    #[error("at {stage}: {why}")]
    Reply {
        /// Step to which it replied.
        stage: &'static str,
        /// Description of the malformed reply.
        #[source]
        why: ReplyError,
    },
    /// Unencrypted bytes followed the reply to STARTTLS, which may have been injected on the path (RFC 3207 §6).
    #[error("bytes in clear follow the answer to STARTTLS: somebody on the way may have injected them")]
    Injected,
    /// The TLS handshake failed, or the certificate is not valid.
    #[error("TLS: {}", super::tls_error::explained(why))]
    Tls {
        /// Error of the handshake.
        why: io::Error,
    },
    /// The server rejected a command with a 4yz or 5yz reply, or sent another unexpected one.
    #[error("{stage} was answered {}", reply.text())]
    Refused {
        /// The command, the greeting or the message to which the server replied.
        stage: &'static str,
        /// Reply of the server.
        reply: Reply,
    },
}

/// A connection, with the bytes that were received and not yet parsed, its time limit, and after TLS the server's
/// certificate.
pub(super) struct Wire {
    io: Option<Box<dyn Io>>,
    buffer: Vec<u8>,
    limit: Duration,
    certificate: Option<CertificateDer<'static>>,
}

impl Reply {
    /// Returns whether this reply to EHLO offers STARTTLS.
    pub(super) fn starttls(&self) -> StartTlsSupport {
        match self.extension("STARTTLS") {
            Some(_) => StartTlsSupport::Offered,
            None => StartTlsSupport::NotOffered,
        }
    }
}

impl Wire {
    /// Creates a connection over a stream without TLS. `limit` bounds each step.
    pub(super) fn new(io: Box<dyn Io>, limit: Duration) -> Self {
        Self { io: Some(io), buffer: Vec::new(), limit, certificate: None }
    }

    /// Returns the encryption of the session so far.
    pub(super) fn encryption(&self) -> Encryption {
        if self.is_tls() { Encryption::Tls } else { Encryption::None }
    }

    /// Returns `true` after a TLS handshake.
    pub(super) fn is_tls(&self) -> bool {
        self.certificate.is_some()
    }

    /// Returns the server's certificate. `None` before TLS; empty if the server sent none.
    pub(super) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.as_ref()
    }

    /// Performs a TLS handshake on the connection. After an error the connection cannot be used.
    ///
    /// # Errors
    /// Returns [`WireError::Injected`] if unencrypted bytes are pending, and otherwise the error of the handshake.
    pub(super) async fn begin_tls(
        &mut self,
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<(), WireError> {
        if !self.buffer.is_empty() {
            return Err(WireError::Injected);
        }
        let stage = "TLS";
        let io = self.io.take().ok_or(WireError::Closed(stage))?;
        let handshake = TlsConnector::from(config).connect(name, io);
        let stream = timeout(self.limit, handshake)
            .await
            .map_err(|_| WireError::Silent { stage, limit: self.limit })?
            .map_err(|why| WireError::Tls { why })?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        self.certificate = Some(chain.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new())));
        self.io = Some(Box::new(stream));
        Ok(())
    }

    /// Reads the next reply, within the time limit.
    ///
    /// # Errors
    /// Returns a [`WireError`] if the reply is malformed, late, or the connection ends. `stage` is named in it.
    pub(super) async fn read(&mut self, stage: &'static str) -> Result<Reply, WireError> {
        let limit = self.limit;
        let silent = WireError::Silent { stage, limit };
        timeout(limit, self.read_on(stage)).await.unwrap_or(Err(silent))
    }

    /// Reads the next reply, without a time limit.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    async fn read_on(&mut self, stage: &'static str) -> Result<Reply, WireError> {
        loop {
            match reply(&self.buffer).map_err(|why| WireError::Reply { stage, why })? {
                Some((reply, length)) => {
                    self.buffer.drain(..length);
                    return Ok(reply);
                }
                None => {
                    let io = self.io.as_mut().ok_or(WireError::Closed(stage))?;
                    match io.read_buf(&mut self.buffer).await {
                        Ok(0) => return Err(WireError::Closed(stage)),
                        Ok(_) => {}
                        Err(why) => return Err(WireError::Io { stage, why }),
                    }
                }
            }
        }
    }

    /// Sends bytes unchanged, within the time limit.
    ///
    /// # Errors
    /// Returns a [`WireError`] with `stage` if writing fails or is late.
    pub(super) async fn write(&mut self, stage: &'static str, bytes: &[u8]) -> Result<(), WireError> {
        let io = self.io.as_mut().ok_or(WireError::Closed(stage))?;
        let sent = timeout(self.limit, async {
            io.write_all(bytes).await?;
            io.flush().await
        });
        sent.await
            .map_err(|_| WireError::Silent { stage, limit: self.limit })?
            .map_err(|why| WireError::Io { stage, why })
    }

    /// Sends a line, to which CRLF is appended, and reads the reply, whatever its code.
    ///
    /// # Errors
    /// Returns a [`WireError`] with `stage` if writing or reading fails.
    pub(super) async fn command(&mut self, stage: &'static str, line: &str) -> Result<Reply, WireError> {
        self.write(stage, format!("{line}\r\n").as_bytes()).await?;
        self.read(stage).await
    }

    /// Sends a command and reads the reply, whose code must begin with the digit `class`.
    ///
    /// # Errors
    /// Returns [`WireError::Refused`] for another code, or the error of writing or reading.
    pub(super) async fn expect(
        &mut self,
        stage: &'static str,
        line: &str,
        class: u16,
    ) -> Result<Reply, WireError> {
        let reply = self.command(stage, line).await?;
        if reply.is(class) { Ok(reply) } else { Err(WireError::Refused { stage, reply }) }
    }

    /// Reads the server's greeting, whose code must be 220.
    ///
    /// # Errors
    /// Returns [`WireError::Refused`] for another code, or the error of reading.
    pub(super) async fn greeting(&mut self) -> Result<Reply, WireError> {
        let reply = self.read("the greeting").await?;
        if reply.code == 220 { Ok(reply) } else { Err(WireError::Refused { stage: "the greeting", reply }) }
    }

    /// Sends EHLO or, if it is rejected, HELO, as Go does. The reply to HELO has only its first line, so that it offers
    /// no extension; the rejection of EHLO is returned with it.
    ///
    /// # Errors
    /// Returns the rejection of EHLO if both are rejected, or the error of the connection.
    pub(super) async fn hello(&mut self, name: &str) -> Result<(Reply, Option<Reply>), WireError> {
        match self.expect("EHLO", &format!("EHLO {name}"), 2).await {
            Err(WireError::Refused { reply: refused, .. }) => {
                match self.expect("HELO", &format!("HELO {name}"), 2).await {
                    Ok(mut reply) => {
                        reply.lines.truncate(1);
                        Ok((reply, Some(refused)))
                    }
                    Err(_) => Err(WireError::Refused { stage: "EHLO", reply: refused }),
                }
            }
            other => other.map(|reply| (reply, None)),
        }
    }

    /// Sends QUIT and reads the reply, whose code must begin with 2. The connection is closed.
    ///
    /// # Errors
    /// Returns a [`WireError`] for another reply, or if the connection fails.
    pub(super) async fn quit(mut self) -> Result<Reply, WireError> {
        self.expect("QUIT", "QUIT", 2).await
    }
}
