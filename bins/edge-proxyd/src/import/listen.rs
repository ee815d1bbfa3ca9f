//! Conversion of `listen`.

use super::notes::Notes;
use super::parse::Directive;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// A `listen` directive, or all of them for one address. As in nginx, TLS, HTTP/3, h2c and PROXY headers are settings
/// of the address, not of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listen {
    /// The address and port.
    pub(super) address: SocketAddr,
    /// True if TLS is used.
    pub(super) tls: bool,
    /// True if HTTP/3 is served over QUIC.
    pub(super) quic: bool,
    /// True if HTTP/2 is served without TLS.
    pub(super) h2c: bool,
    /// True if connections begin with a PROXY header.
    pub(super) proxy_protocol: bool,
    /// True if the server is the default for names that no server has. Not preserved when several directives are
    /// joined.
    pub(super) default: bool,
}

impl Listen {
    /// Adds the options of another `listen` for the same address, except `default`.
    pub(super) fn join(&mut self, other: &Self) {
        self.tls |= other.tls;
        self.quic |= other.quic;
        self.h2c |= other.h2c;
        self.proxy_protocol |= other.proxy_protocol;
    }
}

/// Options that are converted or do not affect responses.
const IMPLIED: &[&str] = &[
    "default",
    "default_server",
    "http2",
    "http3",
    "proxy_protocol",
    "quic",
    "reuseport",
    "ssl",
    "deferred",
    "bind",
    "multipath",
];

/// Beginnings of options that have a value and do not affect responses.
const IMPLIED_VALUES: &[&str] = &[
    "backlog=",
    "ipv6only=",
    "so_keepalive=",
    "rcvbuf=",
    "sndbuf=",
    "fastopen=",
    "setfib=",
    "accept_filter=",
];

/// Converts a `listen` directive into its addresses, two for `[::]` with `ipv6only=off`. Empty if the address is not
/// supported, which is noted as closed. Unknown options are noted.
pub(super) fn listen(directive: &Directive, notes: &mut Notes) -> Vec<Listen> {
    let options = directive.arguments.get(1..).unwrap_or_default();
    let Some(addresses) = addresses(directive.first(), options) else {
        notes.closed(
            directive,
            "not an address and port that edge-proxyd can listen on: write a [[listen]] by hand",
        );
        return Vec::new();
    };
    let has = |name: &str| options.iter().any(|option| option == name);
    for option in options {
        if !IMPLIED.contains(&option.as_str())
            && !IMPLIED_VALUES.iter().any(|begin| option.starts_with(begin))
        {
            notes.different(directive, format!("`{option}` is not supported"));
        }
    }
    let quic = has("quic");
    let of = |address| Listen {
        address,
        tls: has("ssl") || quic,
        quic,
        h2c: has("http2") && !has("ssl"),
        proxy_protocol: has("proxy_protocol"),
        default: has("default_server") || has("default"),
    };
    addresses.into_iter().map(of).collect()
}

/// Parses the address of a `listen`, whose port is 80 by default and whose address is that of all of IPv4 if there is
/// only a port. Returns the IPv4 address too for `[::]` with `ipv6only=off`. `None` for Unix sockets, link-local
/// addresses, port 0, host names other than `localhost`, and texts that are not valid.
fn addresses(first: &str, options: &[String]) -> Option<Vec<SocketAddr>> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let any = Ipv4Addr::UNSPECIFIED.into();
    let address = if let Some(port) = port(first) {
        SocketAddr::new(any, port)
    } else if let Some(rest) = first.strip_prefix("*:") {
        SocketAddr::new(any, port(rest)?)
    } else if first == "*" {
        SocketAddr::new(any, 80)
    } else if let Some(rest) = first.strip_prefix("localhost:") {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port(rest)?)
    } else if first == "localhost" {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 80)
    } else {
        let bare = first.trim_start_matches('[').trim_end_matches(']');
        first.parse().ok().or_else(|| bare.parse().ok().map(|address| SocketAddr::new(address, 80)))?
    };
    let link_local = matches!(address, SocketAddr::V6(six) if six.ip().is_unicast_link_local());
    if address.port() == 0 || link_local {
        return None;
    }
    // One socket for both families.
    let both = options.iter().any(|option| option == "ipv6only=off") && address.ip() == Ipv6Addr::UNSPECIFIED;
    Some(if both { vec![address, SocketAddr::new(any, address.port())] } else { vec![address] })
}

/// Returns the listener of a server without `listen`: port 80 of all IPv4 addresses, without TLS.
pub(super) fn default_listen() -> Listen {
    Listen {
        address: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 80),
        tls: false,
        quic: false,
        h2c: false,
        proxy_protocol: false,
        default: false,
    }
}
