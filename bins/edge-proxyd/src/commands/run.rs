//! `run`: serves until it is told to end.

use crate::acme::Keeper;
use crate::cli::{Exit, Run};
use crate::config::{self, Settings};
use crate::log::Writer;
use crate::service::{self, Notifier, Predecessor, hand_over};
use crate::status::{self, Watched};
use edge_proxy::config::{Config, ListenerKind};
use edge_proxy::{Certificates, Proxy, Refreshed, Running};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

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
    let notifier = Notifier::from_environment();
    let predecessor = Predecessor::from_environment()?;
    let (tcp, udp) = service::inherited()?;
    builder = builder.sockets(tcp, udp);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let keeper = match &settings.acme {
        Some(acme) => Some(runtime.block_on(Keeper::prepare(acme))?),
        None => None,
    };
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
    runtime.block_on(supervise(args, settings, watched, &notifier, took_over))?;
    notifier.say("STOPPING=1");
    // Whoever looks at the status page has seen enough.
    drop(runtime);
    let Some(proxy) = Arc::into_inner(proxy) else { return Ok(()) };
    eprintln!("edge-proxyd: ending; what is under way has {} s", args.grace);
    proxy.shutdown(Duration::from_secs(args.grace.into()));
    Ok(())
}

/// Says what became of certificates.
fn tell(refreshed: &Refreshed) {
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
    let mut upgrade = signal(SignalKind::user_defined2())?;
    let mut reopen = signal(SignalKind::user_defined1())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut watch = tokio::time::interval(WATCH);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                notifier.reloading();
                refresh(certificates);
                reload(args, settings, proxy);
                notifier.say("READY=1");
            }
            _ = upgrade.recv() => match hand_over(proxy, notifier) {
                Ok(process) => {
                    eprintln!("edge-proxyd: process {process} serves; this one finishes what is under way");
                    return Ok(());
                }
                Err(why) => eprintln!("edge-proxyd: {why}; this one serves on"),
            },
            _ = next(&mut watchdog) => notifier.say("WATCHDOG=1"),
            _ = watch.tick() => refresh(certificates),
            _ = samples.tick() => watched.sample(),
            _ = reopen.recv() => watched.log.reopen(),
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

/// Serves by the file as it is now, or goes on as before and says why.
fn reload(args: &Run, started: &Settings, proxy: &Running) {
    let settings = match config::load(&args.config) {
        Ok((settings, _)) => settings,
        Err(problems) => {
            problems.report(false);
            eprintln!("edge-proxyd: the configuration stays as it was");
            return;
        }
    };
    if settings.certificates != started.certificates
        || settings.log != started.log
        || settings.status != started.status
    {
        eprintln!(
            "edge-proxyd: [certificates], [log] and [status] are read at the start only: restart to change them"
        );
    }
    match proxy.reload(settings.proxy) {
        Ok(()) => eprintln!("edge-proxyd: reloaded {}", args.config.display()),
        Err(why) => eprintln!("edge-proxyd: {why}; the configuration stays as it was"),
    }
}
