//! The Prometheus text format, version 0.0.4.

use super::Metrics;
use edge_policy::balance::health::Availability;
use std::fmt::Write;

/// A metric family of the text format, whose samples are appended to the text.
struct Family<'t> {
    /// The text to which samples are appended.
    text: &'t mut String,
    /// The name of the family.
    name: &'static str,
}

impl<'t> Family<'t> {
    /// Appends the HELP and TYPE lines of a family to the text. `kind` is the type: `counter`, `gauge` or `histogram`.
    fn new(text: &'t mut String, name: &'static str, kind: &str, help: &str) -> Self {
        // Writing to memory does not fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Self { text, name }
    }

    /// Appends a sample: the family's name with `suffix`, the labels, whose values are escaped, and the value.
    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.text, "{}{name}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.text, "{}{value}", if labels.is_empty() { " " } else { "} " });
    }
}

impl Metrics {
    /// Formats the metrics in the Prometheus text format (`text/plain; version=0.0.4`).
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        let text = &mut text;
        Family::new(text, "edge_uptime_seconds", "gauge", "Since the start.").sample(
            "",
            &[],
            self.uptime.as_secs(),
        );
        let mut family =
            Family::new(text, "edge_connections_total", "counter", "Connections that were accepted.");
        family.sample("", &[("transport", "tcp")], self.tcp_connections);
        family.sample("", &[("transport", "quic")], self.quic_connections);
        let mut family = Family::new(text, "edge_connections_open", "gauge", "Connections that are open.");
        family.sample("", &[("transport", "tcp")], self.tcp_open);
        family.sample("", &[("transport", "quic")], self.quic_open);
        let help = "Times that accepting connections had to wait, for descriptors or after an error.";
        Family::new(text, "edge_accept_waits_total", "counter", help).sample("", &[], self.accept_waits);
        let mut family = Family::new(text, "edge_tls_handshakes_total", "counter", "TLS handshakes on TCP.");
        family.sample("", &[("kind", "full")], self.handshakes.saturating_sub(self.resumed));
        family.sample("", &[("kind", "resumed")], self.resumed);
        let help = "Responses and tunnels whose content the kernel encrypted and passed on.";
        Family::new(text, "edge_kernel_tls_exchanges_total", "counter", help).sample(
            "",
            &[],
            self.kernel_tls,
        );
        let help = "Bytes of content that the kernel encrypted and passed on.";
        Family::new(text, "edge_kernel_tls_bytes_total", "counter", help).sample(
            "",
            &[],
            self.kernel_tls_bytes,
        );
        let mut family = Family::new(
            text,
            "edge_connections_turned_away_total",
            "counter",
            "Connections rejected or ended by the proxy, and requests rejected for their heads.",
        );
        for (reason, count) in &self.rejected {
            family.sample("", &[("reason", reason.as_str())], count);
        }
        let mut family = Family::new(
            text,
            "edge_requests_refused_total",
            "counter",
            "Requests that ended without the service's own answer.",
        );
        for (reason, count) in &self.refused {
            family.sample("", &[("reason", reason.as_str())], count);
        }
        if let Some(spans) = &self.spans {
            let mut family =
                Family::new(text, "edge_spans_total", "counter", "Spans, by what became of them.");
            let outcomes =
                [("exported", spans.exported), ("dropped", spans.dropped), ("failed", spans.failed)];
            for (outcome, count) in outcomes {
                family.sample("", &[("outcome", outcome)], count);
            }
        }
        self.sites(text);
        self.upstreams(text);
        self.shared(text);
        std::mem::take(text)
    }

    /// Appends the metrics of all sites.
    fn sites(&self, text: &mut String) {
        let mut family =
            Family::new(text, "edge_requests_total", "counter", "Requests, by the class of their status.");
        for site in &self.sites {
            for (class, count) in ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(site.statuses) {
                family.sample("", &[("site", &site.name), ("status", class)], count);
            }
        }
        let mut family =
            Family::new(text, "edge_requests_by_version_total", "counter", "Requests, by version of HTTP.");
        for site in &self.sites {
            for (version, count) in ["1.0", "1.1", "2", "3"].iter().zip(site.versions) {
                family.sample("", &[("site", &site.name), ("version", version)], count);
            }
        }
        let mut family =
            Family::new(text, "edge_requests_early_total", "counter", "Requests that came as early data.");
        for site in &self.sites {
            family.sample("", &[("site", &site.name)], site.early);
        }
        let mut family = Family::new(text, "edge_content_bytes_total", "counter", "Bytes of content.");
        for site in &self.sites {
            family.sample("", &[("site", &site.name), ("direction", "received")], site.received);
            family.sample("", &[("site", &site.name), ("direction", "sent")], site.sent);
        }
        let mut family = Family::new(
            text,
            "edge_request_duration_seconds",
            "histogram",
            "From the head's arrival to the answer's end.",
        );
        for site in &self.sites {
            let mut sum = 0;
            for (bound, count) in &site.durations.buckets {
                sum += count;
                let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".into() };
                family.sample("_bucket", &[("site", &site.name), ("le", &bound)], sum);
            }
            family.sample("_sum", &[("site", &site.name)], site.durations.sum);
            family.sample("_count", &[("site", &site.name)], sum);
        }
    }

    /// Appends the metrics of the state shared with other edges, if there is any.
    fn shared(&self, text: &mut String) {
        let Some(shared) = &self.shared else { return };
        let help = "Whether the store of shared state answered when it was asked last: 1 or 0.";
        Family::new(text, "edge_shared_up", "gauge", help).sample("", &[], u8::from(shared.reached));
        let help = "Keys of tickets that are known.";
        Family::new(text, "edge_shared_ticket_keys", "gauge", help).sample("", &[], shared.keys);
        let help = "Sessions that other edges could resume: kept by the store, or lost.";
        let mut family = Family::new(text, "edge_shared_sessions_total", "counter", help);
        for (result, count) in [("kept", shared.kept), ("lost", shared.lost)] {
            family.sample("", &[("result", result)], count);
        }
        let help = "Handshakes that asked the store for a session, by what they got.";
        let mut family = Family::new(text, "edge_shared_takes_total", "counter", help);
        let results = [
            ("taken", shared.taken),
            ("missing", shared.missing),
            ("late", shared.timed_out),
            ("unavailable", shared.unavailable),
            ("refused", shared.refused),
        ];
        for (result, count) in results {
            family.sample("", &[("result", result)], count);
        }
    }

    /// Appends the metrics of the targets of all upstreams.
    fn upstreams(&self, text: &mut String) {
        let mut family = Family::new(
            text,
            "edge_upstream_requests_total",
            "counter",
            "Requests that were sent to a target, repetitions included.",
        );
        for target in &self.targets {
            family.sample(
                "",
                &[("upstream", &target.upstream), ("target", &target.target.to_string())],
                target.requests,
            );
        }
        let mut family = Family::new(
            text,
            "edge_upstream_failures_total",
            "counter",
            "Requests that failed at a target, connections that could not be made included.",
        );
        for target in &self.targets {
            family.sample(
                "",
                &[("upstream", &target.upstream), ("target", &target.target.to_string())],
                target.failures,
            );
        }
        let mut family =
            Family::new(text, "edge_upstream_in_flight", "gauge", "Requests under way at a target.");
        for target in &self.targets {
            family.sample(
                "",
                &[("upstream", &target.upstream), ("target", &target.target.to_string())],
                target.in_flight,
            );
        }
        let mut family = Family::new(text, "edge_upstream_up", "gauge", "Whether a target is used: 1 or 0.");
        for target in &self.targets {
            let up = u8::from(matches!(target.availability, Availability::Healthy | Availability::Trial));
            family.sample("", &[("upstream", &target.upstream), ("target", &target.target.to_string())], up);
        }
    }
}
