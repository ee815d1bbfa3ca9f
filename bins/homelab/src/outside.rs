//! What the hosts meet on the internet that is not theirs: a CA, Cloudflare's API, and a name server with their zone.

use crate::front::Front;
use crate::world::{Address, NAME_SERVER, WEB, World};
use std::sync::Arc;
use testkit::{CloudflareMock, Knot, Pebble, PebbleVersion};

/// The owner's zone.
pub(crate) const ZONE: &str = "example.org";

/// The zones of the name server besides the owner's.
const REST: &[(&str, &str)] = &[
    ("org", "example NS ns.example\nns.example A 203.0.113.53\nacme-v02.api.letsencrypt A 203.0.113.80"),
    (
        "com",
        "api.cloudflare A 203.0.113.80\nin-v3.mailjet A 203.0.113.26\nspf.mailjet TXT \"v=spf1 ip4:203.0.113.26 -all\"",
    ),
];

/// The servers.
pub(crate) struct Outside {
    pub(crate) front: Arc<Front>,
    pub(crate) cloudflare: CloudflareMock,
    pub(crate) knot: Knot,
    pub(crate) pebble: Pebble,
    /// The root of what the CA issues, in PEM.
    pub(crate) issuing_root: String,
}

impl Outside {
    /// Starts them, with every name of the zone at the edges' addresses, and more records of it.
    pub(crate) fn start(world: &World, edges: &[Address], more: &str) -> Result<Self, String> {
        let mut owners = String::new();
        for name in ["@", "*", "eniac", "*.eniac"] {
            for edge in edges {
                owners.push_str(&format!("{name} A {}\n{name} AAAA {}\n", edge.v4, edge.v6));
            }
        }
        owners.push_str(more);
        let (knot, cloudflare, pebble, front) = world.internet.within(|| {
            let mut zones = vec![(ZONE, owners.as_str())];
            zones.extend(REST);
            let server: std::net::SocketAddrV4 = NAME_SERVER.parse().expect("an address");
            let knot = Knot::start_at(*server.ip(), server.port(), &zones, &[]);
            let cloudflare = CloudflareMock::start(&[ZONE]);
            let pebble = Pebble::start(PebbleVersion::V2_10, knot.address(), &[]);
            let ca = (pebble.address(), pebble.tls_root());
            let front = Front::start(WEB, &world.public_authority, ca, cloudflare.clone(), ZONE)?;
            Ok::<_, String>((knot, cloudflare, pebble, front))
        })?;
        let issuing_root = world.internet.within(|| pebble.issuing_root());
        Ok(Self { front, cloudflare, knot, pebble, issuing_root })
    }

    /// How many orders the CA was asked for.
    pub(crate) fn orders(&self) -> usize {
        self.front.count("POST /order-plz")
    }

    /// Has the CA suggest that this chain is replaced now (ARI, RFC 9773).
    pub(crate) fn suggest_renewal(&self, world: &World, chain: &str) {
        const PAST: &str =
            r#"{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}}"#;
        world.internet.within(|| self.pebble.set_renewal_info(chain, PAST));
    }
}
