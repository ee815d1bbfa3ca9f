//! A group of QUIC engines: those of one listener, one for each worker.

use super::downstream::h3::Router;
use std::net::SocketAddr;

/// The QUIC engines of one listener, of this or of another process.
#[derive(Clone)]
pub(crate) struct EngineGroup {
    /// The number of the group, which is unique in its process.
    pub(crate) number: u16,
    /// The address that they receive at.
    pub(crate) address: SocketAddr,
    /// The interface that the listener is bound to. `None` without one.
    pub(crate) interface: Option<String>,
    /// The way of datagrams to them.
    pub(crate) router: Router,
}
