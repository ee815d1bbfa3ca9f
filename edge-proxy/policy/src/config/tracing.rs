//! OpenTelemetry trace export.

use super::Upstream;
use edge_http::trace_context::Sampler;
use std::fmt;
use std::time::Duration;

/// Trace export and sampling. Spans are exported by OTLP over HTTP.
#[derive(Clone, PartialEq)]
pub struct Tracing {
    /// The collector, which must accept OTLP over HTTP, usually on port 4318.
    pub collector: Upstream,
    /// The request target of the exports (POST). Default: `/v1/traces`.
    pub path: String,
    /// Additional request fields of the exports, as name and value, such as Authorization. Their values appear in no
    /// log and no error.
    pub fields: Vec<(String, String)>,
    /// The resource attribute `service.name`: the name of this proxy in traces.
    pub service: String,
    /// The sampler of traces.
    pub sampling: Sampler,
    /// The capacity of the span queue. Default: 2048; 0 counts as 1. Spans that do not fit are dropped and counted.
    pub queue: usize,
    /// The longest time for which spans are batched before an export. Default: 5 s. A batch of 512 is exported at once.
    pub interval: Duration,
    /// The time limit of one attempt to export a batch, connecting included. Default: 10 s. A batch is tried again for
    /// up to five minutes.
    pub timeout: Duration,
}

impl Tracing {
    /// Returns settings with the defaults that sample the share `share`, 0 to 1, of the traces that begin at this
    /// proxy. `None` if `share` is out of range.
    pub fn new(collector: Upstream, service: impl Into<String>, share: f64) -> Option<Self> {
        Some(Self {
            collector,
            path: "/v1/traces".into(),
            fields: Vec::new(),
            service: service.into(),
            sampling: Sampler::new(share)?,
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
