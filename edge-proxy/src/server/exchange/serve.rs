//! One request from its head to its access record: decided, forwarded or answered, told.

use super::forward::Way;
use super::guard::{Gate, Identity};
use super::{Abort, Downstream, Lost, Part};
use crate::client_address::unasked;
use crate::config::{Response, Timeouts};
use crate::decide::{Facts, Transport, Verdict, decide, response_fields};
use crate::early_data::Early;
use crate::server::date;
use crate::server::deadline::Deadline;
use crate::server::observe::AccessRecord;
use crate::server::table::Held;
use crate::server::whois::Said;
use crate::server::worker::{View, Worker};
use crate::tailnet::{Identities, Identity as WhoIsIt};
use crate::{BodyLength, Method, RequestHead, ResponseHead, Version};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What is known of a client's connection, for all its requests.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) proxied: Option<SocketAddr>,
    pub(crate) interface: Option<Rc<str>>,
    pub(crate) sni: Option<Box<str>>,
    /// Counts it for its client. Only its end matters, when the last clone of the connection goes.
    #[allow(dead_code)]
    pub(crate) held: Option<Rc<Held>>,
}

impl Connection {
    pub(crate) fn facts<'f>(&'f self, early: bool, identities: Identities<'f>) -> Facts<'f> {
        Facts {
            transport: self.transport,
            peer: self.peer,
            proxied: self.proxied,
            interface: self.interface.as_deref(),
            identities,
            sni: self.sni.as_deref(),
            early,
        }
    }
}

/// What became of an exchange.
pub(super) struct Outcome {
    pub(super) status: Option<u16>,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) upstream: Option<usize>,
    pub(super) reason: Option<&'static str>,
    /// Bytes of content that the kernel encrypted and passed on.
    pub(super) direct: u64,
}

impl Outcome {
    pub(super) const fn answered(status: u16) -> Self {
        Self { status: Some(status), received: 0, sent: 0, upstream: None, reason: None, direct: 0 }
    }

    pub(super) const fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }
}

/// Serves one request. What most requests have no need of is on the heap: every byte of this future is moved when a request begins.
pub(crate) async fn serve<D: Downstream>(
    worker: &Rc<Worker>,
    connection: &Connection,
    mut head: RequestHead,
    down: &mut D,
    deadline: &Deadline,
) {
    let began = Instant::now();
    let view = worker.view();
    let was_early = down.is_early();
    let said = match &view.whois {
        Some(whois) => Box::pin(whois.is(connection.proxied.unwrap_or(connection.peer), deadline)).await,
        None => None,
    };
    let source = said.as_ref().map(Said::identity).unwrap_or_default();
    let hops = match &view.whois {
        Some(_) => Box::pin(hops(&view, connection, source, &head, deadline)).await,
        None => Vec::new(),
    };
    let hops: Vec<_> = hops.iter().map(|(hop, said)| (*hop, said.identity())).collect();
    let identity = Identities { source, hops: &hops };
    let facts = connection.facts(was_early, identity);
    settle_length(&mut head, down, deadline, view.runtime.snapshot().config().timeouts.header).await;
    let decision = decide(view.runtime.snapshot(), &facts, &head);
    let timeouts = decision
        .site
        .and_then(|(_, site)| site.timeouts)
        .unwrap_or(view.runtime.snapshot().config().timeouts);
    let trace = worker.tracer().begin(&decision, &facts, &head, began);
    let waited = match decision.early {
        Early::Wait(_) if was_early => {
            deadline.within(timeouts.handshake, poll_fn(|cx| down.poll_handshake(cx))).await
        }
        _ => Some(Ok(())),
    };
    let gate = Gate {
        view: &view,
        connection,
        who: identity,
        decision: &decision,
        timeouts,
        deadline,
        trace: &trace,
    };
    let acts = !matches!(decision.verdict, Verdict::Drop { .. } | Verdict::Refuse { .. });
    // Those who are refused anyway are not counted.
    let passed = if acts && matches!(waited, Some(Ok(()))) {
        match gate.admit(&head, down).await {
            Ok(under_way) => gate.identify(&head, down).await.map(|identity| (identity, under_way)),
            Err(refused) => Err(refused),
        }
    } else {
        Ok((Identity::Unasked, None))
    };
    let outcome = match passed {
        Ok((identity, under_way)) => {
            let outcome = act(&gate, waited, identity, &mut head, down).await;
            drop(under_way);
            outcome
        }
        Err(refused) => refused,
    };
    deadline.clear();
    let site = decision.site.map(|(index, _)| index);
    let record = AccessRecord {
        client: decision.client.address,
        peer: connection.peer,
        version: head.version,
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
        early: was_early,
        head: &head,
    };
    worker.access(&view, site, &record);
    trace.finish(&record);
    if outcome.direct > 0 {
        worker.with_counts(|counts| {
            counts.kernel_tls.add(1);
            counts.kernel_tls_bytes.add(outcome.direct);
        });
    }
}

/// Asks who the hops are that the header names, as far as the walk comes by those of ours.
async fn hops(
    view: &View,
    connection: &Connection,
    source: WhoIsIt<'_>,
    head: &RequestHead,
    deadline: &Deadline,
) -> Vec<(IpAddr, Said)> {
    let mut known: Vec<(IpAddr, Said)> = Vec::new();
    let trust = &view.runtime.snapshot().config().trust;
    let Some(whois) = view.whois.as_ref().filter(|_| !trust.who.is_empty()) else { return known };
    let peer = connection.proxied.unwrap_or(connection.peer);
    loop {
        let hops: Vec<_> = known.iter().map(|(hop, said)| (*hop, said.identity())).collect();
        let identities = Identities { source, hops: &hops };
        let interface = connection.interface.as_deref();
        let Some(hop) = unasked(trust, peer, interface, identities, &head.fields) else { return known };
        drop(hops);
        // The port does not matter for an address of the tailnet. Of others nothing is known.
        let said = whois.is(SocketAddr::new(hop, 0), deadline).await;
        known.push((hop, said.unwrap_or(Said::Nobody)));
    }
}

/// Does what was decided.
async fn act<D: Downstream>(
    gate: &Gate<'_>,
    waited: Option<Result<(), Lost>>,
    identity: Identity<'_>,
    head: &mut RequestHead,
    down: &mut D,
) -> Outcome {
    let Gate { view, connection, who, decision, timeouts, deadline, trace } = *gate;
    let fields = |response: &mut ResponseHead| {
        response_fields(decision, &gate.facts(false), view.alt_svc(), response);
        identity.answer(&mut response.fields);
    };
    match (&decision.verdict, waited) {
        (_, None | Some(Err(_))) => {
            down.abort(Abort::Refused);
            Outcome { status: None, ..Outcome::answered(0).because("handshake-not-completed") }
        }
        (Verdict::Drop { why }, _) => {
            down.abort(Abort::Refused);
            Outcome { status: None, ..Outcome::answered(0).because(why.code()) }
        }
        (Verdict::Refuse { status, why }, _) => {
            Box::pin(answer(down, &head.method, error(*status), b"", deadline, &timeouts))
                .await
                .because(why.code())
        }
        (Verdict::Redirect { status, location }, _) => {
            let mut response = error(*status);
            response.fields.push(b"Location", location.as_bytes());
            fields(&mut response);
            Box::pin(answer(down, &head.method, response, b"", deadline, &timeouts)).await
        }
        (Verdict::Respond(said), _) => {
            let mut response = saying(said);
            fields(&mut response);
            Box::pin(answer(down, &head.method, response, &said.body, deadline, &timeouts)).await
        }
        (Verdict::Forward { upstream }, _) => {
            let way = Way {
                view,
                connection,
                who,
                decision,
                timeouts,
                upstream: *upstream,
                deadline,
                identity,
                trace,
            };
            way.forward(head, down).await
        }
    }
}

/// HTTP/2 and 3 say in a frame of its own that a request has no content. For methods that seldom have any, that is waited
/// for: it decides about early data and repetition, and a service need not be told of content that never comes.
async fn settle_length<D: Downstream>(
    head: &mut RequestHead,
    down: &mut D,
    deadline: &Deadline,
    limit: Duration,
) {
    if head.body == BodyLength::Unknown && head.method.is_safe() && head.version >= Version::Http2 {
        // Whatever else comes first, or nothing: the exchange finds that out by itself.
        if let Some(Ok(Part::End)) = deadline.within(limit, poll_fn(|cx| down.poll_body(cx))).await
            && down.trailers().is_empty()
        {
            head.body = BodyLength::None;
        }
    }
}

/// An answer of ours without content. It does not say by what it was made.
pub(super) fn error(status: u16) -> ResponseHead {
    ResponseHead::new(status)
}

/// The head of an answer that the configuration has.
pub(super) fn saying(said: &Response) -> ResponseHead {
    let mut response = ResponseHead::new(said.status);
    if !said.content_type.is_empty() {
        response.fields.push(b"Content-Type", said.content_type.as_bytes());
    }
    response.body = BodyLength::Exact(said.body.len() as u64);
    response
}

/// Sends an answer of ours.
pub(super) async fn answer<D: Downstream>(
    down: &mut D,
    method: &Method,
    mut head: ResponseHead,
    body: &[u8],
    deadline: &Deadline,
    timeouts: &Timeouts,
) -> Outcome {
    let bodiless = head.is_bodiless(method);
    date::add(&mut head.fields);
    if body.is_empty() {
        head.body = BodyLength::None;
    }
    let status = head.status;
    down.send_head(&head, bodiless || body.is_empty());
    let mut left = if bodiless { &b""[..] } else { body };
    let sent = left.len() as u64;
    let content = sent > 0;
    let written = async {
        while !left.is_empty() {
            let room = poll_fn(|cx| down.poll_capacity(cx)).await?;
            let n = room.min(left.len());
            down.send_data(&left[..n]);
            left = &left[n..];
        }
        if content {
            down.send_end(None);
        }
        poll_fn(|cx| down.poll_flush(cx)).await
    };
    match deadline.within(timeouts.body, written).await {
        Some(Ok(())) => Outcome { sent, ..Outcome::answered(status) },
        Some(Err(_)) => Outcome { sent, ..Outcome::answered(status).because("client-lost") },
        None => {
            down.abort(Abort::TimedOut);
            Outcome { sent, ..Outcome::answered(status).because("client-slow") }
        }
    }
}
