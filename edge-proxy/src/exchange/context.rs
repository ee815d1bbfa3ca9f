//! The context of one request while it is served.

use super::Connection;
use crate::deadline::Deadline;
use crate::proxy_extensions::proxy_extensions;
use crate::traces::Trace;
use crate::view::View;
use edge_http::ResponseHead;
use edge_http::proxy_protocol::Extensions;
use edge_policy::config::{Timeouts, Upstream};
use edge_policy::decide::{Decision, RequestContext, response_fields};
use edge_policy::tailnet::Identities;

/// The context of a request, shared by its admission, authentication and forwarding.
#[derive(Clone, Copy)]
pub(super) struct ExchangeContext<'a> {
    /// The configuration in effect, with the worker's connection pools.
    pub(super) view: &'a View,
    /// The connection of the client.
    pub(super) connection: &'a Connection,
    /// The identifier of the request. `None` unless the configuration names a field for it.
    pub(super) request_id: Option<&'a str>,
    /// The tailnet identities of the client and its hops.
    pub(super) identities: Identities<'a>,
    /// The decision about the request.
    pub(super) decision: &'a Decision<'a>,
    /// The timeouts of the request: those of its route, or else of its site, or else the global ones.
    pub(super) timeouts: Timeouts,
    /// The deadline of the exchange.
    pub(super) deadline: &'a Deadline,
    /// The trace of the request.
    pub(super) trace: &'a Trace<'a>,
}

impl ExchangeContext<'_> {
    /// Returns the context of the request for the policy. `early` is true if it is early data and the handshake is
    /// incomplete.
    pub(super) fn facts(&self, early: bool) -> RequestContext<'_> {
        self.connection.facts(&self.view.runtime, early, self.identities)
    }

    /// Sets and removes the fields of a response for the client, as [`response_fields`] describes.
    pub(super) fn response_fields(&self, head: &mut ResponseHead) {
        let alt_svc = self.view.runtime.alt_svc(self.connection.local);
        response_fields(self.decision, &self.facts(false), alt_svc, head);
    }

    /// Returns the extensions of the PROXY header that this upstream is to receive.
    pub(super) fn proxy_extensions(&self, upstream: &Upstream) -> Extensions {
        let certificate = self.connection.certificate(&self.view.runtime);
        proxy_extensions(upstream, self.connection, certificate, self.request_id)
    }
}
