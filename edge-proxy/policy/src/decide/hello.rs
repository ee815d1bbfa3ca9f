//! The decision at the ClientHello, including the sinkhole for unknown names.

use super::{Rejection, Transport, normalized};
use crate::Reason;
use crate::Snapshot;
use crate::config::{Reject, Satisfy, Site};
use std::net::IpAddr;

/// Decides at the ClientHello, before anything is sent, which site the connection belongs to. Returns the index of the
/// site in [`Config::sites`](crate::config::Config::sites).
///
/// `listener` is the name of the listener that accepted the connection, `None` if it has no name. `client` is the
/// address of the peer, or the source in its PROXY header; `None` while the address is not validated (RFC 9000 §8),
/// which skips the address lists. `sni` is the server name. Clients in trusted ranges are not rejected by address
/// unless TLS is passed through, since the address of the real client is known only from a request head, nor are
/// clients of a site with `satisfy = any`. Sites with `passthrough` or client certificates are not served over QUIC.
///
/// # Errors
/// [`Rejection`] if the name is missing, an IP address or unknown, the site is not served over QUIC, or its address
/// lists deny the client. Rejections for the name have the configured form of `reject`, those for the address that of
/// the site, those of QUIC are silent.
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

/// Returns the reason a site is not served over QUIC. `None` if it is.
const fn not_over_quic(site: &Site) -> Option<Reason> {
    if site.passthrough.is_some() {
        Some(Reason::NotTerminated)
    } else if site.client_certificates.is_some() {
        Some(Reason::ClientCertificateNotAsked)
    } else {
        None
    }
}
