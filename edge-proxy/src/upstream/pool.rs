//! The connection pool of one worker for one upstream. The connection that became idle last is reused first.

use super::connect::{OutgoingProxyHeader, dial, server_name};
use super::h2_connection::MultiplexedConnection;
use super::target::{InFlightGuard, SharedTarget};
use super::target_pool::{CheckIn, DialGuard, TargetPool};
use super::tls::ClientTls;
use super::wire::UpstreamTransport;
use super::{Cause, UpstreamError, UpstreamExchange, h1, h2};
use crate::deadline::Deadline;
use crate::traces::Trace;
use edge_http::RequestHead;
use edge_http::h1::HeadLimits;
use edge_http::host::split_authority;
use edge_http::proxy_protocol::Extensions;
use edge_policy::balance::health::Event;
use edge_policy::balance::{Budget, Candidate, TriedTargets, choose, sticky_target};
use edge_policy::config::{HOST_OF_REQUEST, Limits, Protocol, Upstream};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The connections of one worker to the targets of one upstream, with the worker's retry budget.
pub(crate) struct Pool {
    /// The settings of the upstream.
    upstream: Upstream,
    /// The TLS configuration. `None` for an upstream without TLS.
    tls: Option<Arc<ClientTls>>,
    /// The connections to each target, in the order of the configuration.
    targets: Vec<Rc<TargetPool>>,
    /// The highest number of idle connections to one target.
    idle_limit: usize,
    /// The number of exchanges and connections begun so far, for round robin. It wraps around.
    next: Cell<usize>,
    /// The limits of response heads.
    head_limits: HeadLimits,
    /// The retry budget of the worker.
    budget: Cell<Budget>,
}

/// The number of retries that a worker's budget permits before there were any requests.
const RETRY_RESERVE: u16 = 10;

/// The interval at which idle connections that are not needed are closed.
pub(crate) const TRIM_INTERVAL: Duration = Duration::from_secs(5);

/// All pools of a worker, in the order of the configuration's upstreams.
pub(crate) type Pools = Vec<Rc<Pool>>;

/// The options of an exchange with an upstream, or of a connection to it.
pub(crate) struct ConnectOptions<'a> {
    /// The client's address, for the PROXY header.
    pub(crate) client: SocketAddr,
    /// The address that the client connected to, for the PROXY header.
    pub(crate) local: SocketAddr,
    /// The extensions of the PROXY header, which describe the client's connection.
    pub(crate) extensions: &'a Extensions,
    /// The deadline object that enforces `connect`.
    pub(crate) deadline: &'a Deadline,
    /// The time limit for a new connection.
    pub(crate) connect: Duration,
    /// True if only a new connection may be used, not one that was used before.
    pub(crate) fresh: bool,
    /// True if a connection of the pool may be used, and a new one may serve other exchanges, now or afterwards.
    pub(crate) shared: bool,
    /// The protocol to switch to. The exchange then uses a new connection over HTTP/1.1. `None` without a switch.
    pub(crate) upgrade: Option<&'a str>,
    /// The identity of the target in the client's sticky cookie. `None` if the client has none for the upstream.
    pub(crate) sticky: Option<u64>,
    /// Set to the index of the target whose error [`Pool::begin`] returns. `None` if there is no such target.
    pub(crate) missed: Cell<Option<usize>>,
    /// True if the upstream's configured host, if it has one, is sent instead of the authority of the request.
    pub(crate) host: bool,
    /// The trace that records failed connection attempts.
    pub(crate) trace: &'a Trace<'a>,
}

impl Pool {
    /// Creates the pool of an upstream whose targets have this shared state. `tls` is the TLS configuration, `None` for
    /// plain connections.
    pub(crate) fn new(
        upstream: Upstream,
        targets: &[Arc<SharedTarget>],
        tls: Option<Arc<ClientTls>>,
        limits: &Limits,
    ) -> Self {
        let pool =
            |shared: &Arc<SharedTarget>| TargetPool::new(shared.clone(), limits.idle_upstream, upstream.idle);
        let targets = targets.iter().map(pool).collect();
        let head_limits = head_limits(limits);
        let budget = Cell::new(Budget::new(upstream.retry.budget_percent, RETRY_RESERVE));
        let idle_limit = limits.idle_upstream;
        Self { upstream, tls, targets, idle_limit, next: Cell::new(0), head_limits, budget }
    }

    /// Returns the settings of the upstream.
    pub(crate) const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Returns the shared state of the target with this index.
    pub(super) fn shared(&self, at: usize) -> &SharedTarget {
        &self.targets[at].shared
    }

    /// Takes one retry from the budget. Returns false, and takes none, if there is only one target, no target outside
    /// of `tried` is available, or the budget is empty.
    pub(crate) fn may_repeat(&self, tried: TriedTargets) -> bool {
        let mut budget = self.budget.get();
        let allowed = self.targets.len() > 1 && self.choose(0, 0, None, tried).is_some() && budget.take();
        self.budget.set(budget);
        allowed
    }

    /// Takes one retry from the budget for a request that a target refused without processing it. Returns false, and
    /// takes none, if the budget is empty.
    pub(crate) fn may_repeat_refused(&self) -> bool {
        let mut budget = self.budget.get();
        let allowed = budget.take();
        self.budget.set(budget);
        allowed
    }

    /// Returns the index of the target to use, none of `tried`: the one with the identity `sticky` if it is usable, or
    /// else one by the balance. `turn` is the number for round robin, `key` that for hashing. `None` if no target is
    /// usable.
    fn choose(&self, turn: usize, key: u64, sticky: Option<u64>, tried: TriedTargets) -> Option<usize> {
        let balance = self.upstream.balance;
        match &self.targets[..] {
            [only] => choose(balance, &[only.shared.candidate()], turn, key, tried),
            targets => {
                // On the stack: no allocation per request.
                let mut candidates = [Candidate::NONE; 64];
                let count = targets.len().min(64);
                let backups = count - self.upstream.backups.min(count);
                for (at, (candidate, target)) in candidates.iter_mut().zip(targets).enumerate() {
                    *candidate = target.shared.candidate();
                    candidate.weight = self.upstream.weights.get(at).copied().unwrap_or(1);
                    candidate.backup = at >= backups;
                }
                let kept = sticky.and_then(|identity| sticky_target(&candidates[..count], identity, tried));
                kept.or_else(|| choose(balance, &candidates[..count], turn, key, tried))
            }
        }
    }

    /// Returns the identity of the target with this index, the hash of its address, for the sticky cookie.
    pub(crate) fn identity(&self, at: usize) -> u64 {
        self.targets[at].shared.candidate().identity
    }

    /// Closes idle connections that are not needed, have expired or were closed by their upstream. Must be called once
    /// per [`TRIM_INTERVAL`].
    pub(crate) fn trim(&self) {
        self.targets.iter().for_each(|target| target.trim());
    }

    /// Returns whether this pool was created for an equal upstream, the same TLS configuration and equal limits, so
    /// that a reload can keep it.
    pub(crate) fn serves(&self, upstream: &Upstream, tls: Option<&Arc<ClientTls>>, limits: &Limits) -> bool {
        self.upstream == *upstream
            && self.idle_limit == limits.idle_upstream
            && self.head_limits == head_limits(limits)
            && match (&self.tls, tls) {
                (Some(mine), Some(other)) => Arc::ptr_eq(mine, other),
                (None, None) => true,
                _ => false,
            }
    }

    /// Returns the value of Host for a request with this authority: the upstream's configured host if it has one and
    /// `options.host` is true, or else the authority.
    fn host<'a>(&'a self, authority: &'a str, options: &ConnectOptions<'_>) -> &'a str {
        self.upstream.host.as_deref().filter(|_| options.host).unwrap_or(authority)
    }

    /// Counts a request of a client, which adds to the retry budget.
    pub(crate) fn count_request(&self) {
        let mut budget = self.budget.get();
        budget.request();
        self.budget.set(budget);
    }

    /// Begins an exchange with a target that is not in `tried`. `key` is the number for hashing. If no connection to
    /// it can be established, other targets are tried, since nothing was sent. Failed targets are added to `tried` and
    /// to the trace, and their health is changed unless the error is [local](UpstreamError::is_local). Returns the
    /// exchange, and the guard that counts it as in flight.
    ///
    /// # Errors
    /// The error of the last target, or of the last whose error was not [local](UpstreamError::is_local) if there was
    /// one; `NoTarget` if none is available; `Stale` if a reused connection was closed.
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
        while let Some(at) = self.choose(turn, key, options.sticky, *tried) {
            let shared = &self.targets[at].shared;
            let flight = InFlightGuard::new(shared.clone(), rules, at);
            let since = options.trace.clock();
            match self.begin_at(at, head, options).await {
                Ok(exchange) => return Ok((exchange, flight)),
                Err(UpstreamError::Stale) if !options.fresh => return Err(UpstreamError::Stale),
                Err(why) => {
                    options.trace.missed(&self.upstream, at, since, head, why);
                    tried.add(at);
                    // The target is not to blame for what this system lacks. Others may be reached nevertheless.
                    if why.is_local() {
                        shared.note(why.cause());
                    } else {
                        shared.tell(Event::Failed, &rules, why.cause());
                    }
                    if !why.is_local() || last.is_local() || last == UpstreamError::NoTarget {
                        options.missed.set(Some(at));
                        last = why;
                    }
                }
            }
        }
        Err(last)
    }

    /// Establishes a new connection for bytes that are not HTTP. If that fails, other targets are tried, and the
    /// health of the failed ones is changed unless the error is [local](UpstreamError::is_local). `key` is the number
    /// for hashing. Returns the connection, and the guard that counts it as in flight.
    ///
    /// # Errors
    /// The error of the last target, or of the last whose error was not [local](UpstreamError::is_local) if there was
    /// one; `NoTarget` if none is available.
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
        while let Some(at) = self.choose(turn, key, None, tried) {
            let target = &self.targets[at];
            let flight = InFlightGuard::new(target.shared.clone(), rules, at);
            let proxy_header = self.outgoing_proxy_header(options);
            match self.dial(target, proxy_header.as_ref(), None, options).await {
                Ok(transport) => return Ok((transport, flight)),
                Err(why) => {
                    tried.add(at);
                    if why.is_local() {
                        target.shared.note(why.cause());
                    } else {
                        target.shared.tell(Event::Failed, &rules, why.cause());
                    }
                    if !why.is_local() || last.is_local() || last == UpstreamError::NoTarget {
                        last = why;
                    }
                }
            }
        }
        Err(last)
    }

    /// Begins an exchange with the target with the index `at`, on an idle connection or a new one. Requests with a
    /// protocol switch, and those with a PROXY header, get new connections, as do all if `options` says so.
    ///
    /// # Errors
    /// [`UpstreamError::Connect`] if no connection can be established or, over HTTP/2, no stream can be opened;
    /// [`UpstreamError::Malformed`] if the request cannot be sent over HTTP/2.
    pub(super) async fn begin_at(
        &self,
        at: usize,
        head: &RequestHead,
        options: &ConnectOptions<'_>,
    ) -> Result<UpstreamExchange, UpstreamError> {
        let target = &self.targets[at];
        target.check_zone();
        let host = self.host(&head.authority, options);
        let proxy_header = self.outgoing_proxy_header(options);
        let shared = proxy_header.is_none() && options.shared;
        let name = self.name_of_request(host);
        // A protocol switch goes over HTTP/1.1, which every service speaks.
        if self.upstream.protocol == Protocol::Http2 && options.upgrade.is_none() {
            return Box::pin(self.begin_http2(target, head, host, proxy_header.as_ref(), options)).await;
        }
        let limits = self.head_limits;
        // After a switch the connection is not kept, so a kept one would only be one that can fail.
        if shared
            && !options.fresh
            && options.upgrade.is_none()
            && let Some(wire) = target.take(name)
        {
            let check_in = CheckIn::new(Some(target.clone()), name);
            let exchange = h1::Http1Request::begin(wire, check_in, true, head, host, None, limits);
            return Ok(UpstreamExchange::H1(exchange));
        }
        let wire = Box::pin(self.dial(target, proxy_header.as_ref(), name, options)).await?;
        let check_in = CheckIn::new(shared.then(|| target.clone()), name);
        let exchange = h1::Http1Request::begin(wire, check_in, false, head, host, options.upgrade, limits);
        Ok(UpstreamExchange::H1(exchange))
    }

    /// Returns the PROXY header for a new connection. `None` if the upstream is not configured to receive one.
    fn outgoing_proxy_header<'o>(&self, options: &ConnectOptions<'o>) -> Option<OutgoingProxyHeader<'o>> {
        self.upstream.proxy_protocol.map(|version| OutgoingProxyHeader {
            version,
            extensions: options.extensions,
            client: options.client,
            local: options.local,
        })
    }

    /// Returns the host in `host`, without a port, as the server name to verify, if the upstream verifies the name of
    /// each request ([`HOST_OF_REQUEST`]). `None` otherwise.
    fn name_of_request<'h>(&self, host: &'h str) -> Option<&'h str> {
        let written = self.upstream.tls.as_ref()?.server_name.as_deref()?;
        (written == HOST_OF_REQUEST).then(|| split_authority(host).map_or(host, |(name, _, _)| name))
    }

    /// Begins an exchange on the first HTTP/2 connection to the target that has room, or on a new one. While a shared
    /// connection is being established, other exchanges that need one wait for it, and fail if it cannot be
    /// established, or is not within the time limit of `options`. It is established when the upstream has said how many
    /// streams it accepts.
    ///
    /// # Errors
    /// `Connect` if no connection can be established in time, `Malformed` if the request cannot be sent over HTTP/2.
    async fn begin_http2(
        &self,
        target: &Rc<TargetPool>,
        head: &RequestHead,
        host: &str,
        proxy_header: Option<&OutgoingProxyHeader<'_>>,
        options: &ConnectOptions<'_>,
    ) -> Result<UpstreamExchange, UpstreamError> {
        let secure = self.tls.is_some();
        let shared = proxy_header.is_none() && options.shared;
        let name = self.name_of_request(host);
        let reuses = shared && !options.fresh;
        loop {
            if !reuses {
                break;
            }
            let Some(client) = target.multiplexed(name) else {
                if !target.dialling.get() {
                    break;
                }
                // Concurrent requests share one new connection instead of one each.
                let dialled = options.deadline.within(options.connect, target.dialled.notified());
                dialled.await.ok_or(UpstreamError::Connect(Cause::ConnectTimedOut))?;
                if let Some(why) = target.dial_failed.get() {
                    return Err(why);
                }
                continue;
            };
            let begun = h2::Http2Request::begin(&client, head, host, true, secure);
            match options.deadline.within(options.connect, begun).await {
                Some(Ok(exchange)) => return Ok(UpstreamExchange::H2(Box::new(exchange))),
                Some(Err(why @ UpstreamError::Malformed(_))) => return Err(why),
                // The connection ended, or accepts no stream although it should.
                _ => client.retire(),
            }
        }
        let dialling = shared.then(|| DialGuard::begin(target.clone()));
        let connected = async {
            let wire = Box::pin(self.dial(target, proxy_header, name, options)).await?;
            let connecting = Box::pin(MultiplexedConnection::connect(wire, self.head_limits.bytes));
            let made = options.deadline.within(options.connect, connecting).await;
            made.unwrap_or(Err(UpstreamError::Connect(Cause::ConnectTimedOut)))
        };
        let client = match (connected.await, dialling) {
            (Ok(client), Some(dialling)) => {
                dialling.succeeded(name, client.clone(), options.connect);
                client
            }
            (Err(why), Some(dialling)) => return Err(dialling.failed(why)),
            (made, None) => made?,
        };
        let begun = h2::Http2Request::begin(&client, head, host, false, secure);
        let exchange = options.deadline.within(options.connect, begun).await;
        let exchange = exchange.unwrap_or(Err(UpstreamError::Connect(Cause::ConnectTimedOut)))?;
        Ok(UpstreamExchange::H2(Box::new(exchange)))
    }

    /// Establishes a connection to a target within the time limit of `options`. `name` is the server name to verify;
    /// `None` for the configured one, or else the target's host, or `localhost` for a Unix socket.
    ///
    /// # Errors
    /// [`UpstreamError::Connect`], with [`Cause::TlsName`] if the server name is invalid.
    async fn dial(
        &self,
        pool: &TargetPool,
        proxy_header: Option<&OutgoingProxyHeader<'_>>,
        name: Option<&str>,
        options: &ConnectOptions<'_>,
    ) -> Result<UpstreamTransport, UpstreamError> {
        let target = &pool.shared.target;
        let tls = match &self.tls {
            None => None,
            Some(tls) => {
                let written = self.upstream.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
                let name = server_name(name.or(written), target);
                let name = name.ok_or(UpstreamError::Connect(Cause::TlsName))?;
                let config = if options.upgrade.is_some() { &tls.switches } else { &tls.requests };
                Some((config, name))
            }
        };
        let dialled = options.deadline.within(options.connect, dial(target, tls, proxy_header)).await;
        dialled.unwrap_or(Err(UpstreamError::Connect(Cause::ConnectTimedOut)))
    }
}

/// Returns the limits of response heads in the configuration.
const fn head_limits(limits: &Limits) -> HeadLimits {
    HeadLimits { bytes: limits.response_header_bytes, fields: limits.response_header_fields, target: 0 }
}
