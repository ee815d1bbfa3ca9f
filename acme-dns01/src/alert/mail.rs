//! Alerts by mail, through lettre.

use super::Messenger;
use crate::machine::Alert;
use async_trait::async_trait;
use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::time::Duration;

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MailSecurity {
    /// STARTTLS, or nothing is sent: port 587.
    #[default]
    StartTls,
    /// TLS from the first byte: port 465.
    Tls,
    /// None: for a server on this machine.
    None,
}

/// Why mail cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// An address.
    #[error("`{0}` is no mail address")]
    Address(String),
    /// The server's name or TLS.
    #[error("the mail server: {0}")]
    Server(#[from] lettre::transport::smtp::Error),
}

/// Mail to one or several people.
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Mail {
    /// Mail by this server.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn new(
        server: &str,
        port: Option<u16>,
        security: MailSecurity,
        login: Option<(String, SecretString)>,
        from: &str,
        to: &[String],
    ) -> Result<Self, MailError> {
        let address = |text: &str| text.parse::<Mailbox>().map_err(|_| MailError::Address(text.to_owned()));
        let mut builder = match security {
            MailSecurity::StartTls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(server)?,
            MailSecurity::Tls => AsyncSmtpTransport::<Tokio1Executor>::relay(server)?,
            MailSecurity::None => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server),
        };
        if let Some(port) = port {
            builder = builder.port(port);
        }
        if let Some((user, password)) = login {
            builder = builder.credentials(Credentials::new(user, password.expose_secret().to_owned()));
        }
        let to = to.iter().map(|text| address(text)).collect::<Result<_, _>>()?;
        let transport = builder.timeout(Some(Duration::from_secs(30))).build();
        Ok(Self { transport, from: address(from)?, to })
    }
}

#[async_trait]
impl Messenger for Mail {
    async fn tell(&self, certificate: &str, alert: &Alert) -> Result<(), String> {
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(format!("acme-dns01: {certificate}: {}", alert.kind().replace('_', " ")))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let message = message.body(format!("{certificate}: {alert}\n")).map_err(|why| why.to_string())?;
        self.transport.send(message).await.map(|_| ()).map_err(|why| why.to_string())
    }
}
