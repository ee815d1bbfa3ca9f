//! The command line.

use crate::secret::Reference;
use clap::{Parser, Subcommand, ValueEnum};
use smtp_config::{Mailer, PRESETS, Protocol};
use std::path::PathBuf;

/// Forgejo's mailer settings: render, check, explain and apply them.
///
/// Exit status: 0 done, 1 failed, 2 usage or configuration, 3 differences or findings.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Forgejo's major version.
    #[arg(long, global = true, default_value_t = 13)]
    pub(crate) forgejo: u32,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the [mailer] section, without the password.
    Render {
        #[command(flatten)]
        settings: Settings,
    },
    /// Say what Forgejo would misread, die of, or leak by.
    Check {
        /// The app.ini.
        file: PathBuf,
    },
    /// Say each key of [mailer] as Forgejo reads it; passwords are not shown.
    Explain {
        /// The app.ini.
        file: PathBuf,
    },
    /// Write the settings into an app.ini, leaving everything else as it is.
    Apply {
        /// The app.ini.
        #[arg(long)]
        app_ini: PathBuf,
        /// Only say which lines would change.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// The sender: Name <local@domain>.
    #[arg(long)]
    pub(crate) from: String,
    /// A provider, for its host and port.
    #[arg(long, value_parser = PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>())]
    preset: Option<String>,
    /// The server; without it and without a preset, Mailjet's.
    #[arg(long)]
    host: Option<String>,
    /// Its port.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// How the connection is secured; without it, it follows the port.
    #[arg(long)]
    protocol: Option<Security>,
    /// The account.
    #[arg(long)]
    user: Option<String>,
    /// The password: file:/path, credential:name or env:NAME.
    #[arg(long, requires = "user")]
    pub(crate) password: Option<Reference>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Security {
    Smtp,
    Smtps,
    #[value(name = "smtp+starttls")]
    StartTls,
}

impl Settings {
    pub(crate) fn mailer(&self) -> Mailer {
        let mut mailer = Mailer::new(&self.from);
        if let Some(preset) = PRESETS.iter().find(|preset| Some(preset.name) == self.preset.as_deref()) {
            mailer.host = preset.host.to_owned();
            mailer.port = preset.port;
        }
        mailer.host = self.host.clone().unwrap_or(mailer.host);
        mailer.port = self.port.unwrap_or(mailer.port);
        mailer.protocol = self.protocol.map(|tls| match tls {
            Security::Smtp => Protocol::Smtp,
            Security::Smtps => Protocol::Smtps,
            Security::StartTls => Protocol::StartTls,
        });
        mailer.user.clone_from(&self.user);
        mailer
    }
}
