//! Upstreams: the services that requests are forwarded to.

use super::{Balance, HealthConfig, Retry};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// One service with one or more targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The name used in routes, logs and explanations.
    pub name: String,
    /// The addresses of the service, 1 to 64.
    pub targets: Vec<Target>,
    /// The shares of the targets, by their positions: one of 3 gets three times the requests of one of 1. Missing ones are 1.
    pub weights: Vec<u16>,
    /// The number of targets at the end of the list that are used only while none of the others can be.
    pub backups: usize,
    /// The cookie that keeps a client at its target. `None` sets none.
    pub sticky: Option<StickyCookie>,
    /// The policy that chooses the target of the next request.
    pub balance: Balance,
    /// Health checking of the targets.
    pub health: HealthConfig,
    /// The retry policy for other targets.
    pub retry: Retry,
    /// The HTTP version spoken to the upstream.
    pub protocol: Protocol,
    /// TLS to the upstream. `None` is plain TCP.
    pub tls: Option<UpstreamTls>,
    /// The PROXY protocol header sent before each connection, with the client's address. Such connections are not
    /// shared between clients.
    pub proxy_protocol: Option<ProxyOut>,
    /// The Host sent instead of the client's.
    pub host: Option<String>,
    /// The way the upstream is told of the client's address.
    pub forwarded: ForwardedAs,
    /// The maximum idle time of a connection that is reused (50 s). Less than the upstream's own: it may close at that very
    /// moment. What an answer says in `Keep-Alive: timeout` counts where it is less.
    pub idle: Duration,
}

impl Upstream {
    /// Returns an upstream with one target, spoken to by plain HTTP/1.1.
    pub fn new(name: impl Into<String>, target: Target) -> Self {
        Self {
            name: name.into(),
            targets: vec![target],
            weights: Vec::new(),
            backups: 0,
            sticky: None,
            balance: Balance::default(),
            health: HealthConfig::default(),
            retry: Retry::default(),
            protocol: Protocol::Http1,
            tls: None,
            proxy_protocol: None,
            host: None,
            forwarded: ForwardedAs::default(),
            idle: Duration::from_secs(50),
        }
    }
}

/// A cookie that keeps a client at its target while that can be used. It holds a hash of the target's address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StickyCookie {
    /// The name of the cookie. It is removed before requests are forwarded.
    pub name: String,
    /// The lifetime of the cookie. `None` ends it with the browser's session.
    pub lifetime: Option<Duration>,
}

impl StickyCookie {
    /// Returns a cookie of this name that ends with the browser's session.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), lifetime: None }
    }
}

/// The client's address in X-Forwarded-For and Forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForwardedAs {
    /// The client, and after it each hop that it came by, as far as they are trusted.
    #[default]
    Chain,
    /// The client alone, for services that take the last entry for it.
    Client,
}

/// The address of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A host name or an address, and a port. A name is resolved again when its addresses expire.
    Tcp {
        /// A name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// The TCP port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Target {
    /// Returns the Host of a request to this target.
    pub fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port: 80 | 443 } if host.contains(':') => format!("[{host}]"),
            Self::Tcp { host, port: 80 | 443 } => host.clone(),
            Self::Tcp { .. } => self.to_string(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The HTTP version spoken to an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1, the default.
    #[default]
    Http1,
    /// HTTP/2: by ALPN with TLS, with prior knowledge (h2c) without.
    Http2,
    /// TCP that is forwarded byte for byte: for listeners with [`Forward`](crate::config::Forward) and sites with
    /// [`passthrough`](crate::config::Site::passthrough).
    Tcp,
}

/// The version of the PROXY protocol header that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyOut {
    /// Version 1, a line of text.
    V1,
    /// Version 2, binary.
    V2,
}

/// A certificate or a key that a service must show. It takes the place of the chain, the name and the dates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pin {
    /// One of the certificates in this PEM file.
    Certificate(PathBuf),
    /// The SHA-256 of the certificate's SubjectPublicKeyInfo, as in RFC 7469.
    Key([u8; 32]),
}

/// Text that is not a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid pin: expected the absolute path of a PEM file, sha256//BASE64 or sha256:HEX")]
pub struct InvalidPin;

impl FromStr for Pin {
    type Err = InvalidPin;

    /// `/path/to/certificate.pem`, `sha256//BASE64` as curl's `--pinnedpubkey` has it, or `sha256:HEX`.
    fn from_str(text: &str) -> Result<Self, InvalidPin> {
        if text.starts_with('/') {
            return Ok(Self::Certificate(text.into()));
        }
        let bytes = if let Some(encoded) = text.strip_prefix("sha256//") {
            crate::auth::basic::base64(encoded.as_bytes())
        } else {
            text.strip_prefix("sha256:").and_then(hexadecimal)
        };
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self::Key).ok_or(InvalidPin)
    }
}

/// Bytes in hexadecimal, with or without colons between them.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let pair = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(pair).collect()
}

/// The name that stands for the Host of each request in [`UpstreamTls::server_name`].
pub const HOST_OF_REQUEST: &str = "{host}";

/// TLS to an upstream. The certificate is always verified; verification cannot be turned off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// A PEM file with the only certificate authorities to trust. `None` trusts the system's.
    pub ca: Option<PathBuf>,
    /// A PEM file with the client certificate chain, for upstreams that require one.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the private key of `certificate`.
    pub key: Option<PathBuf>,
    /// The name sent as SNI, which the certificate must match. `None` takes the target's host; `{host}` is the Host that is sent with
    /// each request, for nodes with several sites.
    pub server_name: Option<String>,
    /// The pins of the service's certificate. If there are any, the certificate must match one of them, and neither its chain, its names
    /// nor its dates are verified.
    pub pins: Vec<Pin>,
}
