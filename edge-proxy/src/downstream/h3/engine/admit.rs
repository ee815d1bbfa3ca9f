//! Routing of datagrams: to a connection, to another worker, or to the gate.

use super::super::amplification::AmplificationLimit;
use super::super::cid::{self, Owner};
use super::super::conn::{QuicConnection, QuicConnectionCell};
use super::super::gate::{Flow, Offer};
use super::super::paths::ClientPaths;
use super::super::socket::Datagram;
use super::super::{Dropped, HelloVerdict, Service};
use super::{BATCHES, Engine, Entry};
use edge_http::h3::initial;
use quinn_proto as quic;
use quinn_proto::{ConnectionHandle, DatagramEvent};
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

/// The result of a datagram that is not for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fed {
    Nothing,
    /// A new connection.
    New,
    /// The client was asked to prove its address.
    Retry,
}

impl<S: Service> Engine<S> {
    pub(super) fn take_handed_over(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..BATCHES * quinn_udp::BATCH_SIZE {
            match self.handover.inbox.poll_recv(cx) {
                Poll::Ready(Some(datagram)) => self.datagram(datagram, false),
                Poll::Ready(None) | Poll::Pending => return false,
            }
        }
        true
    }

    /// `direct` is whether it came from the socket: what was handed over once is not again.
    pub(super) fn datagram(&mut self, datagram: Datagram, direct: bool) {
        let destination = match initial::long_header(&datagram.data) {
            Some(header) => header.destination,
            None => datagram.data.get(1..=cid::LEN).unwrap_or_default(),
        };
        match self.handover.owner(destination) {
            Owner::Here => {
                self.feed(datagram, None, true);
            }
            Owner::Other(worker) if direct => self.handover.send(worker, datagram),
            Owner::Other(_) => {}
            Owner::Nobody => self.stranger(datagram),
        }
    }

    fn stranger(&mut self, datagram: Datagram) {
        let (now, peer) = (self.shared.now.get(), datagram.remote);
        match self.gate.offer(now, datagram) {
            Offer::Drop(None) => {}
            Offer::Drop(Some(why)) => self.service.dropped(peer, why),
            Offer::Pass(datagram) => {
                self.feed(datagram, None, false);
            }
            Offer::Hello { flow, sni, datagrams } => {
                let hello = match self.shutdown {
                    Some(_) => HelloVerdict::Silent,
                    None => self.service.hello(peer, sni.as_deref()),
                };
                self.greet(now, flow, hello, datagrams);
            }
            Offer::Part { flow, names } => {
                let accepted =
                    self.shutdown.is_none() && names.iter().any(|name| self.service.serves(peer, name));
                if accepted {
                    let datagrams = self.gate.take(&flow);
                    self.greet(now, flow, HelloVerdict::Accept, datagrams);
                }
            }
        }
    }

    /// Carries out the verdict on a flow.
    fn greet(&mut self, now: Instant, flow: Flow, hello: HelloVerdict, datagrams: Vec<Datagram>) {
        let mut added = false;
        if hello != HelloVerdict::Silent && self.live >= self.shared.limits().connections {
            self.service.dropped(flow.0, Dropped::Overload);
            return self.gate.settle(now, flow, false);
        }
        if hello != HelloVerdict::Silent {
            for datagram in datagrams {
                match self.feed(datagram, Some((&flow, hello)), false) {
                    Fed::Nothing => {}
                    Fed::New => added = true,
                    // The answer comes with another connection id, and this one again if that gets lost.
                    Fed::Retry => return self.gate.release(&flow),
                }
            }
        }
        // A copy of another client's packets creates no connection, so there is nothing to remember.
        self.gate.settle(now, flow, added);
    }

    /// Passes a datagram to QUIC. It creates a connection only if `admit` names the client, or if it has the token of a
    /// Retry, which only admitted clients were sent. `ours` is whether it names a connection ID that was made here.
    fn feed(&mut self, datagram: Datagram, admit: Option<(&Flow, HelloVerdict)>, ours: bool) -> Fed {
        let now = self.shared.now.get();
        let Datagram { remote, local_ip, ecn, interface, data } = datagram;
        let length = data.len();
        let mut answer = Vec::new();
        match self.endpoint.handle(now, remote, local_ip, ecn, data, &mut answer) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(Some(entry)) = self.conns.get_mut(handle.0) {
                    if let Some(limit) = &mut entry.amplification {
                        limit.received(length);
                        // The ID is known only to who receives at the address that it was sent to.
                        if ours && remote == entry.flow.0 {
                            limit.lift();
                        }
                    }
                    if entry.interface != interface {
                        entry.interface = None;
                    }
                    let mut state = entry.cell.state.borrow_mut();
                    state.quic.handle_event(event);
                    if entry.amplification.is_none() || remote != entry.flow.0 {
                        entry.paths.received(remote, length, state.quic.remote_address());
                    }
                    drop(state);
                    entry.cell.touch();
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                let mut answer = Vec::new();
                let proved = incoming.remote_address_validated();
                let admitted = match admit {
                    Some((flow, HelloVerdict::Accept)) => Some(flow.clone()),
                    None if proved && self.shutdown.is_none() => {
                        Some((remote, incoming.orig_dst_cid().as_ref().into()))
                    }
                    _ => None,
                };
                match (admitted, admit) {
                    (Some(_), _) if !proved && self.must_prove(remote.ip()) => {
                        if let Ok(transmit) = self.endpoint.retry(incoming, &mut answer) {
                            let _ = self.socket.send(&transmit, &answer);
                        }
                        return Fed::Retry;
                    }
                    (Some(flow), _) => {
                        let permit = if proved { self.service.admit(remote) } else { None };
                        if proved && (permit.is_none() || self.live >= self.shared.limits().connections) {
                            let transmit = self.endpoint.refuse(incoming, &mut answer);
                            let _ = self.socket.send(&transmit, &answer);
                            return Fed::Nothing;
                        }
                        match self.endpoint.accept(incoming, now, &mut answer, None) {
                            Ok((handle, conn)) => {
                                self.add(handle, conn, (flow, interface), permit, length);
                                return Fed::New;
                            }
                            Err(error) => {
                                if let Some(transmit) = error.response {
                                    // Not worth waiting for: the client will ask again.
                                    let _ = self.socket.send(&transmit, &answer);
                                }
                            }
                        }
                    }
                    (None, Some((_, HelloVerdict::Alert))) => {
                        let transmit = self.endpoint.refuse(incoming, &mut answer);
                        let _ = self.socket.send(&transmit, &answer);
                    }
                    // A client that uses one of our connection IDs for a new connection, which the gate has not
                    // checked.
                    (None, _) => self.endpoint.ignore(incoming),
                }
            }
            // Version negotiation, stateless resets and the like would respond to unknown clients.
            Some(DatagramEvent::Response(_)) => self.service.dropped(remote, Dropped::Garbage),
            None => {}
        }
        Fed::Nothing
    }

    fn must_prove(&self, address: IpAddr) -> bool {
        let limits = self.shared.limits();
        self.unproved.must_prove(address, limits.unproved_per_client, limits.unproved)
    }

    /// Adds a connection whose first datagram has this length. Without a permit its address is not validated.
    fn add(
        &mut self,
        handle: ConnectionHandle,
        conn: quic::Connection,
        (flow, interface): (Flow, Option<u32>),
        permit: Option<S::Permit>,
        length: usize,
    ) {
        let cell = Rc::new(QuicConnectionCell {
            shared: Rc::clone(&self.shared),
            index: handle.0,
            dirty: Cell::new(false),
            state: RefCell::new(QuicConnection::new(conn, self.shared.now.get())),
        });
        let unproved = permit.is_none().then(|| self.unproved.add(flow.0.ip()));
        let amplification = permit.is_none().then(|| {
            let mut limit = AmplificationLimit::default();
            limit.received(length);
            limit
        });
        cell.touch();
        if self.conns.len() <= handle.0 {
            self.conns.resize_with(handle.0 + 1, || None);
        }
        self.conns[handle.0] = Some(Entry {
            paths: ClientPaths::new(flow.0),
            interface,
            cell,
            user: None,
            permit,
            amplification,
            flow,
            armed: None,
            unproved,
            queued: false,
            told: false,
        });
        self.live += 1;
    }
}
