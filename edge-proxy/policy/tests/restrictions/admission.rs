//! The admission of a request.

use edge_http::RequestHead;
use edge_policy::Snapshot;
use edge_policy::decide::{RequestContext, Verdict, decide};
use edge_policy::early_data::EarlyDataVerdict;

/// How far a request comes: refused, let in after authentication, or let in as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Admission {
    Refused,
    Authenticated,
    Free,
}

/// The admission of a request, and whether that is before the handshake is complete.
pub(crate) fn admission(
    snapshot: &Snapshot,
    facts: &RequestContext<'_>,
    head: &RequestHead,
) -> (Admission, bool) {
    let decision = decide(snapshot, facts, head);
    let admission = match (decision.verdict, decision.auth) {
        (Verdict::Forward { .. }, None) => Admission::Free,
        (Verdict::Forward { .. }, Some(_)) => Admission::Authenticated,
        _ => Admission::Refused,
    };
    (admission, admission != Admission::Refused && decision.early == EarlyDataVerdict::Allowed)
}
