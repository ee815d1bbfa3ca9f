//! What a proxy is told: plain values, made by a builder or from a file, checked once and then immutable.
//!
//! [`Config`] is as a person meant it. [`Snapshot`](crate::Snapshot) is the same, checked and indexed; the proxy sees only that.

mod access;
mod balance;
mod site;
mod tailnet;
#[cfg(feature = "opentelemetry")]
mod tracing;
mod upstream;

pub use access::{Auth, BasicAuth, Coding, Compression, ForwardAuth, Hsts, RateLimits};
pub use balance::{Balance, Check, HashKey, HealthConfig, Retry};
pub use site::{Access, Action, FieldEdits, Maintenance, PathMatch, Plain, Reject, Response, Route, Site};
pub use tailnet::Tailnet;
#[cfg(feature = "opentelemetry")]
pub use tracing::Tracing;
pub use upstream::{Protocol, ProxyOut, Target, Upstream, UpstreamTls};

use crate::tailnet::Who;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::time::Duration;

/// Everything a proxy is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// What it serves. A name that no site has is dropped.
    pub sites: Vec<Site>,
    /// Where requests are passed to; [`Action::Forward`] names one.
    pub upstreams: Vec<Upstream>,
    /// Whose word about the client's address counts.
    pub trust: Trust,
    /// The tailnet that this host is in. `None` asks nobody who somebody is.
    pub tailnet: Option<Tailnet>,
    /// The port that redirects to https name. `None` is 443, which is not written.
    pub https_port: Option<u16>,
    /// What becomes of clients that ask for nothing of ours.
    pub reject: Reject,
    /// Whether the kernel encrypts large responses.
    pub kernel_tls: KernelTls,
    /// What one client may use up.
    pub limits: Limits,
    /// How long things may take, unless a site says otherwise.
    pub timeouts: Timeouts,
}

/// One address and port to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address and port. Port 0 takes a free one.
    pub address: SocketAddr,
    /// What is spoken there.
    pub kind: ListenerKind,
    /// The interface whose packets only are accepted (`SO_BINDTODEVICE`), such as `tailscale0`.
    pub interface: Option<String>,
    /// Peers that begin each connection with a PROXY protocol header. From these it is required, from all others a
    /// connection is served as it is. TCP only.
    pub proxy_protocol: Vec<IpNet>,
}

impl Listener {
    /// Plain HTTP.
    pub const fn plain(address: SocketAddr) -> Self {
        Self { address, kind: ListenerKind::Plain, interface: None, proxy_protocol: Vec::new() }
    }

    /// HTTP over TLS on TCP and, if `http3`, over QUIC on the same UDP port.
    pub const fn tls(address: SocketAddr, http3: bool) -> Self {
        Self { address, kind: ListenerKind::Tls { http3 }, interface: None, proxy_protocol: Vec::new() }
    }
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// HTTP/1.1 without TLS.
    Plain,
    /// TLS with HTTP/1.1 and HTTP/2.
    Tls {
        /// QUIC with HTTP/3 on the same port too, advertised by Alt-Svc.
        http3: bool,
    },
}

/// Whose word about the client's address counts, and by which header. The default trusts nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Peers that are hops of ours. Their header is believed, and theirs alone.
    pub ranges: Vec<IpNet>,
    /// If set, a peer counts as a hop only when it came in by this interface, such as `tailscale0`: 100.64.0.0/10 is
    /// shared carrier space (RFC 6598), so the range alone proves nothing elsewhere.
    pub interface: Option<String>,
    /// If any, an address counts as a hop only when tailscaled says that it is one of these: the peer, and each that the header
    /// names further left. Needs [`Config::tailnet`].
    pub who: Vec<Who>,
    /// While tailscaled cannot be asked, the range alone counts. Without it nobody is a hop then.
    pub fallback: bool,
    /// The header in which hops of ours write the client's address.
    pub header: TrustedHeader,
}

/// The one header that is read. X-Forwarded-For and Forwarded are never merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TrustedHeader {
    /// X-Forwarded-For: a list, the nearest hop last.
    #[default]
    XForwardedFor,
    /// Forwarded (RFC 7239): its `for` parameters.
    Forwarded,
    /// X-Real-IP: one address.
    XRealIp,
}

impl TrustedHeader {
    /// The field's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "X-Forwarded-For",
            Self::Forwarded => "Forwarded",
            Self::XRealIp => "X-Real-IP",
        }
    }
}

/// Whether the kernel encrypts what is sent over HTTP/1.1 and TLS 1.3, so that large content and tunnels go from the service's
/// socket to the client's without a copy into this process. Where the kernel has no TLS nothing is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelTls {
    /// Where the kernel can, for a response or a tunnel that has sent so much already.
    Auto {
        /// Bytes of content that come first (1 MiB).
        after: u64,
    },
    /// Never.
    Off,
}

impl Default for KernelTls {
    fn default() -> Self {
        Self::Auto { after: 1 << 20 }
    }
}

/// What one client may use up. The defaults suit a public edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's header section, names and values (16 KiB), as HTTP/1.1 sends them and HTTP/2 and 3 count.
    pub header_bytes: usize,
    /// Fields of a header section (100).
    pub header_fields: usize,
    /// Bytes of a request target (8 KiB).
    pub target_bytes: usize,
    /// Requests at once on one HTTP/2 or HTTP/3 connection (100).
    pub streams: u32,
    /// Streams that a client may reset on one connection before it is ended, beyond what it completed (200).
    pub resets: u32,
    /// Frames of HTTP/2 that ask for nothing (PING, SETTINGS, PRIORITY, empty DATA and the like) that a client may send on one
    /// connection beyond what its requests and their content pay for (1000); a tenth of them comes back in a second. Of HTTP/3
    /// those on the control stream, beyond one a request.
    pub control_frames: u32,
    /// Connections at once by one worker, of TCP and of QUIC each (16384).
    pub connections: usize,
    /// Connections at once by one client, an IPv4 address or a /64 of IPv6 (256). Hops that are trusted are not counted.
    /// 0 is without.
    pub connections_per_client: u32,
    /// Idle connections to one target kept by one worker (128).
    pub idle_upstream: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 16 * 1024,
            header_fields: 100,
            target_bytes: 8 * 1024,
            streams: 100,
            resets: 200,
            control_frames: 1000,
            connections: 16_384,
            connections_per_client: 256,
            idle_upstream: 128,
        }
    }
}

/// How long things may take. They are watched by a sweep, so each can be up to half a second late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accepting to the end of the TLS handshake (10 s), a PROXY header included.
    pub handshake: Duration,
    /// From the first byte of a request's head to its last (15 s).
    pub header: Duration,
    /// Between two parts of a request's content, and for the client to take the next part of a response (60 s).
    pub body: Duration,
    /// Idle between requests (75 s).
    pub idle: Duration,
    /// To connect to an upstream, TLS included (5 s).
    pub connect: Duration,
    /// From the request's end to the response's head, and between two parts of a response (60 s).
    pub response: Duration,
    /// Without a byte either way in a tunnel such as WebSocket (1 h).
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
