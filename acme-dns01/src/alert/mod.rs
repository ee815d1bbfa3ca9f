//! Alert sinks: a command, a webhook, mail.

#[cfg(feature = "mail")]
mod mail;

#[cfg(feature = "mail")]
pub use mail::{Mail, MailError, MailSecurity, MailServer};

use crate::client::{HeaderField, Http};
use crate::machine::Alert;
use crate::process::{self, RunError};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::fmt;
use std::time::Duration;

/// Error of delivering an alert to a sink. The message contains no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlertError {
    /// The program could not be started.
    #[error("{program} cannot be started")]
    Start {
        /// Path of the program.
        program: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The program exited with a status other than 0.
    #[error("{program}: {status}")]
    Command {
        /// Path of the program.
        program: String,
        /// Exit status of the program.
        status: std::process::ExitStatus,
    },
    /// The program did not end within the time limit, and was killed. A sink implemented outside this crate may return
    /// it for a time limit of its own; [`Webhook`] returns [`Unreachable`](Self::Unreachable).
    #[error("no result within {} s", within.as_secs())]
    TimedOut {
        /// The time limit that passed.
        within: Duration,
    },
    /// The webhook gave no complete response: any [`HttpError`](crate::client::HttpError), such as a failed connection,
    /// a timeout or a URL that is not valid. The error is left out, since it contains the URL, which is secret.
    #[error("the webhook cannot be reached")]
    Unreachable,
    /// The webhook responded with this HTTP status, which is not 2xx. Redirects are not followed.
    #[error("the webhook answered {0}")]
    Status(u16),
    /// The message could not be composed, or the mail server could not be reached or refused it.
    #[error("the mail cannot be sent")]
    Mail(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Error of a sink implemented outside this crate.
    #[error("the alert cannot be sent")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AlertError {
    /// Returns `true` if a retry may succeed: after a timeout, if the webhook was unreachable, and for status 429 and
    /// 5xx. All other errors, including those of mail, return `false`.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Unreachable | Self::Status(429 | 500..=599))
    }
}

/// A destination of alerts.
#[async_trait]
pub trait AlertSink: fmt::Debug + Send + Sync {
    /// Delivers an alert about the certificate with this id.
    ///
    /// # Errors
    ///
    /// Returns an [`AlertError`] if the alert was not delivered, or its delivery was not confirmed. The engine then
    /// counts it as lost and does not retry it.
    async fn send(&self, certificate: &str, alert: &Alert) -> Result<(), AlertError>;
}

/// Alert sink that runs a program with `ACME_CERTIFICATE` (the certificate's id), `ACME_ALERT` ([`Alert::kind`]) and
/// `ACME_MESSAGE` (the alert as text) in its environment. An exit status other than 0 is an error.
#[derive(Clone, Debug)]
pub struct CommandSink {
    /// Path of the program, followed by its arguments. Nothing is run if empty.
    pub command: Vec<String>,
    /// Time limit of one run. The program is killed when it passes.
    pub within: Duration,
}

#[async_trait]
impl AlertSink for CommandSink {
    async fn send(&self, certificate: &str, alert: &Alert) -> Result<(), AlertError> {
        let Some((program, arguments)) = self.command.split_first() else { return Ok(()) };
        let mut command = tokio::process::Command::new(program);
        command.args(arguments);
        command.env("ACME_CERTIFICATE", certificate).env("ACME_ALERT", alert.kind());
        command.env("ACME_MESSAGE", alert.to_string());
        let program = || program.clone();
        let exit = process::run(&mut command, self.within).await.map_err(|error| match error {
            RunError::TimedOut => AlertError::TimedOut { within: self.within },
            RunError::Start(source) => AlertError::Start { program: program(), source },
        })?;
        if exit.status.success() {
            return Ok(());
        }
        Err(AlertError::Command { program: program(), status: exit.status })
    }
}

/// Alert sink that posts the JSON object `{"certificate", "kind", "message"}` to a URL. Any status but 2xx is an error.
#[derive(Debug)]
pub struct Webhook {
    /// HTTP client for the request.
    pub http: Http,
    /// URL of the webhook. Kept secret, since it may contain a token.
    pub url: SecretString,
}

#[async_trait]
impl AlertSink for Webhook {
    async fn send(&self, certificate: &str, alert: &Alert) -> Result<(), AlertError> {
        let body = json!({"certificate": certificate, "kind": alert.kind(), "message": alert.to_string()});
        let headers = [HeaderField::new("content-type", "application/json")];
        let url = self.url.expose_secret();
        let sent = self.http.send(http::Method::POST, url, &headers, body.to_string().into_bytes()).await;
        // The error would contain the URL, which is secret.
        let response = sent.map_err(|_| AlertError::Unreachable)?;
        if response.status.is_success() {
            return Ok(());
        }
        Err(AlertError::Status(response.status.as_u16()))
    }
}
