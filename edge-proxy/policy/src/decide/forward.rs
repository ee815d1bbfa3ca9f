//! The decision about a connection of a listener that forwards TCP.

use super::Rejection;
use crate::Reason;
use crate::config::{Forward, Reject};
use std::net::IpAddr;

/// Decides whether this client may connect, before the upstream is connected to. `client` is the address of the peer,
/// or the source in its PROXY header. Limits are not considered, since they depend on other connections.
///
/// # Errors
/// [`Rejection`] if the address lists of the forward deny the client. The rejection is always silent: nothing is sent.
pub fn forward(forward: &Forward, client: IpAddr) -> Result<(), Rejection> {
    if forward.access.permits(client.to_canonical()) {
        Ok(())
    } else {
        Err(Rejection { how: Reject::Silent, why: Reason::AccessDenied })
    }
}
