//! Command line of the program.

use crate::settings::Settings;
use clap::{Parser, Subcommand, ValueEnum};
use cli_support::generate::Generate;
use cli_support::verbosity::Verbosity;
use smtp_config::{Version, environment};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Forgejo's mailer settings: render, check, explain, apply and migrate them; examine the servers.
#[derive(Debug, Parser)]
#[command(name = "smtp-config", version, after_help = cli_support::usage::EXIT_CODES)]
pub(crate) struct Args {
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The major version of Forgejo.
    #[arg(long, global = true, default_value_t = Version::default().0, value_name = "VERSION")]
    pub(crate) forgejo: u32,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Returns the version of Forgejo whose rules apply.
    pub(crate) fn version(&self) -> Version {
        Version(self.forgejo)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Generate(Generate),
    /// Print the settings, without a password: for app.ini, as environment variables, or for NixOS.
    Render {
        #[command(flatten)]
        settings: Box<Settings>,
        /// The kind of configuration.
        #[arg(long, default_value = "app-ini")]
        to: ConfigurationKind,
        /// The format of a file with environment variables.
        #[arg(long, default_value = "systemd")]
        format: FileFormat,
    },
    /// Report settings that Forgejo misreads, does not start with, or leaks the password by.
    Check {
        /// The app.ini of Forgejo.
        file: PathBuf,
        /// The user that Forgejo runs as; without it RUN_USER, or the owner of app.ini.
        #[arg(long)]
        user: Option<String>,
        /// The lowest severity that makes the exit status 3.
        #[arg(long, default_value = "warning", value_name = "SEVERITY")]
        fail_on: FailOn,
    },
    /// Show each key, its value, its origin, and what Forgejo does with it; secrets are not shown.
    Explain {
        /// The app.ini of Forgejo.
        file: PathBuf,
    },
    /// Write the settings into an app.ini, leaving everything else as it is.
    Apply {
        /// The app.ini of Forgejo.
        #[arg(long)]
        app_ini: PathBuf,
        /// Only show the difference; secrets are not shown.
        #[arg(long)]
        dry_run: bool,
        /// The user that Forgejo runs as; without it RUN_USER, or the owner of app.ini.
        #[arg(long, value_name = "USER")]
        run_user: Option<String>,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Replace what a later version of Forgejo no longer reads, and show the difference.
    Migrate {
        /// The app.ini of Forgejo.
        #[arg(long)]
        app_ini: PathBuf,
        /// The version to prepare for.
        #[arg(long, default_value_t = Version::NEWEST.0, value_name = "VERSION")]
        to: u32,
        /// Only show the difference; secrets are not shown.
        #[arg(long)]
        dry_run: bool,
    },
    /// Examine the servers of outgoing and incoming mail, or replay what a version of Forgejo would do.
    Doctor {
        #[command(flatten)]
        what: SubjectArgs,
        #[command(flatten)]
        wire: ConnectionArgs,
        /// Replay what this version of Forgejo would do, and if a stripped STARTTLS would leak the password.
        #[arg(long, value_name = "VERSION")]
        as_forgejo: Option<u32>,
        /// A recipient for RCPT TO; without it the sender. No message is sent.
        #[arg(long)]
        recipient: Option<String>,
        /// The selector of a DKIM key. Can be given several times.
        #[arg(long = "dkim-selector")]
        selectors: Vec<String>,
        /// Leave SPF, DKIM and DMARC out.
        #[arg(long)]
        no_dns: bool,
        /// Leave the reachability of other ports out.
        #[arg(long)]
        no_ports: bool,
    },
    /// Send a message as Forgejo would.
    SendTest {
        #[command(flatten)]
        what: SubjectArgs,
        #[command(flatten)]
        wire: ConnectionArgs,
        /// The address of the recipient.
        #[arg(long)]
        to: String,
    },
    /// Follow one secret from where it is kept to the server, by keyed hashes.
    Trace {
        #[command(flatten)]
        what: SubjectArgs,
        #[command(flatten)]
        wire: ConnectionArgs,
        /// Authenticate at the server too, if its certificate is valid.
        #[arg(long)]
        server: bool,
    },
}

/// A kind of configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigurationKind {
    /// The sections of app.ini.
    AppIni,
    /// Variables, as environment-to-ini reads them in a container.
    Environment,
    /// services.forgejo of NixOS.
    Nixos,
}

/// The format of a file with environment variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// The .env file of Compose.
    Compose,
    /// docker run --env-file, without quotes.
    Docker,
    /// A POSIX shell.
    Shell,
    /// EnvironmentFile= of systemd.
    Systemd,
}

impl From<FileFormat> for environment::Format {
    /// Converts to the format of the library.
    fn from(format: FileFormat) -> Self {
        match format {
            FileFormat::Compose => Self::Compose,
            FileFormat::Docker => Self::Docker,
            FileFormat::Shell => Self::Shell,
            FileFormat::Systemd => Self::Systemd,
        }
    }
}

/// The lowest severity that counts as a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Settings that do not work, or leak a secret.
    Error,
    /// Every finding counts.
    Note,
    /// Also settings that work with a risk.
    Warning,
}

/// The subject: an app.ini, or settings that are not applied yet.
#[derive(Debug, clap::Args)]
pub(crate) struct SubjectArgs {
    /// An app.ini; without it the settings that are given.
    #[arg(long)]
    pub(crate) app_ini: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: Box<Settings>,
}

/// Options of the connection to the server.
#[derive(Debug, clap::Args)]
pub(crate) struct ConnectionArgs {
    /// Connect to this address; the certificate must be for the host all the same.
    #[arg(long)]
    pub(crate) address: Option<IpAddr>,
    /// A file of root certificates to trust beside the system's.
    #[arg(long)]
    pub(crate) roots: Option<PathBuf>,
    /// The DNS server to ask instead of the machine's: an address with a port.
    #[arg(long)]
    pub(crate) resolver: Option<SocketAddr>,
    /// Seconds that one step may take.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) limit: f32,
}
