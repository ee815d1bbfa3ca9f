//! Connections that are kept: a pool a worker and upstream, last in first out.

use super::connect::{Announce, dial};
use super::target::{Flight, SharedTarget};
use super::{Exchange, UpstreamError, h1, h2};
use crate::RequestHead;
use crate::balance::health::Event;
use crate::balance::{Budget, Candidate, Tried, choose};
use crate::config::{Protocol, Upstream};
use crate::server::buffer::AtOnce;
use crate::server::deadline::Deadline;
use crate::server::socket::Socket;
use crate::server::tls::TlsStream;
use crate::server::traces::Trace;
use rustls::{ClientConfig, ClientConnection};
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Kept connections older than this are not used: services close theirs after a minute or more.
const IDLE: Duration = Duration::from_secs(50);

/// A connection to a service.
pub(crate) enum Wire {
    Plain(Socket),
    Tls(Box<TlsStream<ClientConnection>>),
}

impl Wire {
    /// Whether a kept connection is still usable: nothing came, and it was not closed. No system call is made if the
    /// runtime knows of no readiness.
    fn is_quiet(&mut self) -> bool {
        let mut byte = [0u8; 1];
        let mut space = ReadBuf::new(&mut byte);
        Pin::new(self).poll_read(&mut Context::from_waker(Waker::noop()), &mut space).is_pending()
    }
}

impl AtOnce for Wire {
    fn put(&mut self, parts: &[&[u8]]) -> usize {
        match self {
            Self::Plain(socket) => socket.put(parts),
            Self::Tls(stream) => stream.put(parts),
        }
    }
}

macro_rules! either {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Wire::Plain($io) => $call,
            Wire::Tls($io) => {
                let $io = &mut **$io;
                $call
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}

struct Kept {
    wire: Wire,
    since: Instant,
}

/// The connections of one worker to one target.
struct Shelf {
    shared: Arc<SharedTarget>,
    kept: RefCell<Vec<Kept>>,
    multiplexed: RefCell<Option<h2::Client>>,
    limit: usize,
}

/// Where a connection goes back to after its exchange.
pub(crate) struct Home(Option<Rc<Shelf>>);

impl Home {
    pub(super) fn keep(self, wire: Wire) {
        if let Some(shelf) = self.0 {
            let mut kept = shelf.kept.borrow_mut();
            if kept.len() < shelf.limit {
                kept.push(Kept { wire, since: Instant::now() });
            }
        }
    }
}

/// The connections of one worker to one upstream.
pub(crate) struct Pool {
    upstream: Upstream,
    tls: Option<(Arc<ClientConfig>, Option<String>)>,
    shelves: Vec<Rc<Shelf>>,
    next: Cell<usize>,
    budget: Cell<Budget>,
}

/// Repetitions that an upstream may have before there were any requests, in one worker.
const RESERVE: u16 = 10;

/// All pools of a worker, in the order of the configuration's upstreams.
pub(crate) type Pools = Vec<Rc<Pool>>;

/// For whom an exchange is: what the PROXY header says.
pub(crate) struct Lease<'a> {
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
    /// The deadline by which a new connection is made.
    pub(crate) deadline: &'a Deadline,
    pub(crate) connect: Duration,
    /// Whether only a new connection will do.
    pub(crate) fresh: bool,
    pub(crate) websocket: bool,
    /// Whether the upstream's own host is sent, where it has one.
    pub(crate) host: bool,
    /// Where it is told of connections that could not be made.
    pub(crate) trace: &'a Trace<'a>,
}

impl Pool {
    pub(crate) fn new(
        upstream: Upstream,
        targets: &[Arc<SharedTarget>],
        tls: Option<Arc<ClientConfig>>,
        limit: usize,
    ) -> Self {
        let shelves = targets
            .iter()
            .map(|shared| {
                Rc::new(Shelf {
                    shared: shared.clone(),
                    kept: RefCell::default(),
                    multiplexed: RefCell::default(),
                    limit,
                })
            })
            .collect();
        let tls = tls.map(|config| (config, upstream.tls.as_ref().and_then(|tls| tls.server_name.clone())));
        let budget = Cell::new(Budget::new(upstream.retry.budget_percent, RESERVE));
        Self { upstream, tls, shelves, next: Cell::new(0), budget }
    }

    pub(crate) const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    pub(super) fn shared(&self, at: usize) -> &SharedTarget {
        &self.shelves[at].shared
    }

    /// Takes one repetition from the budget, if there is a target left that it could go to.
    pub(crate) fn may_repeat(&self, tried: Tried) -> bool {
        let mut budget = self.budget.get();
        let allowed = self.shelves.len() > 1 && self.choose(0, 0, tried).is_some() && budget.take();
        self.budget.set(budget);
        allowed
    }

    fn choose(&self, turn: usize, key: u64, tried: Tried) -> Option<usize> {
        let balance = self.upstream.balance;
        match &self.shelves[..] {
            [only] => choose(balance, &[only.shared.candidate()], turn, key, tried),
            shelves => {
                // On the stack: there is no allocation a request.
                let mut candidates = [Candidate::NONE; 64];
                let count = shelves.len().min(64);
                for (candidate, shelf) in candidates.iter_mut().zip(shelves) {
                    *candidate = shelf.shared.candidate();
                }
                choose(balance, &candidates[..count], turn, key, tried)
            }
        }
    }

    /// Whether this pool serves that upstream, so that a reload can keep it.
    pub(crate) fn serves(&self, upstream: &Upstream, tls: Option<&Arc<ClientConfig>>) -> bool {
        self.upstream == *upstream
            && match (&self.tls, tls) {
                (Some((mine, _)), Some(other)) => Arc::ptr_eq(mine, other),
                (None, None) => true,
                _ => false,
            }
    }

    /// The Host to send for a request to this authority.
    fn host<'a>(&'a self, authority: &'a str, lease: &Lease<'_>) -> &'a str {
        self.upstream.host.as_deref().filter(|_| lease.host).unwrap_or(authority)
    }

    /// A request begins: what it is repeated by is counted.
    pub(crate) fn count(&self) {
        let mut budget = self.budget.get();
        budget.request();
        self.budget.set(budget);
    }

    /// Begins an exchange with the target that the balance chooses by `key`, and goes on to others as long as no connection
    /// can be made: nothing was sent then. Those are added to `tried`.
    pub(crate) async fn begin(
        &self,
        head: &RequestHead,
        lease: &Lease<'_>,
        key: u64,
        tried: &mut Tried,
    ) -> Result<(Exchange, Flight), UpstreamError> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        let mut last = UpstreamError::NoTarget;
        let rules = self.upstream.health.rules;
        while let Some(at) = self.choose(turn, key, *tried) {
            let shared = &self.shelves[at].shared;
            let flight = Flight::new(shared.clone(), rules, at);
            let since = lease.trace.clock();
            match self.begin_at(at, head, lease).await {
                Ok(exchange) => return Ok((exchange, flight)),
                Err(UpstreamError::Stale) if !lease.fresh => return Err(UpstreamError::Stale),
                Err(why) => {
                    lease.trace.missed(&self.upstream, at, since, head, why);
                    shared.tell(Event::Failed, &rules);
                    tried.add(at);
                    last = why;
                }
            }
        }
        Err(last)
    }

    /// Begins an exchange with this target.
    pub(super) async fn begin_at(
        &self,
        at: usize,
        head: &RequestHead,
        lease: &Lease<'_>,
    ) -> Result<Exchange, UpstreamError> {
        let shelf = &self.shelves[at];
        let host = self.host(&head.authority, lease);
        let announce = self.upstream.proxy_protocol.map(|version| Announce {
            version,
            client: lease.client,
            local: lease.local,
        });
        let shared = announce.is_none();
        // WebSocket to services goes over HTTP/1.1, which every service speaks.
        if self.upstream.protocol == Protocol::Http2 && !lease.websocket {
            let known = if shared && !lease.fresh { shelf.multiplexed.borrow().clone() } else { None };
            if let Some(client) = known
                && let Ok(exchange) =
                    Box::pin(h2::Exchange::begin(client, head, host, true, self.tls.is_some())).await
            {
                return Ok(Exchange::H2(Box::new(exchange)));
            }
            let wire = Box::pin(self.dial(shelf, announce.as_ref(), lease)).await?;
            let client = Box::pin(h2::connect(wire)).await?;
            if shared {
                *shelf.multiplexed.borrow_mut() = Some(client.clone());
            }
            let exchange =
                Box::pin(h2::Exchange::begin(client, head, host, false, self.tls.is_some())).await?;
            return Ok(Exchange::H2(Box::new(exchange)));
        }
        if shared && !lease.fresh {
            loop {
                let Some(mut kept) = shelf.kept.borrow_mut().pop() else { break };
                if kept.since.elapsed() < IDLE && kept.wire.is_quiet() {
                    let home = Home(Some(shelf.clone()));
                    let exchange = h1::Exchange::begin(kept.wire, home, true, head, host, lease.websocket);
                    return Ok(Exchange::H1(Box::new(exchange)));
                }
            }
        }
        let wire = Box::pin(self.dial(shelf, announce.as_ref(), lease)).await?;
        let home = Home(shared.then(|| shelf.clone()));
        Ok(Exchange::H1(Box::new(h1::Exchange::begin(wire, home, false, head, host, lease.websocket))))
    }

    async fn dial(
        &self,
        shelf: &Shelf,
        announce: Option<&Announce>,
        lease: &Lease<'_>,
    ) -> Result<Wire, UpstreamError> {
        let dialled = lease
            .deadline
            .within(lease.connect, dial(&shelf.shared.target, self.tls.as_ref(), announce))
            .await;
        dialled.unwrap_or(Err(UpstreamError::Connect))
    }
}
