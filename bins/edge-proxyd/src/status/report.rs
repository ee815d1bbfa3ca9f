//! The status report as values: the page, the JSON and the command show the same.

use edge_proxy::config::Config;
use edge_proxy::{CertificateInfo, ListenerStatus, Metrics, Reason};
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// The status of a running proxy: the content of the page, the JSON and the command.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) version: String,
    /// Seconds since the start.
    pub(crate) uptime: u64,
    pub(crate) connections: Connections,
    pub(crate) sites: Vec<SiteStatus>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) targets: Vec<Target>,
    #[serde(default)]
    pub(crate) listeners: Vec<ListenerReport>,
    /// Rejected connections, by reason.
    pub(crate) turned_away: Vec<(String, u64)>,
    /// Requests that ended without a response of the upstream, by reason.
    pub(crate) refused: Vec<(String, u64)>,
    /// Lines of the access log that were lost.
    pub(crate) log_lines_lost: u64,
    /// Spans that the collector did not receive.
    #[serde(default)]
    pub(crate) spans_lost: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ListenerReport {
    pub(crate) address: String,
    pub(crate) interface: Option<String>,
    /// True if it is served; one whose address or interface is not there yet waits for it.
    pub(crate) serving: bool,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Connections {
    pub(crate) tcp: u64,
    pub(crate) tcp_open: u64,
    pub(crate) quic: u64,
    pub(crate) quic_open: u64,
    pub(crate) handshakes: u64,
    pub(crate) resumed: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct SiteStatus {
    /// The name of the site; empty for requests of no site.
    pub(crate) name: String,
    pub(crate) hosts: Vec<String>,
    /// True while it is switched to maintenance.
    #[serde(default)]
    pub(crate) maintenance: bool,
    pub(crate) requests: u64,
    pub(crate) unanswered: u64,
    pub(crate) client_errors: u64,
    pub(crate) server_errors: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Bounds in seconds, if there were requests.
    pub(crate) median: Option<f64>,
    pub(crate) p99: Option<f64>,
    /// Requests by version: HTTP/1.0, 1.1, 2 and 3.
    pub(crate) versions: [u64; 4],
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Certificate {
    pub(crate) folder: String,
    pub(crate) names: Vec<String>,
    pub(crate) serial: String,
    /// The expiry, in seconds since 1970.
    pub(crate) not_after: i64,
    /// Whole days left; negative after expiry.
    pub(crate) days: i64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Target {
    pub(crate) upstream: String,
    pub(crate) target: String,
    pub(crate) state: String,
    pub(crate) in_flight: u32,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// The last failure in words.
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// Seconds since that.
    #[serde(default)]
    pub(crate) error_age: Option<u64>,
}

impl Target {
    /// Returns the last failure with its age, such as `connection refused, 12s ago`. Empty if there was none.
    pub(crate) fn last_failure(&self) -> String {
        let Some(error) = &self.error else { return String::new() };
        match self.error_age {
            Some(seconds) => format!("{error}, {seconds}s ago"),
            None => error.clone(),
        }
    }
}

impl SiteStatus {
    /// Returns the name of the site as it is shown, with a word on maintenance.
    pub(crate) fn display_name(&self) -> String {
        let name = if self.name.is_empty() { "(no site)" } else { self.name.as_str() };
        if self.maintenance { format!("{name} (under maintenance)") } else { name.to_owned() }
    }
}

impl Report {
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
            turned_away: reasons(&metrics.turned_away),
            refused: reasons(&metrics.refused),
            log_lines_lost,
            spans_lost: metrics.spans.map_or(0, |spans| spans.dropped + spans.failed),
        }
    }
}

/// Formats a number of bytes, such as `1.2 GB`.
pub(crate) fn bytes(n: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut n, mut unit) = (n, 0);
    while n >= 1000.0 && unit + 1 < units.len() {
        n /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{n:.0} B") } else { format!("{n:.1} {}", units[unit]) }
}

/// Formats a duration, such as `3d 04:05:06`.
pub(crate) fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days}d {clock}") } else { clock }
}

/// Returns the word for a target's state code: `well` is shown as healthy.
pub(crate) fn state(code: &str) -> &str {
    if code == "well" { "healthy" } else { code }
}

/// Formats an upper bound, such as `≤ 25 ms`, or `> 10 s` beyond the last bucket.
pub(crate) fn bound(seconds: Option<f64>, any: bool) -> String {
    match seconds {
        Some(seconds) if seconds >= 1.0 => format!("≤ {seconds} s"),
        Some(seconds) => format!("≤ {:.0} ms", seconds * 1000.0),
        None if any => "> 10 s".to_owned(),
        None => "–".to_owned(),
    }
}
