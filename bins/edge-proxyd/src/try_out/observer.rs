//! The printing of requests as they end, one line each.

use edge_proxy::{AccessRecord, ConnectionRejected, Observer};

/// An observer that prints a line to standard output for each request and each rejected connection.
#[derive(Debug)]
pub(super) struct PrintingObserver;

impl Observer for PrintingObserver {
    fn access(&self, record: &AccessRecord<'_>) {
        let status = record.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
        let mut line = format!(
            "{status} {} {}{} {:?} {:.1} ms, {} bytes",
            record.method.as_str().escape_debug(),
            record.authority.escape_debug(),
            record.target.escape_debug(),
            record.version,
            record.duration.as_secs_f64() * 1000.0,
            record.sent
        );
        for why in [record.reason.map(edge_proxy::Reason::as_str), record.error].into_iter().flatten() {
            line.push_str(&format!(" ({})", why.escape_debug()));
        }
        print(&line);
    }

    fn rejected(&self, record: &ConnectionRejected<'_>) {
        let name = record.sni.unwrap_or("no name").escape_debug();
        let over = if record.quic { "QUIC" } else { "TLS" };
        print(&format!("--- {over} connection for {name} rejected ({})", record.reason.as_str()));
    }
}

/// Prints a line to standard output and flushes it. Errors are ignored, so that a closed terminal does not stop the
/// proxy.
fn print(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
