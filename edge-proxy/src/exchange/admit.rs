//! Admission of a request by the rates and the concurrency limit of its site.

use super::context::ExchangeContext;
use super::reply::error;
use crate::limits::site::{InFlightPermit, LimitExceeded};
use edge_http::{RequestHead, ResponseHead};
use edge_policy::Reason;
use std::time::Duration;

/// The response to a request that admission or authentication refuses, and the reason for it.
pub(super) struct Denial {
    /// The head of the response.
    pub(super) head: ResponseHead,
    /// The content of the response.
    pub(super) content: Vec<u8>,
    /// The reason that is logged and counted.
    pub(super) reason: Reason,
}

impl Denial {
    /// Creates the refusal of a request with the error response of its site for `status`. `wait` is sent as
    /// Retry-After, rounded up to whole seconds; `None` sends no such field.
    pub(super) fn new(
        context: &ExchangeContext<'_>,
        request: &RequestHead,
        status: u16,
        wait: Option<Duration>,
        reason: Reason,
    ) -> Self {
        let (mut head, content) = error(context, status, request);
        if let Some(wait) = wait {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            head.fields.push(b"Retry-After", seconds.to_string().as_bytes());
        }
        Self { head, content, reason }
    }
}

/// Admits a request: counts it for the rates of its client and its site, and for the concurrency limit of the site
/// until the returned permit is dropped. `Ok(None)` for a request of no site.
///
/// # Errors
/// The refusal: 429 if the client's rate is exceeded, 503 if the site's rate or concurrency is. With an exceeded rate,
/// it has Retry-After.
pub(super) fn admit(
    context: &ExchangeContext<'_>,
    request: &RequestHead,
) -> Result<Option<InFlightPermit>, Box<Denial>> {
    let Some((index, site)) = context.decision.site else { return Ok(None) };
    let client = context.decision.client.address;
    let over = match context.view.runtime.guards[index].admit(site, client) {
        Ok(under_way) => return Ok(Some(under_way)),
        Err(over) => over,
    };
    let (status, wait, reason) = match over {
        LimitExceeded::Client(wait) => (429, Some(wait), Reason::RateOfClient),
        LimitExceeded::Site(wait) => (503, Some(wait), Reason::RateOfSite),
        LimitExceeded::Concurrent => (503, None, Reason::TooManyRequests),
    };
    Err(Box::new(Denial::new(context, request, status, wait, reason)))
}
