//! The listener and the handshake of an explained request.

use super::answer::Answer;
use crate::cli::ExplainArgs;
use edge_proxy::config::{CertificateMode, Listener, ListenerKind, Reject};
use edge_proxy::decide::{RequestContext, Transport, hello};
use edge_proxy::{CertificateContext, Reason, Snapshot};
use std::net::IpAddr;

/// The outcome of a TLS handshake, with its reason.
pub(super) struct HandshakeOutcome {
    /// The decision and its reason, for the report.
    pub(super) answer: Answer,
    /// True if the handshake succeeds at this proxy, so that the client can send a request to it.
    pub(super) goes_on: bool,
    /// The code of the reason for a rejection. `None` if the connection is accepted or passed through.
    pub(super) code: Option<&'static str>,
}

impl HandshakeOutcome {
    /// Creates the outcome of a handshake that succeeds.
    fn accepted(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { answer: Answer::new(what, why), goes_on: true, code: None }
    }

    /// Creates the outcome of a connection on which the proxy reads no request: it is rejected, for the reason `code`,
    /// or passed through.
    fn ended(what: impl Into<String>, why: impl Into<String>, code: Option<&'static str>) -> Self {
        Self { answer: Answer::new(what, why), goes_on: false, code }
    }
}

/// Returns the outcome of the TLS handshake for the facts of a request: it is rejected by the policy, passed through,
/// accepted, or rejected for lack of a client certificate. `source` is the client's address, from the PROXY header if
/// there is one.
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

/// Returns true if a listener has this name, or this address and port.
pub(super) fn is_called(listener: &Listener, name: &str) -> bool {
    listener.name.as_deref() == Some(name) || listener.address.to_string() == name
}

/// Returns the listener that accepts the request, among those of the transport and, if they are given, of the name or
/// address in `--listener`; a listener that is bound to another interface than `--interface` is left out. Of these the
/// first that serves `host`, or else the first. `None` if there is none.
pub(super) fn listener<'s>(
    snapshot: &'s Snapshot,
    args: &ExplainArgs,
    transport: Transport,
    host: Option<&str>,
) -> Option<&'s Listener> {
    let comes = |listener: &&Listener| match (&listener.interface, &args.interface) {
        (Some(wanted), Some(interface)) => wanted == interface,
        _ => true,
    };
    let suits = |listener: &&Listener| match (listener.kind, transport) {
        (ListenerKind::Plain, Transport::Plain)
        | (ListenerKind::Tls { .. }, Transport::Tls)
        | (ListenerKind::Tls { http3: true }, Transport::Quic) => {
            args.listener.as_deref().is_none_or(|name| is_called(listener, name))
        }
        _ => false,
    };
    let mut all = snapshot.config().listeners.iter().filter(suits).filter(comes);
    let serves = |listener: &&Listener| {
        host.is_some_and(|host| snapshot.site_at(host, listener.name.as_deref()).is_some())
    };
    all.clone().find(serves).or_else(|| all.next())
}

/// Returns the line of the report about the listener.
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
        None => Answer::new(
            "none",
            "no listener has this name, transport and interface, so no connection would be accepted",
        ),
    }
}
