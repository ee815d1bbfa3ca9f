//! The export of spans to the collector on a separate thread, as OTLP over HTTP
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>). A batch is sent again with backoff if the collector is
//! overloaded or unreachable, and discarded if it is rejected.

use super::Trace;
use super::on::{SpanCounters, SpanQueue, TraceSink};
use super::otlp::{self, Span};
use super::random::Random;
use crate::deadline::DeadlineSweeper;
use crate::error::StartError;
use crate::metrics::SpanMetrics;
use crate::observe::NoopObserver;
use crate::upstream::{ClientTls, ConnectOptions, Pool, Targets, UpstreamError, read_whole};
use edge_http::grammar::{is_field_value, is_target, is_token};
use edge_http::proxy_protocol::Extensions;
use edge_http::{BodyLength, Method, RequestHead, Version};
use edge_policy::config::{Limits, Protocol, Tracing};
use std::cell::Cell;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// The highest number of spans in a batch.
const MAX_BATCH: usize = 512;
/// The first and the longest delay before a batch is sent again. The delay doubles from the first to the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// The time after which a batch that the collector has not accepted is discarded.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(300);
/// The highest number of bytes of content in a response of the collector. A longer one is an error.
const MAX_RESPONSE: usize = 64 * 1024;

/// The handle of the exporting thread. Dropping it ends the thread at once, without exporting its pending spans.
pub(crate) struct Exporter {
    /// The counters of spans.
    counts: Arc<SpanCounters>,
    /// The sender of the time until which the thread exports pending spans before it ends. `None` is the value while
    /// it runs.
    stop: watch::Sender<Option<Instant>>,
    /// The thread. `None` once its end is awaited.
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Starts the exporting thread. Returns its handle, and the queue for the workers. The thread ends when all
    /// workers have ended and the queue is empty, or as [`Exporter::end`] requests.
    ///
    /// # Errors
    /// [`StartError`] if the settings are invalid, TLS to the collector cannot be set up, or the thread cannot be
    /// started.
    pub(crate) fn start(tracing: Tracing) -> Result<(Self, TraceSink), StartError> {
        check(&tracing).map_err(|why| StartError::Tracing { why })?;
        let upstream = &tracing.collector;
        let tls = upstream.tls.as_ref();
        let tls = tls
            .map(|tls| ClientTls::new(tls, upstream.protocol == Protocol::Http2).map(Arc::new))
            .transpose();
        let tls =
            tls.map_err(|source| StartError::UpstreamTls { upstream: upstream.name.clone(), source })?;
        let (queue, spans) = mpsc::channel(tracing.queue.max(1));
        let (stop, stopped) = watch::channel(None);
        let counts = Arc::new(SpanCounters::default());
        let sink = SpanQueue { sampling: tracing.sampling, queue, counts: counts.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .map_err(StartError::Thread)?;
        let mine = counts.clone();
        let thread = std::thread::Builder::new().name("edge-spans".into()).spawn(move || {
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let sweep = DeadlineSweeper::new();
                tokio::task::spawn_local(sweep.clone().run());
                let limits = Limits { idle_upstream: 1, ..Limits::default() };
                let targets =
                    Targets::new(Arc::new(NoopObserver)).of(std::slice::from_ref(&tracing.collector));
                let pool = Pool::new(tracing.collector.clone(), &targets[0], tls, &limits);
                let mut deadline = stopped.clone();
                let exporting = ExporterState {
                    tracing,
                    pool,
                    sweep,
                    spans,
                    stopped,
                    counts: mine,
                    random: Random::new(),
                };
                exporting.run_until(&mut deadline).await;
            });
        });
        let thread = Some(thread.map_err(StartError::Thread)?);
        Ok((Self { counts, stop, thread }, TraceSink(Some(sink))))
    }

    /// Returns a copy of the counters of spans.
    pub(crate) fn metrics(&self) -> SpanMetrics {
        self.counts.metrics()
    }

    /// Exports the pending spans for at most `within`, and waits for the end of the thread. Blocks. All workers must
    /// have ended.
    pub(crate) fn end(&mut self, within: Duration) {
        self.stop.send_replace(Some(Instant::now() + within));
        if let Some(thread) = self.thread.take() {
            // A panic was reported on standard error.
            let _ = thread.join();
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// Checks that the collector has exactly one target, and that path and fields form a valid HTTP request.
///
/// # Errors
/// The fault as text, without the values of fields.
fn check(tracing: &Tracing) -> Result<(), String> {
    if tracing.collector.targets.len() != 1 {
        return Err("the collector has one target, neither none nor several".into());
    }
    if !tracing.path.starts_with('/') || !is_target(tracing.path.as_bytes()) {
        return Err(format!(
            "`{}` is not a valid path: expected one that begins with /, such as /v1/traces",
            tracing.path
        ));
    }
    let wrong = |(name, value): &&(String, String)| {
        !is_token(name.as_bytes()) || value.is_empty() || !is_field_value(value.as_bytes())
    };
    match tracing.fields.iter().find(wrong) {
        Some((name, _)) => {
            Err(format!("the field `{}` has no name or no value of HTTP", name.escape_debug()))
        }
        None => Ok(()),
    }
}

/// The state of the exporting thread.
struct ExporterState {
    /// The settings of tracing.
    tracing: Tracing,
    /// The connections to the collector.
    pool: Pool,
    /// The clock of the thread.
    sweep: Rc<DeadlineSweeper>,
    /// The queue of spans from the workers.
    spans: mpsc::Receiver<Span>,
    /// The time until which pending spans are exported before the thread ends. `None` is the value while the thread
    /// runs.
    stopped: watch::Receiver<Option<Instant>>,
    /// The counters of spans.
    counts: Arc<SpanCounters>,
    /// The random numbers by which retries are spread.
    random: Random,
}

impl ExporterState {
    /// Exports until the queue is closed and empty, or until the time that is set in `deadline` at shutdown. Counts
    /// the spans that remain as failed.
    async fn run_until(mut self, deadline: &mut watch::Receiver<Option<Instant>>) {
        let counts = self.counts.clone();
        let mut sending = std::pin::pin!(self.run());
        let stopping = async {
            // An error means that there is no one left to report it.
            let until = deadline.wait_for(Option::is_some).await.ok().and_then(|until| *until);
            tokio::time::sleep_until(until.unwrap_or_else(Instant::now)).await;
        };
        let mut stopping = std::pin::pin!(stopping);
        poll_fn(|cx| match sending.as_mut().poll(cx) {
            std::task::Poll::Pending => stopping.as_mut().poll(cx),
            ready => ready,
        })
        .await;
        let read = |count: &std::sync::atomic::AtomicU64| count.load(Relaxed);
        let settled = read(&counts.exported) + read(&counts.failed);
        counts.failed.fetch_add(read(&counts.queued).saturating_sub(settled), Relaxed);
    }

    /// Exports batch after batch until the queue is closed and empty.
    async fn run(&mut self) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            let more = self.collect(&mut batch).await;
            if !batch.is_empty() {
                self.deliver(&batch).await;
                batch.clear();
            }
            if !more {
                return;
            }
        }
    }

    /// Waits for spans, and collects them into `batch` until it is full or the configured interval since the first has
    /// passed. Returns false if the queue is closed, so that no more spans can come.
    async fn collect(&mut self, batch: &mut Vec<Span>) -> bool {
        if self.spans.recv_many(batch, MAX_BATCH).await == 0 {
            return false;
        }
        let until = Instant::now() + self.tracing.interval;
        while batch.len() < MAX_BATCH {
            let room = MAX_BATCH - batch.len();
            match tokio::time::timeout_at(until, self.spans.recv_many(batch, room)).await {
                Ok(0) => return false,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        true
    }

    /// Sends a batch, and counts its spans as exported or failed. After a connection error, a timeout, or the status
    /// 429, 502, 503 or 504, the batch is sent again after a growing delay, or that of Retry-After if it is longer,
    /// for at most [`DELIVERY_TIMEOUT`]; other statuses are failures.
    async fn deliver(&mut self, batch: &[Span]) {
        let message = otlp::request(&self.tracing.service, batch);
        let count = batch.len() as u64;
        let give_up = Instant::now() + DELIVERY_TIMEOUT;
        let mut wait = BACK_OFF.0;
        loop {
            let answer = tokio::time::timeout(self.tracing.timeout, self.post(&message)).await;
            let asked = match answer.unwrap_or(Err(UpstreamError::TimedOut)) {
                Ok(CollectorResponse { status: 200..=299, content, .. }) => {
                    let rejected = otlp::rejected(&content).min(count);
                    self.counts.exported.fetch_add(count - rejected, Relaxed);
                    self.counts.failed.fetch_add(rejected, Relaxed);
                    return;
                }
                // The statuses that OTLP defines as retryable.
                Ok(CollectorResponse { status: 429 | 502 | 503 | 504, again, .. }) => again,
                Ok(_) => break,
                Err(_) => None,
            };
            // Between half of the delay and the whole, so that many proxies do not retry at once.
            let spread = wait / 2 + wait.mul_f64((self.random.next() >> 11) as f64 / (1u64 << 54) as f64);
            let spread = asked.map_or(spread, |asked| asked.clamp(spread, DELIVERY_TIMEOUT));
            if Instant::now() + spread > give_up {
                break;
            }
            let mut stopped = self.stopped.clone();
            if stopped.borrow_and_update().is_some() {
                // During a shutdown, the remaining time is used for quick retries.
                tokio::time::sleep(BACK_OFF.0 / 5).await;
            } else {
                // Interrupted or timed out: it is retried.
                let _ = tokio::time::timeout(spread, stopped.changed()).await;
            }
            wait = (wait * 2).min(BACK_OFF.1);
        }
        self.counts.failed.fetch_add(count, Relaxed);
    }

    /// Sends a batch and reads the response. Repeats that once on a new connection if a reused one was closed or the
    /// collector did not process the request.
    ///
    /// # Errors
    /// [`UpstreamError`] if there is no response.
    async fn post(&self, message: &[u8]) -> Result<CollectorResponse, UpstreamError> {
        let collector = &self.tracing.collector;
        let mut head = RequestHead::new(Version::Http11);
        head.method = Method::Post;
        head.target.clone_from(&self.tracing.path);
        head.authority = collector.targets[0].authority();
        head.body = BodyLength::Exact(message.len() as u64);
        head.fields.push(b"Content-Type", b"application/x-protobuf");
        head.fields.push(b"User-Agent", concat!("OTel-OTLP-Exporter-", env!("CARGO_PKG_NAME")).as_bytes());
        for (name, value) in &self.tracing.fields {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let deadline = self.sweep.deadline();
        let mut options = ConnectOptions {
            client: nobody,
            local: nobody,
            extensions: Extensions::NONE,
            deadline: &deadline,
            connect: self.tracing.timeout,
            fresh: false,
            shared: true,
            upgrade: None,
            sticky: None,
            missed: Cell::new(None),
            host: true,
            trace: &Trace::NONE,
        };
        loop {
            match self.post_once(&head, &options, message).await {
                // A kept connection had ended meanwhile.
                Err(UpstreamError::Stale | UpstreamError::Refused | UpstreamError::Unprocessed)
                    if !options.fresh =>
                {
                    options.fresh = true;
                }
                outcome => return outcome,
            }
        }
    }

    /// Sends a batch once and reads the response. The outcome changes the health of the collector's target.
    ///
    /// # Errors
    /// [`UpstreamError`] if there is no response; `Stale` if a reused connection was closed.
    async fn post_once(
        &self,
        head: &RequestHead,
        options: &ConnectOptions<'_>,
        message: &[u8],
    ) -> Result<CollectorResponse, UpstreamError> {
        let mut tried = edge_policy::balance::TriedTargets::default();
        let (mut exchange, flight) = self.pool.begin(head, options, 0, &mut tried).await?;
        let mut left = message;
        while !left.is_empty() {
            let room = poll_fn(|cx| exchange.poll_capacity(cx, left.len())).await?;
            let n = room.min(left.len());
            exchange.send_data(&left[..n]);
            left = &left[n..];
        }
        exchange.send_end(None);
        let outcome = read_whole(&mut exchange, MAX_RESPONSE).await;
        match &outcome {
            Ok(_) => {
                flight.succeeded();
                exchange.finish();
            }
            Err(why) => flight.ended_by(*why),
        }
        let (head, content) = outcome?;
        let again = head.fields.get_named(b"retry-after").and_then(edge_http::grammar::decimal);
        Ok(CollectorResponse { status: head.status, again: again.map(Duration::from_secs), content })
    }
}

/// The response of the collector to a batch.
struct CollectorResponse {
    /// The status of the response.
    status: u16,
    /// The delay that Retry-After demands. `None` if the response has no such field, or not in seconds.
    again: Option<Duration>,
    /// The content of the response.
    content: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_policy::config::{Target, Upstream};

    #[test]
    fn what_would_make_no_request_is_refused_and_no_secret_is_told() {
        let target = Target::Tcp { host: "127.0.0.1".into(), port: 4318 };
        let good = Tracing::new(Upstream::new("collector", target), "edge", 1.0).unwrap();
        assert_eq!(check(&good), Ok(()));
        let with = |edit: &dyn Fn(&mut Tracing)| {
            let mut tracing = good.clone();
            edit(&mut tracing);
            check(&tracing)
        };
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert!(with(&|tracing| tracing.collector.targets.clear()).is_err());
        assert!(with(&|tracing| tracing.path = "/a b".into()).is_err());
        for (name, value) in [("a b", "hunter2"), ("", "hunter2"), ("A", "hunter2\r\nB: c"), ("A", "")] {
            let why = with(&|tracing| tracing.fields.push(field(name, value))).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
        assert!(
            !format!("{:?}", {
                let mut tracing = good.clone();
                tracing.fields.push(field("A", "hunter2"));
                tracing
            })
            .contains("hunter2")
        );
    }
}
