//! The command `try`: serves a local service over HTTPS on this machine, with a certificate authority of its own, and
//! without a configuration file.

mod observer;
mod target;

use crate::authority::Authority;
use crate::cli::Exit;
use crate::log::{LogSettings, Writer};
use cli_support::outcome::{Failure, chain};
use cli_support::replace::Replacement;
use edge_http::host::HostPattern;
use edge_proxy::config::{Config, Listener, Route, Site, Upstream};
use edge_proxy::{Certificates, Observer, Proxy};
use observer::PrintingObserver;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use target::LocalService;

/// The name of the upstream of the service.
const UPSTREAM: &str = "service";

/// The interval at which the name of the service is resolved again.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);

/// The options of `try`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TryArgs {
    /// The service: a port, an address with its port, an http:// URL, or the path of a Unix socket
    #[arg(long, value_name = "SERVICE")]
    to: LocalService,
    /// The port for https, on TCP and UDP of the loopback addresses; 0 for any that is free
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// A further name of the site, beside localhost. May be repeated
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// The folder for the authority's certificate, ca.pem; by default a temporary one
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Print requests as JSON, as the access log has them
    #[arg(long)]
    pub(crate) json: bool,
}

/// Serves until SIGINT or SIGTERM. Returns [`Exit::Done`] then, and [`Exit::Failed`] if the proxy cannot start.
pub(crate) fn run(args: &TryArgs) -> Exit {
    match serve(args) {
        Ok(()) => Exit::Done,
        Err(why) => crate::commands::fail("try", args.json, &Failure::Failed(chain(&*why))),
    }
}

/// Writes the certificate of a new authority to `ca.pem`, starts the proxy, and serves until SIGINT or SIGTERM;
/// requests in flight then have a second.
///
/// # Errors
/// A file could not be written, a name is not valid, or the proxy could not be started.
fn serve(args: &TryArgs) -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::Builder::new().prefix("edge-proxyd-try-").tempdir()?;
    let folder = args.folder.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let root = std::path::absolute(folder)?.join("ca.pem");
    // The key of the authority stays in memory: who trusts ca.pem trusts this run only.
    let authority = Authority::new("edge-proxyd try, this run only")?;
    Replacement::new().mode(0o644).write(&root, authority.root().as_bytes())?;
    let log = LogSettings { rejected: true, ..LogSettings::default() };
    let observer: Arc<dyn Observer> =
        if args.json { Arc::new(Writer::open(&log)?) } else { Arc::new(PrintingObserver) };
    let mut addresses = args.to.addresses();
    let upstream = args.to.upstream(UPSTREAM, &addresses);
    let (config, certificates) = site(args, upstream, &authority, &temporary.path().join("acme"))?;
    let proxy =
        Proxy::builder().config(config.clone()).certificates(certificates).observer(observer).workers(1);
    let proxy = proxy.start().map_err(|why| match args.port {
        0 => chain(&why),
        port => format!("{}; choose another port than {port}: --port 0", chain(&why)),
    })?;
    let port = proxy.addresses().first().map_or(args.port, std::net::SocketAddr::port);
    tell(args, port, &root);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stopped = pin!(until_stopped());
        let mut refused = Vec::new();
        loop {
            // Resolution and connections block: signals are not to wait for them.
            let (service, known) = (args.to.clone(), addresses.clone());
            let look = async {
                tokio::time::sleep(RESOLVE_INTERVAL).await;
                tokio::task::spawn_blocking(move || service.changed(UPSTREAM, &known)).await
            };
            let changed = tokio::select! {
                stopped = stopped.as_mut() => return stopped,
                changed = look => changed,
            };
            // A panic was reported as such.
            let Ok(Some((found, upstream))) = changed else { continue };
            match proxy.reload(Config { upstreams: vec![upstream], ..config.clone() }) {
                Ok(()) => addresses = found,
                Err(why) if found != refused => {
                    eprintln!("edge-proxyd: the new address of {} is not used: {}", args.to, chain(&why));
                    refused = found;
                }
                Err(_) => {}
            }
        }
    })?;
    // A resolution in progress may take long.
    runtime.shutdown_background();
    proxy.shutdown(Duration::from_secs(1));
    Ok(())
}

/// Returns true if the result of a bind shows that this machine has the address: it succeeded, or the port is in use or
/// not permitted. A port that another program uses is an error of the start: clients that try this address first would
/// reach that program.
fn has_address<T>(bound: &std::io::Result<T>) -> bool {
    use std::io::ErrorKind::{AddrInUse, PermissionDenied};
    bound.as_ref().err().is_none_or(|why| matches!(why.kind(), AddrInUse | PermissionDenied))
}

/// Returns the configuration with this upstream, and a certificate for `localhost` and the names of the arguments, which is issued into
/// `folder`. The proxy also listens on the IPv6 loopback address, if this machine has it and the port is not 0.
///
/// # Errors
/// A name is not valid, or the certificate could not be issued or read.
fn site(
    args: &TryArgs,
    upstream: Upstream,
    authority: &Authority,
    folder: &Path,
) -> Result<(Config, Arc<Certificates>), Box<dyn Error>> {
    let mut names = vec!["localhost"];
    names.extend(args.names.iter().map(String::as_str));
    let hosts = names.iter().map(|name| HostPattern::parse(name)).collect::<Result<_, _>>()?;
    authority.issue(&folder.join("localhost"), &names)?;
    let (certificates, refreshed) = Certificates::load(folder)?;
    if let Some(problem) = refreshed.problems.into_iter().next() {
        return Err(problem.into());
    }
    let mut listeners = vec![Listener::tls(([127, 0, 0, 1], args.port).into()).http3(true)];
    // A free port of one is not that of the other.
    let ipv6 = (std::net::Ipv6Addr::LOCALHOST, args.port);
    if args.port != 0 && has_address(&std::net::TcpListener::bind(ipv6)) {
        listeners.push(Listener::tls(ipv6.into()).http3(true));
    }
    let config = Config {
        listeners,
        sites: vec![Site::new("try", hosts).route(Route::forward(UPSTREAM))],
        upstreams: vec![upstream],
        https_port: (args.port != 0).then_some(args.port),
        ..Config::default()
    };
    Ok((config, certificates))
}

/// Prints the URL and the path of the authority's certificate to standard output, as JSON with `--json`, and warns on
/// standard error if the service cannot be reached.
fn tell(args: &TryArgs, port: u16, root: &Path) {
    let root = root.display();
    if args.json {
        let address = format!("https://localhost:{port}");
        println!("{}", serde_json::json!({"address": address, "ca": root.to_string()}));
    } else {
        println!("https://localhost:{port} → {}", args.to);
        println!("certificate authority: {root}");
        println!("  curl --cacert {root} https://localhost:{port}/");
        println!("Ctrl-C stops it. Requests:\n");
    }
    if let Err(why) = args.to.reach() {
        eprintln!("edge-proxyd: nothing answers at {} yet: {why}", args.to);
    }
}

/// Waits for SIGINT or SIGTERM.
///
/// # Errors
/// The signals could not be set up.
async fn until_stopped() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::has_address;
    use std::io::{Error, ErrorKind};

    #[test]
    fn only_a_machine_without_ipv6_is_not_listened_on_at_its_loopback_address() {
        assert!(has_address(&Ok(())));
        assert!(has_address::<()>(&Err(ErrorKind::AddrInUse.into())));
        assert!(!has_address::<()>(&Err(ErrorKind::AddrNotAvailable.into())));
        // EAFNOSUPPORT: a kernel without IPv6.
        assert!(!has_address::<()>(&Err(Error::from_raw_os_error(97))));
    }
}
