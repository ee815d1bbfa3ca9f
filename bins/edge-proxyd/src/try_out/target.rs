//! The service to which `try` forwards.

use edge_proxy::config::Target;
use std::fmt;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A service on this machine or in its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LocalService {
    /// A host name or address, and a port.
    Tcp { host: String, port: u16 },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl LocalService {
    /// Returns the service as the target of an upstream.
    pub(super) fn target(&self) -> Target {
        match self {
            Self::Tcp { host, port } => Target::Tcp { host: host.clone(), port: *port },
            Self::Unix(path) => Target::Unix(path.clone()),
        }
    }

    /// Connects to the service once, to find out whether it is reachable. A TCP connection may take at most a second.
    ///
    /// # Errors
    /// The name could not be resolved, or the connection failed.
    pub(super) fn reach(&self) -> std::io::Result<()> {
        match self {
            Self::Tcp { host, port } => {
                let address = (host.as_str(), *port).to_socket_addrs()?.next();
                let unknown = || std::io::Error::other("the name has no address");
                TcpStream::connect_timeout(&address.ok_or_else(unknown)?, Duration::from_secs(1)).map(drop)
            }
            Self::Unix(path) => UnixStream::connect(path).map(drop),
        }
    }
}

impl fmt::Display for LocalService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for LocalService {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "`{text}` is not a valid service: write a port, 127.0.0.1:3000, http://127.0.0.1:3000 or unix:/run/app.sock"
            )
        };
        let path = text.strip_prefix("unix:").or(Some(text)).filter(|path| path.starts_with('/'));
        if let Some(path) = path {
            return Ok(Self::Unix(path.into()));
        }
        if text.starts_with("https://") {
            return Err(format!("`{text}`: the service is asked over plain HTTP: write http://HOST:PORT"));
        }
        let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = bare.rsplit_once(':').unwrap_or(("", bare));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        if !host.chars().all(fits) {
            return Err(wrong());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_written_in_the_ways_that_people_write_it() {
        for (text, shown) in [
            ("3000", "http://127.0.0.1:3000"),
            (":3000", "http://127.0.0.1:3000"),
            ("localhost:3000", "http://localhost:3000"),
            ("http://127.0.0.1:3000/", "http://127.0.0.1:3000"),
            ("[::1]:3000", "http://[::1]:3000"),
            ("/run/app.sock", "unix:/run/app.sock"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
        ] {
            assert_eq!(text.parse::<LocalService>().expect(text).to_string(), shown);
        }
        for text in ["", "localhost", "localhost:0", "https://a:1", "unix:app.sock", "a b:1"] {
            assert!(text.parse::<LocalService>().is_err(), "{text}");
        }
    }
}
