//! Upstreams: the services that requests are forwarded to.

use super::{Balance, HealthConfig, Retry};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A named service with one or more targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The unique name used in routes, logs and explanations. Must not be empty.
    pub name: String,
    /// The targets of the service, 1 to 64 without duplicates.
    pub targets: Vec<Target>,
    /// The weights of the targets by position, 1 to 1000: a target of weight 3 receives three times the requests of
    /// one of weight 1. Missing weights are 1.
    pub weights: Vec<u16>,
    /// The number of targets at the end of the list that are backups, which are used only while no other target is
    /// available. Must be less than the number of targets.
    pub backups: usize,
    /// The cookie that binds a client to its target. `None` sets no cookie.
    pub sticky: Option<StickyCookie>,
    /// The policy that chooses the target of a request.
    pub balance: Balance,
    /// Health checking of the targets.
    pub health: HealthConfig,
    /// The retry policy.
    pub retry: Retry,
    /// The protocol spoken to the targets.
    pub protocol: Protocol,
    /// TLS to the targets. `None` connects without TLS.
    pub tls: Option<UpstreamTls>,
    /// The version of the PROXY header that is sent at the beginning of each connection, with the client's address.
    /// Such connections are not shared between clients. Not available with [`Protocol::Http2`]. `None` sends none.
    pub proxy_protocol: Option<ProxyOut>,
    /// The Host that is sent instead of the client's. `None` forwards the client's.
    pub host: Option<String>,
    /// The addresses that X-Forwarded-For and Forwarded contain.
    pub forwarded: ForwardedAs,
    /// The time for which an idle connection may be reused, above 0 and at most 1 day. Default: 50 s. It should be
    /// less than the upstream's own timeout, since the upstream may close the connection at that moment. A shorter
    /// `Keep-Alive: timeout` in a response takes precedence.
    pub idle: Duration,
}

impl Upstream {
    /// Returns an upstream of this name with one target over plain HTTP/1.1 and the default settings.
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

/// The cookie that binds a client to its target while that target is available. Its value contains hashes of the names
/// of upstreams and of the addresses of targets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StickyCookie {
    /// The name of the cookie, a token. The cookie is removed before a request is forwarded.
    pub name: String,
    /// The Max-Age of the cookie, in whole seconds. `None` makes it a session cookie.
    pub lifetime: Option<Duration>,
}

impl StickyCookie {
    /// Returns a session cookie of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), lifetime: None }
    }
}

/// The addresses that are sent to the upstream in X-Forwarded-For and Forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForwardedAs {
    /// The client, then each trusted proxy between the client and this one, the nearest last. The default.
    #[default]
    Chain,
    /// The client alone, for services that take the last entry for the client.
    Client,
}

/// The address of a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A host name or IP address, and a port. A name is resolved again when its addresses expire.
    Tcp {
        /// A name, an IPv4 address, or an IPv6 address without brackets. A link-local address has a zone (RFC 4007
        /// §11), as in `fe80::1%eth0`: the name of an interface, or its index. It is resolved for each connection,
        /// since an interface that is created anew has another index.
        host: String,
        /// The TCP port, 1 to 65535.
        port: u16,
    },
    /// A Unix socket at this absolute path, at most 107 bytes.
    Unix(PathBuf),
}

impl Target {
    /// Returns the host of a TCP target without its zone, the name that its certificate is verified for. `None` for a
    /// Unix socket.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } => Some(host.split_once('%').map_or(host, |(address, _)| address)),
            Self::Unix(_) => None,
        }
    }

    /// Returns the zone of the address: the name of an interface, or its index. `None` if there is none, as for all
    /// targets but link-local addresses.
    pub fn zone(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } => host.split_once('%').map(|(_, zone)| zone),
            Self::Unix(_) => None,
        }
    }

    /// Returns the authority of the target, which is sent as Host unless another is configured. The ports 80 and 443
    /// are omitted, an IPv6 address is bracketed; a Unix socket is `localhost`. A zone is omitted: it has no meaning on
    /// another host, and RFC 3986 has no syntax for it.
    pub fn authority(&self) -> String {
        let Self::Tcp { port, .. } = self else { return "localhost".to_owned() };
        let host = self.host().unwrap_or_default();
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        match port {
            80 | 443 => format!("{open}{host}{close}"),
            port => format!("{open}{host}{close}:{port}"),
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

/// The protocol that is spoken to an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1. The default.
    #[default]
    Http1,
    /// HTTP/2: by ALPN over TLS, or with prior knowledge (h2c) without TLS.
    Http2,
    /// TCP that is forwarded byte for byte: for listeners with [`Forward`](crate::config::Forward) and sites with
    /// [`passthrough`](crate::config::Site::passthrough).
    ///
    /// Such an upstream receives no requests, and one for HTTP receives no such connections. The same address may be a
    /// target of both.
    Tcp,
}

/// The version of the PROXY header that is sent to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyOut {
    /// Version 1, one line of text.
    V1,
    /// Version 2, binary, with a checksum.
    V2,
}

/// A pinned certificate or key, which the server's end-entity certificate must match. The issuer, the name and the
/// validity period are then not verified; possession of the private key is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pin {
    /// One of the certificates in the PEM file at this path, compared byte for byte.
    Certificate(PathBuf),
    /// The SHA-256 of the certificate's SubjectPublicKeyInfo in DER, as in RFC 7469.
    Key([u8; 32]),
}

/// The error for a text that is not a valid pin: the absolute path of a PEM file, `sha256//BASE64` or `sha256:HEX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid pin: expected the absolute path of a PEM file, sha256//BASE64 or sha256:HEX")]
pub struct InvalidPin;

impl FromStr for Pin {
    type Err = InvalidPin;

    /// Parses the absolute path of a PEM file, `sha256//BASE64` as in curl's `--pinnedpubkey`, or `sha256:HEX`. Colons
    /// between hexadecimal digits are allowed.
    ///
    /// # Errors
    /// [`InvalidPin`] if the text is none of these, or a hash does not have 32 bytes.
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

/// Decodes pairs of hexadecimal digits; colons are ignored. `None` if there is another character, or the number of
/// digits is odd.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let pair = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(pair).collect()
}

/// The value of [`UpstreamTls::server_name`] that stands for the Host of each request.
pub const HOST_OF_REQUEST: &str = "{host}";

/// The TLS settings of an upstream. The server certificate is always verified, either against certificate authorities
/// or against `pins`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// A PEM file with the certificate authorities to trust instead of the system's. `None` trusts the system's. Must
    /// be `None` if `pins` is not empty.
    pub ca: Option<PathBuf>,
    /// A PEM file with the client certificate chain, for upstreams that require one. Requires `key`. With `None`, no
    /// certificate is presented.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the private key of `certificate`. Requires `certificate`.
    pub key: Option<PathBuf>,
    /// The name that is sent as SNI and that the certificate must have. `None` stands for the target's host, and is an
    /// error for Unix sockets. [`{host}`](HOST_OF_REQUEST) stands for the host in the Host sent with each request, for
    /// targets with several sites.
    pub server_name: Option<String>,
    /// If not empty, the server's end-entity certificate must match one of these pins. A match replaces verification of
    /// the issuer, the name and the validity period.
    pub pins: Vec<Pin>,
}
