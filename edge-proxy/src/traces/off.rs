//! The tracing interface without the feature `opentelemetry`. It compiles to nothing.

use crate::observe::AccessRecord;
use crate::upstream::UpstreamError;
use edge_http::RequestHead;
use edge_policy::Reason;
use edge_policy::config::Upstream;
use edge_policy::decide::{Decision, RequestContext};
use std::time::Instant;

/// The trace state shared by all workers, which is empty in a build without tracing.
#[derive(Clone, Debug, Default)]
pub(crate) struct NoTraceSink(());

/// The tracer of a worker in a build without tracing, which records nothing.
#[derive(Default)]
pub(crate) struct NoTracer;

impl NoTracer {
    /// Creates a tracer.
    pub(crate) const fn new(_: NoTraceSink) -> Self {
        Self
    }

    /// Returns false: requests are not traced.
    pub(crate) const fn is_enabled(&self) -> bool {
        false
    }

    /// Returns a trace that records nothing.
    pub(crate) const fn begin(
        &self,
        _: &Decision<'_>,
        _: &RequestContext<'_>,
        _: &RequestHead,
        _: Instant,
    ) -> NoTrace<'_> {
        NoTrace::NONE
    }
}

/// The trace of a request in a build without tracing, which records nothing.
pub(crate) struct NoTrace<'t>(std::marker::PhantomData<&'t ()>);

impl NoTrace<'_> {
    /// A trace that records nothing.
    pub(crate) const NONE: Self = Self(std::marker::PhantomData);

    /// Does nothing: the request carries no trace context of the proxy.
    pub(crate) const fn attempt(&self, _: &mut RequestHead) {}

    /// Does nothing: attempts are not recorded.
    pub(crate) const fn attempted(
        &self,
        _: (&Upstream, usize),
        _: &RequestHead,
        _: (&'static str, u16),
        _: Option<Reason>,
    ) {
    }

    /// Returns `None`: nothing is timed.
    pub(crate) const fn clock(&self) -> Option<Instant> {
        None
    }

    /// Does nothing: failed attempts are not recorded.
    pub(crate) const fn missed(
        &self,
        _: &Upstream,
        _: usize,
        _: Option<Instant>,
        _: &RequestHead,
        _: UpstreamError,
    ) {
    }

    /// Does nothing: the end of a request is not recorded.
    pub(crate) const fn finish(self, _: &AccessRecord<'_>) {}
}
