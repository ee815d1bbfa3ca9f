//! Responses that the proxy generates itself.

use super::context::ExchangeContext;
use super::outcome::Outcome;
use super::urgency::prioritize;
use super::{Abort, Downstream, request_id};
use crate::date;
use edge_http::{BodyLength, Method, RequestHead, ResponseHead, error_body};
use edge_policy::Reason;
use edge_policy::config::{ErrorPage, Maintenance, Response, ResponseOrigin};
use std::future::poll_fn;

/// The value of Retry-After in seconds for a site under maintenance whose configuration has none.
const RETRY_AFTER: &[u8] = b"120";

/// Returns the head and content of an error response: the site's page for this status, or else a short error in the
/// media type that the request prefers.
pub(super) fn error(
    context: &ExchangeContext<'_>,
    status: u16,
    request: &RequestHead,
) -> (ResponseHead, Vec<u8>) {
    if let Some(page) =
        context.decision.site.and_then(|(_, site)| site.error_page(status, ResponseOrigin::Proxy))
    {
        return (page_head(page, status), page.body.clone());
    }
    let (media, body) = error_body::of(status, &request.fields);
    let mut response = ResponseHead::new(status);
    response.fields.push(b"Content-Type", media.as_bytes());
    response.fields.push(b"Vary", b"Accept");
    response.body = BodyLength::Exact(body.len() as u64);
    (response, body.into_bytes())
}

/// Returns the head of a response with this status whose content is this error page: Content-Type and length.
pub(super) fn page_head(page: &ErrorPage, status: u16) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    head.fields.push(b"Content-Type", page.content_type.as_bytes());
    head.body = BodyLength::Exact(page.body.len() as u64);
    head
}

/// Returns the head of a response in the configuration: status, length, and Content-Type unless that is empty.
pub(super) fn configured(response: &Response) -> ResponseHead {
    let mut head = ResponseHead::new(response.status);
    if !response.content_type.is_empty() {
        head.fields.push(b"Content-Type", response.content_type.as_bytes());
    }
    head.body = BodyLength::Exact(response.body.len() as u64);
    head
}

/// Returns the head of a configured maintenance response, with Retry-After in seconds if that is configured.
pub(super) fn maintained(maintenance: &Maintenance) -> ResponseHead {
    let mut head = configured(&maintenance.response);
    if let Some(seconds) = maintenance.retry_after {
        head.fields.push(b"Retry-After", seconds.to_string().as_bytes());
    }
    head
}

/// Returns the head and content for a site under maintenance: the configured response, or an error 503, with the
/// site's response fields. They have Retry-After, [`RETRY_AFTER`] by default, and `Cache-Control: no-store`.
pub(super) fn under_maintenance(
    context: &ExchangeContext<'_>,
    request: &RequestHead,
) -> (ResponseHead, Vec<u8>) {
    let site = context.decision.site.map(|(_, site)| site);
    let (mut head, body) = match site.and_then(|site| site.maintenance.as_ref()) {
        Some(maintenance) => (maintained(maintenance), maintenance.response.body.clone()),
        None => error(context, 503, request),
    };
    if head.fields.get_named(b"retry-after").is_none() {
        head.fields.push(b"Retry-After", RETRY_AFTER);
    }
    // A cached response would outlast the maintenance.
    head.fields.push(b"Cache-Control", b"no-store");
    context.response_fields(&mut head);
    (head, body)
}

/// Sends a response that the proxy generated, with Date and the request identifier, and returns its outcome. Omits the
/// content if the method or status does not permit any. Aborts the exchange if the client does not accept the response
/// within the timeout for content; the outcome then has the reason `ClientSlow`, or `ClientLost` if the client is
/// gone.
pub(super) async fn answer<D: Downstream>(
    context: &ExchangeContext<'_>,
    down: &mut D,
    method: &Method,
    mut head: ResponseHead,
    body: &[u8],
) -> Outcome {
    request_id::write(context, &mut head.fields);
    let bodiless = head.is_bodiless(method);
    date::add(&mut head.fields);
    if body.is_empty() {
        head.body = BodyLength::None;
    }
    let status = head.status;
    prioritize(context.view.runtime.snapshot().config(), down, &head);
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
    match context.deadline.within(context.timeouts.body, written).await {
        Some(Ok(())) => Outcome { sent, ..Outcome::with_status(status) },
        Some(Err(_)) => Outcome { sent, ..Outcome::with_status(status).with_reason(Reason::ClientLost) },
        None => {
            down.abort(Abort::TimedOut);
            Outcome { sent, ..Outcome::with_status(status).with_reason(Reason::ClientSlow) }
        }
    }
}
