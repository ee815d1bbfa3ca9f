//! The command line.

use clap::{Parser, Subcommand};
use cli_support::generate::Generate;
use std::path::PathBuf;

/// Certificates by ACME DNS-01: obtained, renewed, deployed and watched.
///
/// Exit status: 0 done, 1 failed, 2 usage or configuration, 3 differences found (check).
#[derive(Debug, Parser)]
#[command(name = "acme-dns01", version)]
pub(crate) struct Args {
    /// The configuration.
    #[arg(long, global = true, default_value = "/etc/acme-dns01.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
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
        /// Why: a code of RFC 5280, 1 key compromise, 4 superseded, 5 no longer used.
        #[arg(long, value_parser = clap::value_parser!(u8).range(0..=10))]
        reason: Option<u8>,
    },
    /// Names, days left, when each is renewed and why then.
    List,
    /// Check credentials and their reach, DNS, CAA and permissions, without an order.
    Check,
    /// Live ten years with these certificates on a virtual clock.
    Simulate {
        /// Another decade.
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
        /// The CA.
        #[arg(default_value = "letsencrypt")]
        authority: String,
    },
    /// Give the account another key.
    RollOver {
        /// The CA.
        #[arg(default_value = "letsencrypt")]
        authority: String,
    },
    /// End the account for good.
    Deactivate {
        /// The CA.
        authority: String,
    },
}
