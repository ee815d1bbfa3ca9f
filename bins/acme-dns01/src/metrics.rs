//! Metrics in the text format of Prometheus.

use crate::load::ActiveSetup;
use acme_dns01::engine::CertificateStatus;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Time limit of one exchange.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of concurrent exchanges. Further connections wait.
const MAX_EXCHANGES: usize = 16;
/// Request size in bytes from which a request is dropped without a response.
const MAX_REQUEST_SIZE: usize = 4096;

/// Serves HTTP/1.1: answers every request with the metrics of the setup in use. Runs until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, loaded: watch::Receiver<ActiveSetup>) {
    let free = Arc::new(Semaphore::new(MAX_EXCHANGES));
    loop {
        // The semaphore is never closed.
        let turn = free.clone().acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let loaded = loaded.borrow().clone();
        tokio::spawn(async move {
            let _turn = turn;
            // A slow client is disconnected and has to repeat its request.
            let _ = tokio::time::timeout(EXCHANGE_TIMEOUT, exchange(stream, &loaded)).await;
        });
    }
}

/// Reads one request head and sends the metrics, without content for HEAD. The connection is closed without a response
/// if the head is incomplete or too large.
///
/// # Errors
/// Returns an error if the connection fails.
async fn exchange(mut stream: TcpStream, loaded: &ActiveSetup) -> io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 512];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut part).await?;
        if read == 0 || request.len() > MAX_REQUEST_SIZE {
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

/// Returns the counters of the engine and the state of each certificate whose state can be read.
async fn text(loaded: &ActiveSetup) -> String {
    let counts = loaded.engine.counts();
    let mut text = String::new();
    for (name, help, value) in [
        ("issued", "Certificates obtained.", counts.issued),
        (
            "failed",
            "The attempts that failed, or that ended because an authorization stayed pending for too long.",
            counts.failed,
        ),
        ("orders", "Orders asked for.", counts.orders),
        ("alerts", "Alerts given.", counts.alerts),
        ("alerts_lost", "Alerts that reached nobody.", counts.alerts_lost),
    ] {
        let name = format!("acme_dns01_{name}_total");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
    }
    let mut all = Vec::new();
    for certificate in &loaded.certificates {
        if let Ok(status) = loaded.engine.certificate_status(certificate).await {
            all.push((&certificate.spec.id, status));
        }
    }
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&CertificateStatus) -> Option<u64>| {
        let name = format!("acme_dns01_{name}");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (id, status) in &all {
            if let Some(value) = value(status) {
                let _ = writeln!(text, "{name}{{certificate=\"{id}\"}} {value}");
            }
        }
    };
    gauge("not_after_seconds", "End of the certificate in place, since 1970.", &|status| {
        status.stored.info().map(|info| info.not_after.secs())
    });
    gauge("usable", "1 while the pair in place can be served and is trusted.", &|status| {
        Some(u64::from(status.condition.is_usable()))
    });
    gauge("renewal_seconds", "Time of the renewal, since 1970.", &|status| {
        let due = status.due.at;
        Some(status.paused_until.map_or(due, |until| until.max(due)).secs())
    });
    gauge("failures", "Attempts that failed since the last success.", &|status| {
        Some(u64::from(status.state.failures))
    });
    gauge("undeployed", "1 while the certificate is not known to be served.", &|status| {
        Some(u64::from(status.state.undeployed))
    });
    gauge("deploy_failed", "1 while a reload or a check of the served certificate fails.", &|status| {
        Some(u64::from(status.state.deploy_error.is_some()))
    });
    let held = loaded.engine.blocked_certificates();
    let name = "acme_dns01_held_back";
    let help = "1 while nothing is ordered, since a DNS provider or authority that the certificate may need is not ready.";
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    for certificate in &loaded.certificates {
        let id = &certificate.spec.id;
        let _ = writeln!(text, "{name}{{certificate=\"{id}\"}} {}", u8::from(held.contains_key(id)));
    }
    let name = "acme_dns01_not_ready";
    let help = "1 while a secret or a file of this part of the configuration cannot be read.";
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (part, reason) in loaded.parts.state() {
        // Names of providers and authorities may have any characters.
        let part = part.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = writeln!(text, "{name}{{part=\"{part}\"}} {}", u8::from(reason.is_some()));
    }
    let name = "acme_dns01_status";
    let _ = writeln!(text, "# HELP {name} Condition of the pair in place.\n# TYPE {name} gauge");
    for (id, status) in &all {
        let condition = status.condition.as_str();
        let _ = writeln!(text, "{name}{{certificate=\"{id}\",status=\"{condition}\"}} 1");
    }
    text
}
