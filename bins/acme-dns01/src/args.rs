//! The command line.

use clap::{Parser, Subcommand};
use cli_support::generate::Generate;
use cli_support::usage::default_file;
use cli_support::verbosity::Verbosity;
use std::path::PathBuf;

/// Default path of the configuration file, and its default path in earlier versions.
pub(crate) const CONFIG: [&str; 2] = ["/etc/acme-dns01/acme-dns01.toml", "/etc/acme-dns01.toml"];

/// Certificates by ACME DNS-01: obtained, renewed, deployed and watched.
#[derive(Debug, Parser)]
#[command(name = "acme-dns01", version, after_help = cli_support::usage::EXIT_CODES)]
pub(crate) struct Args {
    /// Path of the configuration file.
    #[arg(long, global = true, default_value_os_t = default_file(&CONFIG), value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Shell(Generate),
    /// Keep all certificates alive until told to end.
    Run {
        /// Serve metrics in Prometheus' text form at this address.
        #[arg(long, value_name = "ADDRESS:PORT")]
        metrics: Option<std::net::SocketAddr>,
    },
    /// Have the daemon of the unit read its configuration again, and wait for the outcome: for ExecReload= of the unit.
    Reload,
    /// Take over the folder of certificates for an account, from root or another client: for ExecStartPre= of the unit, as root.
    Claim {
        /// The account that runs the daemon.
        #[arg(long, default_value = "acme", value_name = "NAME")]
        user: String,
    },
    /// Do what is due now, and end: for a timer.
    Once,
    /// Get certificates that are not there yet, or not as they should be.
    Issue {
        /// Certificates by name; all unless given.
        names: Vec<String>,
        /// Only say what would be asked for; nothing is changed anywhere.
        #[arg(long)]
        dry_run: bool,
    },
    /// Renew now, due or not.
    Renew {
        /// Certificates by name.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Revoke a certificate. It stays in place; renew it to replace it.
    Revoke {
        /// The certificate's name.
        name: String,
        /// Reason code of RFC 5280: 1 key compromise, 4 superseded, 5 no longer used.
        #[arg(long, value_parser = clap::value_parser!(u8).range(0..=10))]
        reason: Option<u8>,
    },
    /// Show what is in place, days left, the time of renewal and its reason.
    List,
    /// Check credentials and their reach, DNS, CAA, files and permissions, without an order. A TXT record is written and removed. root
    /// checks as the account that owns the folder of certificates.
    Check {
        /// Write no TXT record.
        #[arg(long, visible_alias = "dry-run")]
        dry: bool,
        /// End with 0 if there are only warnings.
        #[arg(long)]
        errors_only: bool,
    },
    /// Abandon the order under way of a certificate, and remove its TXT records. The next run begins anew.
    Abandon {
        /// Name of the certificate; it need not be configured any more.
        name: String,
    },
    /// Forget a certificate: abandon its order, remove its TXT records and its journal. Its folder stays.
    Forget {
        /// Name of the certificate; it need not be configured any more.
        name: String,
    },
    /// Take over certificates and accounts of lego, certbot, acme.sh, Caddy or NixOS, for the certificates of the configuration.
    Adopt {
        /// Folder of the other client: `.lego`, `/etc/letsencrypt`, `~/.acme.sh`, Caddy's data folder, `/var/lib/acme`.
        folder: PathBuf,
        /// Only print what would be taken over.
        #[arg(long)]
        dry_run: bool,
    },
    /// Simulate ten years of these certificates, from today on.
    Simulate {
        /// Events of the years: `announced` for the calendar of Let's Encrypt, `shrinking` down to 6 days.
        #[arg(long, default_value = "announced", value_parser = ["announced", "shrinking"])]
        calendar: String,
        /// Seed of the random numbers.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Accounts at the CAs.
    Account {
        #[command(subcommand)]
        command: AccountCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// The account's URL; registers one if there is none.
    Show {
        /// Configured name of the CA.
        #[arg(default_value = "letsencrypt")]
        authority: String,
    },
    /// Give the account another key.
    RollOver {
        /// Configured name of the CA.
        #[arg(default_value = "letsencrypt")]
        authority: String,
    },
    /// End the account for good.
    Deactivate {
        /// Configured name of the CA.
        authority: String,
    },
}
