//! Deployment: reloads of servers, and TLS handshakes that verify the served certificate.

use super::handshake::{Greeting, OfferedSignatures, served_serial};
use crate::lifetime::CertificateInfo;
use crate::process::{self, RunError};
use aws_lc_rs::digest::{SHA256, digest};
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::Instant;

/// Method by which a server reloads its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// Program to run, followed by its arguments; nothing is run if empty. It runs in the certificate's folder, with
    /// `ACME_FOLDER` (that folder) and `ACME_CERTIFICATE` (the certificate's id) in its environment. An exit status
    /// other than 0 is a failure.
    Command(Vec<String>),
    /// Name of a systemd unit, which is reloaded, or restarted if it does not support that. No effect on an inactive
    /// unit.
    Unit(String),
}

/// A TLS handshake in which a server must present the new certificate, by its serial number. It is repeated until it
/// succeeds or [`Deployment::within`] has passed; then the certificate is rolled back, if the previous pair can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Address to connect to, as `host:port`.
    pub address: String,
    /// Protocol that precedes the handshake.
    pub greeting: Greeting,
    /// Server name for SNI.
    pub name: String,
}

/// Servers to reload and to verify after a new certificate was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Reloads, run in this order. The first failure ends the deployment.
    pub reload: Vec<Reload>,
    /// Checks, run after all reloads.
    pub checks: Vec<Check>,
    /// Time limit of each reload, and of each check including its retries. Default: 60 s.
    pub within: Duration,
}

impl Default for Deployment {
    fn default() -> Self {
        Self { reload: Vec::new(), checks: Vec::new(), within: Duration::from_secs(60) }
    }
}

/// Error of a deployment.
pub(crate) enum DeployError {
    /// At the end of the time limit of a check, the server presented another certificate, or the handshake failed. The
    /// new certificate is to be rolled back. The text describes the last result.
    NotServed(String),
    /// A reload failed. The text describes the failure.
    Failed(String),
}

impl Deployment {
    /// Returns the SHA-256 digest of the configuration in hexadecimal digits, which shows whether it was changed.
    pub(crate) fn digest(&self) -> String {
        // The text may contain secrets, in arguments of a command.
        let text = format!("{self:?}");
        digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Runs every reload, then waits until each server to check presents the certificate `held`. `folder` is the
    /// certificate's folder, `None` if the store has none.
    ///
    /// # Errors
    /// Returns an error if a reload fails, or a server does not present the certificate within the time limit.
    pub(crate) async fn run(
        &self,
        held: &CertificateInfo,
        id: &str,
        folder: Option<&Path>,
    ) -> Result<(), DeployError> {
        run_reloads(self, id, folder).await.map_err(DeployError::Failed)?;
        for check in &self.checks {
            check.wait(held, self.within).await?;
        }
        Ok(())
    }
}

impl Check {
    /// Repeats the handshake (each at most 5 s) every 200 ms until the server presents the certificate `held`, by
    /// serial number. At least one is made, and one in progress at the end of the time limit is completed.
    ///
    /// # Errors
    /// Returns [`DeployError::NotServed`] with the last result if that does not happen within the time limit.
    async fn wait(&self, held: &CertificateInfo, within: Duration) -> Result<(), DeployError> {
        let signatures = OfferedSignatures::for_key_type(&held.key_type);
        let until = Instant::now() + within;
        loop {
            let shown =
                served_serial(&self.address, self.greeting, &self.name, signatures, Duration::from_secs(5))
                    .await;
            let why = match shown {
                Ok(serial) if serial == held.serial => return Ok(()),
                Ok(serial) => format!(
                    "{} shows the certificate {serial} for {}, not the new one {}",
                    self.address, self.name, held.serial
                ),
                Err(error) => crate::error_chain(&error),
            };
            if Instant::now() >= until {
                return Err(DeployError::NotServed(why));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Runs every reload in order, with `ACME_FOLDER` and `ACME_CERTIFICATE` (the id) in the environment. With a folder,
/// that is the working directory and `ACME_FOLDER`; otherwise `ACME_FOLDER` is the id, and the working directory is
/// this process's. An empty command is skipped.
///
/// # Errors
/// Returns the description of the first failure, which ends the run: the program cannot be started, exceeds the time
/// limit (and is killed), or exits with an error, then with the first 300 characters of its standard error.
pub(crate) async fn run_reloads(
    deployment: &Deployment,
    id: &str,
    folder: Option<&Path>,
) -> Result<(), String> {
    for reload in &deployment.reload {
        let command: Vec<&str> = match reload {
            Reload::Command(command) => command.iter().map(String::as_str).collect(),
            Reload::Unit(unit) => vec!["systemctl", "--no-ask-password", "try-reload-or-restart", unit],
        };
        let Some((program, arguments)) = command.split_first() else { continue };
        let mut program = Command::new(program);
        program.args(arguments).env("ACME_CERTIFICATE", id);
        match folder {
            Some(folder) => program.current_dir(folder).env("ACME_FOLDER", folder),
            None => program.env("ACME_FOLDER", id),
        };
        let shown = command.join(" ");
        let exit = process::run(&mut program, deployment.within).await.map_err(|error| match error {
            RunError::TimedOut => format!("`{shown}` took longer than {} s", deployment.within.as_secs()),
            RunError::Start(why) => format!("`{shown}`: {why}"),
        })?;
        if !exit.status.success() {
            return Err(format!("`{shown}`: {}: {}", exit.status, exit.said));
        }
    }
    Ok(())
}
