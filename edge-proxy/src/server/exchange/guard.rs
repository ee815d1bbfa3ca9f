//! What a request passes before it is acted upon: rates, and who it is from.

use super::Downstream;
use super::serve::{Connection, Outcome, answer, error};
use crate::auth::{basic, forward};
use crate::config::{Auth, BasicAuth, ForwardAuth, Timeouts};
use crate::decide::{Decision, Facts, request_fields, response_fields};
use crate::rate::Rate;
use crate::server::deadline::Deadline;
use crate::server::exchange::{Failure, Part};
use crate::server::guards::{Over, UnderWay};
use crate::server::passwords::{self, Verdict};
use crate::server::traces::Trace;
use crate::server::upstream::{Exchange, Lease, UpstreamError};
use crate::server::worker::View;
use crate::tailnet::Identities;
use crate::{BodyLength, Fields, RequestHead, ResponseHead};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

/// Content of another service's refusal that is passed on, in bytes.
const REFUSAL: usize = 256 * 1024;
/// Wrong passwords of one client in an hour, and at once.
const WRONG: (u32, u32) = (120, 20);

/// What is known of who asks.
#[derive(Default)]
pub(super) enum Identity<'a> {
    /// Nobody asked.
    #[default]
    Unasked,
    /// A name with a password.
    Basic(&'a BasicAuth, String),
    /// What another service said, for the request and for the response.
    Forward(&'a ForwardAuth, Fields, Fields),
}

impl Identity<'_> {
    /// Tells the service who asks.
    pub(super) fn tell(&self, fields: &mut Fields) {
        match self {
            Self::Unasked => {}
            Self::Basic(auth, user) => {
                fields.remove_named(b"authorization");
                if let Some(name) = &auth.user_field {
                    fields.remove_named(name.as_bytes());
                    fields.push(name.as_bytes(), user.as_bytes());
                }
            }
            Self::Forward(auth, said, _) => forward::take_over(auth, said, fields),
        }
    }

    /// Adds what the other service has for the client.
    pub(super) fn answer(&self, fields: &mut Fields) {
        if let Self::Forward(_, _, said) = self {
            said.iter().for_each(|field| fields.push(field.name, field.value));
        }
    }
}

/// All that is needed to ask.
pub(super) struct Gate<'a> {
    pub(super) view: &'a View,
    pub(super) connection: &'a Connection,
    /// Who is at the other end of it, in the tailnet.
    pub(super) who: Identities<'a>,
    pub(super) decision: &'a Decision<'a>,
    pub(super) timeouts: Timeouts,
    pub(super) deadline: &'a Deadline,
    pub(super) trace: &'a Trace<'a>,
}

impl<'a> Gate<'a> {
    pub(super) fn facts(&self, early: bool) -> Facts<'_> {
        self.connection.facts(early, self.who)
    }

    /// Whether there is room for the request, else the answer.
    pub(super) async fn admit<D: Downstream>(
        &self,
        head: &RequestHead,
        down: &mut D,
    ) -> Result<Option<UnderWay>, Outcome> {
        let Some((index, site)) = self.decision.site else { return Ok(None) };
        let client = self.decision.client.address;
        let over = match self.view.runtime.guards[index].admit(site, client) {
            Ok(under_way) => return Ok(Some(under_way)),
            Err(over) => over,
        };
        let (status, wait, reason) = match over {
            Over::Client(wait) => (429, Some(wait), "rate-of-client"),
            Over::Site(wait) => (503, Some(wait), "rate-of-site"),
            Over::Concurrent => (503, None, "too-many-requests"),
        };
        Err(Box::pin(self.refuse(down, head, status, wait, reason)).await)
    }

    /// Asks who it is, where that is wanted.
    pub(super) async fn identify<D: Downstream>(
        &self,
        head: &RequestHead,
        down: &mut D,
    ) -> Result<Identity<'a>, Outcome> {
        match self.decision.auth {
            None | Some(Auth::Open) => Ok(Identity::Unasked),
            Some(Auth::Basic(auth)) => Box::pin(self.basic(auth, head, down)).await,
            Some(Auth::Forward(auth)) => Box::pin(self.forward(auth, head, down)).await,
        }
    }

    async fn basic<D: Downstream>(
        &self,
        auth: &'a BasicAuth,
        head: &RequestHead,
        down: &mut D,
    ) -> Result<Identity<'a>, Outcome> {
        let guard = self.decision.site.map(|(index, _)| &self.view.runtime.guards[index]);
        if let Some(given) = basic::credentials(&head.fields) {
            match passwords::verify(&auth.users, &given).await {
                Verdict::Right => return Ok(Identity::Basic(auth, given.user)),
                Verdict::Busy => {
                    let wait = Some(Duration::from_secs(2));
                    return Err(self.refuse(down, head, 503, wait, "too-many-passwords").await);
                }
                Verdict::Wrong => {
                    let rate = Rate::new(WRONG.0, Duration::from_secs(3600), WRONG.1);
                    let client = self.decision.client.address;
                    if let (Some(guard), Some(rate)) = (guard, rate)
                        && let Err(wait) = guard.failed(client, rate)
                    {
                        return Err(self.refuse(down, head, 429, Some(wait), "wrong-passwords").await);
                    }
                }
            }
        }
        let mut response = error(401);
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", auth.realm);
        response.fields.push(b"WWW-Authenticate", challenge.as_bytes());
        Err(self.say(down, head, response, b"").await.because("password-asked-for"))
    }

    async fn forward<D: Downstream>(
        &self,
        auth: &'a ForwardAuth,
        head: &RequestHead,
        down: &mut D,
    ) -> Result<Identity<'a>, Outcome> {
        let mut prepared = head.clone();
        let facts = self.facts(down.is_early());
        request_fields(self.decision, &facts, down.is_early(), &mut prepared);
        // The path as the client wrote it, not as the service will see it.
        prepared.target.clone_from(&head.target);
        let mut question = forward::question(auth, &prepared);
        let (said, content) = match self.ask(auth, &mut question).await {
            Ok(said) => said,
            Err(_) => return Err(self.refuse(down, head, 503, None, "authentication-unreachable").await),
        };
        match forward::answer(auth, said) {
            forward::Answer::Allowed { request, response } => Ok(Identity::Forward(auth, request, response)),
            forward::Answer::Denied(mut response) => {
                response.body = BodyLength::Exact(content.len() as u64);
                response.fields.remove(crate::Name::ContentLength);
                Err(self.say(down, head, response, &content).await.because("authentication-denied"))
            }
        }
    }

    /// Asks the other service. Its content is read too, up to a bound.
    async fn ask(
        &self,
        auth: &ForwardAuth,
        question: &mut RequestHead,
    ) -> Result<(ResponseHead, Vec<u8>), UpstreamError> {
        let at =
            self.view.runtime.snapshot().upstream_named(&auth.upstream).ok_or(UpstreamError::NoTarget)?;
        let pool = &self.view.pools[at];
        let client = SocketAddr::new(self.decision.client.address, self.decision.client.port.unwrap_or(0));
        let mut lease = Lease {
            client,
            local: self.connection.local,
            deadline: self.deadline,
            connect: self.timeouts.connect,
            fresh: false,
            websocket: false,
            host: true,
            trace: self.trace,
        };
        let mut tried = crate::balance::Tried::default();
        loop {
            self.trace.attempt(question);
            let asked = pool.begin(question, &lease, 0, &mut tried).await;
            let outcome = match asked {
                Ok((mut exchange, flight)) => {
                    let read = self
                        .deadline
                        .within(self.timeouts.response, read_whole(&mut exchange, REFUSAL))
                        .await;
                    let outcome = read.unwrap_or(Err(UpstreamError::TimedOut));
                    let none = ResponseHead::default();
                    let answer = (&exchange, outcome.as_ref().map_or(&none, |(head, _)| head));
                    let ended = outcome.as_ref().map(drop).map_err(|why| Failure::Upstream(*why));
                    self.trace.attempted((pool.upstream(), flight.at), question, answer, ended);
                    match &outcome {
                        Ok(_) => {
                            flight.succeeded();
                            exchange.finish();
                        }
                        Err(why) => flight.ended_by(*why),
                    }
                    outcome
                }
                Err(why) => Err(why),
            };
            match outcome {
                Err(UpstreamError::Stale) if !lease.fresh => lease.fresh = true,
                outcome => return outcome,
            }
        }
    }

    async fn refuse<D: Downstream>(
        &self,
        down: &mut D,
        head: &RequestHead,
        status: u16,
        wait: Option<Duration>,
        reason: &'static str,
    ) -> Outcome {
        let mut response = error(status);
        if let Some(wait) = wait {
            // Rounded up: whoever comes after that is admitted.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.fields.push(b"Retry-After", seconds.to_string().as_bytes());
        }
        self.say(down, head, response, b"").await.because(reason)
    }

    async fn say<D: Downstream>(
        &self,
        down: &mut D,
        head: &RequestHead,
        mut response: ResponseHead,
        content: &[u8],
    ) -> Outcome {
        let facts = self.facts(false);
        response_fields(self.decision, &facts, self.view.alt_svc(), &mut response);
        answer(down, &head.method, response, content, self.deadline, &self.timeouts).await
    }
}

/// Reads a whole answer with content up to a bound, in bytes.
pub(crate) async fn read_whole(
    exchange: &mut Exchange,
    longest: usize,
) -> Result<(ResponseHead, Vec<u8>), UpstreamError> {
    let (mut head, mut content) = (ResponseHead::default(), Vec::new());
    loop {
        poll_fn(|cx| {
            if let std::task::Poll::Ready(Err(why)) = exchange.poll_flush(cx) {
                return std::task::Poll::Ready(Err(why));
            }
            exchange.poll_head(cx, &mut head)
        })
        .await?;
        if exchange.is_tunnel() {
            return Err(UpstreamError::Malformed);
        }
        if !head.is_interim() {
            break;
        }
    }
    while poll_fn(|cx| exchange.poll_body(cx)).await? == Part::Data {
        let n = exchange.chunk().len();
        if content.len() + n > longest {
            return Err(UpstreamError::Malformed);
        }
        content.extend_from_slice(exchange.chunk());
        exchange.consume(n);
    }
    Ok((head, content))
}
