//! The sinkhole: the decision at the ClientHello whether to answer at all.

use super::{Rejection, Transport, normalized};
use crate::Reason;
use crate::Snapshot;
use crate::config::{Reject, Satisfy, Site};
use std::net::IpAddr;

/// Decides at the ClientHello, before a byte is sent, whether the connection is for a site.
///
/// `listener` is the name of the listener that accepted the connection. Sites that TLS is passed through for, and those that ask for
/// client certificates, do not exist over QUIC.
/// `client` is the peer, or the source in its PROXY header; `None` while the address is unverified (QUIC before address
/// validation). Peers in trusted ranges are not rejected for their address here, since their client is known only from
/// a request head.
///
/// # Errors
/// The reason, and the way the connection is rejected.
pub fn hello(
    snapshot: &Snapshot,
    transport: Transport,
    listener: Option<&str>,
    client: Option<IpAddr>,
    sni: Option<&str>,
) -> Result<usize, Rejection> {
    let config = snapshot.config();
    let reject = |how: Reject, why| Err(Rejection { how, why });
    let Some(sni) = sni.filter(|name| !name.is_empty()) else {
        return reject(config.reject, Reason::NoSni);
    };
    // RFC 6066 §3: a literal address is not a server name.
    if sni.parse::<IpAddr>().is_ok() {
        return reject(config.reject, Reason::RawAddress);
    }
    let Some(index) = snapshot.site_at(&normalized(sni), listener) else {
        return reject(config.reject, Reason::UnknownName);
    };
    let site = &config.sites[index];
    if transport == Transport::Quic
        && let Some(why) = not_over_quic(site)
    {
        return reject(Reject::Silent, why);
    }
    if let Some(client) = client.map(|address| address.to_canonical())
        // Where TLS is passed through, no request will name another client.
        && (site.passthrough.is_some() || !config.trust.ranges.iter().any(|range| range.contains(&client)))
        && site.satisfy == Satisfy::All
        && !site.access.permits(client)
    {
        return reject(site.reject, Reason::AccessDenied);
    }
    Ok(index)
}

/// Returns the reason why a site is not served over QUIC, if it is not.
const fn not_over_quic(site: &Site) -> Option<Reason> {
    if site.passthrough.is_some() {
        Some(Reason::NotTerminated)
    } else if site.client_certificates.is_some() {
        Some(Reason::ClientCertificateNotAsked)
    } else {
        None
    }
}
