//! Spans of requests. Their attributes follow the stable OpenTelemetry conventions for HTTP
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>). Queries are never included, since they may be secret.

use super::otlp::{Kind, Span, Value};
use super::random::Random;
use crate::metrics::SpanMetrics;
use crate::observe::AccessRecord;
use crate::upstream::UpstreamError;
use edge_http::NameClass;
use edge_http::host::split_authority;
use edge_http::trace_context::{Sampler, SpanId, TraceContext, TraceId, received};
use edge_http::{Method, Name, RequestHead, Version};
use edge_policy::Reason;
use edge_policy::config::{PathMatch, Target, Upstream};
use edge_policy::decide::{Decision, RequestContext};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::Sender;

/// The longest attribute taken from a client, in bytes.
const MAX_ATTRIBUTE_LEN: usize = 1024;

/// Counters of spans, by result.
#[derive(Default)]
pub(crate) struct SpanCounters {
    /// Spans put into the queue.
    pub(super) queued: AtomicU64,
    pub(super) exported: AtomicU64,
    /// Spans dropped because the queue was full.
    pub(super) dropped: AtomicU64,
    /// Spans that the collector did not accept.
    pub(super) failed: AtomicU64,
}

/// The trace state shared by all workers. Empty if tracing is off.
#[derive(Clone, Default)]
pub(crate) struct TraceSink(pub(super) Option<SpanQueue>);

/// The queue between workers and the exporter.
#[derive(Clone)]
pub(super) struct SpanQueue {
    pub(super) sampling: Sampler,
    pub(super) queue: Sender<Span>,
    pub(super) counts: Arc<SpanCounters>,
}

impl SpanCounters {
    pub(super) fn metrics(&self) -> SpanMetrics {
        let read = |count: &AtomicU64| count.load(Relaxed);
        SpanMetrics {
            exported: read(&self.exported),
            dropped: read(&self.dropped),
            failed: read(&self.failed),
        }
    }
}

/// The tracer of a worker.
#[derive(Default)]
pub(crate) struct Tracer(Option<(SpanQueue, Random)>);

impl Tracer {
    pub(crate) fn new(shared: TraceSink) -> Self {
        Self(shared.0.map(|sink| (sink, Random::new())))
    }

    /// Starts the trace of a request with this decision. Trace fields are trusted only from trusted proxies.
    pub(crate) fn begin(
        &self,
        decision: &Decision<'_>,
        facts: &RequestContext<'_>,
        head: &RequestHead,
        began: Instant,
    ) -> Trace<'_> {
        let Some((sink, random)) = &self.0 else { return Trace::NONE };
        let told = if decision.client.is_by_hop() { received(&head.fields) } else { None };
        let (parent, state) = told.map_or((None, Vec::new()), |(parent, state)| (Some(parent), state));
        let trace = parent.map_or_else(|| TraceId::of(random.next(), random.next()), |parent| parent.trace);
        let context = TraceContext {
            trace,
            span: SpanId::of(random.next()),
            sampled: sink.sampling.keeps(parent, trace),
            random: parent.is_none_or(|parent| parent.random),
        };
        let kept = context.sampled.then(|| {
            let mut attributes = vec![method(&head.method)];
            if let Method::Other(name) = &head.method {
                attributes.push(("http.request.method_original", Value::Text(name.to_string())));
            }
            let told = &decision.client.forwarded;
            let https = told.https.unwrap_or_else(|| facts.transport.is_secure());
            attributes.push(("url.scheme", Value::Word(if https { "https" } else { "http" })));
            attributes.push(("url.path", text(path(&head.target))));
            if let Some((_, route)) = decision.route {
                attributes.push(("http.route", Value::Text(template(&route.path))));
            }
            let host = told.host.as_deref().unwrap_or(&head.authority);
            if let Some((host, port, _)) = split_authority(host) {
                attributes.push(("server.address", text(host)));
                let port = told.port.or(port).unwrap_or(if https { 443 } else { 80 });
                attributes.push(("server.port", Value::Number(port.into())));
            }
            attributes.push(("network.protocol.version", version(head.version)));
            attributes.push(("client.address", Value::Text(decision.client.address.to_string())));
            attributes.push(("network.peer.address", Value::Text(facts.peer.ip().to_string())));
            attributes.push(("network.peer.port", Value::Number(facts.peer.port().into())));
            if let Some(agent) = head.fields.get_named(b"user-agent") {
                attributes.push(("user_agent.original", text(&String::from_utf8_lossy(agent))));
            }
            let name = match decision.route {
                Some((_, route)) => format!("{} {}", verb(&head.method), template(&route.path)),
                None => verb(&head.method).to_owned(),
            };
            SampledRequest {
                parent: parent.map(|parent| parent.span),
                name,
                attributes,
                began,
                // A clock that stands before 1970 makes spans of that year.
                since: (SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64)
                    .saturating_sub(began.elapsed().as_nanos() as u64),
                attempts: RefCell::default(),
                missed: Cell::new(None),
            }
        });
        Trace(Some(Box::new(ActiveTrace { sink, random, context, state, kept, attempt: Cell::new(None) })))
    }
}

/// The trace of one request. On the heap, so that unsampled requests are not larger.
pub(crate) struct Trace<'t>(Option<Box<ActiveTrace<'t>>>);

struct ActiveTrace<'t> {
    sink: &'t SpanQueue,
    random: &'t Random,
    context: TraceContext,
    state: Vec<u8>,
    /// The state of a sampled request.
    kept: Option<SampledRequest>,
    /// The current attempt, and its start.
    attempt: Cell<Option<(SpanId, Instant)>>,
}

struct SampledRequest {
    parent: Option<SpanId>,
    name: String,
    attributes: Vec<(&'static str, Value)>,
    began: Instant,
    /// The start time in nanoseconds since 1970.
    since: u64,
    /// The attempts, each with whether it was sent.
    attempts: RefCell<Vec<(Span, bool)>>,
    /// The time at which the last failed connection attempt ended.
    missed: Cell<Option<Instant>>,
}

impl SampledRequest {
    fn at(&self, instant: Instant) -> u64 {
        self.since + instant.duration_since(self.began).as_nanos() as u64
    }
}

impl Trace<'_> {
    /// A trace that records nothing.
    pub(crate) const NONE: Self = Self(None);

    /// Sets the trace fields of a request that is about to be sent.
    pub(crate) fn attempt(&self, head: &mut RequestHead) {
        let Some(begun) = &self.0 else { return };
        let span = SpanId::of(begun.random.next());
        head.fields.remove(Name::Traceparent);
        head.fields.remove(Name::Tracestate);
        let context = TraceContext { span, ..begun.context };
        head.fields.push_known(Name::Traceparent, NameClass::PLAIN, b"traceparent", &context.to_bytes());
        if !begun.state.is_empty() {
            head.fields.push_known(Name::Tracestate, NameClass::PLAIN, b"tracestate", &begun.state);
        }
        begun.attempt.set(begun.kept.as_ref().map(|_| (span, Instant::now())));
    }

    /// Records the end of an attempt with its HTTP version and status, 0 without a response. `fault` is the reason of a failure.
    pub(crate) fn attempted(
        &self,
        to: (&Upstream, usize),
        head: &RequestHead,
        (version, status): (&'static str, u16),
        fault: Option<Reason>,
    ) {
        let Some(begun) = &self.0 else { return };
        let Some((span, since)) = begun.attempt.take() else { return };
        let missed = begun.kept.as_ref().and_then(|kept| kept.missed.take());
        let attempt = (span, missed.map_or(since, |missed| missed.max(since)));
        let status = (status > 0).then_some(status);
        begun.tried(attempt, to, head, Some((version, status)), fault);
    }

    /// Returns the current time. `None` if the request is not sampled.
    pub(crate) fn clock(&self) -> Option<Instant> {
        self.0.as_ref().and_then(|begun| begun.kept.as_ref()).map(|_| Instant::now())
    }

    /// Records a failed connection attempt that began at `since`.
    pub(crate) fn missed(
        &self,
        upstream: &Upstream,
        target: usize,
        since: Option<Instant>,
        head: &RequestHead,
        why: UpstreamError,
    ) {
        if let (Some(begun), Some(since)) = (&self.0, since) {
            let span = SpanId::of(begun.random.next());
            begun.tried((span, since), (upstream, target), head, None, Some(why.reason()));
            if let Some(kept) = &begun.kept {
                kept.missed.set(Some(Instant::now()));
            }
        }
    }

    /// Records the end of the request.
    pub(crate) fn finish(self, record: &AccessRecord<'_>) {
        let Some(begun) = self.0 else { return };
        let ActiveTrace { sink, context, state, kept: Some(kept), .. } = *begun else { return };
        let end = kept.at(Instant::now());
        let SampledRequest { parent, name, mut attributes, since, attempts, .. } = kept;
        if let Some(status) = record.status {
            attributes.push(("http.response.status_code", Value::Number(status.into())));
        }
        let failed = record.status.is_none_or(|status| status >= 500);
        if failed && let Some(error) = error(record.reason, record.status) {
            attributes.push(("error.type", error));
        }
        let own = [("edge.site", record.site), ("edge.upstream", record.upstream)];
        for (key, value) in own {
            if let Some(value) = value {
                attributes.push((key, Value::Text(value.to_owned())));
            }
        }
        if let Some(reason) = record.reason {
            attributes.push(("edge.reason", Value::Word(reason.as_str())));
        }
        let span = Span {
            context,
            parent: parent.map(|span| (span, true)),
            // Only ASCII is in it.
            state: String::from_utf8_lossy(&state).into_owned(),
            kind: Kind::Server,
            name,
            start: since,
            end,
            attributes,
            failed,
        };
        let attempts = attempts.into_inner().into_iter().map(|(span, _)| span);
        for span in std::iter::once(span).chain(attempts) {
            let taken = sink.queue.try_send(span).is_ok();
            let count = if taken { &sink.counts.queued } else { &sink.counts.dropped };
            count.fetch_add(1, Relaxed);
        }
    }
}

impl ActiveTrace<'_> {
    /// Adds the span of an attempt. `sent` is the HTTP version and status, `None` if nothing was sent.
    fn tried(
        &self,
        (span, since): (SpanId, Instant),
        (upstream, target): (&Upstream, usize),
        head: &RequestHead,
        sent: Option<(&'static str, Option<u16>)>,
        fault: Option<Reason>,
    ) {
        let Some(kept) = &self.kept else { return };
        let mut attributes = vec![method(&head.method)];
        let scheme = if upstream.tls.is_some() { "https" } else { "http" };
        if let Some(target) = upstream.targets.get(target) {
            match target {
                Target::Tcp { host, port } => {
                    attributes.push(("server.address", Value::Text(host.clone())));
                    attributes.push(("server.port", Value::Number((*port).into())));
                }
                Target::Unix(path) => {
                    attributes.push(("server.address", Value::Text(path.display().to_string())));
                }
            }
            let full = format!("{scheme}://{}{}", target.authority(), path(&head.target));
            attributes.push(("url.full", text(&full)));
        }
        let mut status = None;
        if let Some((version, said)) = sent {
            attributes.push(("network.protocol.version", Value::Word(version)));
            status = said;
            let mine = |span: &Span| matches!(span.attributes.last(), Some((_, Value::Text(name))) if *name == upstream.name);
            let attempts = kept.attempts.borrow();
            let before = attempts.iter().filter(|(span, sent)| *sent && mine(span)).count();
            if before > 0 {
                attributes.push(("http.request.resend_count", Value::Number(before as i64)));
            }
        }
        if let Some(status) = status {
            attributes.push(("http.response.status_code", Value::Number(status.into())));
        }
        // For the sender of a request, a 4xx response is an error too.
        let failed = fault.is_some() || status.is_some_and(|status| status >= 400);
        if failed && let Some(error) = error(fault.filter(|fault| *fault != STATUS), status) {
            attributes.push(("error.type", error));
        }
        // The last attribute, by which attempts are distinguished above.
        attributes.push(("edge.upstream", Value::Text(upstream.name.clone())));
        let span = Span {
            context: TraceContext { span, ..self.context },
            parent: Some((self.context.span, false)),
            state: String::from_utf8_lossy(&self.state).into_owned(),
            kind: Kind::Client,
            name: verb(&head.method).to_owned(),
            start: kept.at(since),
            end: kept.at(Instant::now()),
            attributes,
            failed,
        };
        kept.attempts.borrow_mut().push((span, sent.is_some()));
    }
}

/// The reason of a failure by the response's status, for which spans have the status as their error.
const STATUS: Reason = UpstreamError::Status(0).reason();

fn error(reason: Option<Reason>, status: Option<u16>) -> Option<Value> {
    reason.map(|reason| Value::Word(reason.as_str())).or(status.map(|status| Value::Text(status.to_string())))
}

/// Returns the method as an attribute: a known one, or `_OTHER`.
fn verb(method: &Method) -> &str {
    if matches!(method, Method::Other(_)) { "HTTP" } else { method.as_str() }
}

fn method(method: &Method) -> (&'static str, Value) {
    let word = match method {
        Method::Connect => "CONNECT",
        Method::Delete => "DELETE",
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Options => "OPTIONS",
        Method::Patch => "PATCH",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Trace => "TRACE",
        Method::Other(_) => "_OTHER",
    };
    ("http.request.method", Value::Word(word))
}

const fn version(version: Version) -> Value {
    Value::Word(match version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
        Version::Http2 => "2",
        Version::Http3 => "3",
    })
}

/// Returns the path without the query.
fn path(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or(target)
}

/// Returns the pattern of a route as a span attribute, which has few values whatever clients request.
fn template(path: &PathMatch) -> String {
    match path {
        PathMatch::Begins(begin) => format!("{begin}*"),
        PathMatch::Exact(path) => path.clone(),
        PathMatch::Prefix(prefix) => format!("{}/*", prefix.strip_suffix('/').unwrap_or(prefix)),
    }
}

/// Returns a text truncated to the longest attribute.
fn text(text: &str) -> Value {
    let end =
        (0..=MAX_ATTRIBUTE_LEN.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Value::Text(text[..end].to_owned())
}
