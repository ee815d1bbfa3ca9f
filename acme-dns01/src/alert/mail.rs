//! Alerts by mail, through lettre.

use super::{AlertError, AlertSink};
use crate::machine::Alert;
use async_trait::async_trait;
use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::time::Duration;

/// Time limit for each SMTP command.
const SMTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Encryption of the connection to the mail server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MailSecurity {
    /// STARTTLS, which is required: without it no mail is sent. Default port: 587.
    #[default]
    StartTls,
    /// Implicit TLS, from the first byte. Default port: 465.
    Tls,
    /// No encryption, for a server on the same host. Default port: 25.
    None,
}

/// Error of creating a [`Mail`] sink.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// An address is not a valid mailbox (RFC 5322). The text is the address.
    #[error("not a valid mail address: `{0}`")]
    Address(String),
    /// The additional root certificates are not valid PEM. The text is the reason.
    #[error("the roots for the mail server: {0}")]
    Roots(String),
    /// The server name is not valid for TLS, or a root certificate cannot be used.
    #[error("the mail server: {0}")]
    Server(#[from] lettre::transport::smtp::Error),
}

/// Alert sink that sends plain-text mail to one or more recipients.
pub struct Mail {
    /// Connection to the mail server, made for the first mail.
    transport: AsyncSmtpTransport<Tokio1Executor>,
    /// Sender of the mail.
    from: Mailbox,
    /// Recipients, all of the same mail.
    to: Vec<Mailbox>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("to", &self.to).finish_non_exhaustive()
    }
}

/// Connection settings of a mail server.
pub struct MailServer {
    /// Host name to connect to. The server's certificate is verified against it.
    pub name: String,
    /// TCP port. `None` selects 587, 465 or 25 by [`security`](Self::security).
    pub port: Option<u16>,
    /// Encryption of the connection.
    pub security: MailSecurity,
    /// User name and password for SMTP AUTH. `None` disables authentication.
    pub login: Option<(String, SecretString)>,
    /// Additional root certificates in PEM, trusted beside the system's. `None` adds none.
    pub roots: Option<String>,
}

impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailServer")
            .field("name", &self.name)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl MailServer {
    /// Returns the parameters of TLS for the server's host name, with the configured roots in addition to the usual
    /// ones.
    ///
    /// # Errors
    /// Returns a [`MailError`] if the roots are not valid PEM certificates or cannot be used, or the server name is not
    /// valid.
    fn tls(&self) -> Result<TlsParameters, MailError> {
        let mut parameters = TlsParameters::builder(self.name.clone());
        let roots = self.roots.as_deref().unwrap_or_default();
        for der in CertificateDer::pem_slice_iter(roots.as_bytes()) {
            let der = der.map_err(|why| MailError::Roots(why.to_string()))?;
            parameters = parameters.add_root_certificate(Certificate::from_der(der.to_vec())?);
        }
        Ok(parameters.build()?)
    }
}

impl Mail {
    /// Creates a sink that sends alerts from `from` to all of `to`. No connection is made. Each SMTP command has a time
    /// limit of 30 s.
    ///
    /// # Errors
    /// Returns a [`MailError`] if an address is not valid or, with TLS, a root certificate or the server name is not.
    pub fn new(server: MailServer, from: &str, to: &[String]) -> Result<Self, MailError> {
        let address = |text: &str| text.parse::<Mailbox>().map_err(|_| MailError::Address(text.to_owned()));
        let (tls, port) = match server.security {
            MailSecurity::StartTls => (Tls::Required(server.tls()?), SUBMISSION_PORT),
            MailSecurity::Tls => (Tls::Wrapper(server.tls()?), SUBMISSIONS_PORT),
            MailSecurity::None => (Tls::None, SMTP_PORT),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.name)
            .port(server.port.unwrap_or(port))
            .tls(tls)
            .timeout(Some(SMTP_TIMEOUT));
        if let Some((user, password)) = server.login {
            builder = builder.credentials(Credentials::new(user, password.expose_secret().to_owned()));
        }
        let to = to.iter().map(|text| address(text)).collect::<Result<_, _>>()?;
        Ok(Self { transport: builder.build(), from: address(from)?, to })
    }
}

#[async_trait]
impl AlertSink for Mail {
    async fn send(&self, certificate: &str, alert: &Alert) -> Result<(), AlertError> {
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(format!("acme-dns01: {certificate}: {}", alert.kind().replace('_', " ")))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let body = format!("{certificate}: {alert}\n");
        let message = message.body(body).map_err(|error| AlertError::Mail(error.into()))?;
        self.transport.send(message).await.map(|_| ()).map_err(|error| AlertError::Mail(error.into()))
    }
}
