//! Upstreams: the services that requests are forwarded to.

use super::{Balance, HealthConfig, Retry};
use std::path::PathBuf;

/// One service with one or more targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The name used in routes, logs and explanations.
    pub name: String,
    /// The addresses of the service, 1 to 64.
    pub targets: Vec<Target>,
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
}

impl Upstream {
    /// Returns an upstream with one target, spoken to by plain HTTP/1.1.
    pub fn new(name: impl Into<String>, target: Target) -> Self {
        Self {
            name: name.into(),
            targets: vec![target],
            balance: Balance::default(),
            health: HealthConfig::default(),
            retry: Retry::default(),
            protocol: Protocol::Http1,
            tls: None,
            proxy_protocol: None,
            host: None,
        }
    }
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

/// TLS to an upstream. The certificate is always verified; verification cannot be turned off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// A PEM file with the only certificate authorities to trust. `None` trusts the system's.
    pub ca: Option<PathBuf>,
    /// A PEM file with the client certificate chain, for upstreams that require one.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the private key of `certificate`.
    pub key: Option<PathBuf>,
    /// The name sent as SNI, which the certificate must match. `None` takes the target's host.
    pub server_name: Option<String>,
}
