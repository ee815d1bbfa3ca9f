//! Alert sinks: a command, a webhook, mail.

#[cfg(feature = "mail")]
mod mail;

#[cfg(feature = "mail")]
pub use mail::{Mail, MailError, MailSecurity, MailServer};

use crate::client::Http;
use crate::machine::Alert;
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::fmt;
use std::process::Stdio;
use std::time::Duration;

/// Error of sending an alert. Contains no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlertError {
    /// The command cannot be started.
    #[error("{program} cannot be started")]
    Start {
        /// Path of the program.
        program: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The command failed.
    #[error("{program}: {status}")]
    Command {
        /// Path of the program.
        program: String,
        /// Exit status of the program.
        status: std::process::ExitStatus,
    },
    /// It took too long.
    #[error("no result within {} s", within.as_secs())]
    TimedOut {
        /// The time limit that passed.
        within: Duration,
    },
    /// The webhook cannot be reached.
    #[error("the webhook cannot be reached")]
    Unreachable,
    /// The webhook refused the alert; its status.
    #[error("the webhook answered {0}")]
    Status(u16),
    /// The mail cannot be sent.
    #[error("the mail cannot be sent")]
    Mail(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An error of a sink of one's own.
    #[error("the alert cannot be sent")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AlertError {
    /// Returns `true` if a retry may succeed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Unreachable | Self::Status(429 | 500..=599))
    }
}

/// A recipient of alerts.
#[async_trait]
pub trait AlertSink: fmt::Debug + Send + Sync {
    /// Sends an alert about a certificate.
    async fn send(&self, certificate: &str, alert: &Alert) -> Result<(), AlertError>;
}

/// Runs a program with `ACME_CERTIFICATE`, `ACME_ALERT` (the kind) and `ACME_MESSAGE` in its environment.
#[derive(Clone, Debug)]
pub struct CommandSink {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Time limit of one call.
    pub within: Duration,
}

#[async_trait]
impl AlertSink for CommandSink {
    async fn send(&self, certificate: &str, alert: &Alert) -> Result<(), AlertError> {
        let Some((program, arguments)) = self.command.split_first() else { return Ok(()) };
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        command.env("ACME_CERTIFICATE", certificate).env("ACME_ALERT", alert.kind());
        command.env("ACME_MESSAGE", alert.to_string());
        let program = || program.clone();
        let output = tokio::time::timeout(self.within, command.output())
            .await
            .map_err(|_| AlertError::TimedOut { within: self.within })?
            .map_err(|source| AlertError::Start { program: program(), source })?;
        if output.status.success() {
            return Ok(());
        }
        Err(AlertError::Command { program: program(), status: output.status })
    }
}

/// Posts `{"certificate", "kind", "message"}` to a URL.
#[derive(Debug)]
pub struct Webhook {
    /// HTTP client for the request.
    pub http: Http,
    /// The URL, which may be a secret.
    pub url: SecretString,
}

#[async_trait]
impl AlertSink for Webhook {
    async fn send(&self, certificate: &str, alert: &Alert) -> Result<(), AlertError> {
        let body = json!({"certificate": certificate, "kind": alert.kind(), "message": alert.to_string()});
        let headers = [("content-type", "application/json")];
        let url = self.url.expose_secret();
        let sent = self.http.send(http::Method::POST, url, &headers, body.to_string().into_bytes()).await;
        // The error would name the URL.
        let response = sent.map_err(|_| AlertError::Unreachable)?;
        if response.status.is_success() {
            return Ok(());
        }
        Err(AlertError::Status(response.status.as_u16()))
    }
}
