//! The command `run`: serves until the process receives a signal to stop, or another one takes over.

mod acme;
mod certificates;
mod drain;
mod identity;
mod process_sandbox;
mod reload;
mod supervise;

use crate::acme::Renewals;
use crate::cli::{Exit, RunArgs};
use crate::config::{self, Settings};
use crate::journal;
use crate::log::Writer;
use crate::service::maintenance::{self, Switches};
use crate::service::{
    MatchedSockets, Notifier, PassedSockets, Predecessor, SocketStore, control, descriptors,
};
use crate::shared;
use crate::status::{Reloads, StatusSources};
use certificates::CertificateMonitor;
pub(crate) use certificates::{CLOCK, names_without_certificate, of_sites};
use cli_support::outcome::chain;
use edge_proxy::{Proxy, ProxyHandle};
use identity::FolderIdentity;
use process_sandbox::ProcessSandbox;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use supervise::{ShutdownReason, Signals, Supervisor};

/// Runs the proxy until it stops. Returns [`Exit::Done`] if it was stopped or replaced in order, [`Exit::Wrong`] if the
/// configuration is not valid, and [`Exit::Failed`] if the proxy cannot start or shut down in order. Errors are logged.
pub(crate) fn run(args: &RunArgs) -> Exit {
    let settings = match config::load(&args.config) {
        Ok((settings, _)) => settings,
        Err(problems) => {
            problems.tell();
            return Exit::Wrong;
        }
    };
    // A predecessor ends this process once the stream to it is closed: the error is logged before.
    let mut predecessor = Predecessor::default();
    match serve(args, &settings, &mut predecessor) {
        Ok(()) => Exit::Done,
        Err(why) => {
            journal::error(chain(&*why));
            Exit::Failed
        }
    }
}

/// Returns the folder for persistent state: that of `--state`, or that of the environment variable `STATE_DIRECTORY`,
/// which systemd sets. `None` if there is neither.
pub(super) fn state(args: &RunArgs) -> Option<std::path::PathBuf> {
    args.state.clone().or_else(maintenance::folder_from_environment)
}

/// Starts the proxy, supervises it until it has to stop, and waits for the requests in flight within the grace period.
/// The order of the steps matters: inherited sockets are taken before a child process is started, and the sandbox is
/// entered before there are threads. The stream to the process that this one replaces is stored in `predecessor` until
/// this one serves.
///
/// # Errors
/// The proxy could not start, the supervision failed, or the proxy did not shut down in order.
fn serve(
    args: &RunArgs,
    settings: &Settings,
    predecessor: &mut Predecessor,
) -> Result<(), Box<dyn std::error::Error>> {
    let limit = descriptors::raise_limit();
    // Takes inherited sockets first, so that no child process inherits them too.
    let notifier = Notifier::from_environment();
    *predecessor = Predecessor::from_environment()?;
    let took_over = predecessor.is_there();
    let mut handed = PassedSockets::take()?;
    let control = control::open(handed.control.take(), args.control.clone());
    let quic_links = std::mem::take(&mut handed.quic_links);
    let MatchedSockets { tcp, udp, passed, predecessor: addresses } =
        handed.matching(&settings.proxy.listeners, &notifier)?;
    let identity = FolderIdentity::new(settings.certificates.clone());
    let process_sandbox = ProcessSandbox::enter(args, settings)?;
    let log = Writer::open(&settings.log).map_err(|why| format!("cannot open the access log {why}"))?;
    let log = Arc::new(log);
    let switches = Switches::open(state(args));
    let mut config = settings.proxy.clone();
    switches.apply(&mut config);
    let mut builder = Proxy::builder().config(config).observer(log.clone());
    if let Some(workers) = args.workers {
        builder = builder.workers(workers.into());
    }
    builder = builder.sockets(tcp, udp).quic_links(quic_links).predecessor_addresses(addresses);
    if let Some(traces) = &settings.tracing {
        builder = builder.tracing(traces.read_secrets()?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (signals, requests) = {
        let _entered = runtime.enter();
        (Signals::new()?, control.as_ref().map(control::ControlSocket::serve).transpose()?)
    };
    let renewer = settings.acme.as_ref().map(|section| runtime.block_on(acme::prepare(section)));
    if let Some(section) = &settings.shared {
        builder = builder.shared(shared::prepare(section)?);
    }
    let certificates = CertificateMonitor::load(settings);
    if let Some(found) = &certificates {
        builder = builder.certificates(found.resolver()).site_certificates(found.resolver());
    }
    let proxy = Arc::new(builder.start()?);
    if let Some(warning) = descriptors::shortage_warning(limit, proxy.workers(), &settings.proxy) {
        journal::warning(warning);
    }
    for listener in proxy.listeners().iter().filter(|listener| listener.serving) {
        journal::info(format_args!("listening on {}", listener.address));
    }
    let renewals = settings.acme.as_ref().map(Renewals::new);
    if let (Some(renewer), Some(renewals)) = (renewer, &renewals) {
        acme::start(renewer, &runtime, settings, &proxy.addresses(), renewals.clone());
    }
    let watched = Arc::new(StatusSources {
        proxy: proxy.clone(),
        certificates: certificates.as_ref().map(CertificateMonitor::resolver),
        log,
        history: Mutex::default(),
        reloads: Reloads::default(),
        renewals,
    });
    if took_over {
        notifier.say(&format!("MAINPID={}", std::process::id()));
    }
    notifier.say("READY=1\nSTATUS=serving");
    if took_over {
        // The predecessor may exit at once, and must not be the main process of the service then.
        let _ = notifier.settle();
    }
    let last_request = predecessor.report_serving();
    let mut store = SocketStore::new(passed);
    store.sync(&proxy, &notifier);
    let supervisor = Supervisor {
        args,
        settings,
        notifier: &notifier,
        process_sandbox: &process_sandbox,
        control: control.as_ref(),
        watched,
        certificates,
        identity,
        store,
        switches,
    };
    let ending = runtime.block_on(supervisor.run((took_over, last_request), signals, requests))?;
    let grace = match ending {
        ShutdownReason::Stopped => {
            notifier.say("STOPPING=1");
            args.stop_grace.unwrap_or(args.grace)
        }
        // The service goes on in another process.
        ShutdownReason::Replaced => args.grace,
    };
    // Open status connections are not waited for.
    drop(runtime);
    let Some(proxy) = Arc::into_inner(proxy) else { return Ok(()) };
    shut_down(proxy, grace, args.stop_grace.unwrap_or(args.grace))
}

/// Shuts the proxy down, and waits at most `grace` seconds for the requests in flight, or `stop` seconds from a signal to
/// stop on. Logs what was aborted.
///
/// # Errors
/// The wait could not be set up.
fn shut_down(proxy: ProxyHandle, grace: u16, stop: u16) -> Result<(), Box<dyn std::error::Error>> {
    journal::info(format_args!("shutting down; {grace} s for requests in flight"));
    match drain::drain(proxy, Duration::from_secs(grace.into()), Duration::from_secs(stop.into()))? {
        Some(report) if report.is_complete() => {}
        Some(report) => journal::warning(format_args!("the time for requests in flight is over: {report}")),
        None => journal::warning("stopped before the time for requests in flight was over"),
    }
    Ok(())
}
