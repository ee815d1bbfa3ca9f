//! REFERENCE.md is generated: reasons from their enum, log fields from a line of the log, metrics from a running proxy,
//! exit codes from their table. WRITE_REFERENCES=1 writes it anew.

use cli_support::generate::EXITS;
use edge_proxy::Reason;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{Origin, free_port};

/// The meaning of each field of the access log in JSON.
const FIELDS: &[(&str, &str)] = &[
    ("authority", "The host of the request, with its port if it has one."),
    ("client", "The address of the client, as trusted proxies report it; otherwise that of the peer."),
    ("duration", "Seconds from the first byte of the request to the last of the response."),
    ("early", "True if the request came as early data (0-RTT)."),
    ("error", "The failure of the upstream in words."),
    ("method", "The method."),
    ("peer", "The address and port of the connection."),
    (
        "proxy_header",
        "What the PROXY header of the connection said of it, only with such a header of version 2: `alpn`, `authority`, `unique_id`, \
         `tls_version`, `tls_cipher`, and `common_name` of a certificate that was verified.",
    ),
    ("reason", "The reason of a response that the proxy made itself, see *Reasons*."),
    ("received", "Bytes of content received from the client."),
    ("referer", "The field Referer."),
    ("request_id", "The identifier of the request; only with `request_id`."),
    ("sent", "Bytes of content sent to the client."),
    ("site", "The site that the request belongs to."),
    ("status", "The status; null if the client got no response."),
    ("target", "Path and query."),
    ("time", "The end of the request: RFC 3339, UTC."),
    ("tls_cipher", "The cipher suite of TLS by its IANA name; null over plain HTTP and over QUIC."),
    ("tls_version", "The version of TLS, `TLSv1.3` or `TLSv1.2`; null over plain HTTP."),
    ("upstream", "The upstream that the request was sent to."),
    ("user_agent", "The field User-Agent."),
    ("version", "The version of HTTP."),
];

/// The meaning of each field of a rejected connection.
const REJECTED: &[(&str, &str)] = &[
    ("listener", "The address and port that the connection came to."),
    ("peer", "The address and port of the connection."),
    ("sni", "The name in the ClientHello; null if there was none."),
    ("time", "The rejection: RFC 3339, UTC."),
    ("transport", "`tcp` or `quic`."),
    ("turned_away", "The reason, see *Reasons*."),
];

/// The meaning of each field of a connection that was forwarded.
const FORWARDED: &[(&str, &str)] = &[
    (
        "client",
        "The address of the client, as a PROXY header of a trusted proxy has it; otherwise that of the peer.",
    ),
    ("duration", "Seconds from the connection to its end."),
    ("forwarded", "The upstream."),
    ("listener", "The name of the listener, or its address and port."),
    ("peer", "The address and port of the connection."),
    ("proxy_header", "As for a request."),
    ("reason", "The reason for which the connection was closed, see *Reasons*; null if a side closed it."),
    ("received", "Bytes received from the client."),
    ("sent", "Bytes sent to the client."),
    ("site", "The site whose TLS was passed through; null for a listener with `forward`."),
    ("sni", "The name in the ClientHello that was passed through; null if there was none."),
    ("time", "The end of the connection: RFC 3339, UTC."),
    (
        "unique_id",
        "The identifier of the connection, which the PROXY header to the upstream has too; only with `request_id`.",
    ),
];

/// What a proxy says of one request, of a connection that it rejects, and of one that it forwards; and its metrics.
struct Observed {
    request: serde_json::Value,
    rejected: serde_json::Value,
    forwarded: serde_json::Value,
    metrics: String,
}

/// Runs a proxy for these three.
fn observed() -> Observed {
    let folder = tempfile::tempdir().expect("a folder");
    let (origin, port, status, forward) = (Origin::simple(), free_port(), free_port(), free_port());
    let text = format!(
        "request_id = 'x-request-id'\n[[listen]]\naddress = '127.0.0.1:{port}'\nproxy_protocol = '127.0.0.1'\n[[listen]]\naddress = '127.0.0.1:{forward}'\nproxy_protocol = '127.0.0.1'\n\
         forward = 'tcp://{0}'\n[log]\nrejected = true\n[status]\naddress = '127.0.0.1:{status}'\n[sandbox]\nmode = 'off'\n[[site]]\nhosts = 'a.test'\nplain = 'serve'\nupstream = 'http://{0}'\n",
        origin.address()
    );
    let config = folder.path().join("edge.toml");
    std::fs::write(&config, text).expect("a file");
    let mut child = Command::new(env!("CARGO_BIN_EXE_edge-proxyd"))
        .args(["run", "--workers", "1", "--config"])
        .arg(&config)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut log = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut next = || -> serde_json::Value {
        let mut line = String::new();
        log.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    };
    get(port, HEADER, "a.test", "/");
    let request = next();
    // Without the header that this listener wants.
    exchange(port, b"");
    let rejected = next();
    exchange(forward, HEADER);
    let forwarded = next();
    let metrics = get(status, b"", &format!("127.0.0.1:{status}"), "/metrics");
    let _ = child.kill();
    let _ = child.wait();
    Observed { request, rejected, forwarded, metrics }
}

/// A PROXY header that names a host.
const HEADER: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x15\xcb\0\x71\x07\xc0\0\x02\x01\x9c\x40\0\x50\x02\0\x06a.test";

/// Sends a request, and closes the connection after the first bytes that come, or its end.
fn exchange(port: u16, header: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(header).expect("it is sent");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("it is sent");
    // A connection that is rejected may be reset.
    let _ = stream.read(&mut [0; 64]);
}

fn get(port: u16, header: &[u8], host: &str, path: &str) -> String {
    let began = Instant::now();
    loop {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.write_all(header).expect("it is sent");
            write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
                .expect("it is sent");
            let mut response = String::new();
            stream.read_to_string(&mut response).expect("a response");
            return response;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "nothing listens on {port}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns the table of the fields of a line. Each of them needs a meaning, and each meaning a field.
fn fields(line: &serde_json::Value, meanings: &[(&str, &str)]) -> String {
    let known: Vec<&str> = meanings.iter().map(|(field, _)| *field).collect();
    let found: Vec<&String> = line.as_object().expect("an object").keys().collect();
    assert_eq!(found, known, "{line}");
    let row = |(field, meaning): &(&str, &str)| format!("| `{field}` | {meaning} |\n");
    "| field | meaning |\n|-|-|\n".to_owned() + &meanings.iter().map(row).collect::<String>()
}

fn reference(observed: &Observed) -> String {
    let metrics = &observed.metrics;
    let mut out = "# Reasons, log fields, metrics and exit codes of edge-proxyd\n\n\
                   This document is generated from the program by a test.\n\n\
                   ## Reasons\n\nA response that the proxy makes itself, and a connection that it rejects, has a reason: in the \
                   access log, in metrics, in traces and in `explain`.\n\n| reason | meaning | of |\n|-|-|-|\n"
        .to_owned();
    for reason in Reason::ALL {
        let of = match (reason.is_of_connections(), reason.is_of_requests()) {
            (true, true) => "connections, requests",
            (true, false) => "connections",
            _ => "requests",
        };
        let _ = writeln!(out, "| `{reason}` | {} | {of} |", reason.description().replace('|', "\\|"));
    }
    out.push_str("\n## Fields of the access log\n\nA line of JSON is a request, or a connection: one that was rejected has `turned_away`, one \
                  that was forwarded has `forwarded`. With `format = \"combined\"` the same events are lines of that format.\n\n\
                  ### Requests\n\n");
    out.push_str(&fields(&observed.request, FIELDS));
    out.push_str("\n### Rejected connections\n\nOnly with `rejected = true` in `[log]`.\n\n");
    out.push_str(&fields(&observed.rejected, REJECTED));
    out.push_str("\n### Forwarded connections\n\n");
    out.push_str(&fields(&observed.forwarded, FORWARDED));
    out.push_str("\n## Metrics\n\nAt `/metrics` of the status address, in Prometheus' text format.\n\n");
    out.push_str("| metric | kind | meaning |\n|-|-|-|\n");
    let mut families = BTreeMap::new();
    let mut lines = metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let kind = lines.peek().and_then(|line| line.rsplit(' ').next()).unwrap_or_default();
        families.insert(name, (kind, help));
    }
    for (name, (kind, help)) in &families {
        let _ = writeln!(out, "| `{name}` | {kind} | {} |", help.replace('|', "\\|"));
    }
    assert!(families.len() > 20, "{metrics}");
    out.push_str("\n## Exit codes\n\n| code | meaning |\n|-|-|\n");
    for (code, meaning) in EXITS {
        let _ = writeln!(out, "| {code} | {meaning} |");
    }
    out
}

#[test]
fn the_reference_is_what_the_program_has() {
    let wanted = reference(&observed());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/REFERENCE.md");
    if std::env::var_os("WRITE_REFERENCES").is_some() {
        std::fs::write(path, &wanted).expect("a file");
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap_or_default(),
        wanted,
        "run this test with WRITE_REFERENCES=1"
    );
    // The dashboard asks for metrics that exist.
    let dashboard = include_str!("../../../examples/book/dashboard.json");
    let alerts = include_str!("../../../examples/book/monitoring.md");
    for text in [dashboard, alerts] {
        for word in text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("edge_"))
        {
            let family = word.trim_end_matches("_bucket");
            assert!(wanted.contains(&format!("| `{family}` |")), "{word} does not exist");
        }
    }
}

#[test]
fn the_schema_of_the_nixos_module_is_that_of_the_program() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_edge-proxyd")).arg("schema").output().expect("it was built");
    let wanted = String::from_utf8(output.stdout).expect("UTF-8");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/edge.schema.json");
    if std::env::var_os("WRITE_REFERENCES").is_some() {
        std::fs::write(path, &wanted).expect("a file");
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == wanted,
        "packaging/edge.schema.json is old: run this test with WRITE_REFERENCES=1"
    );
}
