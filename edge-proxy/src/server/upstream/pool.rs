//! Connections that are kept: a pool a worker and upstream, last in first out.

use super::connect::{Announce, dial};
use super::error::ConnectError;
use super::h2_connection::MultiplexedConnection;
use super::target::{InFlightGuard, SharedTarget};
use super::target_pool::{CheckIn, DialGuard, TargetPool};
use super::wire::UpstreamTransport;
use super::{UpstreamError, UpstreamExchange, h1, h2};
use crate::RequestHead;
use crate::balance::health::Event;
use crate::balance::{Budget, Candidate, TriedTargets, choose};
use crate::config::{Protocol, Upstream};
use crate::server::deadline::Deadline;
use crate::server::traces::Trace;
use rustls::ClientConfig;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The connections of one worker to one upstream.
pub(crate) struct Pool {
    upstream: Upstream,
    tls: Option<(Arc<ClientConfig>, Option<String>)>,
    targets: Vec<Rc<TargetPool>>,
    next: Cell<usize>,
    budget: Cell<Budget>,
}

/// Repetitions that an upstream may have before there were any requests, in one worker.
const RESERVE: u16 = 10;

/// The time between two looks at connections that are not needed any more.
pub(crate) const PERIOD: Duration = Duration::from_secs(5);

/// All pools of a worker, in the order of the configuration's upstreams.
pub(crate) type Pools = Vec<Rc<Pool>>;

/// For whom an exchange is: what the PROXY header says.
pub(crate) struct ConnectOptions<'a> {
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
    /// The deadline for a new connection.
    pub(crate) deadline: &'a Deadline,
    pub(crate) connect: Duration,
    /// True if only a new connection may be used.
    pub(crate) fresh: bool,
    pub(crate) websocket: bool,
    /// True if the upstream's configured host is sent, if it has one.
    pub(crate) host: bool,
    /// The trace that records failed connection attempts.
    pub(crate) trace: &'a Trace<'a>,
}

impl Pool {
    pub(crate) fn new(
        upstream: Upstream,
        targets: &[Arc<SharedTarget>],
        tls: Option<Arc<ClientConfig>>,
        limit: usize,
    ) -> Self {
        let targets = targets.iter().map(|shared| TargetPool::new(shared.clone(), limit)).collect();
        let tls = tls.map(|config| (config, upstream.tls.as_ref().and_then(|tls| tls.server_name.clone())));
        let budget = Cell::new(Budget::new(upstream.retry.budget_percent, RESERVE));
        Self { upstream, tls, targets, next: Cell::new(0), budget }
    }

    pub(crate) const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    pub(super) fn shared(&self, at: usize) -> &SharedTarget {
        &self.targets[at].shared
    }

    /// Takes one retry from the budget, if another target is left.
    pub(crate) fn may_repeat(&self, tried: TriedTargets) -> bool {
        let mut budget = self.budget.get();
        let allowed = self.targets.len() > 1 && self.choose(0, 0, tried).is_some() && budget.take();
        self.budget.set(budget);
        allowed
    }

    fn choose(&self, turn: usize, key: u64, tried: TriedTargets) -> Option<usize> {
        let balance = self.upstream.balance;
        match &self.targets[..] {
            [only] => choose(balance, &[only.shared.candidate()], turn, key, tried),
            targets => {
                // On the stack: no allocation per request.
                let mut candidates = [Candidate::NONE; 64];
                let count = targets.len().min(64);
                for (candidate, target) in candidates.iter_mut().zip(targets) {
                    *candidate = target.shared.candidate();
                }
                choose(balance, &candidates[..count], turn, key, tried)
            }
        }
    }

    /// Closes connections that are not needed any more. Called once a [period](PERIOD).
    pub(crate) fn trim(&self) {
        self.targets.iter().for_each(|target| target.trim());
    }

    /// Returns whether this pool serves that upstream, so that a reload can keep it.
    pub(crate) fn serves(&self, upstream: &Upstream, tls: Option<&Arc<ClientConfig>>) -> bool {
        self.upstream == *upstream
            && match (&self.tls, tls) {
                (Some((mine, _)), Some(other)) => Arc::ptr_eq(mine, other),
                (None, None) => true,
                _ => false,
            }
    }

    /// The Host to send for a request to this authority.
    fn host<'a>(&'a self, authority: &'a str, options: &ConnectOptions<'_>) -> &'a str {
        self.upstream.host.as_deref().filter(|_| options.host).unwrap_or(authority)
    }

    /// A request begins: what it is repeated by is counted.
    pub(crate) fn count(&self) {
        let mut budget = self.budget.get();
        budget.request();
        self.budget.set(budget);
    }

    /// Starts an exchange with the target chosen by `key`, and tries others as long as no connection can be made:
    /// nothing was sent then. Tried targets are added to `tried`.
    pub(crate) async fn begin(
        &self,
        head: &RequestHead,
        options: &ConnectOptions<'_>,
        key: u64,
        tried: &mut TriedTargets,
    ) -> Result<(UpstreamExchange, InFlightGuard), UpstreamError> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        let mut last = UpstreamError::NoTarget;
        let rules = self.upstream.health.rules;
        while let Some(at) = self.choose(turn, key, *tried) {
            let shared = &self.targets[at].shared;
            let flight = InFlightGuard::new(shared.clone(), rules, at);
            let since = options.trace.clock();
            match self.begin_at(at, head, options).await {
                Ok(exchange) => return Ok((exchange, flight)),
                Err(UpstreamError::Stale) if !options.fresh => return Err(UpstreamError::Stale),
                Err(why) => {
                    options.trace.missed(&self.upstream, at, since, head, why);
                    if why == UpstreamError::Connect(ConnectError::Resources) {
                        // No other target could be reached either, and none is to blame.
                        return Err(why);
                    }
                    shared.tell(Event::Failed, &rules);
                    tried.add(at);
                    last = why;
                }
            }
        }
        Err(last)
    }

    /// Makes a connection of its own to the target that the balance chooses by `key`, for bytes that are not HTTP, and goes on to
    /// others as long as none can be made.
    pub(crate) async fn connect(
        &self,
        options: &ConnectOptions<'_>,
        key: u64,
    ) -> Result<(UpstreamTransport, InFlightGuard), UpstreamError> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        let mut tried = TriedTargets::default();
        let mut last = UpstreamError::NoTarget;
        let rules = self.upstream.health.rules;
        while let Some(at) = self.choose(turn, key, tried) {
            let target = &self.targets[at];
            let flight = InFlightGuard::new(target.shared.clone(), rules, at);
            let announce = self.upstream.proxy_protocol.map(|version| Announce {
                version,
                client: options.client,
                local: options.local,
            });
            match self.dial(target, announce.as_ref(), options).await {
                Ok(transport) => return Ok((transport, flight)),
                Err(why @ UpstreamError::Connect(ConnectError::Resources)) => return Err(why),
                Err(why) => {
                    target.shared.tell(Event::Failed, &rules);
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
        options: &ConnectOptions<'_>,
    ) -> Result<UpstreamExchange, UpstreamError> {
        let target = &self.targets[at];
        let host = self.host(&head.authority, options);
        let announce = self.upstream.proxy_protocol.map(|version| Announce {
            version,
            client: options.client,
            local: options.local,
        });
        let shared = announce.is_none();
        // WebSocket to upstreams uses HTTP/1.1, which every upstream supports.
        if self.upstream.protocol == Protocol::Http2 && !options.websocket {
            return Box::pin(self.begin_http2(target, head, host, announce.as_ref(), options)).await;
        }
        if shared
            && !options.fresh
            && let Some(wire) = target.take()
        {
            let check_in = CheckIn::new(Some(target.clone()));
            let exchange = h1::Http1Request::begin(wire, check_in, true, head, host, options.websocket);
            return Ok(UpstreamExchange::H1(Box::new(exchange)));
        }
        let wire = Box::pin(self.dial(target, announce.as_ref(), options)).await?;
        let check_in = CheckIn::new(shared.then(|| target.clone()));
        Ok(UpstreamExchange::H1(Box::new(h1::Http1Request::begin(
            wire,
            check_in,
            false,
            head,
            host,
            options.websocket,
        ))))
    }

    /// Begins an exchange on the first HTTP/2 connection that has room, or on a new one.
    async fn begin_http2(
        &self,
        target: &TargetPool,
        head: &RequestHead,
        host: &str,
        announce: Option<&Announce>,
        options: &ConnectOptions<'_>,
    ) -> Result<UpstreamExchange, UpstreamError> {
        let secure = self.tls.is_some();
        let shared = announce.is_none();
        while shared && !options.fresh {
            let Some(client) = target.multiplexed() else {
                if !target.dialling.get() {
                    break;
                }
                // Many requests at once make one connection, not one each.
                target.dialled.notified().await;
                if target.dial_failed.get() {
                    return Err(ConnectError::Io.into());
                }
                continue;
            };
            let begun = h2::Http2Request::begin(&client, head, host, true, secure);
            match options.deadline.within(options.connect, begun).await {
                Some(Ok(exchange)) => return Ok(UpstreamExchange::H2(Box::new(exchange))),
                Some(Err(UpstreamError::Malformed)) => return Err(UpstreamError::Malformed),
                // It ended, or takes no stream although it should.
                _ => client.retire(),
            }
        }
        let dialling = shared.then(|| DialGuard::begin(target));
        let wire = Box::pin(self.dial(target, announce, options)).await?;
        let made =
            options.deadline.within(options.connect, Box::pin(MultiplexedConnection::connect(wire))).await;
        let client = made.unwrap_or(Err(ConnectError::TimedOut.into()))?;
        if let Some(dialling) = dialling {
            dialling.succeeded(client.clone());
        }
        let begun = h2::Http2Request::begin(&client, head, host, false, secure);
        let exchange = options.deadline.within(options.connect, begun).await;
        let exchange = exchange.unwrap_or(Err(ConnectError::TimedOut.into()))?;
        Ok(UpstreamExchange::H2(Box::new(exchange)))
    }

    async fn dial(
        &self,
        target: &TargetPool,
        announce: Option<&Announce>,
        options: &ConnectOptions<'_>,
    ) -> Result<UpstreamTransport, UpstreamError> {
        let dialled = options
            .deadline
            .within(options.connect, dial(&target.shared.target, self.tls.as_ref(), announce))
            .await;
        dialled.unwrap_or(Err(ConnectError::TimedOut.into()))
    }
}
