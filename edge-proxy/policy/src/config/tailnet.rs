//! Settings of identity lookups in a tailnet.

use ipnet::IpNet;
use std::path::PathBuf;
use std::time::Duration;

/// Identity lookups by the tailscaled of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tailnet {
    /// The absolute path of tailscaled's LocalAPI socket, at most 107 bytes. Default: `/run/tailscale/tailscaled.sock`.
    pub socket: PathBuf,
    /// The address ranges that are looked up. Default: 100.64.0.0/10 and fd7a:115c:a1e0::/48.
    pub ranges: Vec<IpNet>,
    /// The duration for which an identity is cached. Default: 60 s.
    pub remember: Duration,
    /// True if the client's identity is sent to upstreams, in the fields of `tailscale serve`:
    /// [`FIELDS`](crate::tailnet::FIELDS). Default: true.
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
