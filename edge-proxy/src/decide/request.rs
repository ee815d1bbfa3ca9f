//! The decision about one request.

use super::{Decision, Facts, Refusal, Verdict};
use crate::early_data::Early;
use crate::{RequestHead, Snapshot, client_address};

/// Decides what becomes of a request.
pub fn decide<'s>(snapshot: &'s Snapshot, facts: &Facts<'_>, head: &RequestHead) -> Decision<'s> {
    let source = facts.proxied.unwrap_or(facts.peer);
    Decision {
        client: client_address::restore(&snapshot.config().trust, source, facts.interface, &head.fields),
        site: None,
        route: None,
        early: Early::NotEarly,
        websocket: false,
        body_limit: None,
        verdict: Verdict::Drop { why: Refusal::UnknownName },
    }
}
