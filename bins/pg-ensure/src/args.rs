//! The command line.

use clap::{Args as Arguments, Parser, Subcommand, ValueEnum};
use cli_support::generate::Generate;
use cli_support::secret::Reference;
use cli_support::usage::default_file;
use cli_support::verbosity::Verbosity;
use pg_ensure::DestructibleObject;
use std::path::PathBuf;

/// Default path of the manifest, and its default path in earlier versions.
pub(crate) const MANIFEST: [&str; 2] = ["/etc/pg-ensure/pg-ensure.toml", "/etc/pg-ensure/manifest.toml"];

/// Apply a declared set of databases, roles, ownership and passwords to PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "pg-ensure", version, after_help = cli_support::usage::EXIT_CODES)]
pub(crate) struct Args {
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
    /// Show the changes that `apply` would make; exit status 3 if there are any.
    Plan {
        #[command(flatten)]
        manifest: ManifestArgs,
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        consent: ConsentArgs,
        /// Save the plan, bound to the state that it was made for.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Show the statements as one script, without passwords.
        #[arg(long)]
        sql: bool,
    },
    /// Apply the manifest, then verify.
    Apply {
        #[command(flatten)]
        manifest: ManifestArgs,
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        consent: ConsentArgs,
        /// Only show the changes, as `plan` does; exit status 3 if there are any.
        #[arg(long, conflicts_with_all = ["plan", "follow"])]
        dry_run: bool,
        /// A saved plan: nothing is done if the state has moved since. What it may destroy was said when it was made, and its
        /// manifest is the default.
        #[arg(long, value_name = "FILE", conflicts_with = "destroy")]
        plan: Option<PathBuf>,
        /// Then install the authentication policy of this file for the databases and owners of the manifest.
        #[arg(long, value_name = "POLICY")]
        hba: Option<PathBuf>,
        /// A login that must work after the policy was installed, as in libpq; the session's own unless given.
        #[arg(long, requires = "hba")]
        canary: Option<String>,
        /// On a standby: look again every so many seconds, and apply once it is promoted.
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10")]
        follow: Option<u64>,
    },
    /// Compare the server with the manifest; exit status 3 if they differ.
    Check {
        #[command(flatten)]
        manifest: ManifestArgs,
        #[command(flatten)]
        server: ServerArgs,
        /// Look at the manifest and its secrets alone, and ask no server.
        #[arg(long)]
        offline: bool,
    },
    /// Write a manifest of the cluster's current state, without passwords.
    Generate {
        #[command(flatten)]
        server: ServerArgs,
        /// The output format.
        #[arg(long, value_enum, default_value = "toml")]
        format: ManifestFormat,
    },
    /// Wait until the server answers: the primary, where there are several hosts.
    Wait {
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ManifestFormat {
    Json,
    Toml,
}

#[derive(Debug, Arguments)]
pub(crate) struct ManifestArgs {
    /// The manifest: TOML, or JSON by its name's end. Default: /etc/pg-ensure/pg-ensure.toml, else manifest.toml beside it.
    #[arg(value_name = "MANIFEST")]
    named: Option<PathBuf>,
    /// The manifest, as other programs take their configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "named")]
    config: Option<PathBuf>,
}

impl ManifestArgs {
    /// Returns the path that was given. `None` if there is none.
    pub(crate) fn given(&self) -> Option<&PathBuf> {
        self.named.as_ref().or(self.config.as_ref())
    }

    /// Returns the path that was given, or the default.
    pub(crate) fn path(&self) -> PathBuf {
        self.given().cloned().unwrap_or_else(|| default_file(&MANIFEST))
    }
}

#[derive(Debug, Arguments)]
pub(crate) struct ServerArgs {
    /// Connection string as in libpq: "host=… user=…" or a postgresql:// URI. It must not hold a password.
    /// Without it: PGHOST and the other variables of libpq, else "host=/run/postgresql user=postgres".
    #[arg(long)]
    pub(crate) connect: Option<String>,
    /// The password to connect with: file:/path, credential:name, env:NAME or age:/path?identity=/path.
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) password: Option<Reference>,
    /// Use of TLS: disable, prefer, require, verify-ca or verify-full. Also as sslmode in --connect.
    #[arg(long, value_enum)]
    pub(crate) sslmode: Option<crate::tls::Mode>,
    /// Certificates to trust, in PEM, or "system". Also as sslrootcert in --connect.
    #[arg(long, value_name = "FILE")]
    pub(crate) sslrootcert: Option<PathBuf>,
    /// Folder of a record of the passwords that were set (verifiers, not passwords), for a session that cannot read the
    /// server's; by default $STATE_DIRECTORY.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Seconds to wait for a server that is starting, recovering or not reachable.
    #[arg(long, default_value_t = 60)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Arguments)]
pub(crate) struct ConsentArgs {
    /// Something declared absent that this run may destroy: KIND=NAME, or KIND=DATABASE/NAME of what is inside a
    /// database.
    #[arg(long, value_name = "WHAT")]
    pub(crate) destroy: Vec<DestructibleObject>,
}
