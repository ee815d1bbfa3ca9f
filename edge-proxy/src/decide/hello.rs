//! The sinkhole: who gets a TLS handshake at all.

use super::{Refusal, Rejection};
use crate::Snapshot;
use std::net::IpAddr;

/// Decides at the ClientHello, before a byte is answered, whether a site is asked for.
///
/// `client` is the peer, or the source that its PROXY header named; `None` where an address proves nothing yet (QUIC
/// before validation).
///
/// # Errors
/// What is wrong, and how the connection ends.
pub fn hello(snapshot: &Snapshot, client: Option<IpAddr>, sni: Option<&str>) -> Result<usize, Rejection> {
    let _ = (client, sni);
    Err(Rejection { how: snapshot.config().reject, why: Refusal::NoSni })
}
