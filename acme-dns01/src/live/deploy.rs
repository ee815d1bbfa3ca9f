//! Servers that have to be told, and how it is seen that they heard.

use super::handshake::{Greeting, served_serial};
use crate::lifetime::Held;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::Instant;

/// What makes a server read its certificate again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// A program with its arguments.
    Command(Vec<String>),
    /// A systemd unit, reloaded, or restarted if it cannot reload; left alone if it does not run.
    Unit(String),
}

/// A handshake that has to show the new certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Where to connect, `host:port`.
    pub address: String,
    /// What comes before the handshake.
    pub greeting: Greeting,
    /// The name to ask for.
    pub name: String,
}

/// Everything that a new certificate has to be made known to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Who is told, in this order.
    pub reload: Vec<Reload>,
    /// Where it is looked at afterwards.
    pub checks: Vec<Check>,
    /// How long a reload, and a server until it shows the new certificate, may take.
    pub within: Duration,
}

impl Default for Deployment {
    fn default() -> Self {
        Self { reload: Vec::new(), checks: Vec::new(), within: Duration::from_secs(60) }
    }
}

/// Why a certificate is not deployed.
pub(crate) enum Refused {
    /// Another one is served: the new one is to be taken back.
    NotServed(String),
    /// A reload did not work.
    Failed(String),
}

/// Tells everybody and looks.
pub(crate) async fn deploy(deployment: &Deployment, held: &Held, folder: &str) -> Result<(), Refused> {
    tell(deployment, folder).await.map_err(Refused::Failed)?;
    let rsa = held.key_type.starts_with("rsa");
    for check in &deployment.checks {
        let until = Instant::now() + deployment.within;
        loop {
            let shown =
                served_serial(&check.address, check.greeting, &check.name, rsa, Duration::from_secs(5)).await;
            let why = match shown {
                Ok(serial) if serial == held.serial => break,
                Ok(serial) => format!(
                    "{} shows the certificate {serial} for {}, not the new one {}",
                    check.address, check.name, held.serial
                ),
                Err(why) => why,
            };
            if Instant::now() >= until {
                return Err(Refused::NotServed(why));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

/// Tells everybody that the certificate in the store is another one now.
pub(crate) async fn tell(deployment: &Deployment, folder: &str) -> Result<(), String> {
    for reload in &deployment.reload {
        let command: Vec<&str> = match reload {
            Reload::Command(command) => command.iter().map(String::as_str).collect(),
            Reload::Unit(unit) => vec!["systemctl", "--no-ask-password", "try-reload-or-restart", unit],
        };
        let Some((program, arguments)) = command.split_first() else { continue };
        let mut process = Command::new(program);
        process.args(arguments).env("ACME_FOLDER", folder);
        process.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let shown = command.join(" ");
        let output = tokio::time::timeout(deployment.within, process.output())
            .await
            .map_err(|_| format!("`{shown}` took longer than {} s", deployment.within.as_secs()))?
            .map_err(|why| format!("`{shown}`: {why}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String = said.trim().chars().take(300).collect();
            return Err(format!("`{shown}`: {}: {said}", output.status));
        }
    }
    Ok(())
}
