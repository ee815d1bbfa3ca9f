//! The command line: the arguments of every command, and the exit codes.

use crate::demo;
use crate::sandbox::Attempt;
use crate::service::control::Takeover;
use crate::try_out;
use clap::{Args, Parser, Subcommand};
use cli_support::generate::Generate;
use cli_support::outcome::Failure;
use cli_support::usage::{self, default_file};
use cli_support::verbosity::Verbosity;
use edge_policy::tailnet::IdentityMatcher;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

/// The default paths of the configuration file, if `--config` is not given: the first that exists is used.
pub(crate) const CONFIG: [&str; 2] = ["/etc/edge-proxyd/edge.toml", "/etc/edge-proxyd/edge-proxyd.toml"];

/// An edge proxy: HTTP/1.1, 2 and 3, deny by default, the real client address.
#[derive(Parser)]
#[command(
    version,
    after_help = cli_support::usage::EXIT_CODES
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
    /// Print the result as JSON, as after a command that has this option.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Applies `--json` before the command to the command.
    ///
    /// # Errors
    /// The command has no such option.
    pub(crate) fn apply_json(&mut self) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let json = match &mut self.command {
            Command::Check(args) => &mut args.json,
            Command::Demo(args) => &mut args.json,
            Command::Explain(args) => &mut args.json,
            Command::Import(args) => &mut args.json,
            Command::Maintenance(args) => &mut args.json,
            Command::Reload(args) => &mut args.json,
            Command::Sandbox(args) => &mut args.json,
            Command::Status(args) => &mut args.json,
            Command::Try(args) => &mut args.json,
            Command::Generate(_) | Command::Schema | Command::Run(_) => {
                return Err(usage::fault(
                    "conflict",
                    "--json",
                    "has no effect with this command: leave it out",
                ));
            }
        };
        *json = true;
        Ok(())
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Read and validate a configuration and everything that `run` needs to serve it; change nothing.
    Check(CheckArgs),
    /// Run an edge with its own services and certificate authority, and show what it does.
    Demo(demo::DemoArgs),
    /// Explain how a request, or a connection that is forwarded, would be handled.
    Explain(Box<ExplainArgs>),
    #[command(flatten)]
    Generate(Generate),
    /// Enter the sandbox that `run` uses, and test what it still allows.
    Sandbox(SandboxArgs),
    /// Convert an nginx configuration, and list what is different, the worst first.
    Import(ImportArgs),
    /// Switch a site of the running process to maintenance, or back: its requests are answered 503, until it is
    /// switched back.
    Maintenance(MaintenanceArgs),
    /// Have the running process reload its configuration, and report the outcome.
    Reload(ReloadArgs),
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Show the state of a running edge-proxyd: sites, certificates, upstreams, counters.
    Status(StatusArgs),
    /// Serve. SIGHUP reloads the configuration, as `reload` does; SIGUSR1 reopens the access log; SIGUSR2 starts a new
    /// process that takes over the sockets, as `reload --takeover` does; SIGTERM and SIGINT finish the requests in
    /// flight and exit.
    Run(RunArgs),
    /// Serve a local service over https on this machine, without a configuration, and show its requests.
    Try(try_out::TryArgs),
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value_os_t = default_file(&CONFIG))]
    pub(crate) config: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Look at the configuration alone, not at certificates, secrets, folders and addresses: for builds and CI.
    #[arg(long)]
    pub(crate) no_files: bool,
    /// Exit with 0 if there are only warnings: for units and builds.
    #[arg(long)]
    pub(crate) errors_only: bool,
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// The configuration of the running process, whose section `status` has the address to ask.
    #[arg(long, value_name = "FILE", default_value_os_t = default_file(&CONFIG))]
    pub(crate) config: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// The nginx.conf, or a file of its http block or of a server.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The domain of names such as `app.*`, and of servers without a name.
    #[arg(long, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    /// The folder that relative paths are in, such as /etc/nginx; by default that of the file.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) prefix: Option<PathBuf>,
    /// The folder that stands for / in absolute includes, such as a copy of a container's files.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) root: Option<PathBuf>,
    /// Run nginx with the file and edge-proxyd with the result, each in namespaces of its own without a network, ask
    /// both the same requests and print where they differ. Changes nothing.
    #[arg(long)]
    pub(crate) prove: bool,
    /// The nginx to run.
    #[arg(long, value_name = "PROGRAM", default_value = "nginx", requires = "prove")]
    pub(crate) nginx: PathBuf,
    /// The most requests to ask; beyond them some of each kind are left out, and counted.
    #[arg(long, value_name = "N", default_value_t = 3000, requires = "prove")]
    pub(crate) requests: usize,
    /// The side of a comparison, within its namespaces.
    #[arg(long, hide = true)]
    pub(crate) side: bool,
    /// List the harmless differences too, which are only counted otherwise.
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON: the configuration and what was not converted.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct SandboxArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value_os_t = default_file(&CONFIG))]
    pub(crate) config: PathBuf,
    /// Try this inside the sandbox: read:PATH, write:PATH, run:PATH, listen:PORT, connect:ADDRESS:PORT, or call:NAME
    /// with a system call (unshare, ptrace, io_uring_setup, keyctl, mount). May be repeated.
    #[arg(long = "try", value_name = "WHAT:ARGUMENT")]
    pub(crate) attempt: Vec<Attempt>,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value_os_t = default_file(&CONFIG))]
    pub(crate) config: PathBuf,
    /// The number of worker threads; by default one per core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) workers: Option<u8>,
    /// The seconds that requests in flight have to finish after a takeover, and at shutdown.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) grace: u16,
    /// The seconds that they have at shutdown, if another number than after a takeover.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stop_grace: Option<u16>,
    /// The seconds within which a new process must serve; otherwise it is ended and this one goes on.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) takeover_timeout: u16,
    /// The folder that keeps which sites are under maintenance. Default: STATE_DIRECTORY, which systemd sets; otherwise
    /// none.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state: Option<PathBuf>,
    /// The socket for `reload` and `maintenance`. Default: control.sock in RUNTIME_DIRECTORY, which systemd sets;
    /// otherwise none.
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
}

/// The state of a site that is switched: under maintenance or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Switch {
    /// Requests are answered 503, by `[site.maintenance]` if the site has it.
    On,
    /// Requests are served.
    Off,
}

#[derive(Args)]
pub(crate) struct MaintenanceArgs {
    /// The position of the switch.
    #[arg(value_enum, value_name = "on|off")]
    pub(crate) switch: Switch,
    /// The site, by its name or one of its hosts.
    #[arg(value_name = "SITE")]
    pub(crate) site: String,
    /// The control socket of the running process. Default: control.sock in RUNTIME_DIRECTORY or /run/edge-proxyd.
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ReloadArgs {
    /// The control socket of the running process. Default: control.sock in RUNTIME_DIRECTORY or /run/edge-proxyd.
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
    /// Start a new process from the program's file that takes over the sockets: always, also after an upgrade of the
    /// program, or only if the running process cannot apply the whole configuration.
    #[arg(
        long,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_value = "never",
        default_missing_value = "always"
    )]
    pub(crate) takeover: Takeover,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// The URL of the request, with its scheme, instead of --host, --path and --plain.
    #[arg(value_name = "URL", conflicts_with_all = ["host", "path", "plain"])]
    pub(crate) url: Option<String>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value_os_t = default_file(&CONFIG))]
    pub(crate) config: PathBuf,
    /// The peer of the connection.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = address)]
    pub(crate) from: SocketAddr,
    /// The source address in the connection's PROXY header.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = address)]
    pub(crate) proxied: Option<SocketAddr>,
    /// The name or the address of the listener that accepts the connection. Default: the first of its transport that
    /// serves the host. One that forwards TCP needs no URL or host.
    #[arg(long, value_name = "NAME")]
    pub(crate) listener: Option<String>,
    /// The interface the connection arrives on. Default: that of the listener, if it has one.
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// The tailnet identity of the source: node:NAME, tag:NAME or login:NAME. May be repeated.
    #[arg(long, value_name = "WHO")]
    pub(crate) who: Vec<IdentityMatcher>,
    /// The tailnet identity of a hop in the header: ADDRESS=node:NAME and so on. May be repeated.
    #[arg(long = "hop", value_name = "ADDRESS=WHO", value_parser = hop)]
    pub(crate) hops: Vec<(IpAddr, IdentityMatcher)>,
    /// The name in the ClientHello; by default that of --host. An empty one sends no SNI.
    #[arg(long, value_name = "NAME", conflicts_with = "plain")]
    pub(crate) sni: Option<String>,
    /// The client shows a certificate with this subject, which the site's authorities issued. Default: none.
    #[arg(long, value_name = "SUBJECT", conflicts_with_all = ["plain", "quic"])]
    pub(crate) client_certificate: Option<String>,
    /// The host of the request, optionally with a port.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["url", "listener"])]
    pub(crate) host: Option<String>,
    /// The request target: path and query.
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub(crate) path: String,
    /// The request method.
    #[arg(long, default_value = "GET")]
    pub(crate) method: String,
    /// A header field of the request. May be repeated.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// Use plain HTTP instead of TLS.
    #[arg(long, conflicts_with = "quic")]
    pub(crate) plain: bool,
    /// Use QUIC instead of TLS over TCP.
    #[arg(long)]
    pub(crate) quic: bool,
    /// Send the request in early data (0-RTT).
    #[arg(long, conflicts_with = "plain")]
    pub(crate) early: bool,
    /// The folder that keeps which sites are under maintenance. Default: STATE_DIRECTORY or /var/lib/edge-proxyd.
    #[arg(long, value_name = "FOLDER", conflicts_with = "no_files")]
    pub(crate) state: Option<PathBuf>,
    /// Leave out the certificates and the switches of this machine: for a configuration of another one.
    #[arg(long)]
    pub(crate) no_files: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl ExplainArgs {
    /// Returns the host of the request, with its port if one was given. Empty without a host.
    pub(crate) fn host(&self) -> &str {
        self.host.as_deref().unwrap_or_default()
    }
}

/// The outcome of a command, which determines the exit code: 0, 1, 2 or 3 in the order of the variants.
#[derive(Clone, Copy)]
pub(crate) enum Exit {
    /// The command succeeded: exit code 0.
    Done,
    /// The command failed or was interrupted: exit code 1.
    Failed,
    /// The arguments or the configuration are not valid: exit code 2.
    Wrong,
    /// The command succeeded and found something to report, such as warnings or differences: exit code 3.
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

/// Parses an address with or without a port. Without one, the port is 0. An IPv6 address may be in brackets, and have a
/// zone, which is removed: no decision depends on it.
///
/// # Errors
/// The text is not an IP address with an optional port.
fn address(text: &str) -> Result<SocketAddr, String> {
    let without_zone = text.split_once('%').map(|(before, zone)| {
        let after = zone.find(']').map_or("", |end| &zone[end..]);
        format!("{before}{after}")
    });
    let text = without_zone.as_deref().unwrap_or(text);
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse::<SocketAddr>().or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0))).map_err(
        |_| {
            "not a valid address: expected one such as 192.0.2.1, 192.0.2.1:40000 or [2001:db8::1]:40000"
                .into()
        },
    )
}

/// Parses the address of a hop and its tailnet identity, such as `100.64.0.1=node:NAME`.
///
/// # Errors
/// There is no `=`, or the address or the identity is not valid.
fn hop(text: &str) -> Result<(IpAddr, IdentityMatcher), String> {
    let wrong = || {
        format!(
            "`{text}` is not a valid hop: expected ADDRESS=node:NAME, ADDRESS=tag:NAME or ADDRESS=login:NAME"
        )
    };
    let (address, who) = text.split_once('=').ok_or_else(wrong)?;
    Ok((address.parse().map_err(|_| wrong())?, who.parse().map_err(|_| wrong())?))
}
