//! Tracing: a span for each request and for each upstream attempt, in the OpenTelemetry model.
//!
//! Workers put spans into a queue of fixed size; a separate thread exports them. A request that is not sampled costs an
//! identifier and the trace field of the upstream request.

#[cfg(feature = "opentelemetry")]
mod exporter;
#[cfg(not(feature = "opentelemetry"))]
mod off;
#[cfg(feature = "opentelemetry")]
mod on;
#[cfg(feature = "opentelemetry")]
mod otlp;
#[cfg(feature = "opentelemetry")]
mod random;

#[cfg(feature = "opentelemetry")]
pub(crate) use exporter::Exporter;
#[cfg(not(feature = "opentelemetry"))]
pub(crate) use off::{NoTrace as Trace, NoTraceSink as TraceSink, NoTracer as Tracer};
#[cfg(feature = "opentelemetry")]
pub(crate) use on::{Trace, TraceSink, Tracer};
