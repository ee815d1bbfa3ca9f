//! The command line.

use clap::{Parser, Subcommand};
use cli_support::generate::Generate;
use pg_hba::{Version, Waiver};
use std::net::IpAddr;
use std::path::PathBuf;

/// Who may connect to PostgreSQL: render, check, explain, compare and install pg_hba.conf.
///
/// Exit status: 0 done, 1 failed, 2 usage or configuration, 3 differences or findings.
#[derive(Debug, Parser)]
#[command(name = "pg-hba", version)]
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
    Generate(Generate),
    /// Print the pg_hba.conf of a policy.
    Render {
        /// The policy, in TOML.
        #[arg(long)]
        policy: PathBuf,
        /// The server's major version, 13 to 18.
        #[arg(long, default_value = "18")]
        pg: Version,
    },
    /// Say what is wrong or dangerous in a file.
    Check {
        /// The pg_hba.conf.
        file: PathBuf,
        /// The server's major version.
        #[arg(long, default_value = "18")]
        pg: Version,
        /// A version to upgrade to: lines that change their meaning are found.
        #[arg(long)]
        next: Option<Version>,
        /// The superuser that must keep a way in.
        #[arg(long, default_value = "postgres")]
        superuser: String,
        /// A role that exists; given once or more, any other in the file is found.
        #[arg(long = "role")]
        roles: Vec<String>,
        /// A finding that is accepted: CODE=REASON, or CODE:LINE=REASON for one line.
        #[arg(long = "waive")]
        waivers: Vec<Waiver>,
    },
    /// Say which rule decides a connection, and why not the ones before.
    Explain {
        /// The pg_hba.conf.
        file: PathBuf,
        /// The server's major version.
        #[arg(long, default_value = "18")]
        pg: Version,
        /// The database.
        #[arg(long)]
        db: String,
        /// The user.
        #[arg(long)]
        user: String,
        /// The client's address; without it, over the socket.
        #[arg(long)]
        from: Option<IpAddr>,
        /// With TLS.
        #[arg(long, requires = "from")]
        tls: bool,
        /// As physical replication.
        #[arg(long)]
        replication: bool,
        /// A role that the user is a member of.
        #[arg(long = "member-of")]
        member_of: Vec<String>,
    },
    /// Compare two files by meaning: a connection that they decide differently, or the proof that there is none.
    Diff {
        /// The old file.
        old: PathBuf,
        /// The new file.
        new: PathBuf,
        /// The version that reads the old file, and the new one unless --next is given.
        #[arg(long, default_value = "18")]
        pg: Version,
        /// The version that reads the new file.
        #[arg(long)]
        next: Option<Version>,
    },
    /// Show who may come from where into what, by which method.
    Matrix {
        /// The pg_hba.conf.
        file: PathBuf,
        /// The server's major version.
        #[arg(long, default_value = "18")]
        pg: Version,
        /// Write HTML.
        #[arg(long, conflicts_with = "svg")]
        html: bool,
        /// Write SVG.
        #[arg(long)]
        svg: bool,
    },
    /// Put the rules of a policy into force, or leave everything as it was.
    Install {
        /// The policy, in TOML.
        #[arg(long)]
        policy: PathBuf,
        /// How the superuser connects, as in libpq: "host=/run/postgresql user=postgres". No password belongs here.
        #[arg(long, default_value = "host=/run/postgresql user=postgres dbname=postgres")]
        connect: String,
        /// A login that must work afterwards; the superuser's own unless given.
        #[arg(long)]
        canary: Option<String>,
        /// Say what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
}
