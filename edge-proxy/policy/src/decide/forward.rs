//! The decision about a connection of a listener that forwards TCP.

use super::Rejection;
use crate::Reason;
use crate::config::{Forward, Reject};
use std::net::IpAddr;

/// Decides whether this client may connect, before the upstream is connected to. `client` is the peer, or the source in its PROXY
/// header. Limits are not part of it, since they depend on other connections.
///
/// # Errors
/// [`Rejection`], which is always silent: no byte is sent.
pub fn forward(forward: &Forward, client: IpAddr) -> Result<(), Rejection> {
    if forward.access.permits(client.to_canonical()) {
        Ok(())
    } else {
        Err(Rejection { how: Reject::Silent, why: Reason::AccessDenied })
    }
}
