//! The status report, which is the content of the page, of the JSON and of the command `status`.

use edge_proxy::config::Config;
use edge_proxy::{CertificateInfo, ListenerStatus, Metrics, Reason};
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// The status of a running proxy.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    /// The version of the program.
    pub(crate) version: String,
    /// The time since the start, in whole seconds.
    pub(crate) uptime: u64,
    /// The numbers of connections.
    pub(crate) connections: Connections,
    /// The sites, and an entry with an empty name for requests without a site.
    pub(crate) sites: Vec<SiteStatus>,
    /// The server certificates in use.
    pub(crate) certificates: Vec<Certificate>,
    /// The certificates of `[acme]` for which nothing is ordered at the moment.
    #[serde(default)]
    pub(crate) held_back: Vec<HeldBackCertificate>,
    /// The parts of `[acme]` whose secrets or files cannot be read.
    #[serde(default)]
    pub(crate) not_ready: Vec<UnreadyPart>,
    /// The targets of upstreams.
    pub(crate) targets: Vec<Target>,
    /// The listeners of the configuration.
    #[serde(default)]
    pub(crate) listeners: Vec<ListenerReport>,
    /// The reasons for which connections were rejected, with their counts above 0. In JSON it is `turned_away`.
    #[serde(rename = "turned_away")]
    pub(crate) rejected: Vec<(String, u64)>,
    /// The reasons for which requests were refused or aborted, with their counts above 0.
    pub(crate) refused: Vec<(String, u64)>,
    /// The number of lines of the access log that were dropped or could not be written.
    pub(crate) log_lines_lost: u64,
    /// The number of spans that were dropped or that the collector did not accept. 0 without tracing.
    #[serde(default)]
    pub(crate) spans_lost: u64,
}

/// A listener of the configuration.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ListenerReport {
    /// The address and port.
    pub(crate) address: String,
    /// The network interface to which the listener is bound. `None` if to none.
    pub(crate) interface: Option<String>,
    /// True if the listener accepts connections; false if it waits for its address or interface.
    pub(crate) serving: bool,
}

/// The numbers of connections and handshakes. Those that are not of open connections count since the start.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Connections {
    /// TCP connections accepted since the start.
    pub(crate) tcp: u64,
    /// TCP connections that are open now.
    pub(crate) tcp_open: u64,
    /// QUIC connections accepted since the start.
    pub(crate) quic: u64,
    /// QUIC connections that are open now.
    pub(crate) quic_open: u64,
    /// Completed TLS handshakes.
    pub(crate) handshakes: u64,
    /// TLS handshakes that resumed a session.
    pub(crate) resumed: u64,
}

/// The requests of a site since the start.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct SiteStatus {
    /// The name of the site; empty for requests without a site.
    pub(crate) name: String,
    /// The hosts of the site. Empty if a reload removed it.
    pub(crate) hosts: Vec<String>,
    /// True if the site is under maintenance.
    #[serde(default)]
    pub(crate) maintenance: bool,
    /// The number of requests.
    pub(crate) requests: u64,
    /// The number of requests without a response.
    pub(crate) unanswered: u64,
    /// The number of responses with a status 4xx.
    pub(crate) client_errors: u64,
    /// The number of responses with a status 5xx.
    pub(crate) server_errors: u64,
    /// The bytes of content received from clients.
    pub(crate) received: u64,
    /// The bytes of content sent to clients.
    pub(crate) sent: u64,
    /// The upper bound of the median duration, in seconds. `None` without requests, or beyond the last bucket.
    pub(crate) median: Option<f64>,
    /// The upper bound of the 99th percentile of durations, in seconds. `None` without requests, or beyond the last
    /// bucket.
    pub(crate) p99: Option<f64>,
    /// The numbers of requests over HTTP/1.0, HTTP/1.1, HTTP/2 and HTTP/3.
    pub(crate) versions: [u64; 4],
}

/// A server certificate in use.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Certificate {
    /// The folder that contains the certificate file.
    pub(crate) folder: String,
    /// The DNS names that it covers.
    pub(crate) names: Vec<String>,
    /// The serial number.
    pub(crate) serial: String,
    /// The end of its validity, in seconds since 1970.
    pub(crate) not_after: i64,
    /// The days until the end of its validity, rounded down; negative after it.
    pub(crate) days: i64,
}

/// A certificate of `[acme]` for which nothing is ordered at the moment.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct HeldBackCertificate {
    /// The name of the certificate.
    pub(crate) certificate: String,
    /// The reason: the DNS provider or authority that is not ready, or the fault of the section.
    pub(crate) reason: String,
}

/// A part of `[acme]` whose secrets or files cannot be read.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct UnreadyPart {
    /// The dotted path of the part, such as `alert.webhook`.
    pub(crate) part: String,
    /// The reason, and what is held back.
    pub(crate) reason: String,
}

/// A target of an upstream.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Target {
    /// The name of the upstream.
    pub(crate) upstream: String,
    /// The address of the target.
    pub(crate) target: String,
    /// The code of its availability, such as `well`.
    pub(crate) state: String,
    /// The number of requests in flight.
    pub(crate) in_flight: u32,
    /// The number of requests since the start.
    pub(crate) requests: u64,
    /// The number of failures since the start.
    pub(crate) failures: u64,
    /// The cause of the last failure. `None` if there was none.
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// The time since the last failure, in whole seconds. `None` if there was none.
    #[serde(default)]
    pub(crate) error_age: Option<u64>,
}

impl Target {
    /// Returns the cause of the last failure with its age, such as `connection refused, 12s ago`, or without the age if
    /// that is not known. Empty if there was no failure.
    pub(crate) fn last_failure(&self) -> String {
        let Some(error) = &self.error else { return String::new() };
        match self.error_age {
            Some(seconds) => format!("{error}, {seconds}s ago"),
            None => error.clone(),
        }
    }
}

impl SiteStatus {
    /// Returns the name of the site, or `(no site)`, followed by ` (under maintenance)` if it is.
    pub(crate) fn display_name(&self) -> String {
        let name = if self.name.is_empty() { "(no site)" } else { self.name.as_str() };
        if self.maintenance { format!("{name} (under maintenance)") } else { name.to_owned() }
    }
}

impl Report {
    /// Builds a report from the metrics and the configuration of a proxy, without certificates that are held
    /// back and parts that are not ready.
    /// Sites of the metrics that are not in the configuration have no hosts.
    pub(super) fn new(
        metrics: &Metrics,
        config: &Config,
        certificates: &[CertificateInfo],
        listeners: &[ListenerStatus],
        log_lines_lost: u64,
    ) -> Self {
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |duration| duration.as_secs() as i64);
        // A quantile in the last bucket has no bound, and JSON has no infinity.
        let bounded = |bound: Option<f64>| bound.filter(|bound| bound.is_finite());
        let hosts = |name: &str| {
            let site = config.sites.iter().find(|site| site.name == name);
            site.map(|site| site.hosts.iter().map(ToString::to_string).collect()).unwrap_or_default()
        };
        let under_maintenance =
            |name: &str| config.sites.iter().any(|site| site.name == name && site.under_maintenance);
        let reasons = |all: &[(Reason, u64)]| {
            let counted = all.iter().filter(|(_, count)| *count > 0);
            counted.map(|(reason, count)| (reason.to_string(), *count)).collect()
        };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: metrics.uptime.as_secs(),
            connections: Connections {
                tcp: metrics.tcp_connections,
                tcp_open: metrics.tcp_open,
                quic: metrics.quic_connections,
                quic_open: metrics.quic_open,
                handshakes: metrics.handshakes,
                resumed: metrics.resumed,
            },
            sites: metrics
                .sites
                .iter()
                .map(|site| SiteStatus {
                    hosts: hosts(&site.name),
                    maintenance: under_maintenance(&site.name),
                    name: site.name.clone(),
                    requests: site.requests(),
                    unanswered: site.statuses[0],
                    client_errors: site.statuses[4],
                    server_errors: site.statuses[5],
                    received: site.received,
                    sent: site.sent,
                    median: bounded(site.durations.quantile(0.5)),
                    p99: bounded(site.durations.quantile(0.99)),
                    versions: site.versions,
                })
                .collect(),
            certificates: certificates
                .iter()
                .map(|found| Certificate {
                    folder: found.folder.display().to_string(),
                    names: found.names.clone(),
                    serial: found.serial.clone(),
                    not_after: found.not_after,
                    days: (found.not_after - now).div_euclid(86_400),
                })
                .collect(),
            held_back: Vec::new(),
            not_ready: Vec::new(),
            targets: metrics
                .targets
                .iter()
                .map(|target| Target {
                    upstream: target.upstream.clone(),
                    target: target.target.to_string(),
                    state: target.availability.code().to_owned(),
                    in_flight: target.in_flight,
                    requests: target.requests,
                    failures: target.failures,
                    error: target.last_failure.map(|(cause, _)| cause.to_string()),
                    error_age: target.last_failure.map(|(_, age)| age.as_secs()),
                })
                .collect(),
            listeners: listeners
                .iter()
                .map(|listener| ListenerReport {
                    address: listener.address.to_string(),
                    interface: listener.interface.clone(),
                    serving: listener.serving,
                })
                .collect(),
            rejected: reasons(&metrics.rejected),
            refused: reasons(&metrics.refused),
            log_lines_lost,
            spans_lost: metrics.spans.map_or(0, |spans| spans.dropped + spans.failed),
        }
    }
}

/// Formats a number of bytes in decimal units up to TB, with one decimal from kB on, such as `1.2 GB`.
pub(crate) fn bytes(n: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut n, mut unit) = (n, 0);
    while n >= 1000.0 && unit + 1 < units.len() {
        n /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{n:.0} B") } else { format!("{n:.1} {}", units[unit]) }
}

/// Formats a number of seconds as days, hours, minutes and seconds, such as `3d 04:05:06`; without days below one day.
pub(crate) fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days}d {clock}") } else { clock }
}

/// Returns the word for a state code of a target: `healthy` for `well`, otherwise the code itself.
pub(crate) fn state(code: &str) -> &str {
    if code == "well" { "healthy" } else { code }
}

/// Formats an upper bound in seconds, such as `≤ 25 ms` or, from 1 s on, `≤ 5 s`. For `None`, it is `> 10 s` if there
/// were `any` requests, and `–` otherwise.
pub(crate) fn bound(seconds: Option<f64>, any: bool) -> String {
    match seconds {
        Some(seconds) if seconds >= 1.0 => format!("≤ {seconds} s"),
        Some(seconds) => format!("≤ {:.0} ms", seconds * 1000.0),
        None if any => "> 10 s".to_owned(),
        None => "–".to_owned(),
    }
}
