//! Tracing by OpenTelemetry.

use super::Upstream;
use edge_http::trace_context::Sampling;
use std::fmt;
use std::time::Duration;

/// The export of spans to a collector, and the sampling of traces.
#[derive(Clone, PartialEq)]
pub struct Tracing {
    /// The collector, which must accept OTLP over HTTP (usually at port 4318).
    pub collector: Upstream,
    /// The path that spans are posted to (`/v1/traces`).
    pub path: String,
    /// Additional fields of those requests, such as Authorization. Their values appear in no log and no error.
    pub fields: Vec<(String, String)>,
    /// The `service.name` attribute: the name of this proxy in traces.
    pub service: String,
    /// The share of traces that is kept.
    pub sampling: Sampling,
    /// The longest queue of spans (2048). Further spans are dropped and counted.
    pub queue: usize,
    /// The longest time that spans are batched before they are sent (5 s). A batch of 512 is sent at once.
    pub interval: Duration,
    /// Time within which the collector must answer (10 s).
    pub timeout: Duration,
}

impl Tracing {
    /// Returns settings that sample `share` (0 to 1) of the traces that begin here. `None` if `share` is out of range.
    pub fn new(collector: Upstream, service: impl Into<String>, share: f64) -> Option<Self> {
        Some(Self {
            collector,
            path: "/v1/traces".into(),
            fields: Vec::new(),
            service: service.into(),
            sampling: Sampling::new(share)?,
            queue: 2048,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
        })
    }
}

/// Formats everything but the values of fields, which may be secret.
impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.fields.iter().map(|(name, _)| name).collect();
        f.debug_struct("Tracing")
            .field("collector", &self.collector)
            .field("path", &self.path)
            .field("fields", &names)
            .field("service", &self.service)
            .field("sampling", &self.sampling)
            .field("queue", &self.queue)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .finish()
    }
}
