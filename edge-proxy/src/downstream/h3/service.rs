//! The [`Service`] that handles the requests and events of an engine.

use super::{AcceptedConnection, CloseReason, DropReason, H3Stream, HelloVerdict, RejectedHeads};
use edge_http::RequestHead;
use std::net::SocketAddr;
use std::rc::Rc;

/// The handler of an engine's requests and events.
pub(crate) trait Service: 'static {
    /// The service's state for a connection.
    type Conn: 'static;
    /// The permit that counts a connection for its client until it is dropped.
    type Permit: 'static;

    /// Returns the verdict on an unknown client whose ClientHello is complete, before anything is sent to it. `sni` is
    /// the server name, `None` if there is none.
    fn hello(&self, peer: SocketAddr, sni: Option<&str>) -> HelloVerdict;

    /// Returns the verdict on a client whose connection was created after a Retry, or before its ClientHello was
    /// complete. It is called when the ClientHello is complete, before any response of TLS is sent. The connection may
    /// already be counted for its client. The default is the verdict of [`Service::hello`].
    fn confirm(&self, peer: SocketAddr, sni: Option<&str>) -> HelloVerdict {
        self.hello(peer, sni)
    }

    /// Returns whether a client with this server name would be accepted. It is called for a possible name in a
    /// ClientHello whose rest is missing, so it must have no side effects. Returns false unless it is implemented.
    fn serves(&self, _peer: SocketAddr, _sni: &str) -> bool {
        false
    }

    /// Returns whether a handshake for a served name was completed from this address lately, and the client would be
    /// accepted with a served name. Part of its first flight may then be acknowledged before its server name is known.
    /// Returns false unless it is implemented.
    fn returns(&self, _peer: SocketAddr) -> bool {
        false
    }

    /// Called once for each connection when its handshake is complete, which validates the client's address. Does
    /// nothing by default.
    fn completed(&self, _peer: SocketAddr) {}

    /// Returns the permit for a connection whose client's address was just validated. `None` if the client has too
    /// many connections; the connection is then closed or refused.
    fn admit(&self, peer: SocketAddr) -> Option<Self::Permit>;

    /// Receives an accepted connection whose ClientHello was processed. Returns the service's state for it.
    fn opened(&self, opened: AcceptedConnection) -> Self::Conn;

    /// Starts to serve a request, in a task that this method spawns. `from` is the client's address, which is validated
    /// unless the stream is early, and true if all datagrams arrived on one recorded interface.
    fn request(&self, conn: &Rc<Self::Conn>, from: (SocketAddr, bool), head: RequestHead, stream: H3Stream);

    /// Receives the numbers of requests of a connection that were rejected because their heads were too large or not
    /// completed in time, since the last call. Does nothing unless it is implemented.
    fn refused(&self, _conn: &Rc<Self::Conn>, _heads: RejectedHeads) {}

    /// Receives the end of a connection and its reason. All streams of the connection have ended. Called once per
    /// connection that was passed to [`Service::opened`].
    fn closed(&self, conn: &Rc<Self::Conn>, why: CloseReason);

    /// Receives that a datagram was dropped without belonging to a connection, for a reason other than a verdict of
    /// [`Service::hello`]. Does nothing unless it is implemented.
    fn dropped(&self, _peer: SocketAddr, _why: DropReason) {}
}
