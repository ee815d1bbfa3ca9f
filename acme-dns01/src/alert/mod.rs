//! How a person gets to know: a command, a webhook, mail.

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

/// A way to reach a person.
#[async_trait]
pub trait Messenger: fmt::Debug + Send + Sync {
    /// Tells them; the words say why not, if it did not work.
    async fn tell(&self, certificate: &str, alert: &Alert) -> Result<(), String>;
}

/// Runs a program with `ACME_CERTIFICATE`, `ACME_ALERT` (the kind) and `ACME_MESSAGE` in its environment.
#[derive(Clone, Debug)]
pub struct CommandMessenger {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How long it may take.
    pub within: Duration,
}

#[async_trait]
impl Messenger for CommandMessenger {
    async fn tell(&self, certificate: &str, alert: &Alert) -> Result<(), String> {
        let Some((program, arguments)) = self.command.split_first() else { return Ok(()) };
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        command.env("ACME_CERTIFICATE", certificate).env("ACME_ALERT", alert.kind());
        command.env("ACME_MESSAGE", alert.to_string());
        let output = tokio::time::timeout(self.within, command.output())
            .await
            .map_err(|_| format!("{program}: took longer than {} s", self.within.as_secs()))?
            .map_err(|why| format!("{program}: {why}"))?;
        if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", output.status)) }
    }
}

/// Posts `{"certificate", "kind", "message"}` to a URL.
#[derive(Debug)]
pub struct Webhook {
    /// The client.
    pub http: Http,
    /// The URL, which may be a secret.
    pub url: SecretString,
}

#[async_trait]
impl Messenger for Webhook {
    async fn tell(&self, certificate: &str, alert: &Alert) -> Result<(), String> {
        let body = json!({"certificate": certificate, "kind": alert.kind(), "message": alert.to_string()});
        let headers = [("content-type", "application/json")];
        let url = self.url.expose_secret();
        let sent = self.http.send(http::Method::POST, url, &headers, body.to_string().into_bytes()).await;
        // The error would name the URL.
        let response = sent.map_err(|_| "the webhook cannot be reached".to_owned())?;
        if response.status.is_success() {
            return Ok(());
        }
        Err(format!("the webhook answered {}", response.status.as_u16()))
    }
}
