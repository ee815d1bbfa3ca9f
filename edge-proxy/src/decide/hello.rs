//! The sinkhole: who gets a TLS handshake at all.

use super::{Rejection, normalized};
use crate::Reason;
use crate::Snapshot;
use crate::config::Reject;
use std::net::IpAddr;

/// Decides at the ClientHello, before a byte is answered, whether a site is asked for.
///
/// `client` is the peer, or the source that its PROXY header named; `None` where an address proves nothing yet (QUIC
/// before validation). Peers in trusted ranges are not turned away for their address here: the client is known only when
/// a request's head is.
///
/// # Errors
/// What is wrong, and how the connection ends.
pub fn hello(snapshot: &Snapshot, client: Option<IpAddr>, sni: Option<&str>) -> Result<usize, Rejection> {
    let config = snapshot.config();
    let reject = |how: Reject, why| Err(Rejection { how, why });
    let Some(sni) = sni.filter(|name| !name.is_empty()) else {
        return reject(config.reject, Reason::NoSni);
    };
    // RFC 6066 §3: an address is no server name.
    if sni.parse::<IpAddr>().is_ok() {
        return reject(config.reject, Reason::RawAddress);
    }
    let Some(index) = snapshot.site(&normalized(sni)) else {
        return reject(config.reject, Reason::UnknownName);
    };
    let site = &config.sites[index];
    if let Some(client) = client.map(|address| address.to_canonical())
        && !config.trust.ranges.iter().any(|range| range.contains(&client))
        && !site.access.permits(client)
    {
        return reject(site.reject, Reason::AccessDenied);
    }
    Ok(index)
}
