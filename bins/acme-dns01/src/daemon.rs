//! `run`: certificates that are kept alive until somebody says stop.

use crate::args::Args;
use crate::commands::load;
use crate::metrics;
use acme_dns01::engine::{Certificate, Engine};
use cli_support::outcome::{Done, Failure};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long what is under way may take to come to a line of its journal.
const GRACE: Duration = Duration::from_secs(20);

/// A configuration that is in use.
#[derive(Clone)]
pub(crate) struct Loaded {
    /// What does the work.
    pub(crate) engine: Arc<Engine>,
    /// What it takes care of.
    pub(crate) certificates: Vec<Certificate>,
}

impl Loaded {
    fn start(&self) -> JoinHandle<()> {
        let Self { engine, certificates } = self.clone();
        tokio::spawn(async move { engine.run(&certificates).await })
    }

    /// Comes to an end; whatever is cut short goes on from its journal.
    async fn end(&self, mut running: JoinHandle<()>) {
        self.engine.stop();
        if tokio::time::timeout(GRACE, &mut running).await.is_err() {
            running.abort();
        }
    }
}

/// Keeps everything alive. SIGHUP reads the configuration again, and keeps the old one where the new is wrong; SIGTERM and
/// SIGINT end it.
pub(crate) async fn run(args: &Args, first: Loaded, metrics_at: Option<SocketAddr>) -> Result<Done, Failure> {
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
    let mut running = current.start();
    say(&format!("keeps {} certificates", current.certificates.len()));
    loop {
        tokio::select! {
            _ = hangup.recv() => match load(args) {
                Ok(next) => {
                    current.end(running).await;
                    current = next;
                    loaded.send_replace(current.clone());
                    running = current.start();
                    say(&format!("read again: keeps {} certificates", current.certificates.len()));
                }
                Err(why) => say(&format!("still keeps what it kept: {why}")),
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    current.end(running).await;
    Ok(Done::Fine)
}

fn say(what: &str) {
    eprintln!("acme-dns01: {what}");
}
