//! Events for the embedder: one record per request, one per rejected connection, and changes of the proxy's state.

use super::resumption::SharedEvent;
use super::tls::TlsParameters;
use super::upstream::TargetEvent;
use edge_http::{Method, RequestHead, Version};
use edge_policy::Reason;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Receives events of the proxy. Methods are called by the workers while they serve, so they must not block: count, or append
/// a line to a buffer. The default implementations do nothing.
pub trait Observer: Send + Sync + 'static {
    /// A request was served, refused or aborted.
    fn access(&self, _record: &AccessRecord<'_>) {}

    /// A TCP connection that was forwarded byte for byte ended, or could not be forwarded.
    fn forwarded(&self, _record: &ForwardRecord<'_>) {}

    /// A connection was rejected before any request.
    fn turned_away(&self, _record: &ConnectionRejected<'_>) {}

    /// A worker cannot accept connections for now, or can again. Called once for each such change.
    fn accepting(&self, _event: &AcceptEvent<'_>) {}

    /// A listener's interface or address went, or came and is served. Not called by a worker.
    fn listener(&self, _event: &ListenerEvent<'_>) {}

    /// A target of an upstream is not used any more, or is used again.
    fn target(&self, _event: &TargetEvent<'_>) {}

    /// The store of shared state came or went. Not called by a worker.
    fn shared(&self, _event: &SharedEvent) {}

    /// A worker, or the QUIC socket of one of its listeners, ended by an error. The other workers go on.
    fn worker_failed(&self, _failure: &WorkerFailure<'_>) {}
}

/// A change in whether connections are accepted on a listener. Until they are, they wait in the kernel's queue.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptEvent<'a> {
    /// The system could not accept a connection.
    Failed {
        /// The listener's address.
        local: SocketAddr,
        /// The error, as the system reports it.
        why: &'a io::Error,
    },
    /// Clients have as many descriptors as they may: the rest is kept for upstreams, checks, the status page and the log.
    OutOfDescriptors {
        /// The listener's address.
        local: SocketAddr,
    },
    /// Connections are accepted again.
    Recovered {
        /// The listener's address.
        local: SocketAddr,
    },
}

impl std::fmt::Display for AcceptEvent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed { local, why } => write!(
                f,
                "{local}: cannot accept connections: {why}; they wait until it can (raise LimitNOFILE= if descriptors are missing)"
            ),
            Self::OutOfDescriptors { local } => write!(
                f,
                "{local}: clients have all descriptors that they may; connections wait (raise LimitNOFILE=, or lower limits.connections)"
            ),
            Self::Recovered { local } => write!(f, "{local}: connections are accepted again"),
        }
    }
}

/// An observer that ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopObserver;

impl Observer for NoopObserver {}

/// The record of a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessRecord<'a> {
    /// The restored address of the client.
    pub client: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The version of HTTP.
    pub version: Version,
    /// The version and cipher suite of TLS; `None` over plain HTTP.
    pub tls: Option<TlsParameters>,
    /// The method of the request.
    pub method: &'a Method,
    /// Host, with a port if the client wrote one.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The name of the site, if one was found.
    pub site: Option<&'a str>,
    /// The name of the upstream, if the request was forwarded.
    pub upstream: Option<&'a str>,
    /// The status that was sent, or `None` if the client got no answer.
    pub status: Option<u16>,
    /// Bytes of content received from the client.
    pub received: u64,
    /// Bytes of content sent to the client.
    pub sent: u64,
    /// From the head's arrival to the answer's end.
    pub duration: Duration,
    /// The reason why it was refused or broken off, if it was.
    pub reason: Option<Reason>,
    /// The failure of the upstream in words: the target and the cause.
    pub error: Option<&'a str>,
    /// True if the request was accepted as early data.
    pub early: bool,
    /// The identifier of the request, if the configuration asks for one.
    pub request_id: Option<&'a str>,
    /// The request's head as it was received or forwarded.
    pub head: &'a RequestHead,
}

/// A listener that is served again, or not any more.
#[derive(Clone, Copy, Debug)]
pub struct ListenerEvent<'a> {
    /// The address of the listener.
    pub address: SocketAddr,
    /// The interface of the listener.
    pub interface: Option<&'a str>,
    /// The reason why it is not served; `None` if it is.
    pub why: Option<&'a str>,
}

/// One TCP connection that was forwarded byte for byte.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ForwardRecord<'a> {
    /// The peer of the connection.
    pub peer: SocketAddr,
    /// The client: the peer, or the source in its PROXY header.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// The name of the listener, if it has one.
    pub listener: Option<&'a str>,
    /// The name in the ClientHello, where TLS was passed through by it.
    pub sni: Option<&'a str>,
    /// The name of the upstream.
    pub upstream: &'a str,
    /// Bytes from the client that were passed on.
    pub received: u64,
    /// Bytes that were passed on to the client.
    pub sent: u64,
    /// Time from the connection's acceptance to its end.
    pub duration: Duration,
    /// The reason why it ended, unless both sides closed.
    pub reason: Option<Reason>,
}

/// A rejected connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionRejected<'a> {
    /// The other end.
    pub peer: SocketAddr,
    /// The listener's address.
    pub local: SocketAddr,
    /// The name in the ClientHello, if one was read.
    pub sni: Option<&'a str>,
    /// True if the connection arrived over QUIC.
    pub quic: bool,
    /// The reason of the rejection.
    pub reason: Reason,
}

/// The failure of a worker while it serves.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WorkerFailure<'a> {
    /// The zero-based index of the worker.
    pub worker: usize,
    /// The listener whose QUIC socket failed, if the worker itself goes on.
    pub quic: Option<SocketAddr>,
    /// The error that occurred.
    pub error: &'a io::Error,
}
