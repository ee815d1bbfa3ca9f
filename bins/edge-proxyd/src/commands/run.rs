//! The command `run`: serves until it is told to stop.

use crate::acme::Keeper;
use crate::cli::{Exit, RunArgs};
use crate::config::{self, Mode, Settings};
use crate::log::Writer;
use crate::sandbox::{self, Environment, Needs};
use crate::service::{self, Launcher, Notifier, Predecessor, descriptors, hand_over};
use crate::shared;
use crate::status::{self, Watched};
use cli_support::outcome::chain;
use edge_proxy::config::{Config, ListenerKind};
use edge_proxy::{CertificateError, Certificates, Proxy, RefreshReport};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The interval at which the certificates folder is checked.
const WATCH: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &RunArgs) -> Exit {
    let settings = match config::load(&args.config) {
        Ok((settings, _)) => settings,
        Err(problems) => {
            problems.report(false);
            return Exit::Wrong;
        }
    };
    match serve(args, &settings) {
        Ok(()) => Exit::Done,
        Err(why) => {
            eprintln!("edge-proxyd: {}", chain(&*why));
            Exit::Failed
        }
    }
}

fn serve(args: &RunArgs, settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = descriptors::raise();
    // Takes inherited sockets first, so that no child process inherits them too.
    let notifier = Notifier::from_environment();
    let predecessor = Predecessor::from_environment()?;
    let (tcp, udp) = service::inherited()?;
    let confined = Confined::enter(args, settings)?;
    let log = Writer::open(settings.log.format, settings.log.file.as_deref(), settings.log.rejected)
        .map_err(|why| {
            let path = settings.log.file.as_deref().unwrap_or(Path::new("standard output"));
            format!("cannot open the access log {}: {why}", path.display())
        })?;
    let log = Arc::new(log);
    let mut builder = Proxy::builder().config(settings.proxy.clone()).observer(log.clone());
    if let Some(workers) = args.workers {
        builder = builder.workers(workers.into());
    }
    builder = builder.sockets(tcp, udp);
    if let Some(traces) = &settings.tracing {
        builder = builder.tracing(traces.ready()?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _entered = runtime.enter();
        Signals::new()?
    };
    let keeper = match &settings.acme {
        Some(acme) => Some(runtime.block_on(Keeper::prepare(acme))?),
        None => None,
    };
    if let Some(section) = &settings.shared {
        builder = builder.shared(shared::prepare(section)?);
    }
    let mut certificates = None;
    if settings.certificates.is_some() || !settings.certificate_files.is_empty() {
        let (found, refreshed) =
            Certificates::open(settings.certificates.clone(), settings.certificate_files.clone())?;
        tell(&refreshed);
        tell_missing(&found, &settings.proxy);
        builder = builder.certificates(found.clone());
        certificates = Some(found);
    }
    let proxy = Arc::new(builder.start()?);
    if let Some(warning) = descriptors::shortage(descriptors, proxy.workers(), &settings.proxy) {
        eprintln!("edge-proxyd: {warning}");
    }
    for listener in proxy.listeners().iter().filter(|listener| listener.serving) {
        eprintln!("edge-proxyd: listening on {}", listener.address);
    }
    if let Some(keeper) = keeper {
        keeper.start(&runtime, settings, &proxy.addresses());
    }
    let watched = Arc::new(Watched { proxy: proxy.clone(), certificates, log, history: Mutex::default() });
    let took_over = predecessor.serving();
    if took_over {
        notifier.say(&format!("MAINPID={}", std::process::id()));
    }
    notifier.say("READY=1\nSTATUS=serving");
    runtime.block_on(supervise(args, settings, watched, &notifier, took_over, &confined, signals))?;
    notifier.say("STOPPING=1");
    // Open status connections are not waited for.
    drop(runtime);
    let Some(proxy) = Arc::into_inner(proxy) else { return Ok(()) };
    eprintln!("edge-proxyd: shutting down; {} s for requests in flight", args.grace);
    proxy.shutdown(Duration::from_secs(args.grace.into()));
    Ok(())
}

/// The signal handlers of the process. They are installed before readiness is announced: a signal may arrive right
/// after, and an unhandled one would kill the process.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    reopen: Signal,
    terminate: Signal,
    upgrade: Signal,
}

impl Signals {
    /// Installs the handlers. Must be called within the runtime.
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            reopen: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }
}

/// The sandbox of this process, and the launcher outside it.
struct Confined {
    needs: Option<Needs>,
    launcher: Option<Launcher>,
}

impl Confined {
    /// Enters the sandbox. There must be no other thread yet.
    fn enter(args: &RunArgs, settings: &Settings) -> Result<Self, Box<dyn std::error::Error>> {
        if settings.sandbox.mode == Mode::Off {
            eprintln!("edge-proxyd: sandbox: off");
            return Ok(Self { needs: None, launcher: None });
        }
        let launcher = Launcher::start().map_err(|why| format!("cannot start the launcher: {why}"))?;
        let needs = Needs::of(settings, &args.config, &Environment::read());
        let held = sandbox::enter(settings.sandbox.mode, &needs)?;
        let closed = held.as_ref().is_some_and(|held| held.landlock.files());
        if let Some(held) = held {
            eprintln!("edge-proxyd: sandbox: {held}");
        }
        Ok(Self { needs: closed.then_some(needs), launcher: Some(launcher) })
    }

    /// Returns what a new configuration needs that the sandbox no longer allows.
    fn lacks(&self, args: &RunArgs, settings: &Settings) -> Vec<String> {
        let Some(needs) = &self.needs else { return Vec::new() };
        needs.lacks(&Needs::of(settings, &args.config, &Environment::read()))
    }
}

/// Reports certificates that were loaded or rejected.
fn tell(refreshed: &RefreshReport) {
    for path in &refreshed.swapped {
        eprintln!("edge-proxyd: {}: in use", path.display());
    }
    for problem in &refreshed.problems {
        eprintln!("edge-proxyd: not used: {}", chain(problem));
    }
}

/// Reports the TLS sites without a certificate.
fn tell_missing(certificates: &Certificates, config: &Config) {
    if !config.listeners.iter().any(|listener| listener.kind != ListenerKind::Plain) {
        return;
    }
    for site in &config.sites {
        for host in &site.hosts {
            let name = host.to_string();
            let sample = name.replacen('*', "any", 1);
            if !certificates.covers(&name) && !certificates.covers(&sample) {
                eprintln!("edge-proxyd: site `{}`: there is no certificate for {name}", site.name);
            }
        }
    }
}

/// Handles signals and new certificates until the program stops.
async fn supervise(
    args: &RunArgs,
    settings: &Settings,
    watched: Arc<Watched>,
    notifier: &Notifier,
    took_over: bool,
    confined: &Confined,
    mut signals: Signals,
) -> std::io::Result<()> {
    let (proxy, certificates) = (&*watched.proxy, watched.certificates.as_deref());
    if let Some(address) = &settings.status {
        let bound = status::StatusListener::bind(address).await;
        match bound {
            Ok(listener) => drop(tokio::spawn(status::run(listener, watched.clone()))),
            // The predecessor still holds the address.
            Err(_) if took_over => drop(tokio::spawn(status::run_later(address.clone(), watched.clone()))),
            Err(why) => {
                let why =
                    std::io::Error::new(why.kind(), format!("cannot listen for the status page: {why}"));
                return Err(why);
            }
        }
    }
    let mut samples = tokio::time::interval(status::STEP);
    let mut watchdog = notifier.watchdog.map(tokio::time::interval);
    let mut watch = tokio::time::interval(WATCH);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hangup.recv() => {
                notifier.reloading();
                refresh(certificates, Certificates::refresh);
                reload(args, settings, &watched, confined);
                notifier.say("READY=1");
            }
            _ = signals.upgrade.recv() => match hand_over(proxy, notifier, confined.launcher.as_ref()) {
                Ok(process) => {
                    eprintln!("edge-proxyd: process {process} took over; this one finishes the requests in flight");
                    return Ok(());
                }
                Err(why) => eprintln!("edge-proxyd: {why}; this process continues to serve"),
            },
            _ = next(&mut watchdog) => notifier.say("WATCHDOG=1"),
            _ = watch.tick() => refresh(certificates, Certificates::refresh_if_due),
            _ = samples.tick() => watched.sample(),
            _ = signals.reopen.recv() => watched.log.reopen(),
        }
    }
}

/// Waits for the next tick, or forever without a ticker.
async fn next(ticks: &mut Option<tokio::time::Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}

/// Looks for new certificates, and reports what was found.
fn refresh(
    certificates: Option<&Certificates>,
    look: impl Fn(&Certificates) -> Result<RefreshReport, CertificateError>,
) {
    match certificates.map(look) {
        Some(Ok(refreshed)) => tell(&refreshed),
        Some(Err(why)) => eprintln!("edge-proxyd: {why}"),
        None => {}
    }
}

/// Returns advice for a change that the sandbox of this process prevents.
fn successor() -> String {
    format!(
        "start a new process that takes over without dropping connections (kill -USR2 {})",
        std::process::id()
    )
}

/// Reloads the configuration, or keeps the old one and reports why.
fn reload(args: &RunArgs, started: &Settings, watched: &Watched, confined: &Confined) {
    let settings = match config::load(&args.config) {
        Ok((settings, _)) => settings,
        Err(problems) => {
            problems.report(false);
            eprintln!("edge-proxyd: the configuration is unchanged");
            if confined.needs.is_some()
                && problems.list.iter().any(|one| one.message.contains("(os error 13)"))
            {
                eprintln!(
                    "edge-proxyd: the sandbox may prevent this process from reading a file: {}",
                    successor()
                );
            }
            return;
        }
    };
    let lacking = confined.lacks(args, &settings);
    if !lacking.is_empty() {
        eprintln!(
            "edge-proxyd: the sandbox of this process, entered at start, does not allow it to {}; the configuration \
             is unchanged: {}",
            lacking.join(", "),
            successor()
        );
        return;
    }
    if settings.certificates != started.certificates
        || (watched.certificates.is_none() && !settings.certificate_files.is_empty())
        || settings.log != started.log
        || settings.tracing != started.tracing
        || settings.status != started.status
        || settings.sandbox != started.sandbox
        || settings.shared != started.shared
    {
        eprintln!(
            "edge-proxyd: [certificates], [log], [sandbox], [shared], [status] and [tracing] are read only at start: restart to apply changes"
        );
    }
    if let Some(certificates) = &watched.certificates {
        certificates.set_files(settings.certificate_files);
        refresh(Some(certificates), Certificates::refresh);
    }
    match watched.proxy.reload(settings.proxy) {
        Ok(()) => eprintln!("edge-proxyd: reloaded {}", args.config.display()),
        Err(error) => eprintln!("edge-proxyd: {}; the configuration is unchanged", chain(&error)),
    }
}
