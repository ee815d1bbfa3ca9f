//! The explanation of a connection to a listener that forwards TCP without reading it.

use super::answer::{Answer, line};
use super::connection::is_called;
use crate::cli::ExplainArgs;
use edge_proxy::config::{ConnectionLimits, Forward, Listener, ProxyOut};
use edge_proxy::decide::forward;
use edge_proxy::{Reason, Snapshot};
use serde::Serialize;
use std::fmt;

/// The decision about a connection that is forwarded without being read, with its reasons.
#[derive(Serialize)]
pub(super) struct ForwardExplanation {
    /// The listener that accepts the connection.
    listener: Answer,
    /// The client's address, from the PROXY header or the peer.
    client: Answer,
    /// The verdict: forwarded or dropped, with the reason.
    verdict: Answer,
    /// The code of the reason for which the connection is dropped. `None` if it is forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// The limits of connections, which may reject this one depending on other connections. `None` if there are none,
    /// or the connection is dropped anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Answer>,
    /// The upstream. `None` if the connection is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded: Option<ForwardTarget>,
}

/// The upstream to which a connection is forwarded.
#[derive(Serialize)]
struct ForwardTarget {
    /// The name of the upstream.
    upstream: String,
    /// The addresses of the upstream's targets.
    targets: Vec<String>,
    /// The version of the PROXY header that is sent to the upstream. `None` if none is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_protocol: Option<&'static str>,
    /// The time without a byte in either direction, in seconds, after which the connection is closed.
    idle: f64,
}

/// Returns the first listener that `--listener` names and that forwards TCP, and its forward. `None` without the
/// option, or if no listener of this name forwards.
pub(super) fn named<'s>(snapshot: &'s Snapshot, args: &ExplainArgs) -> Option<(&'s Listener, &'s Forward)> {
    let name = args.listener.as_deref()?;
    let found = snapshot.config().listeners.iter().filter(|listener| is_called(listener, name));
    found.filter_map(|listener| Some((listener, listener.forward.as_ref()?))).next()
}

impl ForwardExplanation {
    /// Decides about a connection to a listener and its forward, as the arguments describe it.
    pub(super) fn new(
        snapshot: &Snapshot,
        args: &ExplainArgs,
        (listener, to): (&Listener, &Forward),
    ) -> Self {
        let has_header = listener.proxy_protocol.iter().any(|range| range.contains(&args.from.ip()));
        let (client, why) = match (has_header, args.proxied) {
            (true, Some(source)) => (source, "the source in the PROXY header"),
            (false, Some(_)) => (args.from, "the peer, whose PROXY header is not read: no range has it"),
            (_, None) => (args.from, "the peer"),
        };
        let decided = match (has_header, args.proxied) {
            (true, None) => Err(Reason::ProxyHeader),
            _ => forward(to, client.ip()).map_err(|rejection| rejection.why),
        };
        let (verdict, code) = match decided {
            Ok(()) => {
                let what = format!("forwarded to `{}`", to.upstream);
                (Answer::new(what, "as it comes; no rule refuses the client"), None)
            }
            Err(reason) => {
                let why = match reason {
                    Reason::AccessDenied => "the address lists of the listener exclude the client",
                    other => other.description(),
                };
                (Answer::new("dropped without a byte", why), Some(reason.as_str()))
            }
        };
        let upstream = snapshot.upstream_named(&to.upstream).map(|at| &snapshot.config().upstreams[at]);
        let forwarded = upstream.filter(|_| code.is_none()).map(|upstream| ForwardTarget {
            upstream: upstream.name.clone(),
            targets: upstream.targets.iter().map(ToString::to_string).collect(),
            proxy_protocol: upstream.proxy_protocol.map(|version| match version {
                ProxyOut::V1 => "v1",
                ProxyOut::V2 => "v2",
            }),
            idle: to.idle.unwrap_or(snapshot.config().timeouts.tunnel).as_secs_f64(),
        });
        Self {
            listener: Answer::new(
                listener.name.as_ref().map_or_else(
                    || listener.address.to_string(),
                    |name| format!("{name} ({})", listener.address),
                ),
                "named by --listener",
            ),
            client: Answer::new(client.ip().to_canonical().to_string(), why),
            limits: limits(&to.rate).filter(|_| code.is_none()),
            verdict,
            code,
            forwarded,
        }
    }
}

/// Returns the limits of the rate and number of connections as an answer. `None` if there are none.
fn limits(limits: &ConnectionLimits) -> Option<Answer> {
    let rate = limits.client.map(|rate| format!("{rate} of a client"));
    let of_client = limits.client_concurrent.map(|most| format!("{most} open of a client"));
    let of_all = limits.concurrent.map(|most| format!("{most} open of all clients"));
    let all: Vec<String> = rate.into_iter().chain(of_client).chain(of_all).collect();
    (!all.is_empty()).then(|| Answer::new(all.join(", "), "a connection above it is closed without a byte"))
}

impl fmt::Display for ForwardExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "listener", Some(&self.listener))?;
        line(f, "client", Some(&self.client))?;
        line(f, "verdict", Some(&self.verdict))?;
        line(f, "limits", self.limits.as_ref())?;
        if let Some(code) = self.code {
            writeln!(f, "{:<11}  {code}", "code")?;
        }
        let Some(to) = &self.forwarded else { return Ok(()) };
        write!(f, "{:<11}  {} at {}", "upstream", to.upstream, to.targets.join(", "))?;
        if let Some(version) = to.proxy_protocol {
            write!(f, ", which gets a PROXY header of {version}")?;
        }
        writeln!(f, "\n{:<11}  closed after {} s without a byte", "idle", to.idle)
    }
}
