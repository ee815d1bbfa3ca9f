//! The decision about the server name of a connection that was created before its name was known.
//!
//! QUIC acknowledges the packets of such a connection. TLS processes the ClientHello when it is complete, and the
//! engine decides before any response of TLS is sent.

use super::super::received_hello::ReceivedHello;
use super::super::{DropReason, HelloVerdict, Service};
use super::Engine;
use edge_http::h3::client_hello::MalformedHello;
use quinn_proto as quic;
use quinn_proto::{ConnectionHandle, EndpointEvent};

/// The end of a connection whose server name was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unconfirmed {
    /// No packet is sent.
    Silent,
    /// The client gets CONNECTION_CLOSE, or the alert of TLS.
    Alert,
}

impl<S: Service> Engine<S> {
    /// Decides about the server name of an unconfirmed connection as far as its ClientHello has arrived. Returns true
    /// if the connection is confirmed, or its ClientHello is incomplete. Otherwise it is ended and removed, its flow is
    /// refused, and the reason is reported. `index` must be that of a connection.
    pub(super) fn confirm(&mut self, index: usize) -> bool {
        let Some(Some(entry)) = self.conns.get_mut(index) else { return false };
        let state = entry.cell.state.borrow();
        let (peer, closed) = (state.peer(), state.closed.is_some());
        let end = match received_hello(&state.quic) {
            // A failure of QUIC, a timeout or a shutdown, before the name was known.
            None if closed => Unconfirmed::Silent,
            None => return true,
            Some(ReceivedHello(Err(MalformedHello))) => {
                self.service.dropped(peer, DropReason::Malformed);
                Unconfirmed::Silent
            }
            Some(ReceivedHello(Ok(sni))) => match self.service.confirm(peer, sni.as_deref()) {
                HelloVerdict::Accept => {
                    entry.unconfirmed = false;
                    return true;
                }
                HelloVerdict::Silent => Unconfirmed::Silent,
                HelloVerdict::Alert => Unconfirmed::Alert,
            },
        };
        drop(state);
        self.end(index, end);
        false
    }

    /// Ends an unconfirmed connection, removes it and refuses its flow. No effect for an index without a connection.
    fn end(&mut self, index: usize, end: Unconfirmed) {
        let Some(entry) = self.conns.get_mut(index).and_then(Option::take) else { return };
        let now = self.shared.now.get();
        if end == Unconfirmed::Alert {
            let mut state = entry.cell.state.borrow_mut();
            let quic = &mut state.quic;
            let mut content = Vec::new();
            quic.close(now, quic::VarInt::from_u32(0), bytes::Bytes::new());
            if let Some(transmit) = quic.poll_transmit(now, 1, &mut content) {
                // A blocked socket is not waited for: the client gives up by its own timeout then.
                let _ = self.socket.send(&transmit, &content);
            }
        }
        let _ = self.endpoint.handle_event(ConnectionHandle(index), EndpointEvent::drained());
        self.filter.refuse(now, entry.flow);
        if let Some(client) = entry.handshake_client {
            self.pending_handshakes.remove(client);
        }
        self.live -= 1;
    }
}

/// Returns the ClientHello of a connection. `None` if it is not complete.
pub(super) fn received_hello(conn: &quic::Connection) -> Option<ReceivedHello> {
    conn.crypto_session().handshake_data()?.downcast::<ReceivedHello>().ok().map(|hello| *hello)
}
