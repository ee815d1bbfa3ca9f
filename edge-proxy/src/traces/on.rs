//! Spans of requests. Their attributes follow the stable OpenTelemetry conventions for HTTP
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>). Queries are never included, since they may be
//! secret.

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

/// The highest number of bytes of a client's text in an attribute; the rest is cut off.
const MAX_ATTRIBUTE_LEN: usize = 1024;

/// The counters of spans.
#[derive(Default)]
pub(crate) struct SpanCounters {
    /// The number of spans that were put into the queue.
    pub(super) queued: AtomicU64,
    /// The number of spans that the collector accepted.
    pub(super) exported: AtomicU64,
    /// The number of spans that were discarded because the queue was full.
    pub(super) dropped: AtomicU64,
    /// The number of spans that the collector rejected, or did not accept in time or before the proxy ended.
    pub(super) failed: AtomicU64,
}

/// The queue of spans that all workers share. `None` if tracing is disabled.
#[derive(Clone, Default)]
pub(crate) struct TraceSink(pub(super) Option<SpanQueue>);

/// The sending end of the queue between workers and the exporter, with the sampling rule and the counters.
#[derive(Clone)]
pub(super) struct SpanQueue {
    /// The rule by which requests are sampled.
    pub(super) sampling: Sampler,
    /// The queue of spans to the exporter.
    pub(super) queue: Sender<Span>,
    /// The counters of spans.
    pub(super) counts: Arc<SpanCounters>,
}

impl SpanCounters {
    /// Returns a copy of the counters of spans.
    pub(super) fn metrics(&self) -> SpanMetrics {
        let read = |count: &AtomicU64| count.load(Relaxed);
        SpanMetrics {
            exported: read(&self.exported),
            dropped: read(&self.dropped),
            failed: read(&self.failed),
        }
    }
}

/// The tracer of a worker: the queue and a source of identifiers. `None` if tracing is disabled.
#[derive(Default)]
pub(crate) struct Tracer(Option<(SpanQueue, Random)>);

impl Tracer {
    /// Creates the tracer of a worker, which puts spans into the queue of `shared`.
    pub(crate) fn new(shared: TraceSink) -> Self {
        Self(shared.0.map(|sink| (sink, Random::new())))
    }

    /// Returns whether requests are traced.
    pub(crate) const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Begins the trace of a request that was received at `began`. The trace context in the request's fields is
    /// continued only if a trusted proxy sent the request. Collects the attributes of the request's span if the
    /// request is sampled. Returns [`Trace::NONE`] if tracing is disabled.
    pub(crate) fn begin(
        &self,
        decision: &Decision<'_>,
        facts: &RequestContext<'_>,
        head: &RequestHead,
        began: Instant,
    ) -> Trace<'_> {
        let Some((sink, random)) = &self.0 else { return Trace::NONE };
        let received = if decision.client.is_by_hop() { received(&head.fields) } else { None };
        let (parent, state) = received.map_or((None, Vec::new()), |(parent, state)| (Some(parent), state));
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
            let forwarded = &decision.client.forwarded;
            let https = forwarded.https.unwrap_or_else(|| facts.transport.is_secure());
            attributes.push(("url.scheme", Value::Word(if https { "https" } else { "http" })));
            attributes.push(("url.path", text(path(&head.target))));
            if let Some((_, route)) = decision.route {
                attributes.push(("http.route", Value::Text(template(&route.path))));
            }
            let host = forwarded.host.as_deref().unwrap_or(&head.authority);
            if let Some((host, port, _)) = split_authority(host) {
                attributes.push(("server.address", text(host)));
                let port = forwarded.port.or(port).unwrap_or(if https { 443 } else { 80 });
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
                // A clock before 1970 counts as 1970.
                since: (SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64)
                    .saturating_sub(began.elapsed().as_nanos() as u64),
                attempts: RefCell::default(),
                missed: Cell::new(None),
            }
        });
        Trace(Some(Box::new(ActiveTrace { sink, random, context, state, kept, attempt: Cell::new(None) })))
    }
}

/// The trace of one request. `None` if tracing is disabled. Its state is on the heap, so that futures are not larger
/// without tracing.
pub(crate) struct Trace<'t>(Option<Box<ActiveTrace<'t>>>);

/// The state of a request's trace.
struct ActiveTrace<'t> {
    /// The queue for the spans of the request.
    sink: &'t SpanQueue,
    /// The source of span identifiers.
    random: &'t Random,
    /// The trace ID, the span ID of the request, and the flags.
    context: TraceContext,
    /// The received trace state, which is forwarded.
    state: Vec<u8>,
    /// The spans and attributes collected so far. `None` if the request is not sampled.
    kept: Option<SampledRequest>,
    /// The span of the present attempt, and the start of the attempt. `None` between attempts, and if the request is
    /// not sampled.
    attempt: Cell<Option<(SpanId, Instant)>>,
}

/// The data of a sampled request's spans.
struct SampledRequest {
    /// The span of the caller, as received from a trusted proxy. `None` if there is none.
    parent: Option<SpanId>,
    /// The name of the request's span.
    name: String,
    /// The attributes of the request's span.
    attributes: Vec<(&'static str, Value)>,
    /// The start of the request.
    began: Instant,
    /// The start time of the request in nanoseconds since 1970.
    since: u64,
    /// The spans of the attempts so far. The second value is true if the request was sent, false if no connection was
    /// established.
    attempts: RefCell<Vec<(Span, bool)>>,
    /// The time at which the last failed connection attempt ended. `None` if none has failed since the last attempt
    /// was recorded.
    missed: Cell<Option<Instant>>,
}

impl SampledRequest {
    /// Converts an instant, not before the start of the request, to nanoseconds since 1970.
    fn at(&self, instant: Instant) -> u64 {
        self.since + instant.duration_since(self.began).as_nanos() as u64
    }
}

impl Trace<'_> {
    /// A trace that records nothing.
    pub(crate) const NONE: Self = Self(None);

    /// Begins an attempt: replaces the trace fields of the request that is about to be sent, with a new span as the
    /// parent of the upstream's. No effect if tracing is disabled.
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

    /// Records the end of the present attempt at a target, which is given by the upstream and the target's index.
    /// `version` is the HTTP version of the attempt, `status` is that of the response, 0 without a response, and
    /// `fault` is the reason of a failure. No effect if the request is not sampled.
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

    /// Records a failed connection attempt at the target with the index `target`, which began at `since` and failed by
    /// `why`. No effect if `since` is `None`, as for requests that are not sampled.
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

    /// Records the end of the request: completes its span by the access record, and puts it and those of its attempts
    /// into the queue if the request is sampled. Spans that do not fit are counted as dropped.
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
    /// Adds the span of an attempt that began at the given instant and ends now, at the target with the given index.
    /// `sent` is the HTTP version and the status, if there is one; `None` if no connection was established. `fault` is
    /// the reason of a failure. No effect if the request is not sampled.
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
                Target::Tcp { port, .. } => {
                    let host = target.host().unwrap_or_default();
                    attributes.push(("server.address", Value::Text(host.to_owned())));
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

/// The reason of a failure by the response's status. The value of `error.type` of its spans is the status instead.
const STATUS: Reason = UpstreamError::Status(0).reason();

/// Returns the value of `error.type`: the code of the reason, or else the status. `None` without both.
fn error(reason: Option<Reason>, status: Option<u16>) -> Option<Value> {
    reason.map(|reason| Value::Word(reason.as_str())).or(status.map(|status| Value::Text(status.to_string())))
}

/// Returns the method as it begins the name of a span: a known method, or `HTTP` for any other.
fn verb(method: &Method) -> &str {
    if matches!(method, Method::Other(_)) { "HTTP" } else { method.as_str() }
}

/// Returns the attribute `http.request.method`: a known method, or `_OTHER`.
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

/// Returns the HTTP version as an attribute value.
const fn version(version: Version) -> Value {
    Value::Word(match version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
        Version::Http2 => "2",
        Version::Http3 => "3",
    })
}

/// Returns the path of a request target, without query and fragment.
fn path(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or(target)
}

/// Returns the pattern of a route's path as text, with `*` for what follows a prefix. There are few such texts,
/// whatever clients request.
fn template(path: &PathMatch) -> String {
    match path {
        PathMatch::Begins(begin) => format!("{begin}*"),
        PathMatch::Exact(path) => path.clone(),
        PathMatch::Prefix(prefix) => format!("{}/*", prefix.strip_suffix('/').unwrap_or(prefix)),
    }
}

/// Returns a text as an attribute value, cut off at the last character boundary within [`MAX_ATTRIBUTE_LEN`]
/// bytes.
fn text(text: &str) -> Value {
    let end =
        (0..=MAX_ATTRIBUTE_LEN.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Value::Text(text[..end].to_owned())
}
