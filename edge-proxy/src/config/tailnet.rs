//! The tailnet that this host is in.

use ipnet::IpNet;
use std::path::PathBuf;
use std::time::Duration;

/// How tailscaled is asked who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tailnet {
    /// Its local socket (`/run/tailscale/tailscaled.sock`).
    pub socket: PathBuf,
    /// The addresses that it is asked about (100.64.0.0/10 and fd7a:115c:a1e0::/48).
    pub ranges: Vec<IpNet>,
    /// For how long an answer is used (60 s).
    pub remember: Duration,
    /// Services are told who somebody is: the fields of `tailscale serve`, [`FIELDS`](crate::tailnet::FIELDS).
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
