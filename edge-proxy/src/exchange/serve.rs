//! The serving of one request: decide, authenticate, forward or respond, and log.

use super::admit::{Denial, admit};
use super::authenticate::{AuthIdentity, Authentication};
use super::context::ExchangeContext;
use super::forward::Forwarding;
use super::outcome::Outcome;
use super::reply::{answer, configured, error, under_maintenance};
use super::{Abort, ClientGone, Connection, Downstream, request_id};
use crate::body::BodyPart;
use crate::deadline::Deadline;
use crate::heads;
use crate::observe::AccessRecord;
use crate::tailscale::WhoisResult;
use crate::view::View;
use crate::worker::Worker;
use edge_http::{BodyLength, RequestHead, ResponseHead, Version};
use edge_policy::Reason;
use edge_policy::client_address::next_lookup;
use edge_policy::decide::{Decision, Verdict, decide};
use edge_policy::early_data::EarlyDataVerdict;
use edge_policy::handler::{HandlerAction, HandlerRequest};
use edge_policy::tailnet::{Identities, TailnetIdentity};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Serves one request: looks up identities, decides, waits for the handshake if early data demands that, admits,
/// authenticates, forwards or responds, and then reports the access record. `down` is the client's side of the
/// exchange, and `deadline` enforces its timeouts. Large states are boxed, because the future is moved when a request
/// begins.
pub(crate) async fn serve<D: Downstream>(
    worker: &Rc<Worker>,
    connection: &Connection,
    mut head: RequestHead,
    down: &mut D,
    deadline: &Deadline,
) {
    let began = Instant::now();
    let in_flight = worker.begin_request();
    let view = worker.view();
    let was_early = down.is_early();
    let said = match &view.whois {
        Some(whois) => Box::pin(whois.look_up(connection.proxied.unwrap_or(connection.peer), deadline)).await,
        None => None,
    };
    let source = said.as_ref().map(WhoisResult::identity).unwrap_or_default();
    let hops = match &view.whois {
        Some(_) => Box::pin(hops(&view, connection, source, &head, deadline)).await,
        None => Vec::new(),
    };
    let hops: Vec<_> = hops.iter().map(|(hop, said)| (*hop, said.identity())).collect();
    let identities = Identities { source, hops: &hops };
    let facts = connection.facts(&view.runtime, was_early, identities);
    settle_length(&mut head, down, deadline, view.runtime.snapshot().config().timeouts.header).await;
    let decision = decide(view.runtime.snapshot(), &facts, &head);
    let timeouts = decision.timeouts().unwrap_or(view.runtime.snapshot().config().timeouts);
    let trace = worker.tracer().begin(&decision, &facts, &head, began);
    let waited = match decision.early {
        EarlyDataVerdict::Wait(_) if was_early => {
            deadline.within(timeouts.handshake, poll_fn(|cx| down.poll_handshake(cx))).await
        }
        _ => Some(Ok(())),
    };
    let id = view
        .runtime
        .snapshot()
        .config()
        .request_id
        .as_deref()
        .map(|name| request_id::of(name, &decision, &head));
    let context = ExchangeContext {
        view: &view,
        connection,
        request_id: id.as_deref(),
        identities,
        decision: &decision,
        timeouts,
        deadline,
        trace: &trace,
    };
    if !matches!(decision.verdict, Verdict::Drop { .. }) {
        down.accept();
    }
    let acts = !matches!(decision.verdict, Verdict::Drop { .. } | Verdict::Refuse { .. });
    // Requests that are refused anyway are not counted.
    let passed = if acts && matches!(waited, Some(Ok(()))) {
        match admit(&context, &head) {
            Ok(under_way) => {
                let authentication = Authentication { context: &context, early: down.is_early() };
                let identified = authentication.identify(&head);
                // Over HTTP/1.1 the content may be what is read next.
                let identified = match head.body {
                    BodyLength::None => unless_lost(down, identified).await,
                    _ => Some(identified.await),
                };
                match identified {
                    Some(identified) => {
                        identified.map(|identity| (identity, under_way)).map_err(RequestEnd::Denied)
                    }
                    None => Err(RequestEnd::ClientLost),
                }
            }
            Err(denial) => Err(RequestEnd::Denied(denial)),
        }
    } else {
        Ok((AuthIdentity::Unasked, None))
    };
    // The log has what the client asked for, also where the service is asked for something else.
    let asked = decision
        .route
        .filter(|(_, route)| route.strip_prefix.is_some() || route.add_prefix.is_some())
        .map(|_| head.target.clone());
    let outcome = match passed {
        Ok((identity, under_way)) => {
            let outcome = act(&context, waited, identity, &mut head, down).await;
            drop(under_way);
            outcome
        }
        Err(RequestEnd::Denied(denial)) => Box::pin(deny(&context, *denial, &head, down)).await,
        Err(RequestEnd::ClientLost) => {
            down.abort(Abort::TimedOut);
            Outcome { status: None, ..Outcome::with_status(0) }.with_reason(Reason::ClientLost)
        }
    };
    deadline.clear();
    let site = decision.site.map(|(index, _)| index);
    let mut record = AccessRecord {
        early: was_early,
        request_id: id.as_deref(),
        ..access_record(&view, connection, &decision, &head, &outcome, began)
    };
    if let Some(asked) = &asked {
        record.target = asked;
    }
    worker.access(&view, site, &record);
    trace.finish(&record);
    if outcome.spliced > 0 {
        worker.with_counts(|counts| {
            counts.kernel_tls.add(1);
            counts.kernel_tls_bytes.add(outcome.spliced);
        });
    }
    // Over HTTP/3, a shutdown that closes the connection at its deadline looks like a client that is lost.
    if outcome.reason != Some(Reason::ClientLost) {
        in_flight.complete();
    }
    heads::recycle_request(head);
}

/// Decides about the first request of a connection without TLS. If it is to be dropped without a response, counts and
/// reports it and returns true. Returns false without an effect for any other verdict, and if [`serve`] is needed
/// nevertheless: for tailnet identities, a trace, an identifier of the request, or the refusal of a client that has too
/// many connections.
pub(crate) fn drop_at_once(
    worker: &Worker,
    view: &View,
    connection: &Connection,
    head: &RequestHead,
) -> bool {
    let (snapshot, began) = (view.runtime.snapshot(), Instant::now());
    if view.whois.is_some()
        || worker.tracer().is_enabled()
        || snapshot.config().request_id.is_some()
        || view.runtime.is_full_for(connection.peer.ip())
    {
        return false;
    }
    let decision = decide(snapshot, &connection.facts(&view.runtime, false, Identities::default()), head);
    let Verdict::Drop { why } = decision.verdict else { return false };
    let outcome = Outcome { status: None, ..Outcome::with_status(0).with_reason(why) };
    let record = access_record(view, connection, &decision, head, &outcome, began);
    worker.access(view, decision.site.map(|(index, _)| index), &record);
    true
}

/// Returns the access record of a request that began at `began` and ends now: not in early data, and without an
/// identifier.
fn access_record<'r>(
    view: &'r View,
    connection: &'r Connection,
    decision: &Decision<'r>,
    head: &'r RequestHead,
    outcome: &'r Outcome,
    began: Instant,
) -> AccessRecord<'r> {
    AccessRecord {
        client: decision.client.address,
        peer: connection.peer,
        version: head.version,
        tls: connection.tls,
        method: &head.method,
        authority: &head.authority,
        target: &head.target,
        site: decision.site.map(|(_, site)| site.name.as_str()),
        upstream: outcome.upstream.map(|at| view.runtime.snapshot().config().upstreams[at].name.as_str()),
        status: outcome.status,
        received: outcome.received,
        sent: outcome.sent,
        duration: began.elapsed(),
        reason: outcome.reason,
        error: outcome.error.as_deref(),
        early: false,
        proxy_header: connection.proxy_extensions.as_deref(),
        request_id: None,
        head,
    }
}

/// The reason a request ends before its verdict is carried out.
enum RequestEnd {
    /// Admission or authentication refused it with this response.
    Denied(Box<Denial>),
    /// The client was gone before authentication was complete.
    ClientLost,
}

/// Runs a future until it completes. `None` if the client is gone before. The request must have no content.
async fn unless_lost<D: Downstream, T>(down: &mut D, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => down.poll_lost(cx).map(|_| None),
    })
    .await
}

/// Returns the tailnet identities of the hops in the forwarding fields of the request, looked up one after another, as
/// far as the rules for trusted proxies need them. Empty if the rules name no identities.
async fn hops(
    view: &View,
    connection: &Connection,
    source: TailnetIdentity<'_>,
    head: &RequestHead,
    deadline: &Deadline,
) -> Vec<(IpAddr, WhoisResult)> {
    let mut known: Vec<(IpAddr, WhoisResult)> = Vec::new();
    let trust = &view.runtime.snapshot().config().trust;
    let Some(whois) = view.whois.as_ref().filter(|_| !trust.who.is_empty()) else { return known };
    let peer = connection.proxied.unwrap_or(connection.peer);
    loop {
        let hops: Vec<_> = known.iter().map(|(hop, said)| (*hop, said.identity())).collect();
        let identities = Identities { source, hops: &hops };
        let interface = connection.interface.as_deref();
        let Some(hop) = next_lookup(trust, peer, interface, identities, &head.fields) else {
            return known;
        };
        drop(hops);
        // The port does not matter for an address of the tailnet. Other addresses have no identity.
        let said = whois.look_up(SocketAddr::new(hop, 0), deadline).await;
        known.push((hop, said.unwrap_or(WhoisResult::Nobody)));
    }
}

/// Sends the response of a refusal by admission or authentication, with the site's response fields. Returns the
/// outcome with the reason of the refusal.
async fn deny<D: Downstream>(
    context: &ExchangeContext<'_>,
    denial: Denial,
    head: &RequestHead,
    down: &mut D,
) -> Outcome {
    let Denial { head: mut response, content, reason } = denial;
    context.response_fields(&mut response);
    answer(context, down, &head.method, response, &content).await.with_reason(reason)
}

/// Carries out the verdict: drops or refuses the request, redirects or responds, forwards it, or calls its handler.
/// `waited` is the result of waiting for the handshake, `None` if that took too long; unless it is a success, the
/// exchange is aborted. Returns the outcome.
async fn act<D: Downstream>(
    context: &ExchangeContext<'_>,
    waited: Option<Result<(), ClientGone>>,
    identity: AuthIdentity<'_>,
    head: &mut RequestHead,
    down: &mut D,
) -> Outcome {
    let ExchangeContext { decision, .. } = *context;
    let fields = |response: &mut ResponseHead| {
        context.response_fields(response);
        identity.add_response_fields(&mut response.fields);
    };
    match (&decision.verdict, waited) {
        (_, None | Some(Err(_))) => {
            down.abort(Abort::Refused);
            Outcome { status: None, ..Outcome::with_status(0).with_reason(Reason::HandshakeNotCompleted) }
        }
        (Verdict::Drop { why }, _) => {
            down.abort(Abort::Refused);
            Outcome { status: None, ..Outcome::with_status(0).with_reason(*why) }
        }
        (Verdict::Refuse { why: why @ Reason::UnderMaintenance, .. }, _) => {
            let (response, body) = under_maintenance(context, head);
            Box::pin(answer(context, down, &head.method, response, &body)).await.with_reason(*why)
        }
        (Verdict::Refuse { status, why }, _) => {
            let (mut response, body) = error(context, *status, head);
            if let Some(methods) = decision.allowed_methods() {
                response.fields.push(b"Allow", methods.as_bytes());
            }
            fields(&mut response);
            Box::pin(answer(context, down, &head.method, response, &body)).await.with_reason(*why)
        }
        (Verdict::Redirect { status, location }, _) => {
            let mut response = ResponseHead::new(*status);
            response.fields.push(b"Location", location.as_bytes());
            fields(&mut response);
            Box::pin(answer(context, down, &head.method, response, b"")).await
        }
        (Verdict::Respond(response), _) => {
            let mut answered = configured(response);
            fields(&mut answered);
            Box::pin(answer(context, down, &head.method, answered, &response.body)).await
        }
        (Verdict::Forward { upstream }, _) => {
            Forwarding { context, upstream: *upstream, identity, handler: None }.forward(head, down).await
        }
        (Verdict::Handle { handler, upstream }, _) => {
            let site = decision.site.map_or("", |(_, site)| site.name.as_str());
            let handled = catch_unwind(AssertUnwindSafe(|| {
                let mut request = HandlerRequest::new(head, decision.client.address, site, identity.user());
                handler.get().request(&mut request)
            }));
            match (handled, *upstream) {
                (Ok(HandlerAction::Forward), Some(upstream)) => {
                    let handler = Some(*handler);
                    Forwarding { context, upstream, identity, handler }.forward(head, down).await
                }
                (Ok(HandlerAction::Respond(reply)), _) => {
                    let (mut response, content) = reply.into_parts();
                    fields(&mut response);
                    Box::pin(answer(context, down, &head.method, response, &content)).await
                }
                (Ok(HandlerAction::Forward), None) => {
                    let (mut response, body) = error(context, 404, head);
                    fields(&mut response);
                    Box::pin(answer(context, down, &head.method, response, &body))
                        .await
                        .with_reason(Reason::NoRoute)
                }
                (Err(_), _) => {
                    let (mut response, body) = error(context, 500, head);
                    fields(&mut response);
                    Box::pin(answer(context, down, &head.method, response, &body))
                        .await
                        .with_reason(Reason::HandlerFailed)
                }
            }
        }
    }
}

/// Waits at most `limit` for the end of an HTTP/2 or HTTP/3 request with a safe method and unknown length, and sets
/// `head.body` to none if the request ends without content and trailers. Early data, retries and the framing to the
/// upstream depend on that. No effect for other requests.
async fn settle_length<D: Downstream>(
    head: &mut RequestHead,
    down: &mut D,
    deadline: &Deadline,
    limit: Duration,
) {
    if head.body == BodyLength::Unknown && head.method.is_safe() && head.version >= Version::Http2 {
        // Anything else that arrives first, or nothing, is handled by the exchange itself.
        if let Some(Ok(BodyPart::End)) = deadline.within(limit, poll_fn(|cx| down.poll_body(cx))).await
            && down.trailers().is_empty()
        {
            head.body = BodyLength::None;
        }
    }
}
