//! What is written on the command line.

use crate::demo;
use crate::sandbox::Attempt;
use clap::{Args, Parser, Subcommand};
use cli_support::generate::Generate;
use edge_proxy::tailnet::Who;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

/// An edge proxy: HTTP/1.1, 2 and 3, deny by default, the real client address.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 differences found."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Read and check a configuration; touch nothing.
    Check(CheckArgs),
    /// Run an edge with its own services and authority, and show what it does.
    Demo(demo::Arguments),
    /// Say what would become of a request, and why.
    Explain(Box<Explain>),
    #[command(flatten)]
    Generate(Generate),
    /// Go where `run` would go before it serves, and say what can still be done there.
    Sandbox(SandboxArgs),
    /// Write a configuration that does what nginx's does, and say what was not taken over.
    Import(ImportArgs),
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Show what a running edge-proxyd does: sites, certificates, upstreams, counters.
    Status(Status),
    /// Serve. SIGHUP reads the configuration again, SIGUSR1 opens the access log again, SIGUSR2 starts the program anew and
    /// hands its sockets on, SIGTERM and SIGINT finish what is under way and end.
    Run(Run),
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Status {
    /// The configuration that it runs with, whose section `status` says where to ask.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// nginx.conf, or a file of sites that stands in its http.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Print JSON: the configuration and what was not taken over.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct SandboxArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Try this in there: read:PATH, write:PATH, run:PATH, listen:PORT, connect:ADDRESS:PORT, or call:NAME with a system call
    /// (unshare, ptrace, io_uring_setup, keyctl, mount). May be given several times.
    #[arg(long = "try", value_name = "WHAT:ARGUMENT")]
    pub(crate) attempt: Vec<Attempt>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Run {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// How many threads serve; one a core unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) workers: Option<u8>,
    /// How many seconds requests that are under way have to finish when the program ends.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) grace: u16,
}

#[derive(Args)]
pub(crate) struct Explain {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The other end of the connection.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = address)]
    pub(crate) from: SocketAddr,
    /// The source that the connection's PROXY header names.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = address)]
    pub(crate) proxied: Option<SocketAddr>,
    /// The interface by which the connection comes.
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Who tailscaled says that the source is: node:NAME, tag:NAME or login:NAME. May be given several times.
    #[arg(long, value_name = "WHO")]
    pub(crate) who: Vec<Who>,
    /// The same of a hop that the header names: ADDRESS=node:NAME and so on. May be given several times.
    #[arg(long = "hop", value_name = "ADDRESS=WHO", value_parser = hop)]
    pub(crate) hops: Vec<(IpAddr, Who)>,
    /// The name in the ClientHello; that of --host unless given. An empty one is none.
    #[arg(long, value_name = "NAME", conflicts_with = "plain")]
    pub(crate) sni: Option<String>,
    /// The host that is asked for, with a port if need be.
    #[arg(long, value_name = "NAME")]
    pub(crate) host: String,
    /// Path and query.
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub(crate) path: String,
    /// The method.
    #[arg(long, default_value = "GET")]
    pub(crate) method: String,
    /// A field of the request; may be repeated.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// By plain HTTP instead of TLS.
    #[arg(long, conflicts_with = "quic")]
    pub(crate) plain: bool,
    /// By QUIC instead of TLS on TCP.
    #[arg(long)]
    pub(crate) quic: bool,
    /// In early data (0-RTT).
    #[arg(long, conflicts_with = "plain")]
    pub(crate) early: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a command ended.
#[derive(Clone, Copy)]
pub(crate) enum Exit {
    Done,
    /// It could not be done, or broke off.
    Failed,
    /// A wrong usage or configuration.
    Wrong,
    /// Differences were found.
    Differs,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Wrong => 2,
            Exit::Differs => 3,
        })
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse::<SocketAddr>()
        .or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)))
        .map_err(|_| "write an address such as 192.0.2.1, 192.0.2.1:40000 or [2001:db8::1]:40000".into())
}

/// A hop and who it is.
fn hop(text: &str) -> Result<(IpAddr, Who), String> {
    let wrong =
        || format!("`{text}` is no hop: write ADDRESS=node:NAME, ADDRESS=tag:NAME or ADDRESS=login:NAME");
    let (address, who) = text.split_once('=').ok_or_else(wrong)?;
    Ok((address.parse().map_err(|_| wrong())?, who.parse().map_err(|_| wrong())?))
}
