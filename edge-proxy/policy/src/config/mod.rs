//! The configuration of a proxy: plain values, built in code or read from a file, checked once and then immutable.
//!
//! [`Config`] is the configuration as a person wrote it. [`Snapshot`](crate::Snapshot) is the same, validated and
//! indexed; the proxy uses only the snapshot.

mod access;
mod balance;
mod client_certificate;
mod forward;
mod rewrite;
mod site;
mod tailnet;
#[cfg(feature = "opentelemetry")]
mod tracing;
mod upstream;

pub use access::{Auth, BasicAuth, Coding, Compression, ForwardAuth, Hsts, RateLimits};
pub use balance::{Balance, Check, HashKey, HealthConfig, Retry};
pub use client_certificate::{CertificateField, CertificateMode, ClientCertificates};
pub use forward::Forward;
pub use rewrite::{CookieRules, PrefixRule};
pub use site::{
    Access, Action, Case, ErrorPage, FieldEdits, Maintenance, PathMatch, Plain, Reject, Response, Route,
    RouteCompression, Satisfy, Site,
};
pub use tailnet::Tailnet;
#[cfg(feature = "opentelemetry")]
pub use tracing::Tracing;
pub use upstream::{
    ForwardedAs, HOST_OF_REQUEST, InvalidPin, Pin, Protocol, ProxyOut, StickyCookie, Target, Upstream,
    UpstreamTls,
};

use crate::tailnet::Who;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The whole configuration of a proxy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The sockets to accept connections on.
    pub listeners: Vec<Listener>,
    /// The virtual hosts. A connection for a name that no site has is dropped.
    pub sites: Vec<Site>,
    /// The services that requests are forwarded to; [`Action::Forward`] names one.
    pub upstreams: Vec<Upstream>,
    /// The proxies that are trusted to report the client's address.
    pub trust: Trust,
    /// The tailnet of this host. With `None` tailscaled is never asked for identities.
    pub tailnet: Option<Tailnet>,
    /// The port used in redirects to HTTPS and in Alt-Svc. `None` means 443, which is left out of the URL; Alt-Svc then has the
    /// listener's port.
    pub https_port: Option<u16>,
    /// The way connections and requests for unknown names are rejected.
    pub reject: Reject,
    /// Encryption of large responses by the kernel.
    pub kernel_tls: KernelTls,
    /// Congestion control of QUIC connections. A reload applies to new ones.
    pub congestion: Congestion,
    /// Limits on the resources of one client or connection.
    pub limits: Limits,
    /// Timeouts, unless a site has its own.
    pub timeouts: Timeouts,
    /// The field that carries an identifier of each request, such as `X-Request-ID`, to the service, in the response and to the
    /// access record. One that a trusted proxy sent is kept; otherwise it is 32 random hexadecimal digits. `None` adds none.
    pub request_id: Option<String>,
}

/// One address and port to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The name by which [`Site::listen`] refers to it. Several listeners may share one.
    pub name: Option<String>,
    /// The address and port. Port 0 picks a free one.
    pub address: SocketAddr,
    /// The protocols served on this listener.
    pub kind: ListenerKind,
    /// The only interface to accept packets from (`SO_BINDTODEVICE`), such as `tailscale0`.
    pub interface: Option<String>,
    /// Peers that begin each connection with a PROXY protocol header. The header is required from these peers; other
    /// peers are served without one. TCP only.
    pub proxy_protocol: Vec<IpNet>,
    /// The destination of the connections of a [`ListenerKind::Tcp`] listener.
    pub forward: Option<Forward>,
    /// True if a plain listener accepts HTTP/2 with prior knowledge (RFC 9113 §3.3) beside HTTP/1.1. Off by default.
    pub h2c: bool,
}

impl Listener {
    /// Returns a listener for plain HTTP/1.1.
    pub const fn plain(address: SocketAddr) -> Self {
        Self {
            name: None,
            address,
            kind: ListenerKind::Plain,
            interface: None,
            proxy_protocol: Vec::new(),
            forward: None,
            h2c: false,
        }
    }

    /// Returns a listener whose TCP connections are forwarded byte for byte.
    pub fn tcp(address: SocketAddr, forward: Forward) -> Self {
        Self { kind: ListenerKind::Tcp, forward: Some(forward), ..Self::plain(address) }
    }

    /// Returns a listener for HTTP/1.1 and HTTP/2 over TLS on TCP. [`Listener::http3`] adds QUIC.
    pub const fn tls(address: SocketAddr) -> Self {
        Self {
            name: None,
            address,
            kind: ListenerKind::Tls { http3: false },
            interface: None,
            proxy_protocol: Vec::new(),
            forward: None,
            h2c: false,
        }
    }

    /// Serves HTTP/3 over QUIC on the same UDP port as well, and advertises it by Alt-Svc. Without effect on a plain listener.
    #[must_use]
    pub const fn http3(mut self, http3: bool) -> Self {
        if let ListenerKind::Tls { .. } = self.kind {
            self.kind = ListenerKind::Tls { http3 };
        }
        self
    }

    /// Returns the same listener under a name that sites can be bound to.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// The protocols served on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// HTTP/1.1 without TLS.
    Plain,
    /// TCP whose bytes are forwarded without being looked at, by [`Listener::forward`].
    Tcp,
    /// TLS with HTTP/1.1 and HTTP/2.
    Tls {
        /// True if HTTP/3 over QUIC is served on the same port too, advertised by Alt-Svc.
        http3: bool,
    },
}

/// The trusted proxies and the header they report the client's address in. The default trusts no one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Address ranges of the trusted proxies. The header is believed only from them.
    pub ranges: Vec<IpNet>,
    /// The interface a trusted proxy must connect through, such as `tailscale0`. 100.64.0.0/10 is shared carrier space
    /// (RFC 6598), so the range alone proves nothing on other interfaces.
    pub interface: Option<String>,
    /// Tailnet identities of the trusted proxies. If not empty, the peer and each further hop in the header count as
    /// trusted only when tailscaled confirms one of these identities. Needs [`Config::tailnet`].
    pub who: Vec<Who>,
    /// True if the ranges alone decide while tailscaled cannot be reached. If `false`, no hop is trusted during that
    /// time.
    pub fallback: bool,
    /// The header in which trusted proxies report the client's address.
    pub header: TrustedHeader,
}

/// The only header that is read. X-Forwarded-For and Forwarded are never merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum TrustedHeader {
    /// X-Forwarded-For: a list of addresses, the nearest hop last.
    #[default]
    XForwardedFor,
    /// Forwarded (RFC 7239): the `for` parameters.
    Forwarded,
    /// X-Real-IP: a single address.
    XRealIp,
    /// Another field with one address, such as CF-Connecting-IP. Requests that did not come through a trusted hop lose it.
    Custom(Arc<str>),
}

impl TrustedHeader {
    /// Returns the name of the field.
    pub fn name(&self) -> &str {
        match self {
            Self::XForwardedFor => "X-Forwarded-For",
            Self::Forwarded => "Forwarded",
            Self::XRealIp => "X-Real-IP",
            Self::Custom(name) => name,
        }
    }
}

/// The congestion control of what is sent over QUIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Congestion {
    /// BBR, which estimates the bandwidth and the round trip: for paths that lose packets without being full.
    Bbr,
    /// CUBIC (RFC 9438) with HyStart++ (RFC 9406), which shares a path fairly with TCP.
    #[default]
    Cubic,
}

/// Use of kernel TLS for sending over HTTP/1.1 and TLS 1.3, so that large content and tunnels go from the upstream's
/// socket to the client's without a copy into this process. Where the kernel has no TLS, this has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelTls {
    /// Used where the kernel supports it, once a response or tunnel has sent a given amount.
    Auto {
        /// Bytes of content that are sent before the kernel takes over (1 MiB).
        after: u64,
    },
    /// Kernel TLS is never used.
    Off,
}

impl Default for KernelTls {
    fn default() -> Self {
        Self::Auto { after: 1 << 20 }
    }
}

/// Limits on the resources of one client or connection. The defaults suit a public edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest header section in bytes without the target, names and values (16 KiB), as HTTP/1.1 sends them and as HTTP/2 and HTTP/3
    /// count them.
    pub header_bytes: usize,
    /// The highest number of fields in a header section (100).
    pub header_fields: usize,
    /// The longest request target in bytes (32 KiB).
    pub target_bytes: usize,
    /// Concurrent requests on one HTTP/2 or HTTP/3 connection (100).
    pub streams: u32,
    /// Streams that a client may reset on one connection, beyond the number it completed, before the connection is
    /// closed (200).
    pub resets: u32,
    /// HTTP/2 frames without useful work (PING, SETTINGS, PRIORITY, empty DATA and the like) that a client may send on
    /// one connection beyond those its requests and their content account for (1000). A tenth of the allowance is
    /// restored each second. For HTTP/3 the limit applies to frames on the control stream beyond one per request.
    pub control_frames: u32,
    /// Concurrent connections of one worker, counted separately for TCP and QUIC (16384).
    pub connections: usize,
    /// Concurrent connections of one client: an IPv4 address or a /64 of IPv6 (256). Trusted proxies are not counted. 0
    /// means no limit.
    pub connections_per_client: u32,
    /// The highest number of idle connections that one worker keeps to one target (4096). It keeps as many as were in use
    /// at the same time in the last 15 to 20 s.
    pub idle_upstream: usize,
    /// Bytes of HTTP/2 responses that one worker holds for clients that do not take them (64 MiB). The windows of streams become
    /// smaller the more there are; beyond it the responses whose clients have taken nothing for longest are broken off.
    pub upstream_buffer: usize,
    /// Bytes of the head of a service's answer (32 KiB).
    pub response_header_bytes: usize,
    /// Fields of the head of a service's answer (200).
    pub response_header_fields: usize,
    /// The number of clients that the table of request rates is made for, those of all sites together (131072). It takes 8
    /// bytes for each, once a site has a rate by client or passwords.
    pub rate_table: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 16 * 1024,
            header_fields: 100,
            target_bytes: 32 * 1024,
            streams: 100,
            resets: 200,
            control_frames: 1000,
            connections: 16_384,
            connections_per_client: 256,
            idle_upstream: 4096,
            upstream_buffer: 64 << 20,
            response_header_bytes: 32 * 1024,
            response_header_fields: 200,
            rate_table: 131_072,
        }
    }
}

/// Timeouts. A periodic sweep enforces them, so each may fire up to half a second late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Time from accepting a connection to the end of its TLS handshake, PROXY header included (10 s).
    pub handshake: Duration,
    /// Time from the first byte of a request head to its last (15 s).
    pub header: Duration,
    /// Time between two parts of request content, and for the client to accept the next part of a response (60 s).
    pub body: Duration,
    /// Idle time between requests (75 s).
    pub idle: Duration,
    /// Time to connect to an upstream, TLS included (5 s).
    pub connect: Duration,
    /// Time from the end of the request to the response head, and between two parts of a response (60 s).
    pub response: Duration,
    /// Time without a byte in either direction of a tunnel such as WebSocket (1 h).
    pub tunnel: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(15),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(75),
            connect: Duration::from_secs(5),
            response: Duration::from_secs(60),
            tunnel: Duration::from_secs(3600),
        }
    }
}
