//! `run`: serves until it is told to end.

use crate::acme::Keeper;
use crate::cli::{Exit, Run};
use crate::config::{self, Mode, Settings};
use crate::log::Writer;
use crate::sandbox::{self, Environment, Needs};
use crate::service::{self, Launcher, Notifier, Predecessor, hand_over};
use crate::shared;
use crate::status::{self, Watched};
use edge_proxy::config::{Config, ListenerKind};
use edge_proxy::{Certificates, Proxy, ProxyHandle, RefreshReport};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the folder of certificates is looked at.
const WATCH: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &Run) -> Exit {
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
            eprintln!("edge-proxyd: {why}");
            Exit::Failed
        }
    }
}

fn serve(args: &Run, settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    // First what was handed on, so that no program that is started has it too.
    let notifier = Notifier::from_environment();
    let predecessor = Predecessor::from_environment()?;
    let (tcp, udp) = service::inherited()?;
    let confined = Confined::enter(args, settings)?;
    let log = Writer::open(settings.log.format, settings.log.file.as_deref(), settings.log.rejected)
        .map_err(|why| {
            let path = settings.log.file.as_deref().unwrap_or(Path::new("standard output"));
            format!("the access log {}: {why}", path.display())
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
    if let Some(folder) = &settings.certificates {
        let (found, refreshed) = Certificates::load(folder)?;
        tell(&refreshed);
        tell_missing(&found, &settings.proxy);
        builder = builder.certificates(found.clone());
        certificates = Some(found);
    }
    let proxy = Arc::new(builder.start()?);
    for address in proxy.addresses() {
        eprintln!("edge-proxyd: listening on {address}");
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
    // Whoever looks at the status page has seen enough.
    drop(runtime);
    let Some(proxy) = Arc::into_inner(proxy) else { return Ok(()) };
    eprintln!("edge-proxyd: ending; what is under way has {} s", args.grace);
    proxy.shutdown(Duration::from_secs(args.grace.into()));
    Ok(())
}

/// What the process is told by signals. They are caught before anybody hears that it serves: whoever hears that may send one at
/// once, and one that is not caught ends it.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    reopen: Signal,
    terminate: Signal,
    upgrade: Signal,
}

impl Signals {
    /// To be called within the runtime.
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

/// What this process gave up, and who can still start another that did not.
struct Confined {
    needs: Option<Needs>,
    launcher: Option<Launcher>,
}

impl Confined {
    /// Gives up what is not needed to serve. There must be no other thread yet.
    fn enter(args: &Run, settings: &Settings) -> Result<Self, Box<dyn std::error::Error>> {
        if settings.sandbox.mode == Mode::Off {
            eprintln!("edge-proxyd: sandbox: off");
            return Ok(Self { needs: None, launcher: None });
        }
        let launcher = Launcher::start().map_err(|why| format!("the launcher cannot be started: {why}"))?;
        let needs = Needs::of(settings, &args.config, &Environment::read());
        let held = sandbox::enter(settings.sandbox.mode, &needs)?;
        let closed = held.as_ref().is_some_and(|held| held.landlock.files());
        if let Some(held) = held {
            eprintln!("edge-proxyd: sandbox: {held}");
        }
        Ok(Self { needs: closed.then_some(needs), launcher: Some(launcher) })
    }

    /// What of a new configuration this process cannot do any more.
    fn lacks(&self, args: &Run, settings: &Settings) -> Vec<String> {
        let Some(needs) = &self.needs else { return Vec::new() };
        needs.lacks(&Needs::of(settings, &args.config, &Environment::read()))
    }
}

/// Says what became of certificates.
fn tell(refreshed: &RefreshReport) {
    for path in &refreshed.swapped {
        eprintln!("edge-proxyd: {}: in use", path.display());
    }
    for problem in &refreshed.problems {
        eprintln!("edge-proxyd: not used: {problem}");
    }
}

/// Names the sites that TLS cannot be served for yet.
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

/// Waits for signals and new certificates until the program is to end.
async fn supervise(
    args: &Run,
    settings: &Settings,
    watched: Arc<Watched>,
    notifier: &Notifier,
    took_over: bool,
    confined: &Confined,
    mut signals: Signals,
) -> std::io::Result<()> {
    let (proxy, certificates) = (&*watched.proxy, watched.certificates.as_deref());
    if let Some(address) = &settings.status {
        let bound = status::Listener::bind(address).await;
        match bound {
            Ok(listener) => drop(tokio::spawn(status::run(listener, watched.clone()))),
            // The predecessor still has it.
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
                refresh(certificates);
                reload(args, settings, proxy, confined);
                notifier.say("READY=1");
            }
            _ = signals.upgrade.recv() => match hand_over(proxy, notifier, confined.launcher.as_ref()) {
                Ok(process) => {
                    eprintln!("edge-proxyd: process {process} serves; this one finishes what is under way");
                    return Ok(());
                }
                Err(why) => eprintln!("edge-proxyd: {why}; this one serves on"),
            },
            _ = next(&mut watchdog) => notifier.say("WATCHDOG=1"),
            _ = watch.tick() => refresh(certificates),
            _ = samples.tick() => watched.sample(),
            _ = signals.reopen.recv() => watched.log.reopen(),
        }
    }
}

/// The next tick, if there are any.
async fn next(ticks: &mut Option<tokio::time::Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}

fn refresh(certificates: Option<&Certificates>) {
    match certificates.map(Certificates::refresh) {
        Some(Ok(refreshed)) => tell(&refreshed),
        Some(Err(why)) => eprintln!("edge-proxyd: {why}"),
        None => {}
    }
}

/// What helps where a process has given up what it would need now.
fn successor() -> String {
    format!("have a new process take over (kill -USR2 {}), which refuses no connection", std::process::id())
}

/// Serves by the file as it is now, or goes on as before and says why.
fn reload(args: &Run, started: &Settings, proxy: &ProxyHandle, confined: &Confined) {
    let settings = match config::load(&args.config) {
        Ok((settings, _)) => settings,
        Err(problems) => {
            problems.report(false);
            eprintln!("edge-proxyd: the configuration stays as it was");
            if confined.needs.is_some()
                && problems.list.iter().any(|one| one.message.contains("(os error 13)"))
            {
                eprintln!(
                    "edge-proxyd: a file may be where the sandbox does not let this process read: {}",
                    successor()
                );
            }
            return;
        }
    };
    let lacking = confined.lacks(args, &settings);
    if !lacking.is_empty() {
        eprintln!(
            "edge-proxyd: the sandbox of this process was closed at its start and does not let it {}; the configuration \
             stays as it was: {}",
            lacking.join(", "),
            successor()
        );
        return;
    }
    if settings.certificates != started.certificates
        || settings.log != started.log
        || settings.tracing != started.tracing
        || settings.status != started.status
        || settings.sandbox != started.sandbox
        || settings.shared != started.shared
    {
        eprintln!(
            "edge-proxyd: [certificates], [log], [sandbox], [shared], [status] and [tracing] are read at the start only: restart to change them"
        );
    }
    match proxy.reload(settings.proxy) {
        Ok(()) => eprintln!("edge-proxyd: reloaded {}", args.config.display()),
        Err(why) => eprintln!("edge-proxyd: {why}; the configuration stays as it was"),
    }
}
