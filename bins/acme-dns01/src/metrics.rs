//! Metrics in Prometheus' text form.

use crate::daemon::Loaded;
use acme_dns01::{State, machine_at};
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// How long one exchange may take, and how many there may be at once.
const WITHIN: Duration = Duration::from_secs(5);
const AT_ONCE: usize = 16;
/// The most that is read of a request.
const REQUEST: usize = 4096;

/// Answers every request with all metrics of what is loaded at the time, until it is dropped.
pub(crate) async fn serve(listener: TcpListener, loaded: watch::Receiver<Loaded>) {
    let free = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        // Never closed.
        let turn = free.clone().acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let loaded = loaded.borrow().clone();
        tokio::spawn(async move {
            let _turn = turn;
            // Whoever is slow, or gone, has to ask again.
            let _ = tokio::time::timeout(WITHIN, exchange(stream, &loaded)).await;
        });
    }
}

async fn exchange(mut stream: TcpStream, loaded: &Loaded) -> io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 512];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut part).await?;
        if read == 0 || request.len() > REQUEST {
            return Ok(());
        }
        request.extend_from_slice(&part[..read]);
    }
    let text = text(loaded).await;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if !request.starts_with(b"HEAD ") {
        stream.write_all(text.as_bytes()).await?;
    }
    stream.shutdown().await
}

async fn text(loaded: &Loaded) -> String {
    let counts = loaded.engine.counts();
    let mut text = String::new();
    for (name, help, value) in [
        ("issued", "Certificates obtained.", counts.issued),
        ("failed", "Attempts that failed or stalled.", counts.failed),
        ("orders", "Orders asked for.", counts.orders),
        ("alerts", "Alerts given.", counts.alerts),
        ("alerts_lost", "Alerts that reached nobody.", counts.alerts_lost),
    ] {
        let name = format!("acme_dns01_{name}_total");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
    }
    let mut states = Vec::new();
    for certificate in &loaded.certificates {
        if let Ok(state) = loaded.engine.state(certificate).await {
            states.push((&certificate.spec, state));
        }
    }
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&acme_dns01::Spec, &State) -> Option<u64>| {
        let name = format!("acme_dns01_{name}");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (spec, state) in &states {
            if let Some(value) = value(spec, state) {
                let _ = writeln!(text, "{name}{{certificate=\"{}\"}} {value}", spec.id);
            }
        }
    };
    gauge("not_after_seconds", "End of the certificate, since 1970.", &|_, state| {
        state.held.as_ref().map(|held| held.not_after.secs())
    });
    gauge("renewal_seconds", "When it is to be renewed, since 1970.", &|spec, state| {
        let due = machine_at(spec, state).at;
        Some(state.until.map_or(due, |until| until.max(due)).secs())
    });
    gauge("failures", "Attempts that failed since the last success.", &|_, state| {
        Some(u64::from(state.failures))
    });
    gauge("undeployed", "1 while the certificate is not known to be served.", &|_, state| {
        Some(u64::from(state.undeployed))
    });
    text
}
