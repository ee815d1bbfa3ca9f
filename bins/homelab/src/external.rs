//! Servers of the internet that the hosts use: a CA, Cloudflare's API, and a name server with their zone.

use crate::front::Front;
use crate::topology::{Address, NAME_SERVER, Topology, WEB};
use std::sync::Arc;
use testkit::{Authority, CloudflareMock, KnotServer, Pebble, PebbleVersion};

/// DNS zone of the hosts.
pub(crate) const ZONE: &str = "example.org";

/// Other zones of the name server, with their records.
const REST: &[(&str, &str)] = &[
    ("org", "example NS ns.example\nns.example A 203.0.113.53\nacme-v02.api.letsencrypt A 203.0.113.80"),
    ("io", "desec A 203.0.113.80"),
    (
        "com",
        "api.cloudflare A 203.0.113.80\nin-v3.mailjet A 203.0.113.26\nspf.mailjet TXT \"v=spf1 ip4:203.0.113.26 -all\"",
    ),
];

/// Servers of the internet: the CA, the HTTPS server in front of it, the API of Cloudflare, and the name server.
pub(crate) struct ExternalServers {
    pub(crate) front: Arc<Front>,
    pub(crate) cloudflare: CloudflareMock,
    pub(crate) knot: KnotServer,
    pub(crate) pebble: Pebble,
    /// Root certificate of the certificates that the CA issues, in PEM.
    pub(crate) issuing_root: String,
}

impl ExternalServers {
    /// Starts the servers on the host of the internet. All names of the zone get the addresses of `edges`; `more` are
    /// additional records in zone file format.
    ///
    /// # Errors
    /// Returns a description if the HTTPS server cannot be started.
    ///
    /// # Panics
    /// Panics if another server cannot be started.
    pub(crate) fn start(topology: &Topology, edges: &[Address], more: &str) -> Result<Self, String> {
        topology.internet.run_inside(|| Self::start_here(&topology.public_authority, edges, more))
    }

    /// Starts the servers in the network of this thread, with certificates of `authority`. All names of the zone get
    /// the addresses of `edges`; `more` are additional records in zone file format.
    ///
    /// # Errors
    /// Returns a description if the HTTPS server cannot be started.
    ///
    /// # Panics
    /// Panics if another server cannot be started.
    pub(crate) fn start_here(authority: &Authority, edges: &[Address], more: &str) -> Result<Self, String> {
        let mut owners = String::new();
        for name in ["@", "*", "eniac", "*.eniac"] {
            for edge in edges {
                owners.push_str(&format!("{name} A {}\n{name} AAAA {}\n", edge.v4, edge.v6));
            }
        }
        owners.push_str(more);
        let mut zones = vec![(ZONE, owners.as_str())];
        zones.extend(REST);
        let server: std::net::SocketAddrV4 = NAME_SERVER.parse().expect("an address");
        let knot = KnotServer::start_at(*server.ip(), server.port(), &zones, &[]);
        let cloudflare = CloudflareMock::start(&[ZONE]);
        let pebble = Pebble::start(PebbleVersion::V2_10, knot.address(), &[]);
        let ca = (pebble.address(), pebble.tls_root());
        let front = Front::start(WEB, authority, ca, cloudflare.clone(), ZONE)?;
        let issuing_root = pebble.issuing_root();
        Ok(Self { front, cloudflare, knot, pebble, issuing_root })
    }

    /// Returns the number of orders that the CA received, including those that failed.
    pub(crate) fn orders(&self) -> usize {
        self.front.count("POST /order-plz")
    }

    /// Makes the CA suggest the immediate replacement of a certificate, whose chain is in PEM (ARI, RFC 9773).
    ///
    /// # Panics
    /// Panics if the CA rejects the request.
    pub(crate) fn suggest_renewal(&self, topology: &Topology, chain: &str) {
        /// Renewal information with a window in the past.
        const PAST: &str =
            r#"{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}}"#;
        topology.internet.run_inside(|| self.pebble.set_renewal_info(chain, PAST));
    }
}
