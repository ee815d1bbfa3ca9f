//! The tailnet of this host.

use ipnet::IpNet;
use std::path::PathBuf;
use std::time::Duration;

/// Identity lookups by tailscaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tailnet {
    /// The path of tailscaled's local socket (`/run/tailscale/tailscaled.sock`).
    pub socket: PathBuf,
    /// The addresses that are looked up (100.64.0.0/10 and fd7a:115c:a1e0::/48).
    pub ranges: Vec<IpNet>,
    /// Time for which an answer is cached (60 s).
    pub remember: Duration,
    /// True if upstreams are told the client's identity, in the fields of `tailscale serve`:
    /// [`FIELDS`](crate::tailnet::FIELDS).
    pub tell: bool,
}

impl Default for Tailnet {
    fn default() -> Self {
        let v4 = ipnet::Ipv4Net::new_assert([100, 64, 0, 0].into(), 10);
        let v6 = ipnet::Ipv6Net::new_assert([0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0].into(), 48);
        Self {
            socket: "/run/tailscale/tailscaled.sock".into(),
            ranges: vec![IpNet::V4(v4), IpNet::V6(v6)],
            remember: Duration::from_secs(60),
            tell: true,
        }
    }
}
