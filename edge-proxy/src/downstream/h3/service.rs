//! The [`Service`] that handles the requests and events of an engine.

use super::{AcceptedConnection, CloseReason, DropReason, H3Stream, HelloVerdict, RejectedHeads};
use edge_http::RequestHead;
use std::net::SocketAddr;
use std::rc::Rc;

/// The handler of an engine's requests and events.
pub(crate) trait Service: 'static {
    /// The state kept for a connection.
    type Conn: 'static;
    /// The permit of a connection, counted for its client.
    type Permit: 'static;

    /// Returns the verdict on an unknown client before any response.
    fn hello(&self, peer: SocketAddr, sni: Option<&str>) -> HelloVerdict;

    /// Returns whether a client with this server name would be accepted. Must have no side effects, since the rest of
    /// the ClientHello is still missing.
    fn serves(&self, _peer: SocketAddr, _sni: &str) -> bool {
        false
    }

    /// Returns the permit for a connection whose address was just validated. `None` if the client has too many.
    fn admit(&self, peer: SocketAddr) -> Option<Self::Permit>;

    /// Receives an accepted connection whose ClientHello is processed. Returns the state to keep for it.
    fn opened(&self, opened: AcceptedConnection) -> Self::Conn;

    /// Handles a request by a task that this method spawns. `from` is the client's address, which is validated unless
    /// the stream is early, and whether all datagrams arrived on the same interface.
    fn request(&self, conn: &Rc<Self::Conn>, from: (SocketAddr, bool), head: RequestHead, stream: H3Stream);

    /// Receives that requests were rejected because their heads were too large or not completed in time.
    fn refused(&self, _conn: &Rc<Self::Conn>, _heads: RejectedHeads) {}

    /// Receives that a connection has ended. Its streams are lost.
    fn closed(&self, conn: &Rc<Self::Conn>, why: CloseReason);

    /// Receives that a datagram of an unknown client was dropped for another reason than a verdict of
    /// [`Service::hello`].
    fn dropped(&self, _peer: SocketAddr, _why: DropReason) {}
}
