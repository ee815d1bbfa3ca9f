//! Traces by OpenTelemetry.

use super::Upstream;
use crate::trace_context::Sampling;
use std::fmt;
use std::time::Duration;

/// Where spans go, and which traces are kept.
#[derive(Clone, PartialEq)]
pub struct Tracing {
    /// The collector: one that takes OTLP over HTTP, usually at port 4318.
    pub collector: Upstream,
    /// What is posted to there (`/v1/traces`).
    pub path: String,
    /// Fields of those requests besides, such as Authorization. Their values are in no log and no error.
    pub fields: Vec<(String, String)>,
    /// `service.name`: what the proxy is called among the services of a trace.
    pub service: String,
    /// Which traces are kept.
    pub sampling: Sampling,
    /// Spans that wait at most; more are dropped and counted (2048).
    pub queue: usize,
    /// For how long spans are collected at most before they are sent (5 s). As soon as there are 512 they are sent anyway.
    pub interval: Duration,
    /// Within which time the collector must answer (10 s).
    pub timeout: Duration,
}

impl Tracing {
    /// This share (0 to 1) of the traces that begin here, to this collector. `None` if it is no share.
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

/// Without the values of fields.
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
