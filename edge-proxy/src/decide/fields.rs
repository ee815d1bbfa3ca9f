//! What is taken out of heads and what is put in, in both directions.

use super::{Decision, Facts};
use crate::{RequestHead, ResponseHead};

/// Makes a received head the one that is forwarded. Called once, after [`decide()`](super::decide()).
///
/// What concerned this hop alone goes first, then what only a proxy may say is written anew, then come the edits of the
/// site and of the route, and `strip_prefix`. `TE: trailers` stays if it was there: whoever writes HTTP/1.1 nominates it
/// in Connection or leaves it out, and adds the fields of an upgrade.
pub fn request_fields(decision: &Decision<'_>, facts: &Facts<'_>, still_early: bool, head: &mut RequestHead) {
    let _ = (decision, facts, still_early, head);
}

/// Makes an upstream's head the one that is answered. `alt_svc` is the value advertised to clients that come over TLS.
pub fn response_fields(
    decision: &Decision<'_>,
    facts: &Facts<'_>,
    alt_svc: Option<&str>,
    head: &mut ResponseHead,
) {
    let _ = (decision, facts, alt_svc, head);
}
