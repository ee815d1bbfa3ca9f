//! Events for the embedding program: one record per request, one per rejected or forwarded connection, and changes of
//! the proxy's state.

use super::resumption::SharedEvent;
use super::tls::TlsParameters;
use super::upstream::TargetEvent;
use edge_http::proxy_protocol::Extensions;
use edge_http::{Method, RequestHead, Version};
use edge_policy::Reason;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

/// The receiver of events of the proxy. Methods are called synchronously on the workers' threads unless stated
/// otherwise, and from several threads at once. They must not block: increment a counter, or append to a buffer. The
/// default implementations do nothing.
pub trait Observer: Send + Sync + 'static {
    /// Receives the record of a request that has ended: it was served, refused, dropped or aborted.
    fn access(&self, _record: &AccessRecord<'_>) {}

    /// Receives the record of a TCP connection that was forwarded byte for byte and has ended, or could not be
    /// forwarded since its upstream does not exist any more or could not be reached.
    fn forwarded(&self, _record: &ForwardRecord<'_>) {}

    /// Receives a connection that was rejected or ended by the proxy, such as for an unknown name, a limit, a failed
    /// handshake or a violation of HTTP/2 or HTTP/3, or a request rejected because its head is malformed, too large or
    /// too slow. Neither has an access record of its own.
    fn rejected(&self, _record: &ConnectionRejected<'_>) {}

    /// Receives that one worker stops accepting connections on a listener, or accepts them again. Failures after the
    /// first are not reported until they have ended.
    fn accepting(&self, _event: &AcceptEvent<'_>) {}

    /// Receives that a listener is not served because its interface or address is missing or its sockets cannot be
    /// opened, or that it is served again. Not called on a worker's thread.
    fn listener(&self, _event: &ListenerEvent<'_>) {}

    /// Receives that a target of an upstream was ejected or is down, or is healthy again.
    fn target(&self, _event: &TargetEvent<'_>) {}

    /// Receives that the store of shared state cannot be reached, or is reached again. Not called on a worker's
    /// thread.
    fn shared(&self, _event: &SharedEvent) {}

    /// Receives the failure of a worker, or of the QUIC socket of one of its listeners. The other workers, and TCP on
    /// that listener, continue.
    fn worker_failed(&self, _failure: &WorkerFailure<'_>) {}
}

/// A change in whether one worker accepts connections on a listener. While it does not, connections wait in the
/// kernel's queue, and accepting is tried again every 50 ms.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptEvent<'a> {
    /// The system call that accepts connections failed, for the first time since the last recovery.
    Failed {
        /// The listener's address.
        local: SocketAddr,
        /// The error, as the system reports it.
        why: &'a io::Error,
    },
    /// All file descriptors of the process outside the reserve are in use, by clients, upstreams or anything else. The
    /// reserve, a fourth of the soft limit and at least 16, is kept from new clients, for upstreams, health checks, the
    /// status page and the log.
    OutOfDescriptors {
        /// The listener's address.
        local: SocketAddr,
    },
    /// Connections are accepted again, and the last failure was more than 10 s ago.
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
                "{local}: no descriptor is left for clients; connections wait (raise LimitNOFILE=, or lower limits.connections)"
            ),
            Self::Recovered { local } => write!(f, "{local}: connections are accepted again"),
        }
    }
}

/// An observer that ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopObserver;

impl Observer for NoopObserver {}

/// The record of a request that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessRecord<'a> {
    /// The address of the client, restored through trusted proxies.
    pub client: IpAddr,
    /// The peer address of the connection.
    pub peer: SocketAddr,
    /// The HTTP version of the request.
    pub version: Version,
    /// The negotiated version and cipher suite of TLS. `None` without TLS, and if they were not negotiated yet.
    pub tls: Option<TlsParameters>,
    /// The method of the request.
    pub method: &'a Method,
    /// The authority of the request: the host, with a port if the client sent one.
    pub authority: &'a str,
    /// The request target as the client sent it, before `strip_prefix` and `add_prefix`.
    pub target: &'a str,
    /// The name of the site. `None` if no site matched.
    pub site: Option<&'a str>,
    /// The name of the upstream that the request was forwarded to, also if no target could be reached. `None` if the
    /// request was answered, refused or dropped by the proxy alone.
    pub upstream: Option<&'a str>,
    /// The status of the final response sent to the client. `None` if the client received none.
    pub status: Option<u16>,
    /// The number of content bytes received from the client, without framing. 0 if the request was not forwarded.
    pub received: u64,
    /// The number of content bytes sent to the client, without framing.
    pub sent: u64,
    /// The time from the complete request head to the end of the response or of the tunnel.
    pub duration: Duration,
    /// The reason of a refusal, drop, abort or failure. `None` for a request that was served.
    pub reason: Option<Reason>,
    /// The upstream failure that ended the exchange, as text: the target, if known, and the cause. `None` if none did,
    /// also if only an earlier attempt failed.
    pub error: Option<&'a str>,
    /// True if the request arrived in TLS early data, even if it then waited for the handshake.
    pub early: bool,
    /// The extensions (TLVs) in the PROXY header that the connection began with: the client's connection to the proxy
    /// that sent the header. `None` if there were none.
    pub proxy_header: Option<&'a Extensions>,
    /// The identifier of the request. `None` unless [`Config::request_id`](crate::config::Config::request_id) is set.
    pub request_id: Option<&'a str>,
    /// The request head, as sent to the upstream if the request was forwarded, else as received.
    pub head: &'a RequestHead,
}

/// An access record that owns its data, for observers that pass records on to another thread. Created by
/// [`AccessRecord::to_owned`], which copies the head: an observer that needs few fields copies those instead.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OwnedAccessRecord {
    /// The wall-clock time at which the record was converted: the end of the request, if the observer converts it in
    /// [`Observer::access`].
    pub ended: SystemTime,
    /// The value of [`AccessRecord::client`].
    pub client: IpAddr,
    /// The value of [`AccessRecord::peer`].
    pub peer: SocketAddr,
    /// The value of [`AccessRecord::version`].
    pub version: Version,
    /// The value of [`AccessRecord::tls`].
    pub tls: Option<TlsParameters>,
    /// The value of [`AccessRecord::method`].
    pub method: Method,
    /// The value of [`AccessRecord::authority`].
    pub authority: String,
    /// The value of [`AccessRecord::target`].
    pub target: String,
    /// The value of [`AccessRecord::site`].
    pub site: Option<String>,
    /// The value of [`AccessRecord::upstream`].
    pub upstream: Option<String>,
    /// The value of [`AccessRecord::status`].
    pub status: Option<u16>,
    /// The value of [`AccessRecord::received`].
    pub received: u64,
    /// The value of [`AccessRecord::sent`].
    pub sent: u64,
    /// The value of [`AccessRecord::duration`].
    pub duration: Duration,
    /// The value of [`AccessRecord::reason`].
    pub reason: Option<Reason>,
    /// The value of [`AccessRecord::error`].
    pub error: Option<String>,
    /// The value of [`AccessRecord::early`].
    pub early: bool,
    /// The value of [`AccessRecord::proxy_header`].
    pub proxy_header: Option<Extensions>,
    /// The value of [`AccessRecord::request_id`].
    pub request_id: Option<String>,
    /// The value of [`AccessRecord::head`].
    pub head: RequestHead,
}

impl AccessRecord<'_> {
    /// Returns a copy that owns its data, with the current time as its end.
    pub fn to_owned(&self) -> OwnedAccessRecord {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        OwnedAccessRecord {
            ended: SystemTime::now(),
            client: self.client,
            peer: self.peer,
            version: self.version,
            tls: self.tls,
            method: self.method.clone(),
            authority: self.authority.to_owned(),
            target: self.target.to_owned(),
            site: owned(self.site),
            upstream: owned(self.upstream),
            status: self.status,
            received: self.received,
            sent: self.sent,
            duration: self.duration,
            reason: self.reason,
            error: owned(self.error),
            early: self.early,
            proxy_header: self.proxy_header.cloned(),
            request_id: owned(self.request_id),
            head: self.head.clone(),
        }
    }
}

/// The event that a listener is served from now on, or is not served yet or any more, by all workers.
#[derive(Clone, Copy, Debug)]
pub struct ListenerEvent<'a> {
    /// The address of the listener.
    pub address: SocketAddr,
    /// The interface that the listener is bound to. `None` if it is bound to none.
    pub interface: Option<&'a str>,
    /// The reason the listener is not served, as text. `None` if it is served.
    pub why: Option<&'a str>,
}

/// The record of a TCP connection that was forwarded byte for byte, or was to be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ForwardRecord<'a> {
    /// The peer address of the connection.
    pub peer: SocketAddr,
    /// The client address: the source in the connection's PROXY header, or else the peer.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// The name of the listener. `None` if it has no name.
    pub listener: Option<&'a str>,
    /// The server name in the ClientHello. `None` unless TLS was passed through by its name.
    pub sni: Option<&'a str>,
    /// The extensions (TLVs) in the PROXY header that the connection began with: the client's connection to the proxy
    /// that sent the header. `None` if there were none.
    pub proxy_header: Option<&'a Extensions>,
    /// The identifier of the connection: that of its PROXY header if it has one of visible ASCII characters, or else a
    /// random one. `None` unless [`Config::request_id`](crate::config::Config::request_id) is set.
    pub unique_id: Option<&'a str>,
    /// The name of the site whose TLS was passed through. `None` for a forwarding listener.
    pub site: Option<&'a str>,
    /// The name of the upstream, also if no connection to it could be established.
    pub upstream: &'a str,
    /// The number of bytes forwarded from the client to the upstream.
    pub received: u64,
    /// The number of bytes forwarded from the upstream to the client.
    pub sent: u64,
    /// The number of bytes of both directions that the kernel moved from socket to socket, without a copy in this
    /// process.
    pub spliced: u64,
    /// The time from the decision to forward the connection to its end.
    pub duration: Duration,
    /// The reason the connection was ended by the proxy, a reset or an error, or could not be forwarded. `None` if both
    /// sides closed it.
    pub reason: Option<Reason>,
}

/// The record of a connection that was rejected or ended by the proxy, or of a request rejected for its head: see
/// [`Observer::rejected`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionRejected<'a> {
    /// The peer address of the connection.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// The server name in the ClientHello. `None` if there was none or it was not read.
    pub sni: Option<&'a str>,
    /// True if the client used QUIC, false for TCP.
    pub quic: bool,
    /// The reason for the rejection.
    pub reason: Reason,
}

/// A failure of a worker, or of one of its QUIC sockets.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WorkerFailure<'a> {
    /// The zero-based index of the worker.
    pub worker: usize,
    /// The address of the listener whose QUIC socket failed while the worker continues. `None` if the worker itself
    /// ended.
    pub quic: Option<SocketAddr>,
    /// The error that ended the worker or the socket.
    pub error: &'a io::Error,
}
