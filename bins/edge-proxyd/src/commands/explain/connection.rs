//! The connection of an explained request: its listener and its handshake.

use super::answer::Answer;
use crate::cli::ExplainArgs;
use edge_proxy::config::{CertificateMode, Listener, ListenerKind, Reject};
use edge_proxy::decide::{RequestContext, Transport, hello};
use edge_proxy::{CertificateContext, Reason, Snapshot};
use std::net::IpAddr;

/// The decision about a handshake, with its reason.
pub(super) struct HandshakeOutcome {
    pub(super) answer: Answer,
    /// True if the client gets to send a request.
    pub(super) goes_on: bool,
    /// The reason of a rejection.
    pub(super) code: Option<&'static str>,
}

impl HandshakeOutcome {
    fn accepted(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { answer: Answer::new(what, why), goes_on: true, code: None }
    }

    fn ended(what: impl Into<String>, why: impl Into<String>, code: Option<&'static str>) -> Self {
        Self { answer: Answer::new(what, why), goes_on: false, code }
    }
}

/// Returns the outcome of the handshake of a connection from this address.
pub(super) fn handshake(snapshot: &Snapshot, facts: &RequestContext<'_>, source: IpAddr) -> HandshakeOutcome {
    let site = match hello(snapshot, facts.transport, facts.listener, Some(source), facts.sni) {
        Ok(site) => &snapshot.config().sites[site],
        Err(rejection) => {
            let what = match rejection.how {
                Reject::Silent => "dropped without a response",
                Reject::Alert => "refused with an alert",
            };
            let why = format!("{} ({})", rejection.why.description(), rejection.why);
            return HandshakeOutcome::ended(what, why, Some(rejection.why.as_str()));
        }
    };
    if let Some(upstream) = &site.passthrough {
        return HandshakeOutcome::ended(
            format!("passed through to `{upstream}`"),
            "the site passes TLS on without decrypting it; what follows is not decided here",
            None,
        );
    }
    let belongs = format!("the SNI belongs to site `{}`", site.name);
    let Some(asked) = &site.client_certificates else {
        return HandshakeOutcome::accepted("accepted", belongs);
    };
    let authorities = asked.ca.display();
    match (facts.certificate, asked.mode) {
        (CertificateContext::Verified(_), _) => HandshakeOutcome::accepted(
            "accepted",
            format!("{belongs}, and the client certificate is one of {authorities}"),
        ),
        (_, CertificateMode::Optional) => HandshakeOutcome::accepted(
            "accepted",
            format!("{belongs}, which takes clients without a certificate too"),
        ),
        (_, CertificateMode::Required) => {
            let why = Reason::ClientCertificateRejected;
            let asks = format!("{belongs}, which asks for a client certificate of {authorities} ({why})");
            HandshakeOutcome::ended("refused with an alert", asks, Some(why.as_str()))
        }
    }
}

/// Returns whether a listener has this name or address.
pub(super) fn is_called(listener: &Listener, name: &str) -> bool {
    listener.name.as_deref() == Some(name) || listener.address.to_string() == name
}

/// Returns the listener that accepts the request: the one named by `--listener`, or else the first of the transport that
/// serves the host, or else the first of the transport. `None` if no listener has the transport or the name.
pub(super) fn listener<'s>(
    snapshot: &'s Snapshot,
    args: &ExplainArgs,
    transport: Transport,
    host: Option<&str>,
) -> Option<&'s Listener> {
    let suits = |listener: &&Listener| match (listener.kind, transport) {
        (ListenerKind::Plain, Transport::Plain)
        | (ListenerKind::Tls { .. }, Transport::Tls)
        | (ListenerKind::Tls { http3: true }, Transport::Quic) => {
            args.listener.as_deref().is_none_or(|name| is_called(listener, name))
        }
        _ => false,
    };
    let mut all = snapshot.config().listeners.iter().filter(suits);
    let serves = |listener: &&Listener| {
        host.is_some_and(|host| snapshot.site_at(host, listener.name.as_deref()).is_some())
    };
    all.clone().find(serves).or_else(|| all.next())
}

pub(super) fn listener_answer(args: &ExplainArgs, listener: Option<&Listener>) -> Answer {
    match listener {
        Some(found) => {
            let what = match &found.name {
                Some(name) => format!("{name} ({})", found.address),
                None => found.address.to_string(),
            };
            let why = match args.listener {
                Some(_) => "named by --listener",
                None => "the first listener of this transport that serves the host, or else the first",
            };
            Answer::new(what, why)
        }
        None => {
            Answer::new("none", "no listener has this name and transport, so no connection would be accepted")
        }
    }
}
