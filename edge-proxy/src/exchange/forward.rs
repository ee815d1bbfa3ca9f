//! Forwarding of a request to a target, with retries at others, and the response if all fail.

use super::authenticate::AuthIdentity;
use super::context::ExchangeContext;
use super::outcome::{Failure, Outcome};
use super::pump::{Pump, PumpSettings};
use super::reply::{answer, error, maintained, page_head};
use super::{Abort, Downstream, request_id};
use crate::date;
use crate::heads;
use crate::upstream::{Cause, ConnectOptions, Pool, UpstreamError};
use edge_http::proxy_protocol::Extensions;
use edge_http::{BodyLength, Method, RequestHead, ResponseHead, Version};
use edge_policy::balance::sticky::{self, Bindings, CookieScheme};
use edge_policy::balance::{TriedTargets, hash};
use edge_policy::compression::{self, SkipReason};
use edge_policy::config::{Balance, Coding, ErrorPage, HashKey, Maintenance, ResponseOrigin, Upstream};
use edge_policy::decide::request_fields;
use edge_policy::handler::{HandlerRef, HandlerResponse};
use std::cell::Cell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns the failure of an upstream as text for the log: the target, if `at`, its index, is given, and the cause.
/// `None` for the failure of a handler, which is not the upstream's.
fn error_text(upstream: &Upstream, at: Option<usize>, why: UpstreamError) -> Option<String> {
    let cause = why.cause().map(|cause| cause.to_string());
    let target = at.and_then(|at| upstream.targets.get(at));
    Some(match (target, cause) {
        (Some(target), Some(cause)) => format!("{target}: {cause}"),
        (None, Some(cause)) => cause,
        (_, None) if why == UpstreamError::Handler => return None,
        (_, None) => "every target is down".to_owned(),
    })
}

/// The fields of an upstream's response that are retained when an error page replaces it.
const KEPT_FIELDS: [&[u8]; 4] = [b"allow", b"retry-after", b"set-cookie", b"www-authenticate"];

/// The forwarding of one request to an upstream.
pub(super) struct Forwarding<'c, 'a> {
    /// The context of the request.
    pub(super) context: &'c ExchangeContext<'a>,
    /// The index of the upstream in the configuration.
    pub(super) upstream: usize,
    /// The identity of the authenticated client, which the upstream receives.
    pub(super) identity: AuthIdentity<'a>,
    /// The handler of the route, which edits the response. `None` if the route has none.
    pub(super) handler: Option<&'a HandlerRef>,
}

/// One attempt to send a request to a target.
struct Attempt {
    /// The targets that were tried, this one included.
    others: TriedTargets,
    /// True if the request may be sent to another target: it is idempotent, and attempts are left.
    repeatable: bool,
    /// True if the connection may have been one that was used before.
    reusable: bool,
    /// True if the method is idempotent.
    idempotent: bool,
    /// True if the request asks for an upgrade.
    upgrade: bool,
}

/// The step after an attempt that failed.
enum NextStep {
    /// The request is sent again, on a new connection to any target.
    NewConnection,
    /// The request is sent to another target, since this one failed for this reason.
    OtherTarget(UpstreamError),
    /// An error page takes the place of the response with this status.
    ErrorPage(u16),
    /// The request fails.
    Fail,
}

impl Attempt {
    /// Decides about the step after a failure. `untouched` is true if no content was forwarded and the client has no
    /// final head, and `page` if an error page replaces the response. A retry is paid from the budget of `pool`, except
    /// after a status, which [`ResponseEdits::edit`] pays for.
    fn next(&self, failure: Failure, untouched: bool, page: bool, pool: &Pool) -> NextStep {
        let Failure::Upstream(why) = failure else { return NextStep::Fail };
        match why {
            // Repeated on a new connection, whatever the method.
            UpstreamError::Unprocessed if self.reusable && untouched && !self.upgrade => {
                NextStep::NewConnection
            }
            // So is this, but a target that refuses may be overloaded.
            UpstreamError::Refused
                if self.reusable && untouched && !self.upgrade && pool.may_repeat_refused() =>
            {
                NextStep::NewConnection
            }
            // No response arrived and no content was consumed: an idle connection had been closed meanwhile.
            UpstreamError::Stale if self.reusable && untouched && self.idempotent => NextStep::NewConnection,
            UpstreamError::Status(status) if page => NextStep::ErrorPage(status),
            UpstreamError::Status(_) => NextStep::OtherTarget(why),
            // Another target may do better. Not after a time-out: the client has waited long enough.
            UpstreamError::Broken(_) | UpstreamError::Malformed(_)
                if self.repeatable && untouched && pool.may_repeat(self.others) =>
            {
                NextStep::OtherTarget(why)
            }
            _ => NextStep::Fail,
        }
    }
}

/// The edits of the response heads of one attempt.
struct ResponseEdits<'e, 'c, 'a> {
    /// The request that is forwarded.
    forwarding: &'e Forwarding<'c, 'a>,
    /// The pool of the upstream.
    pool: &'e Pool,
    /// The index of the target in the upstream.
    target: usize,
    /// The attempt to send the request to the target.
    attempt: &'e Attempt,
    /// The head as sent to the upstream.
    request: &'e RequestHead,
    /// The head as the client sent it. `None` if the site does not compress.
    received: Option<&'e RequestHead>,
    /// The targets that the client is bound to.
    bindings: &'e Bindings,
    /// The head of the error page that replaces the response. `None` unless [`Self::edit`] has failed for it.
    page: Option<ResponseHead>,
}

impl ResponseEdits<'_, '_, '_> {
    /// Edits a response head for the client. `untouched` is true if no content of the request was forwarded. Returns
    /// the content coding that the proxy applies; `None` for interim responses and without compression.
    ///
    /// # Errors
    /// [`UpstreamError::Status`] if the status makes the proxy send the request to another target, whose retry is then
    /// paid, or an error page replaces the response. [`UpstreamError::Handler`] if the handler panicked.
    fn edit(
        &mut self,
        response: &mut ResponseHead,
        untouched: bool,
    ) -> Result<Option<Coding>, UpstreamError> {
        let Self { forwarding, pool, attempt, .. } = *self;
        let failure = pool.upstream().retry.statuses.contains(&response.status);
        if failure && untouched && attempt.repeatable && pool.may_repeat(attempt.others) {
            return Err(UpstreamError::Status(response.status));
        }
        if response.is_interim() {
            forwarding.context.response_fields(response);
            return Ok(None);
        }
        if let Some(page) = forwarding.intercepting_head(response) {
            self.page = Some(page);
            return Err(UpstreamError::Status(response.status));
        }
        date::add(&mut response.fields);
        forwarding.context.response_fields(response);
        forwarding.identity.add_response_fields(&mut response.fields);
        self.bind(response);
        request_id::write(forwarding.context, &mut response.fields);
        forwarding.handle(response, self.request)?;
        Ok(forwarding.coding(self.received, response))
    }

    /// Adds the cookie that binds the client to the target, unless it is bound to it already. No effect if the upstream
    /// has no such cookie.
    fn bind(&self, response: &mut ResponseHead) {
        let upstream = self.pool.upstream();
        let identity = self.pool.identity(self.target);
        let Some(cookie) = &upstream.sticky else { return };
        if self.bindings.target_of(&upstream.name) == Some(identity) {
            return;
        }
        let context = self.forwarding.context;
        let reported = context.decision.client.forwarded.https;
        let secure = reported.unwrap_or_else(|| context.facts(false).transport.is_secure());
        let scheme = if secure { CookieScheme::Https } else { CookieScheme::Any };
        let mut bindings = self.bindings.clone();
        bindings.bind(&upstream.name, identity);
        response.fields.push(b"Set-Cookie", sticky::set(cookie, &bindings, scheme).as_bytes());
    }
}

impl Forwarding<'_, '_> {
    /// Forwards the request to a target of the upstream, and the response to the client. Sends the request again at
    /// other targets as the upstream's settings permit, and on a new connection if a reused one was closed or the
    /// target did not process the request, if the client has received no final head and no content was forwarded. If
    /// all fails, sends an error response. `head` is changed to the one that is sent to the upstream. Returns the
    /// outcome.
    pub(super) async fn forward<D: Downstream>(&self, head: &mut RequestHead, down: &mut D) -> Outcome {
        let upgrade = self.context.decision.upgrade;
        let idempotent = head.method.is_idempotent();
        let has_body = head.body != BodyLength::None && upgrade.is_none();
        let method = head.method.clone();
        let pool = &self.context.view.pools[self.upstream];
        let key = self.key(pool.upstream().balance, head);
        // In the client's form: the risk of revealing secrets by length depends on fields that the upstream does not
        // get.
        let compresses = self.context.decision.compression().is_some();
        let asked = compresses.then(|| head.clone());
        let bindings = self.prepare(head, pool.upstream(), down.is_early());
        let extensions = self.context.proxy_extensions(pool.upstream());
        let mut options = self.connect_options(&extensions, bindings.target_of(&pool.upstream().name));
        let mut attempts = pool.upstream().retry.attempts;
        let mut tried = TriedTargets::default();
        pool.count_request();
        loop {
            self.context.trace.attempt(head);
            let (up, flight) = match pool.begin(head, &options, key, &mut tried).await {
                Ok(begun) => begun,
                Err(UpstreamError::Stale) if !options.fresh => {
                    options.fresh = true;
                    continue;
                }
                Err(why) => {
                    let mut ended =
                        Box::pin(self.failed(Failure::Upstream(why), false, (0, 0), head, down)).await;
                    ended.error = error_text(pool.upstream(), options.missed.get(), why);
                    return ended;
                }
            };
            // If this target fails, it is not tried again.
            let mut others = tried;
            others.add(flight.at);
            let attempt = Attempt {
                others,
                repeatable: idempotent && upgrade.is_none() && attempts > 0,
                reusable: !options.fresh,
                idempotent,
                upgrade: upgrade.is_some(),
            };
            let settings = PumpSettings {
                timeouts: &self.context.timeouts,
                decision: self.context.decision,
                config: self.context.view.runtime.snapshot().config(),
                has_body,
                is_empty: head.body == BodyLength::Exact(0),
                splice_after: self.context.view.runtime.splice_after(),
            };
            let mut pump = Pump::new(up, settings);
            let mut edits = ResponseEdits {
                forwarding: self,
                pool,
                target: flight.at,
                attempt: &attempt,
                request: head,
                received: asked.as_ref(),
                bindings: &bindings,
                page: None,
            };
            let outcome = poll_fn(|cx| {
                pump.poll(cx, down, &method, self.context.deadline, &mut |response, untouched| {
                    edits.edit(response, untouched)
                })
            })
            .await;
            let page = edits.page;
            // The deadline of this attempt does not apply to the next.
            self.context.deadline.clear();
            let to = (pool.upstream(), flight.at);
            let fault = outcome.err().map(Failure::reason);
            self.context.trace.attempted(to, head, (pump.up.version(), pump.head.status), fault);
            let Err(failure) = outcome else {
                let (status, received, sent) = (pump.head.status, pump.received, pump.sent);
                let spliced = pump.spliced;
                if pool.upstream().retry.statuses.contains(&status) {
                    flight.failed(Some(Cause::Status(status)));
                } else {
                    flight.succeeded();
                }
                heads::recycle_response(pump.head);
                pump.up.finish();
                let upstream = Some(self.upstream);
                return Outcome { received, sent, upstream, spliced, ..Outcome::with_status(status) };
            };
            match attempt.next(failure, pump.is_untouched(), page.is_some(), pool) {
                NextStep::NewConnection => options.fresh = true,
                NextStep::OtherTarget(why) => {
                    flight.ended_by(why);
                    (tried, attempts) = (others, attempts - 1);
                }
                NextStep::ErrorPage(status) => {
                    flight.succeeded();
                    let received = pump.received;
                    drop(pump);
                    let page = page.unwrap_or_else(|| ResponseHead::new(status));
                    let answered = self.send_page(status, page, &method, down).await;
                    return Outcome { received, upstream: Some(self.upstream), ..answered };
                }
                NextStep::Fail => {
                    let error = match failure {
                        Failure::Upstream(why) => {
                            flight.ended_by(why);
                            error_text(pool.upstream(), Some(flight.at), why)
                        }
                        _ => None,
                    };
                    let counts = (pump.received, pump.sent);
                    let (status, spliced) = (pump.head.status, pump.spliced);
                    let answered = pump.answered;
                    // The connection is closed before the client gets the error.
                    drop(pump);
                    let mut ended = Box::pin(self.failed(failure, answered, counts, head, down)).await;
                    ended.spliced = spliced;
                    ended.error = error;
                    if answered {
                        ended.status = Some(status);
                    }
                    return ended;
                }
            }
        }
    }

    /// Returns the options of the connections to the upstream. `sticky` is the identity of the target that the client
    /// is bound to; `None` without one.
    fn connect_options<'o>(&'o self, extensions: &'o Extensions, sticky: Option<u64>) -> ConnectOptions<'o> {
        let client = &self.context.decision.client;
        ConnectOptions {
            client: SocketAddr::new(client.address, client.port.unwrap_or(0)),
            local: self.context.connection.local,
            extensions,
            deadline: self.context.deadline,
            connect: self.context.timeouts.connect,
            fresh: false,
            shared: true,
            upgrade: self.context.decision.upgrade,
            sticky,
            missed: Cell::new(None),
            host: true,
            trace: self.context.trace,
        }
    }

    /// Sends the error page that replaces a response with this status. `head` is the page's head.
    async fn send_page<D: Downstream>(
        &self,
        status: u16,
        mut head: ResponseHead,
        method: &Method,
        down: &mut D,
    ) -> Outcome {
        let body = self.intercepting_page(status).map_or(&b""[..], |page| &page.body);
        self.context.response_fields(&mut head);
        self.identity.add_response_fields(&mut head.fields);
        answer(self.context, down, method, head, body).await
    }

    /// Changes the head to the one that is sent to the upstream. `early` is true while the handshake is incomplete.
    /// Returns the targets that the client is bound to, by the upstream's cookie, which is removed.
    fn prepare(&self, head: &mut RequestHead, upstream: &Upstream, early: bool) -> Bindings {
        request_fields(self.context.decision, &self.context.facts(early), head);
        self.identity.set_request_fields(&mut head.fields);
        request_id::write(self.context, &mut head.fields);
        let cookie = upstream.sticky.as_ref();
        cookie.map(|cookie| sticky::take(&cookie.name, &mut head.fields)).unwrap_or_default()
    }

    /// Returns the site's error page that replaces responses of upstreams with this status. `None` if there is none,
    /// so that the response is forwarded.
    fn intercepting_page(&self, status: u16) -> Option<&ErrorPage> {
        self.context.decision.site.and_then(|(_, site)| site.error_page(status, ResponseOrigin::Upstream))
    }

    /// Returns the head of the error page that replaces this response, with the response's fields named in
    /// [`KEPT_FIELDS`]. `None` if no page replaces it.
    fn intercepting_head(&self, response: &ResponseHead) -> Option<ResponseHead> {
        let mut head = page_head(self.intercepting_page(response.status)?, response.status);
        for field in response.fields.iter() {
            if KEPT_FIELDS.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
                head.fields.push(field.name, field.value);
            }
        }
        Some(head)
    }

    /// Calls the handler of the route, which may edit the response. `request` is the head as sent to the upstream.
    /// Does nothing if there is no handler.
    ///
    /// # Errors
    /// [`UpstreamError::Handler`] if the handler panicked.
    fn handle(&self, response: &mut ResponseHead, request: &RequestHead) -> Result<(), UpstreamError> {
        let Some(handler) = self.handler else { return Ok(()) };
        let edit = || handler.get().response(&mut HandlerResponse::new(response, request));
        catch_unwind(AssertUnwindSafe(edit)).map_err(|_| UpstreamError::Handler)
    }

    /// Chooses the content coding of the response, and changes the response head accordingly, with Vary if the choice
    /// depended on the request. `request` is the head as the client sent it; `None` if the site does not compress.
    /// Returns `None` if the response is not compressed.
    fn coding(&self, request: Option<&RequestHead>, response: &mut ResponseHead) -> Option<Coding> {
        let request = request?;
        let chosen = compression::choose(self.context.decision.compression(), request, response);
        if let Ok(coding) = chosen {
            compression::rewrite(coding, response);
        }
        if matches!(chosen, Ok(_) | Err(SkipReason::NotAccepted | SkipReason::Leaks)) {
            compression::vary(response);
        }
        chosen.ok()
    }

    /// Returns the hash key of the request for [`Balance::Hash`]: the hash of the client address, the authority in
    /// lower case, or the request target. 0 for other balances.
    fn key(&self, balance: Balance, head: &RequestHead) -> u64 {
        let Balance::Hash(key) = balance else { return 0 };
        match key {
            HashKey::Client => match self.context.decision.client.address {
                IpAddr::V4(address) => hash(&address.octets()),
                IpAddr::V6(address) => hash(&address.octets()),
            },
            HashKey::Host => hash(head.authority.to_ascii_lowercase().as_bytes()),
            HashKey::Target => hash(head.target.as_bytes()),
        }
    }

    /// Returns the site's maintenance response if the failure is that no connection to the upstream could be
    /// established or no target is available. `None` for other failures, or if the site has none.
    fn maintenance(&self, why: Failure) -> Option<&Maintenance> {
        let away = matches!(why, Failure::Upstream(UpstreamError::Connect(_) | UpstreamError::NoTarget));
        self.context.decision.site.and_then(|(_, site)| site.maintenance.as_ref()).filter(|_| away)
    }

    /// Sends the error response for a failure, or the maintenance response. Aborts the exchange instead if a final
    /// head was sent (`answered` is true) or the client cannot receive a response. `received` and `sent` are the
    /// content bytes so far. Returns the outcome with the failure's reason.
    async fn failed<D: Downstream>(
        &self,
        why: Failure,
        answered: bool,
        (received, sent): (u64, u64),
        head: &RequestHead,
        down: &mut D,
    ) -> Outcome {
        let method = &head.method;
        let (status, abort) = match why {
            Failure::ClientLost => (None, Abort::Truncated),
            // In HTTP/2 and 3 that is an error of the stream (RFC 9113 §8.1.1, RFC 9114 §4.1.2).
            Failure::ClientMalformed if head.version >= Version::Http2 => (None, Abort::Malformed),
            Failure::ClientMalformed => (Some(400), Abort::Malformed),
            Failure::TooLarge => (Some(413), Abort::Refused),
            Failure::ClientSlow => (Some(408), Abort::TimedOut),
            Failure::Compression => (Some(503), Abort::Truncated),
            Failure::Upstream(error) => match error {
                UpstreamError::Connect(Cause::Resources) => (Some(503), Abort::Truncated),
                UpstreamError::Connect(_)
                | UpstreamError::Stale
                | UpstreamError::Broken(_)
                | UpstreamError::Malformed(_)
                | UpstreamError::Refused
                | UpstreamError::Unprocessed => (Some(502), Abort::Truncated),
                UpstreamError::Handler => (Some(500), Abort::Truncated),
                UpstreamError::NoTarget => (Some(503), Abort::Truncated),
                UpstreamError::Status(status) => (Some(status), Abort::Truncated),
                UpstreamError::TimedOut => (Some(504), Abort::TimedOut),
            },
        };
        let mut outcome = match status {
            Some(502 | 503) if !answered && let Some(maintenance) = self.maintenance(why) => {
                let mut response = maintained(maintenance);
                self.context.response_fields(&mut response);
                self.identity.add_response_fields(&mut response.fields);
                let body = &maintenance.response.body;
                answer(self.context, down, method, response, body).await
            }
            Some(status) if !answered => {
                let (mut response, body) = error(self.context, status, head);
                self.context.response_fields(&mut response);
                self.identity.add_response_fields(&mut response.fields);
                answer(self.context, down, method, response, &body).await
            }
            _ => {
                down.abort(abort);
                Outcome { status: None, sent, ..Outcome::with_status(0) }
            }
        };
        outcome.received = received;
        outcome.upstream = Some(self.upstream);
        outcome.with_reason(why.reason())
    }
}
