//! Traces: a span for each request and one for each attempt at a service, as OpenTelemetry has them.
//!
//! A worker makes spans and puts them into a queue of fixed size; a thread of its own sends them to the collector. A request whose trace is not kept costs an identifier and the field that the service gets.

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
