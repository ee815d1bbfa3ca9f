//! The command line.

use clap::{Args as Arguments, Parser, Subcommand, ValueEnum};
use cli_support::generate::Generate;
use cli_support::secret::Reference;
use pg_ensure::Destroyed;
use std::path::PathBuf;

/// PostgreSQL's databases, roles, ownership and passwords, made true.
///
/// Exit status: 0 done, 1 failed, 2 usage or configuration, 3 differences found.
#[derive(Debug, Parser)]
#[command(name = "pg-ensure", version)]
pub(crate) struct Args {
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
    /// Show what would be done; ends with 3 if there is anything.
    Plan {
        /// The manifest: TOML, or JSON by its name's end.
        manifest: PathBuf,
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
    /// Make it so, and look again afterwards.
    Apply {
        /// The manifest; not needed with --plan, which knows it.
        #[arg(required_unless_present = "plan")]
        manifest: Option<PathBuf>,
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        consent: ConsentArgs,
        /// A saved plan: nothing is done if the state has moved since.
        #[arg(long, value_name = "FILE")]
        plan: Option<PathBuf>,
        /// Then install the authentication policy of this file for the databases and owners of the manifest.
        #[arg(long, value_name = "POLICY")]
        hba: Option<PathBuf>,
        /// A login that must work after the policy was installed, as in libpq; the session's own unless given.
        #[arg(long, requires = "hba")]
        canary: Option<String>,
    },
    /// Say whether everything is as the manifest has it; ends with 3 if not.
    Check {
        /// The manifest.
        manifest: PathBuf,
        #[command(flatten)]
        server: ServerArgs,
        /// Look at the manifest and its secrets alone, and ask no server.
        #[arg(long)]
        offline: bool,
    },
    /// Write the manifest of a cluster as it is. Passwords are left out.
    Generate {
        #[command(flatten)]
        server: ServerArgs,
        /// The format.
        #[arg(long, value_enum, default_value = "toml")]
        format: Written,
    },
    /// Wait until the server answers: the primary, where there are several hosts.
    Wait {
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Written {
    Json,
    Toml,
}

#[derive(Debug, Arguments)]
pub(crate) struct ServerArgs {
    /// How to connect, as in libpq: "host=… user=…" or a postgresql:// address. No password belongs here.
    #[arg(long, default_value = "host=/run/postgresql user=postgres")]
    pub(crate) connect: String,
    /// The password to connect with: file:/path, credential:name, env:NAME or age:/path?identity=/path.
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) password: Option<Reference>,
    /// Whether TLS is used: disable, prefer, require, verify-ca or verify-full. Also as sslmode in --connect.
    #[arg(long, value_enum)]
    pub(crate) sslmode: Option<crate::tls::Mode>,
    /// Certificates to trust, in PEM, or "system". Also as sslrootcert in --connect.
    #[arg(long, value_name = "FILE")]
    pub(crate) sslrootcert: Option<PathBuf>,
    /// How long a server is waited for that starts, recovers or is not there, in seconds.
    #[arg(long, default_value_t = 60)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Arguments)]
pub(crate) struct ConsentArgs {
    /// Something declared absent that this run may destroy: role=NAME, database=NAME, schema=DATABASE/NAME or
    /// extension=DATABASE/NAME.
    #[arg(long, value_name = "WHAT")]
    pub(crate) destroy: Vec<Destroyed>,
}
