//! A request that is passed on: to one target, or to others when that may be, and what the client is told if none answers.

use super::guard::Identity;
use super::pump::{Failure, Pump};
use super::serve::{Connection, Outcome, answer, error, saying};
use super::{Abort, Downstream};
use crate::balance::{Tried, hash};
use crate::compression::{self, Reason};
use crate::config::{Balance, Coding, HashKey, Maintenance, Timeouts};
use crate::decide::{Decision, request_fields, response_fields};
use crate::server::date;
use crate::server::deadline::Deadline;
use crate::server::traces::Trace;
use crate::server::upstream::{Lease, UpstreamError};
use crate::server::worker::View;
use crate::tailnet::Identities;
use crate::{BodyLength, RequestHead, ResponseHead, Version};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};

/// All that forwarding needs.
pub(super) struct Way<'a> {
    pub(super) view: &'a View,
    pub(super) connection: &'a Connection,
    /// Who is at the other end of it, in the tailnet.
    pub(super) who: Identities<'a>,
    pub(super) decision: &'a Decision<'a>,
    pub(super) timeouts: Timeouts,
    pub(super) upstream: usize,
    pub(super) deadline: &'a Deadline,
    pub(super) identity: Identity<'a>,
    pub(super) trace: &'a Trace<'a>,
}

impl Way<'_> {
    /// Forwards the request and its answer. `head` becomes the one that is sent.
    pub(super) async fn forward<D: Downstream>(&self, head: &mut RequestHead, down: &mut D) -> Outcome {
        let websocket = self.decision.websocket;
        let idempotent = head.method.is_idempotent();
        let has_body = head.body != BodyLength::None && !websocket;
        let method = head.method.clone();
        let pool = &self.view.pools[self.upstream];
        let key = self.key(pool.upstream().balance, head);
        // As the client sent it: whether lengths could tell a secret depends on fields that the service does not get.
        let compresses = self.decision.site.is_some_and(|(_, site)| site.compression.is_some());
        let asked = compresses.then(|| head.clone());
        request_fields(
            self.decision,
            &self.connection.facts(down.is_early(), self.who),
            down.is_early(),
            head,
        );
        self.identity.tell(&mut head.fields);
        let client = SocketAddr::new(self.decision.client.address, self.decision.client.port.unwrap_or(0));
        let mut lease = Lease {
            client,
            local: self.connection.local,
            deadline: self.deadline,
            connect: self.timeouts.connect,
            fresh: false,
            websocket,
            host: true,
            trace: self.trace,
        };
        let retry = &pool.upstream().retry;
        let mut attempts = retry.attempts;
        let mut tried = Tried::default();
        pool.count();
        loop {
            self.trace.attempt(head);
            let (up, flight) = match pool.begin(head, &lease, key, &mut tried).await {
                Ok(begun) => begun,
                Err(UpstreamError::Stale) if !lease.fresh => {
                    lease.fresh = true;
                    continue;
                }
                Err(why) => {
                    return Box::pin(self.failed(Failure::Upstream(why), false, (0, 0), head, down)).await;
                }
            };
            // What is tried next if this fails: not the same.
            let mut others = tried;
            others.add(flight.at);
            let repeatable = idempotent && !websocket && attempts > 0;
            let mut pump = Pump::new(up, &self.timeouts, self.decision.body_limit, has_body)
                .announced_empty(head.body == BodyLength::Exact(0))
                .direct_after(self.view.runtime.direct_after());
            let facts = self.connection.facts(false, self.who);
            let alt_svc = self.view.alt_svc();
            let outcome = poll_fn(|cx| {
                pump.poll(cx, down, &method, self.deadline, &mut |response, untouched| {
                    let failure = retry.statuses.contains(&response.status);
                    if failure && untouched && repeatable && pool.may_repeat(others) {
                        return Err(UpstreamError::Status(response.status));
                    }
                    if !response.is_interim() {
                        date::add(&mut response.fields);
                    }
                    response_fields(self.decision, &facts, alt_svc, response);
                    self.identity.answer(&mut response.fields);
                    Ok(if response.is_interim() { None } else { self.coding(asked.as_ref(), response) })
                })
            })
            .await;
            let to = (pool.upstream(), flight.at);
            self.trace.attempted(to, head, (&pump.up, &pump.head), outcome);
            match outcome {
                Ok(()) => {
                    let (status, received, sent) = (pump.head.status, pump.received, pump.sent);
                    let direct = pump.direct;
                    if retry.statuses.contains(&status) {
                        flight.failed();
                    } else {
                        flight.succeeded();
                    }
                    pump.up.finish();
                    let upstream = Some(self.upstream);
                    return Outcome { received, sent, upstream, direct, ..Outcome::answered(status) };
                }
                // Nothing was answered and nothing of the content is gone: a kept connection had ended meanwhile.
                Err(Failure::Upstream(UpstreamError::Stale))
                    if !lease.fresh && pump.is_untouched() && idempotent =>
                {
                    lease.fresh = true;
                }
                // The budget is paid already.
                Err(Failure::Upstream(why @ UpstreamError::Status(_))) => {
                    flight.ended_by(why);
                    (tried, attempts) = (others, attempts - 1);
                }
                // Another target may do better. Not after a time-out: the client has waited long enough.
                Err(Failure::Upstream(why @ (UpstreamError::Broken | UpstreamError::Malformed)))
                    if repeatable && pump.is_untouched() && pool.may_repeat(others) =>
                {
                    flight.ended_by(why);
                    (tried, attempts) = (others, attempts - 1);
                }
                Err(why) => {
                    if let Failure::Upstream(why) = why {
                        flight.ended_by(why);
                    }
                    let counts = (pump.received, pump.sent);
                    let (status, direct) = (pump.head.status, pump.direct);
                    let answered = pump.answered;
                    // The connection is closed before the client is told.
                    drop(pump);
                    let mut ended = Box::pin(self.failed(why, answered, counts, head, down)).await;
                    ended.direct = direct;
                    if answered {
                        ended.status = Some(status);
                    }
                    return ended;
                }
            }
        }
    }

    /// How the response is compressed, if it is; its head becomes that of what is sent.
    fn coding(&self, request: Option<&RequestHead>, response: &mut ResponseHead) -> Option<Coding> {
        let request = request?;
        let compression = self.decision.site.and_then(|(_, site)| site.compression.as_ref());
        let chosen = compression::choose(compression, request, response);
        if let Ok(coding) = chosen {
            compression::rewrite(coding, response);
        }
        if matches!(chosen, Ok(_) | Err(Reason::NotAccepted | Reason::Leaks)) {
            compression::vary(response);
        }
        chosen.ok()
    }

    /// What the request is told apart by, where that decides on the target.
    fn key(&self, balance: Balance, head: &RequestHead) -> u64 {
        let Balance::Hash(key) = balance else { return 0 };
        match key {
            HashKey::Client => match self.decision.client.address {
                IpAddr::V4(address) => hash(&address.octets()),
                IpAddr::V6(address) => hash(&address.octets()),
            },
            HashKey::Host => hash(head.authority.to_ascii_lowercase().as_bytes()),
            HashKey::Target => hash(head.target.as_bytes()),
        }
    }

    /// The owner's own words, where the service cannot be reached.
    fn maintenance(&self, why: Failure) -> Option<&Maintenance> {
        let away = matches!(why, Failure::Upstream(UpstreamError::Connect | UpstreamError::NoTarget));
        self.decision.site.and_then(|(_, site)| site.maintenance.as_ref()).filter(|_| away)
    }

    /// Says to the client what can still be said.
    async fn failed<D: Downstream>(
        &self,
        why: Failure,
        answered: bool,
        (received, sent): (u64, u64),
        head: &RequestHead,
        down: &mut D,
    ) -> Outcome {
        let method = &head.method;
        let (status, reason, abort) = match why {
            Failure::ClientLost => (None, "client-lost", Abort::Truncated),
            // In HTTP/2 and 3 that is an error of the stream (RFC 9113 §8.1.1, RFC 9114 §4.1.2).
            Failure::ClientMalformed if head.version >= Version::Http2 => {
                (None, "request-malformed", Abort::Malformed)
            }
            Failure::ClientMalformed => (Some(400), "request-malformed", Abort::Malformed),
            Failure::TooLarge => (Some(413), "content-too-large", Abort::Refused),
            Failure::ClientSlow => (Some(408), "client-slow", Abort::TimedOut),
            Failure::Upstream(UpstreamError::Connect) => {
                (Some(502), "upstream-unreachable", Abort::Truncated)
            }
            Failure::Upstream(UpstreamError::NoTarget) => (Some(503), "upstream-down", Abort::Truncated),
            Failure::Upstream(UpstreamError::Status(status)) => {
                (Some(status), "upstream-failed", Abort::Truncated)
            }
            Failure::Upstream(UpstreamError::Stale | UpstreamError::Broken) => {
                (Some(502), "upstream-broke-off", Abort::Truncated)
            }
            Failure::Upstream(UpstreamError::Malformed) => {
                (Some(502), "upstream-malformed", Abort::Truncated)
            }
            Failure::Upstream(UpstreamError::TimedOut) => (Some(504), "upstream-timed-out", Abort::TimedOut),
        };
        let mut outcome = match status {
            Some(502 | 503) if !answered && let Some(maintenance) = self.maintenance(why) => {
                let mut response = saying(&maintenance.response);
                if let Some(seconds) = maintenance.retry_after {
                    response.fields.push(b"Retry-After", seconds.to_string().as_bytes());
                }
                let facts = self.connection.facts(false, self.who);
                response_fields(self.decision, &facts, self.view.alt_svc(), &mut response);
                let body = &maintenance.response.body;
                answer(down, method, response, body, self.deadline, &self.timeouts).await
            }
            Some(status) if !answered => {
                answer(down, method, error(status), b"", self.deadline, &self.timeouts).await
            }
            _ => {
                down.abort(abort);
                Outcome { status: None, ..Outcome::answered(0) }
            }
        };
        (outcome.received, outcome.sent) = (received, sent);
        outcome.upstream = Some(self.upstream);
        outcome.because(reason)
    }
}
