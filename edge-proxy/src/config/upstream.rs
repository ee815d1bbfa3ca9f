//! Where requests are passed to.

use super::{Balance, HealthConfig, Retry};
use std::path::PathBuf;

/// One service, at one or several targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// What it is called in routes, logs and explanations.
    pub name: String,
    /// Where it is: 1 to 64 places.
    pub targets: Vec<Target>,
    /// Which of them gets the next request.
    pub balance: Balance,
    /// How they are found to be well.
    pub health: HealthConfig,
    /// When a request is sent to another.
    pub retry: Retry,
    /// What is spoken to it.
    pub protocol: Protocol,
    /// TLS on this hop. `None` is plain.
    pub tls: Option<UpstreamTls>,
    /// A PROXY protocol header with the client's address before each connection. Such connections are not shared
    /// between clients.
    pub proxy_protocol: Option<ProxyOut>,
    /// Sent instead of the Host that the client asked for.
    pub host: Option<String>,
}

impl Upstream {
    /// HTTP/1.1 to one target, plain.
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

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A host name or an address, and a port. A name is looked up again as it changes.
    Tcp {
        /// A name, an IPv4 address or an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl Target {
    /// What a request to it would have as its Host.
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

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN with TLS, with prior knowledge (h2c) without.
    Http2,
}

/// Which PROXY protocol header is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyOut {
    /// Version 1, a line of text.
    V1,
    /// Version 2, binary.
    V2,
}

/// TLS to an upstream. The certificate is always verified; there is no switch to turn that off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// A PEM file with the only authorities that are believed. `None` is the system's.
    pub ca: Option<PathBuf>,
    /// A PEM file with our certificate chain, for upstreams that ask for one.
    pub certificate: Option<PathBuf>,
    /// A PEM file with its key. Goes with `certificate`.
    pub key: Option<PathBuf>,
    /// The name that is sent as SNI and that the certificate must have. `None` is the target's host.
    pub server_name: Option<String>,
}
