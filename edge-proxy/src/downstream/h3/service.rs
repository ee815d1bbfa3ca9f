//! The [`Service`] that an engine hands requests to, and what it reports to it.

use super::{AcceptedConnection, Closed, Dropped, H3Stream, Heads, HelloVerdict};
use edge_http::RequestHead;
use std::net::SocketAddr;
use std::rc::Rc;

/// The handler of requests.
pub(crate) trait Service: 'static {
    /// The state kept for a connection.
    type Conn: 'static;
    /// The place of a connection among those of its client.
    type Permit: 'static;

    /// Returns the verdict on an unknown client before any response.
    fn hello(&self, peer: SocketAddr, sni: Option<&str>) -> HelloVerdict;

    /// Returns whether a client that asks for this name would be accepted. Unlike [`Service::hello`] nothing comes of it if not: the
    /// rest of its ClientHello is still to come.
    fn serves(&self, _peer: SocketAddr, _sni: &str) -> bool {
        false
    }

    /// Returns a place for a connection whose client's address was validated just now, or `None` if the client has too many.
    fn admit(&self, peer: SocketAddr) -> Option<Self::Permit>;

    /// A connection that was accepted has read its ClientHello.
    fn opened(&self, opened: AcceptedConnection) -> Self::Conn;

    /// Handles a request. `peer` is the client's address, which is validated unless the stream is early. The handler
    /// spawns its own task.
    fn request(&self, conn: &Rc<Self::Conn>, peer: SocketAddr, head: RequestHead, stream: H3Stream);

    /// Requests were refused for their heads, which were too large, or not whole in time.
    fn refused(&self, _conn: &Rc<Self::Conn>, _heads: Heads) {}

    /// The connection is over. Its streams are lost.
    fn closed(&self, conn: &Rc<Self::Conn>, why: Closed);

    /// Reports a datagram of an unknown client that was dropped for another reason than [`Service::hello`].
    fn dropped(&self, _peer: SocketAddr, _why: Dropped) {}
}
