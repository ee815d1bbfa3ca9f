//! The command line.

use crate::settings::Settings;
use clap::{Parser, Subcommand, ValueEnum};
use cli_support::generate::Generate;
use cli_support::secret::Reference;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Forgejo's mailer settings: render, check, explain and apply them; examine the server.
///
/// Exit status: 0 done, 1 failed, 2 usage or configuration, 3 differences or findings.
#[derive(Debug, Parser)]
#[command(name = "smtp-config", version)]
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
    #[command(flatten)]
    Generate(Generate),
    /// Print the settings, without a password: for app.ini, as environment variables, or for NixOS.
    Render {
        #[command(flatten)]
        settings: Box<Settings>,
        /// The form.
        #[arg(long, default_value = "app-ini")]
        to: Form,
    },
    /// Say what Forgejo would misread, die of, or leak by.
    Check {
        /// The app.ini.
        file: PathBuf,
    },
    /// Say each key, its value, where it comes from, and what Forgejo does with it; passwords are not shown.
    Explain {
        /// The app.ini.
        file: PathBuf,
    },
    /// Write the settings into an app.ini, leaving everything else as it is.
    Apply {
        /// The app.ini.
        #[arg(long)]
        app_ini: PathBuf,
        /// Only show the difference; passwords are not shown.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Examine the server, or say what a version of Forgejo would do with it.
    Doctor {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        wire: Wire,
        /// Say what this version of Forgejo would do, and whether a stripped STARTTLS would leak the password.
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
        what: What,
        #[command(flatten)]
        wire: Wire,
        /// The recipient.
        #[arg(long)]
        to: String,
    },
    /// Follow one secret from where it is kept to the server, by keyed hashes.
    Trace {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        wire: Wire,
        /// Authenticate at the server too, if its certificate is valid.
        #[arg(long)]
        server: bool,
    },
}

/// A form of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// The sections of app.ini.
    AppIni,
    /// Variables, as environment-to-ini reads them in a container.
    Environment,
    /// services.forgejo of NixOS.
    Nixos,
}

/// What to look at: an app.ini, or settings that are not applied yet.
#[derive(Debug, clap::Args)]
pub(crate) struct What {
    /// An app.ini; without it the settings that are given.
    #[arg(long)]
    pub(crate) app_ini: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: Box<Settings>,
}

/// How to reach the server.
#[derive(Debug, clap::Args)]
pub(crate) struct Wire {
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

/// A secret by reference. What is no reference is not repeated, since it may be the secret itself.
pub(crate) fn reference(text: &str) -> Result<Given, std::convert::Infallible> {
    Ok(Given(text.parse().ok()))
}

/// What was given for a secret: a reference, or something that is none.
#[derive(Clone, Debug)]
pub(crate) struct Given(pub(crate) Option<Reference>);
