//! The configuration of a proxy: plain values, built in code or read from a file, validated once and then immutable.
//!
//! [`Config`] is the configuration as written. [`Snapshot`](crate::Snapshot) is its validated and indexed form, the
//! only one that the proxy uses.

mod access;
mod balance;
mod client_certificate;
mod forward;
mod priority;
mod response;
mod rewrite;
mod site;
mod tailnet;
#[cfg(feature = "opentelemetry")]
mod tracing;
mod upstream;

pub use access::{Auth, BasicAuth, Coding, Compression, ForwardAuth, RateLimits};
pub use balance::{Balance, Check, HashKey, HealthConfig, Retry};
pub use client_certificate::{CertificateField, CertificateMode, ClientCertificates};
pub use forward::{ConnectionLimits, Forward};
pub use priority::{InvalidMediaRange, MediaRange};
pub use response::{AllowedOrigin, Hsts, InvalidPermission, PermissionsPolicy, ResponsePolicies};
pub use rewrite::{CookieRules, PrefixRule};
pub use site::{
    Access, Action, CaseSensitivity, ErrorPage, FieldEdits, Maintenance, PathMatch, PlainHttp, Reject,
    Response, ResponseOrigin, Route, RouteCompression, Satisfy, Site,
};
pub use tailnet::Tailnet;
#[cfg(feature = "opentelemetry")]
pub use tracing::Tracing;
pub use upstream::{
    ForwardedAs, HOST_OF_REQUEST, InvalidPin, Pin, Protocol, ProxyOut, StickyCookie, Target, Upstream,
    UpstreamTls,
};

use crate::tailnet::IdentityMatcher;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The configuration of a proxy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The listeners: addresses and ports that connections are accepted on. No two may have the same address and
    /// interface, unless the port is 0.
    pub listeners: Vec<Listener>,
    /// The virtual hosts. Connections and requests for names that no site covers are rejected by `reject`.
    pub sites: Vec<Site>,
    /// The services that requests are forwarded to, referred to by name, for example in [`Action::Forward`]. Names are
    /// unique.
    pub upstreams: Vec<Upstream>,
    /// The trusted proxies, and the header in which they report the client's address.
    pub trust: Trust,
    /// The tailnet of this host. `None` disables identity lookups.
    pub tailnet: Option<Tailnet>,
    /// The port used in redirects to HTTPS and in Alt-Svc. With `None`, redirects omit the port (443), and Alt-Svc has
    /// the listener's port.
    pub https_port: Option<u16>,
    /// The form in which connections and requests for unknown names are rejected.
    pub reject: Reject,
    /// The use of kernel TLS for large responses and tunnels.
    pub kernel_tls: KernelTls,
    /// The congestion control of QUIC connections. A reload changes it for new connections only.
    pub congestion: Congestion,
    /// The urgency of responses over HTTP/2 and HTTP/3 by their media type (RFC 9218), from 0, the most urgent, to 7.
    /// The most specific range counts. It applies to responses for which neither the client nor the service states a
    /// priority. Responses that no range contains have urgency 3.
    pub priority: BTreeMap<MediaRange, u8>,
    /// Limits on the resources of the proxy and of one client or connection.
    pub limits: Limits,
    /// The timeouts of requests. A site or a route can replace them.
    pub timeouts: Timeouts,
    /// The name of the field that carries an identifier of each request to the upstream, in the response and in the
    /// access record, such as `X-Request-ID`. An identifier that a trusted proxy sent is retained if it has 1 to 128
    /// letters, digits and characters of `-_.:+/=`; otherwise it is 32 random hexadecimal digits. `None` adds none.
    pub request_id: Option<String>,
}

/// An address and port to accept connections on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The name by which [`Site::listen`] refers to the listener, 1 to 64 visible ASCII characters. Several listeners
    /// may share a name. With `None`, only sites that are bound to no listener are served.
    pub name: Option<String>,
    /// The address and port to bind. Port 0 lets the system choose a free port. The zone of a link-local address is
    /// `interface`, which may be created anew, or the address's scope ID.
    pub address: SocketAddr,
    /// The protocols served on this listener.
    pub kind: ListenerKind,
    /// The only interface to accept packets from (`SO_BINDTODEVICE`), such as `tailscale0`. `None` accepts from all.
    pub interface: Option<String>,
    /// The peers that begin each connection with a PROXY header. The header is required from these peers and not read
    /// from others. TCP only.
    pub proxy_protocol: Vec<IpNet>,
    /// The upstream of a [`ListenerKind::Tcp`] listener, required for that kind and rejected for the others.
    pub forward: Option<Forward>,
    /// True if a plain listener accepts HTTP/2 with prior knowledge (RFC 9113 §3.3) in addition to HTTP/1.1. Default:
    /// false.
    pub h2c: bool,
}

impl Listener {
    /// Returns a listener for plain HTTP/1.1 on this address, without a name, interface and PROXY header.
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

    /// Returns a listener on this address whose TCP connections are forwarded byte for byte.
    pub fn tcp(address: SocketAddr, forward: Forward) -> Self {
        Self { kind: ListenerKind::Tcp, forward: Some(forward), ..Self::plain(address) }
    }

    /// Returns a listener for HTTP/1.1 and HTTP/2 over TLS on TCP on this address. [`Listener::http3`] adds QUIC.
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

    /// Sets whether HTTP/3 over QUIC is served on the UDP port of the same number and advertised by Alt-Svc. No effect
    /// on listeners without TLS.
    #[must_use]
    pub const fn http3(mut self, http3: bool) -> Self {
        if let ListenerKind::Tls { .. } = self.kind {
            self.kind = ListenerKind::Tls { http3 };
        }
        self
    }

    /// Sets the name of the listener, to which sites can be bound.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// The protocols served on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// HTTP/1.1 without TLS. See also [`Listener::h2c`].
    Plain,
    /// TCP that is forwarded byte for byte to the upstream in [`Listener::forward`].
    Tcp,
    /// TLS with HTTP/1.1 and HTTP/2.
    Tls {
        /// True if HTTP/3 over QUIC is served on the UDP port of the same number and advertised by Alt-Svc.
        http3: bool,
    },
}

/// The trusted proxies, and the header in which they report the client's address. The default trusts no proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The address ranges of the trusted proxies. The header is ignored in requests of other peers.
    pub ranges: Vec<IpNet>,
    /// The interface that connections of trusted proxies must arrive on, such as `tailscale0`. 100.64.0.0/10 is shared
    /// address space (RFC 6598), so an address in it proves nothing on other interfaces. `None` for any interface.
    pub interface: Option<String>,
    /// The tailnet identities of the trusted proxies. If not empty, the peer and each further hop in the header are
    /// trusted only if tailscaled confirms one of these identities. Requires [`Config::tailnet`].
    pub who: Vec<IdentityMatcher>,
    /// True if the ranges alone decide while tailscaled cannot be reached. If false, the default, no hop is trusted
    /// during that time.
    pub fallback: bool,
    /// The header in which trusted proxies report the client's address.
    pub header: TrustedHeader,
}

/// The header that the client's address is read from. Exactly one is read; X-Forwarded-For and Forwarded are never
/// merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum TrustedHeader {
    /// X-Forwarded-For: a list of addresses, the nearest hop last. The default.
    #[default]
    XForwardedFor,
    /// Forwarded (RFC 7239): the `for` parameters.
    Forwarded,
    /// X-Real-IP: a single address.
    XRealIp,
    /// Another field with a single address, such as CF-Connecting-IP. It is removed from requests unless a trusted
    /// proxy reported the client's address in it.
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

/// The congestion control of QUIC connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Congestion {
    /// BBR, which estimates bandwidth and round-trip time: for paths that lose packets without congestion.
    Bbr,
    /// CUBIC (RFC 9438) with HyStart++ (RFC 9406), which shares a path fairly with TCP. The default.
    #[default]
    Cubic,
}

/// The use of kernel TLS for sending over HTTP/1.1 and TLS 1.3. Large content and tunnels are spliced from the
/// upstream's socket to the client's without a copy into this process. No effect if the kernel has no TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelTls {
    /// Kernel TLS is used if the kernel supports it, once a response or tunnel has sent a given amount.
    Auto {
        /// The number of content bytes that are sent before the kernel takes over. Default: 1 MiB.
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

/// Limits on the resources of the proxy and of one client or connection. The defaults suit a public edge.
/// [`Snapshot::new`](crate::Snapshot::new) rejects values out of range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest header section of a request in bytes, without the request line, 256 to 65535. Default: 16 KiB.
    /// Counted as received over HTTP/1.1, and by RFC 9113 §6.5.2 and RFC 9114 §4.2.2 over HTTP/2 and HTTP/3, there
    /// together with the request target's limit. Over HTTP/1.1 at most what the limit of the target leaves of 63 KiB.
    pub header_bytes: usize,
    /// The highest number of fields in the header section of a request, 1 to 10000. Default: 100.
    pub header_fields: usize,
    /// The longest request target in bytes, 16 to 65535. Default: 32 KiB. Over HTTP/1.1 at most 56 KiB.
    pub target_bytes: usize,
    /// The highest number of concurrent requests on one HTTP/2 or HTTP/3 connection, 1 to 65535. Default: 100.
    pub streams: u32,
    /// The number of requests that a client may abort on one HTTP/2 or HTTP/3 connection, by a reset or an error of the
    /// protocol, 1 to 1000000. Default: 200. The count decreases by 20 per second. Above the limit, the connection is
    /// closed.
    pub resets: u32,
    /// The number of HTTP/2 frames without useful work (PING, SETTINGS, PRIORITY, empty DATA and the like) that a
    /// client may send on one connection beyond those that its requests and their content account for, 10 to 1000000.
    /// Default: 1000. A tenth of the allowance is restored each second. For HTTP/3 the limit applies to frames on the
    /// control stream beyond one per request, of which none are restored.
    pub control_frames: u32,
    /// The highest number of concurrent connections of one worker: of TCP connections, and of QUIC connections of each
    /// listener, 1 to 10000000. Default: 16384.
    pub connections: usize,
    /// The highest number of concurrent connections of one client, where a client is an IPv4 address or a /64 of IPv6.
    /// Default: 256. 0 means no limit. Connections of trusted proxies are not counted. Each process counts its own,
    /// also while one takes over from another.
    pub connections_per_client: u32,
    /// The highest number of idle connections of one worker to one target, 0 to 1000000. Default: 4096. Below it, as
    /// many stay open as were in use at the same time in the last 15 to 20 s.
    pub idle_upstream: usize,
    /// The number of bytes of HTTP/2 responses that one worker buffers for slow clients, 1 MiB to 64 GiB. Default:
    /// 64 MiB. Stream windows shrink as their number grows. Above the limit, the responses whose clients have read
    /// nothing for the longest time are aborted.
    pub upstream_buffer: usize,
    /// The largest response header section of an upstream in bytes, 256 to 65535. Default: 32 KiB.
    pub response_header_bytes: usize,
    /// The highest number of fields in a response header section of an upstream, 1 to 10000. Default: 200.
    pub response_header_fields: usize,
    /// The number of clients for which the table of request rates has room, all sites together, 1024 to 16777216.
    /// Default: 131072. The table takes 8 bytes for each and is allocated once a site has a rate per client or Basic
    /// authentication.
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

/// The timeouts of connections and requests, each 1 ms to 30 days. They are checked periodically, so each may take
/// effect up to half a second late, over HTTP/3 up to one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The longest time for the PROXY header, for the ClientHello, and for the TLS handshake after it, each. Default:
    /// 10 s.
    pub handshake: Duration,
    /// The longest time from the first byte of a request head to its last. Default: 15 s.
    pub header: Duration,
    /// The longest time between two parts of request content, and for the client to accept the next part of a
    /// response. Default: 60 s.
    pub body: Duration,
    /// The longest time for which a client's connection may be idle between requests, and before the first one.
    /// Default: 75 s.
    pub idle: Duration,
    /// The longest time for connecting to an upstream, TLS included. Default: 5 s.
    pub connect: Duration,
    /// The longest time from the end of the request to the response head, between two parts of a response, and for an
    /// upstream to accept the next part of request content. Default: 60 s.
    pub response: Duration,
    /// The longest time without a byte in either direction, after which a tunnel such as a WebSocket is closed.
    /// Default: 1 h.
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
