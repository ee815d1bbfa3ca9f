//! The [`Service`] that an engine hands requests to, and what it reports to it.

use super::{AcceptedConnection, Closed, Dropped, H3Stream, Heads, HelloVerdict};
use crate::RequestHead;
use std::net::SocketAddr;
use std::rc::Rc;

/// What requests are handed to.
pub(crate) trait Service: 'static {
    /// What is kept for a connection.
    type Conn: 'static;

    /// Decides about a stranger, before anything is answered.
    fn hello(&self, peer: SocketAddr, sni: Option<&str>) -> HelloVerdict;

    /// A connection that was accepted has read its ClientHello.
    fn opened(&self, opened: AcceptedConnection) -> Self::Conn;

    /// A request came. `peer` is the client's address, which is proved unless the stream is early. Whatever is done
    /// about it is done in a task of its own.
    fn request(&self, conn: &Rc<Self::Conn>, peer: SocketAddr, head: RequestHead, stream: H3Stream);

    /// Requests were refused for their heads, which were too large, or not whole in time.
    fn refused(&self, _conn: &Rc<Self::Conn>, _heads: Heads) {}

    /// The connection is over. Its streams are lost.
    fn closed(&self, conn: &Rc<Self::Conn>, why: Closed);

    /// A datagram of a stranger was dropped for another reason than [`Service::hello`].
    fn dropped(&self, _peer: SocketAddr, _why: Dropped) {}
}
