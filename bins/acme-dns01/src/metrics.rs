//! Metrics in Prometheus' text form.

use acme_dns01::engine::{Certificate, Engine};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request with all metrics, until it is dropped.
pub(crate) async fn serve(listener: TcpListener, engine: Arc<Engine>, certificates: Vec<Certificate>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let text = text(&engine, &certificates).await;
        let exchange = async {
            // Whatever is asked for, there is one answer.
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await?;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                text.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(text.as_bytes()).await?;
            stream.shutdown().await
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), exchange).await;
    }
}

async fn text(engine: &Engine, certificates: &[Certificate]) -> String {
    let counts = engine.counts();
    let mut text = String::new();
    for (name, help, value) in [
        ("issued", "Certificates obtained.", counts.issued),
        ("failed", "Attempts that failed or stalled.", counts.failed),
        ("orders", "Orders asked for.", counts.orders),
        ("alerts", "Alerts given.", counts.alerts),
        ("alerts_lost", "Alerts that reached nobody.", counts.alerts_lost),
    ] {
        let _ =
            writeln!(text, "# HELP acme_dns01_{name}_total {help}\n# TYPE acme_dns01_{name}_total counter");
        let _ = writeln!(text, "acme_dns01_{name}_total {value}");
    }
    let _ = writeln!(text, "# HELP acme_dns01_not_after_seconds End of the certificate, since 1970.");
    let _ = writeln!(text, "# TYPE acme_dns01_not_after_seconds gauge");
    for certificate in certificates {
        if let Ok(state) = engine.state(certificate).await
            && let Some(held) = state.held
        {
            let (id, end) = (&certificate.spec.id, held.not_after.secs());
            let _ = writeln!(text, "acme_dns01_not_after_seconds{{certificate=\"{id}\"}} {end}");
        }
    }
    text
}
