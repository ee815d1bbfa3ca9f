//! The command `status`: queries the status page of the running process, and prints it.

use super::fail;
use crate::cli::{Exit, StatusArgs};
use crate::config::{self, StatusAddress};
use crate::status::Report;
use crate::status::shown::{bound, bytes, duration, state};
use cli_support::finding::{Finding, Findings, Place};
use cli_support::outcome::Failure;
use cli_support::table::Table;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The longest wait for a connection, and for each read.
const IO_TIMEOUT: Duration = Duration::from_secs(10);

/// Queries the status page and prints the report: as tables, or as its JSON with `--json`. Returns [`Exit::Wrong`] if
/// the configuration is not valid or has no `[status]`, and [`Exit::Failed`] if the page cannot be read.
pub(crate) fn run(args: &StatusArgs) -> Exit {
    let settings = match config::load(&args.config) {
        Ok((settings, _)) => settings,
        Err(problems) => {
            problems.report(args.json);
            return Exit::Wrong;
        }
    };
    let Some(address) = settings.status else {
        let place =
            Place { file: args.config.display().to_string(), key: "status".to_owned(), ..Place::default() };
        let why = "missing: add [status] with address = \"127.0.0.1:9180\", and restart";
        let finding = Finding::error("missing", place, why);
        return fail("status", args.json, &Failure::Unusable(Findings::new(vec![finding])));
    };
    let text = match ask(&address) {
        Ok(text) => text,
        Err(why) => {
            let place = match &address {
                StatusAddress::Loopback(address) => address.to_string(),
                StatusAddress::Unix(path) => path.display().to_string(),
            };
            let why = format!("{place}: {why}: is edge-proxyd running with this configuration?");
            return fail("status", args.json, &Failure::Failed(why));
        }
    };
    if args.json {
        println!("{text}");
        return Exit::Done;
    }
    match serde_json::from_str::<Report>(&text) {
        Ok(report) => {
            print(&report);
            Exit::Done
        }
        Err(why) => {
            let why = format!("unexpected response: {why}: is the running process another version?");
            fail("status", args.json, &Failure::Failed(why))
        }
    }
}

/// Connects to the status page and returns its JSON text.
///
/// # Errors
/// The connection failed, or the response is not one with the status 200.
fn ask(address: &StatusAddress) -> io::Result<String> {
    match address {
        StatusAddress::Loopback(address) => {
            let stream = TcpStream::connect_timeout(address, IO_TIMEOUT)?;
            stream.set_read_timeout(Some(IO_TIMEOUT))?;
            get(stream)
        }
        StatusAddress::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(IO_TIMEOUT))?;
            get(stream)
        }
    }
}

/// Requests `/status.json` over a connection, and returns the content of the response.
///
/// # Errors
/// Reading or writing failed, or the response is not one with the status 200.
fn get(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not a response of the status page");
    let (head, content) = answer.split_once("\r\n\r\n").ok_or_else(wrong)?;
    if head.starts_with("HTTP/1.1 200 ") { Ok(content.to_owned()) } else { Err(wrong()) }
}

/// Prints a report to standard output as tables. Apart from that of sites, empty tables are left out.
fn print(report: &Report) {
    let connections = &report.connections;
    println!("edge-proxyd {}, up {}", report.version, duration(report.uptime));
    println!(
        "connections: {} TCP ({} open), {} QUIC ({} open); TLS handshakes: {} ({} resumed)\n",
        connections.tcp,
        connections.tcp_open,
        connections.quic,
        connections.quic_open,
        connections.handshakes,
        connections.resumed
    );
    let mut sites = Table::new(["SITE", "REQUESTS", "4XX", "5XX", "MEDIAN", "P99", "SENT", "HOSTS"]);
    for site in &report.sites {
        let any = site.requests > 0;
        sites.row([
            site.display_name(),
            site.requests.to_string(),
            site.client_errors.to_string(),
            site.server_errors.to_string(),
            bound(site.median, any),
            bound(site.p99, any),
            bytes(site.sent as f64),
            site.hosts.join(", "),
        ]);
    }
    print!("{sites}");
    let mut certificates = Table::new(["CERTIFICATE", "DAYS", "NAMES"]);
    for found in &report.certificates {
        certificates.row([found.folder.clone(), found.days.to_string(), found.names.join(", ")]);
    }
    let mut listeners = Table::new(["LISTENER", "INTERFACE", "STATE"]);
    for listener in &report.listeners {
        listeners.row([
            listener.address.clone(),
            listener.interface.clone().unwrap_or_else(|| "any".into()),
            if listener.serving { "served" } else { "waits for its address" }.to_owned(),
        ]);
    }
    let mut targets =
        Table::new(["UPSTREAM", "STATE", "IN FLIGHT", "REQUESTS", "FAILURES", "TARGET", "LAST FAILURE"]);
    for target in &report.targets {
        targets.row([
            target.upstream.clone(),
            state(&target.state).to_owned(),
            target.in_flight.to_string(),
            target.requests.to_string(),
            target.failures.to_string(),
            target.target.clone(),
            target.last_failure(),
        ]);
    }
    let mut away = Table::new(["REJECTED", "COUNT"]);
    let mut refused = Table::new(["REFUSED OR ABORTED", "COUNT"]);
    report.rejected.iter().for_each(|(reason, count)| away.row([reason.clone(), count.to_string()]));
    report.refused.iter().for_each(|(reason, count)| refused.row([reason.clone(), count.to_string()]));
    for table in [certificates, listeners, targets, away, refused] {
        if !table.is_empty() {
            print!("\n{table}");
        }
    }
    if !(report.held_back.is_empty() && report.not_ready.is_empty()) {
        println!();
    }
    for held in &report.held_back {
        println!("{} is not renewed: {}", held.certificate, held.reason);
    }
    for lacking in &report.not_ready {
        println!("[acme] {}", lacking.reason);
    }
    if report.log_lines_lost > 0 {
        println!(
            "\n{} lines of the access log were not written: the disk is too slow",
            report.log_lines_lost
        );
    }
    if report.spans_lost > 0 {
        println!(
            "\n{} spans were lost: the collector of [tracing] is slow, unavailable or rejects them",
            report.spans_lost
        );
    }
}
