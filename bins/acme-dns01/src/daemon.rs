//! `run`: obtains and renews certificates until SIGTERM or SIGINT.

use crate::args::Args;
use crate::load::{ActiveSetup, load};
use crate::metrics;
use crate::reload::{Credentials, Effect, Reloads};
use cli_support::finding::Findings;
use cli_support::journal::Priority;
use cli_support::outcome::{Done, Failure};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Time for a stopped engine to complete and record the current action, before it is aborted.
const GRACE: Duration = Duration::from_secs(20);

/// Starts a task that runs the engine with its certificates.
fn start(setup: &ActiveSetup) -> JoinHandle<()> {
    let ActiveSetup { engine, certificates, .. } = setup.clone();
    tokio::spawn(async move { engine.run(&certificates).await })
}

/// Starts a task that looks at the parts that are not ready, and prints when each is.
fn watch(setup: &ActiveSetup) -> JoinHandle<()> {
    let parts = setup.parts.clone();
    tokio::spawn(async move { parts.watch(|part| say(Priority::Info, &format!("{part} is ready"))).await })
}

/// Stops the engine, and aborts it after [`GRACE`]. An interrupted order continues from its journal at the next start.
async fn end(setup: &ActiveSetup, mut running: JoinHandle<()>) {
    setup.engine.stop();
    if tokio::time::timeout(GRACE, &mut running).await.is_err() {
        running.abort();
    }
}

/// Reads the configuration again for a daemon that uses `current`.
///
/// # Errors
/// Returns the failure of [`load`], or a failure if secrets or files of a part cannot be read, unless the same part of
/// `current` is not ready either: a reload must not disable what works.
async fn load_again(args: &Args, current: &ActiveSetup) -> Result<ActiveSetup, Failure> {
    let next = load(args)?;
    let mut news = Vec::new();
    for (name, fault) in &next.late {
        let lacks = match current.parts.all().iter().find(|part| part.part == *name) {
            Some(part) => part.look().await.is_err(),
            None => false,
        };
        if !lacks {
            news.push(fault.clone());
        }
    }
    if news.is_empty() { Ok(next) } else { Err(Findings::new(news).into()) }
}

/// Runs the engine and the metrics server until SIGTERM or SIGINT. On SIGHUP the configuration is read again; if it is
/// not valid, the old one stays in use. The outcome of each reload is recorded for `reload`.
///
/// # Errors
/// Returns a failure if a signal handler or the metrics listener cannot be set up.
pub(crate) async fn run(
    args: &Args,
    first: ActiveSetup,
    metrics_at: Option<SocketAddr>,
) -> Result<Done, Failure> {
    let failed = |why: std::io::Error| Failure::Failed(why.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let loaded = watch::Sender::new(first);
    if let Some(address) = metrics_at {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|why| Failure::Failed(format!("metrics at {address}: {why}")))?;
        tokio::spawn(metrics::serve(listener, loaded.subscribe()));
    }
    let mut current = loaded.borrow().clone();
    let mut running = start(&current);
    let mut watching = watch(&current);
    say(Priority::Info, &format!("keeps {} certificates", current.certificates.len()));
    let credentials = Credentials::look();
    let mut reloads = Reloads::begin();
    loop {
        tokio::select! {
            _ = hangup.recv() => match load_again(args, &current).await {
                Ok(next) => {
                    end(&current, running).await;
                    let waiting = credentials.unchanged(&next.given);
                    let effect = Effect::of(&current.certificates, &next.certificates, waiting);
                    current = next;
                    loaded.send_replace(current.clone());
                    running = start(&current);
                    watching.abort();
                    watching = watch(&current);
                    effect.lines().iter().for_each(|line| say(Priority::Info, line));
                    reloads.add(effect);
                }
                Err(why) => {
                    say(Priority::Error, &format!("still keeps what it kept: {why}"));
                    reloads.add_refused(&why);
                }
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    end(&current, running).await;
    Ok(Done::Fine)
}

/// Prints a message of this program at a priority.
fn say(priority: Priority, what: &str) {
    priority.print("acme-dns01", what);
}
