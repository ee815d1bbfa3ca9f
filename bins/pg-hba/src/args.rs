//! Command line of the program.

use clap::{Parser, Subcommand, ValueEnum};
use cli_support::generate::Generate;
use cli_support::usage::default_file;
use cli_support::verbosity::Verbosity;
use pg_hba::{Version, Waiver};
use std::net::IpAddr;
use std::path::PathBuf;

/// Paths of the policy if none is given: the first, or else the second if only that exists.
const POLICY: [&str; 2] = ["/etc/pg-hba/hba.toml", "/etc/pg-hba/pg-hba.toml"];

/// PostgreSQL's pg_hba.conf: render, check, explain, compare and install it.
#[derive(Debug, Parser)]
#[command(name = "pg-hba", version, after_help = cli_support::usage::EXIT_CODES)]
pub(crate) struct Args {
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The value of `ssl` in postgresql.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ssl {
    /// TLS is offered.
    On,
    /// TLS is not offered.
    Off,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Generate(Generate),
    /// Print the pg_hba.conf of a policy.
    Render {
        /// The policy, in TOML.
        #[arg(long, visible_alias = "config", value_name = "FILE", default_value_os_t = default_file(&POLICY))]
        policy: PathBuf,
        /// The server's major version, 13 to 19.
        #[arg(long, default_value = "18")]
        pg: Version,
    },
    /// Report what is wrong or dangerous in a file.
    Check {
        /// The pg_hba.conf of the server.
        file: PathBuf,
        /// The server's major version.
        #[arg(long, default_value = "18")]
        pg: Version,
        /// A version to upgrade to: lines that change their meaning are found.
        #[arg(long)]
        next: Option<Version>,
        /// The superuser that must keep a way in; by default that of the policy, or "postgres".
        #[arg(long)]
        superuser: Option<String>,
        /// A role that exists; given once or more, any other in the file is found.
        #[arg(long = "role")]
        roles: Vec<String>,
        /// A finding that is accepted: CODE=REASON, or CODE:LINE=REASON for one line.
        #[arg(long = "waive")]
        waivers: Vec<Waiver>,
        /// The value of `ssl` on the server: with off, hostssl rules can never match.
        #[arg(long, default_value = "on")]
        ssl: Ssl,
        /// The policy in force, in TOML: findings about trust that it states are waived.
        #[arg(long)]
        policy: Option<PathBuf>,
        /// Let warnings pass, which are printed all the same: for builds and units.
        #[arg(long)]
        errors_only: bool,
    },
    /// Show the rule that decides a connection, and the mismatch of each one before.
    Explain {
        /// The pg_hba.conf of the server.
        file: PathBuf,
        /// The server's major version; without it that of the server with --connect, else 18.
        #[arg(long)]
        pg: Option<Version>,
        /// The name of the database.
        #[arg(long)]
        db: String,
        /// The name of the user.
        #[arg(long)]
        user: String,
        /// The client's address; without it, over the socket.
        #[arg(long, value_parser = client_address)]
        from: Option<IpAddr>,
        /// The connection uses TLS.
        #[arg(long, requires = "from")]
        tls: bool,
        /// The connection is for physical replication.
        #[arg(long)]
        replication: bool,
        /// A role that the user is a member of, directly or not; given once or more, the list is complete.
        #[arg(long = "member-of", conflicts_with = "no_roles")]
        member_of: Vec<String>,
        /// The user is not a member of any role.
        #[arg(long)]
        no_roles: bool,
        /// An address of the server with its prefix, as in 10.0.0.5/24; given once or more, the list is complete.
        #[arg(long = "server-address", value_name = "ADDRESS/PREFIX")]
        server_addresses: Vec<ipnet::IpNet>,
        /// The confirmed name of the client's address.
        #[arg(long, conflicts_with = "no_client_name")]
        client_name: Option<String>,
        /// The client's address has no name.
        #[arg(long)]
        no_client_name: bool,
        /// A connection to the server, as in libpq, to ask for its version, the roles of the user and `ssl`.
        #[arg(long)]
        connect: Option<String>,
        /// The value of `ssl` on the server; without it that of the server with --connect, else on.
        #[arg(long)]
        ssl: Option<Ssl>,
    },
    /// Check a pg_ident.conf, and show if a system user may be a role under a map.
    Ident {
        /// The pg_ident.conf of the server.
        file: PathBuf,
        /// The server's major version.
        #[arg(long, default_value = "18")]
        pg: Version,
        /// The name of the map.
        #[arg(long, requires_all = ["system_user", "role"])]
        map: Option<String>,
        /// The user of the operating system.
        #[arg(long)]
        system_user: Option<String>,
        /// The role that is asked for.
        #[arg(long)]
        role: Option<String>,
        /// A role that the asked role is a member of.
        #[arg(long = "member-of")]
        member_of: Vec<String>,
    },
    /// Check a pg_hosts.conf of PostgreSQL 19, and show the certificate that a client gets.
    Hosts {
        /// The pg_hosts.conf of the server.
        file: PathBuf,
        /// The name that the client asks for (SNI).
        #[arg(long, conflicts_with = "no_sni")]
        sni: Option<String>,
        /// The client asks for no name.
        #[arg(long)]
        no_sni: bool,
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
    /// Show users, addresses, databases and methods as a table.
    Matrix {
        /// The pg_hba.conf of the server.
        file: PathBuf,
        /// The server's major version.
        #[arg(long, default_value = "18")]
        pg: Version,
        /// Write a page of HTML.
        #[arg(long, conflicts_with = "svg")]
        html: bool,
        /// Write an image in SVG.
        #[arg(long)]
        svg: bool,
    },
    /// Put the rules of a policy into force, or leave everything as it was.
    Install {
        /// The policy, in TOML.
        #[arg(long, visible_alias = "config", value_name = "FILE", default_value_os_t = default_file(&POLICY))]
        policy: PathBuf,
        /// The superuser's connection, as in libpq: "host=/run/postgresql user=postgres". No password belongs here.
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

/// Parses a client address as the server logs it. The scope of a link-local IPv6 address after `%` is dropped, since no
/// rule distinguishes it.
///
/// # Errors
/// Returns an error if the text is not an IP address, or an IPv4 address has a scope.
fn client_address(text: &str) -> Result<IpAddr, std::net::AddrParseError> {
    match text.split_once('%') {
        Some((address, _)) => address.parse::<std::net::Ipv6Addr>().map(IpAddr::V6),
        None => text.parse(),
    }
}
