//! Metrics of the program, besides those of the proxy: reloads, certificates, the log, the version and the process.

use super::StatusSources;
use std::fmt::{Display, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Appends the metrics of the program in the text format of Prometheus: reloads, certificates, lost log lines, version
/// and process.
pub(super) fn append(watched: &StatusSources, text: &mut String) {
    let (successful, since) = watched.reloads.last();
    let help = "Whether the last reload of the configuration was successful.";
    family(text, "edge_config_last_reload_successful", "gauge", help);
    sample(text, "edge_config_last_reload_successful", &[], u8::from(successful));
    let help = "When the configuration in effect was read.";
    family(text, "edge_config_last_reload_success_timestamp_seconds", "gauge", help);
    sample(text, "edge_config_last_reload_success_timestamp_seconds", &[], seconds(since));
    family(text, "edge_certificate_not_after_seconds", "gauge", "When a certificate in use expires.");
    for found in watched.certificates.iter().flat_map(|found| found.list()) {
        let folder = found.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = found.names.first().cloned().unwrap_or_default();
        let labels = [("certificate", folder.as_str()), ("name", &name), ("serial", &found.serial)];
        sample(text, "edge_certificate_not_after_seconds", &labels, found.not_after);
    }
    let help = "Whether nothing is ordered for a certificate of [acme] at the moment.";
    family(text, "edge_acme_held_back", "gauge", help);
    for (certificate, reason) in watched.renewals.iter().flat_map(crate::acme::Renewals::held_back) {
        let labels = [("certificate", certificate.as_str())];
        sample(text, "edge_acme_held_back", &labels, u8::from(reason.is_some()));
    }
    let help = "Whether a secret or file of this part of [acme] cannot be read.";
    family(text, "edge_acme_not_ready", "gauge", help);
    for (part, reason) in watched.renewals.iter().flat_map(crate::acme::Renewals::parts) {
        sample(text, "edge_acme_not_ready", &[("part", &part)], u8::from(reason.is_some()));
    }
    family(text, "edge_log_lines_lost_total", "counter", "Lines of the access log that were not written.");
    sample(text, "edge_log_lines_lost_total", &[], watched.log.lost());
    family(text, "edge_build_info", "gauge", "The version of the program.");
    sample(text, "edge_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    process(text, watched.proxy.metrics().uptime);
}

/// Appends the metrics of the process, under the names that the client libraries of Prometheus use. Values that cannot
/// be read, and an unlimited number of descriptors, are left out.
fn process(text: &mut String, uptime: Duration) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let stat = read("stat");
    // The name of the program, in parentheses, may hold blanks.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<f64>().ok());
    // The times in /proc are in USER_HZ, which is 100 per second on all architectures.
    const TICKS: f64 = 100.0;
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        family(text, "process_cpu_seconds_total", "counter", "User and system time.");
        sample(text, "process_cpu_seconds_total", &[], (user + system) / TICKS);
    }
    let began = SystemTime::now().checked_sub(uptime).unwrap_or(UNIX_EPOCH);
    family(text, "process_start_time_seconds", "gauge", "When the process was started.");
    sample(text, "process_start_time_seconds", &[], seconds(began));
    let status = read("status");
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    for (line, metric, help) in [
        ("VmRSS:", "process_resident_memory_bytes", "Resident memory."),
        ("VmSize:", "process_virtual_memory_bytes", "Virtual memory."),
    ] {
        if let Some(size) = kib(line) {
            family(text, metric, "gauge", help);
            sample(text, metric, &[], size * 1024);
        }
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        family(text, "process_open_fds", "gauge", "Open file descriptors.");
        sample(text, "process_open_fds", &[], open.count());
    }
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        family(text, "process_max_fds", "gauge", "The limit of open file descriptors.");
        sample(text, "process_max_fds", &[], limit);
    }
}

/// Returns a time as whole seconds since 1970; 0 for times before 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Appends the lines with the help text and the type of a metric.
fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Appends a line with a sample of a metric: its labels, whose values are escaped, and its value.
fn sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) {
    text.push_str(name);
    for (at, (label, value)) in labels.iter().enumerate() {
        let _ = write!(text, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(value));
    }
    let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
}

/// Escapes backslashes, quotation marks and line feeds in the value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
