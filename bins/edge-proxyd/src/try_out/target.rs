//! The service to which `try` forwards.

use edge_proxy::config::{Target, Upstream};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use std::{fmt, io};

/// A service on this machine or in its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LocalService {
    /// A host name or address, and a port.
    Tcp { host: String, port: u16 },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl LocalService {
    /// Returns the upstream of the service at these addresses. Each is a target; those that do not accept a connection
    /// within a second are backups, unless none does. A name without an address is itself the target, which the proxy
    /// resolves again by DNS. Blocks.
    pub(super) fn upstream(&self, name: &str, addresses: &[SocketAddr]) -> Upstream {
        let (host, port) = match self {
            Self::Tcp { host, port } => (host, *port),
            Self::Unix(path) => return Upstream::new(name, Target::Unix(path.clone())),
        };
        let target = |host: String| Target::Tcp { host, port };
        let (reached, others): (Vec<SocketAddr>, Vec<SocketAddr>) =
            addresses.iter().copied().partition(|address| connect(*address).is_ok());
        let mut targets = reached.iter().chain(&others).map(|address| target(written(*address)));
        let mut upstream = Upstream::new(name, targets.next().unwrap_or_else(|| target(host.clone())));
        upstream.targets.extend(targets);
        upstream.backups = if reached.is_empty() { 0 } else { others.len() };
        upstream
    }

    /// Returns the addresses of the service, the preferred one first. Empty for a Unix socket, and if the name has
    /// none. Blocks.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Tcp { host, port } => addresses(host, *port).unwrap_or_default(),
            Self::Unix(_) => Vec::new(),
        }
    }

    /// Resolves the name of the service again, and returns its addresses with the upstream at them. `None` if it has the
    /// addresses `known`, in any order, or has none at present. Blocks.
    pub(super) fn changed(&self, name: &str, known: &[SocketAddr]) -> Option<(Vec<SocketAddr>, Upstream)> {
        let found = self.addresses();
        let is_same = found.len() == known.len() && found.iter().all(|address| known.contains(address));
        if found.is_empty() || is_same {
            return None;
        }
        let upstream = self.upstream(name, &found);
        Some((found, upstream))
    }

    /// Connects to the service once, to each address of a name until one accepts, to warn early if nothing listens.
    ///
    /// # Errors
    /// The error of the last connection, with its address if there are several; or of the resolution of the name.
    pub(super) fn reach(&self) -> io::Result<()> {
        let (host, port) = match self {
            Self::Tcp { host, port } => (host, *port),
            Self::Unix(path) => return UnixStream::connect(path).map(drop),
        };
        let addresses = addresses(host, port)?;
        let mut last = io::Error::other("the name has no address");
        for address in &addresses {
            match connect(*address) {
                Ok(()) => return Ok(()),
                Err(why) if addresses.len() > 1 => {
                    last = io::Error::new(why.kind(), format!("{address}: {why}"));
                }
                Err(why) => last = why,
            }
        }
        Err(last)
    }
}

/// Returns an address as the host of a target: without its port, and with the zone of a link-local address.
fn written(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(six) if six.scope_id() != 0 => format!("{}%{}", six.ip(), six.scope_id()),
        address => address.ip().to_string(),
    }
}

/// Opens and closes a TCP connection.
///
/// # Errors
/// The connection failed or took longer than a second.
fn connect(address: SocketAddr) -> io::Result<()> {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).map(drop)
}

/// Returns the addresses of a host, each once, as programs of this machine resolve it (nsswitch.conf). For `localhost`
/// and names below it the loopback addresses are appended, even if the resolution fails (RFC 6761).
///
/// # Errors
/// The error of the resolution.
fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let plain = host.trim_end_matches('.').to_ascii_lowercase();
    let local = plain == "localhost" || plain.ends_with(".localhost");
    let mut found: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(_) if local => Vec::new(),
        Err(why) => return Err(why),
    };
    if local {
        found.extend([(Ipv4Addr::LOCALHOST, port).into(), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]);
    }
    let mut once = Vec::new();
    found.into_iter().for_each(|address| {
        if !once.contains(&address) {
            once.push(address);
        }
    });
    Ok(once)
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
        // Only an IPv6 address has a zone.
        let zoned = |(address, zone): (&str, &str)| {
            address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.chars().all(fits)
        };
        if !host.chars().all(fits) && !host.split_once('%').is_some_and(zoned) {
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
            ("[fe80::1%eth0]:3000", "http://[fe80::1%eth0]:3000"),
            ("/run/app.sock", "unix:/run/app.sock"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
        ] {
            assert_eq!(text.parse::<LocalService>().expect(text).to_string(), shown);
        }
        // Nothing knows this name but the rule about names below localhost.
        let found = addresses("app.LOCALHOST", 3000).expect("addresses");
        assert_eq!(found.iter().filter(|address| address.ip().is_loopback()).count(), found.len());
        assert!(
            found.contains(&(Ipv4Addr::LOCALHOST, 3000).into())
                && found.contains(&(Ipv6Addr::LOCALHOST, 3000).into())
        );
        let service: LocalService = "app.localhost:1".parse().expect("a service");
        let (found, upstream) = service.changed("x", &[]).expect("addresses");
        assert_eq!(upstream.targets.len(), found.len());
        let mut known = found;
        known.reverse();
        assert!(service.changed("x", &known).is_none());
        // The zone of an address is kept, as its index.
        let service: LocalService = "[fe80::1%lo]:3000".parse().expect("a service");
        let upstream = service.upstream("x", &service.addresses());
        assert_eq!(upstream.targets, [Target::Tcp { host: "fe80::1%1".into(), port: 3000 }]);
        for text in ["", "localhost", "localhost:0", "https://a:1", "unix:app.sock", "a b:1", "a%lo:1"] {
            assert!(text.parse::<LocalService>().is_err(), "{text}");
        }
    }
}
