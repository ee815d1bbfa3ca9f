//! The routing of received datagrams: to a connection, to another worker, or to the filter of first flights.

use super::super::amplification::AmplificationLimit;
use super::super::cid::{self, Owner, Router};
use super::super::conn::{QuicConnection, QuicConnectionCell};
use super::super::first_flight::{FilterVerdict, Flow};
use super::super::paths::ClientPaths;
use super::super::socket::Datagram;
use super::super::{DropReason, HelloVerdict, Service};
use super::{Engine, Entry, MAX_RECEIVE_BATCHES};
use quinn_proto as quic;
use quinn_proto::{ConnectionHandle, DatagramEvent};
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

/// The result of passing a datagram to QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AdmitOutcome {
    /// The datagram belonged to a connection, or no connection was opened for it.
    Nothing,
    /// The datagram opened a connection.
    New,
    /// The client was sent a Retry, by which it is to validate its address.
    Retry,
}

impl<S: Service> Engine<S> {
    /// Processes datagrams that other workers handed over, at most as many as are received at once from the socket.
    /// Returns true if there may be more.
    pub(super) fn take_handed_over(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..MAX_RECEIVE_BATCHES * quinn_udp::BATCH_SIZE {
            match self.handover.inbox.poll_recv(cx) {
                Poll::Ready(Some(datagram)) => self.datagram(datagram, false),
                Poll::Ready(None) | Poll::Pending => return false,
            }
        }
        true
    }

    /// Passes a datagram to its connection, to the worker or engine that issued its connection ID, or to the filter of
    /// first flights. `direct` is false for a datagram that another worker handed over: it is not handed over again,
    /// and dropped if its ID is that of another worker.
    pub(super) fn datagram(&mut self, datagram: Datagram, direct: bool) {
        let destination = cid::destination(&datagram.data);
        match self.handover.router().owner(destination) {
            Owner::Here => {
                self.feed(datagram, None, true);
            }
            Owner::Other(worker) if direct => self.handover.router().send(worker, datagram),
            Owner::Other(_) => {}
            Owner::Nobody => {
                let cid: Box<[u8]> = destination.into();
                match self.other_engine(&cid, datagram.remote).filter(|_| direct) {
                    Some(engines) => engines.route(&cid, datagram),
                    None => self.filter_datagram(datagram),
                }
            }
        }
    }

    /// Returns the engines at the same address that a datagram with this unknown connection ID is for: the
    /// predecessors that issued the ID, or the successor unless the flow is known to this engine. `None` if it is for
    /// this engine.
    fn other_engine(&self, cid: &[u8], remote: SocketAddr) -> Option<&Router> {
        let issuer = self.predecessors.iter().find(|engines| engines.owner(cid) != Owner::Nobody);
        let serves = |engines: &&Router| !self.filter.is_known(&(remote, cid.into())) && !engines.is_closed();
        issuer.or_else(|| self.successor.as_ref().filter(serves))
    }

    /// Passes to QUIC the first flights of returning clients whose rest has not arrived in time. A flow that would now
    /// get a Retry or be refused stays pending until its ClientHello is complete, or until another wait, which its next
    /// datagram begins, is over.
    pub(super) fn pass_overdue(&mut self, now: Instant) {
        while let Some(flow) = self.filter.next_overdue(now) {
            if self.live < self.shared.limits().connections && !self.must_validate(flow.0.ip()) {
                self.pass_part(now, flow);
            } else {
                self.filter.stop_waiting(&flow);
            }
        }
    }

    /// Passes the received part of a pending flow to QUIC. Its server name is decided about when the rest has arrived.
    fn pass_part(&mut self, now: Instant, flow: Flow) {
        let datagrams = self.filter.take(&flow);
        self.apply_verdict(now, flow, (HelloVerdict::Accept, false), datagrams);
    }

    /// Passes a datagram with an unknown connection ID through the filter of first flights, and acts on the verdict:
    /// passes it to QUIC, reports that it was dropped, or asks the service about the server name.
    fn filter_datagram(&mut self, datagram: Datagram) {
        let (now, peer) = (self.shared.now.get(), datagram.remote);
        match self.filter.offer(now, datagram) {
            FilterVerdict::Drop(None) => {}
            FilterVerdict::Drop(Some(why)) => self.service.dropped(peer, why),
            FilterVerdict::Pass(datagram) => {
                self.feed(datagram, None, false);
            }
            FilterVerdict::Hello { flow, sni, datagrams } => {
                let hello = self.service.hello(peer, sni.as_deref());
                self.apply_verdict(now, flow, (hello, true), datagrams);
            }
            FilterVerdict::Part { flow, names } => {
                if names.iter().any(|name| self.service.serves(peer, name)) {
                    self.pass_part(now, flow);
                } else {
                    self.filter.stop_waiting(&flow);
                }
            }
            FilterVerdict::Incomplete(flow) => {
                if self.service.returns(peer) {
                    self.filter.wait(now, flow);
                }
            }
        }
    }

    /// Applies the service's verdict on a pending flow: passes its datagrams to QUIC if the client is to get a
    /// connection or an alert. The flow becomes accepted if that opens a connection, else refused; after a Retry it is
    /// removed from the filter. A flow that is to get an answer is dropped and refused if there are too many
    /// connections. `confirmed` is false if the ClientHello is incomplete, so that the connection's server name is
    /// still to be decided about.
    fn apply_verdict(
        &mut self,
        now: Instant,
        flow: Flow,
        (hello, confirmed): (HelloVerdict, bool),
        datagrams: Vec<Datagram>,
    ) {
        let mut added = false;
        if hello != HelloVerdict::Silent && self.live >= self.shared.limits().connections {
            self.service.dropped(flow.0, DropReason::Overload);
            return self.filter.refuse(now, flow);
        }
        if hello != HelloVerdict::Silent {
            for datagram in datagrams {
                match self.feed(datagram, Some((&flow, hello, confirmed)), false) {
                    AdmitOutcome::Nothing => {}
                    AdmitOutcome::New => added = true,
                    // The client continues with another connection ID, or with this one if the Retry is lost.
                    AdmitOutcome::Retry => return self.filter.release(&flow),
                }
            }
        }
        // A copy of another client's packets creates no connection, so there is nothing to remember.
        if added {
            self.filter.accept(flow);
        } else {
            self.filter.refuse(now, flow);
        }
    }

    /// Passes a datagram to QUIC. A connection is created only if `admit` contains a flow that was accepted, or if the
    /// datagram has the token of a Retry, which only admitted clients receive, before the last call of a shutdown. The
    /// client is sent a Retry instead if there are too many pending handshakes, and refused if the service grants no
    /// permit for its validated address or there are too many connections. `ours` is true if the connection ID was
    /// issued here, which validates the address.
    ///
    /// The third value of `admit` is false if the ClientHello is incomplete. The server name is then decided about when
    /// it is complete, as it is after a Retry, since only the first flight before that was filtered.
    fn feed(
        &mut self,
        datagram: Datagram,
        admit: Option<(&Flow, HelloVerdict, bool)>,
        ours: bool,
    ) -> AdmitOutcome {
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
                    let current = state.quic.remote_address();
                    if entry.amplification.is_none() || remote != entry.flow.0 {
                        entry.paths.received(remote, length, current);
                    } else {
                        entry.paths.set_current(current);
                    }
                    drop(state);
                    entry.cell.touch();
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                let mut answer = Vec::new();
                let proved = incoming.remote_address_validated();
                let confirmed = admit.is_some_and(|(_, _, confirmed)| confirmed);
                let admitted = match admit {
                    Some((flow, HelloVerdict::Accept, _)) => Some(flow.clone()),
                    None if proved && self.shutdown.as_ref().is_none_or(|shutdown| !shutdown.called) => {
                        Some((remote, incoming.orig_dst_cid().as_ref().into()))
                    }
                    _ => None,
                };
                match (admitted, admit) {
                    (Some(_), _) if !proved && self.must_validate(remote.ip()) => {
                        if let Ok(transmit) = self.endpoint.retry(incoming, &mut answer) {
                            let _ = self.socket.send(&transmit, &answer);
                        }
                        return AdmitOutcome::Retry;
                    }
                    (Some(flow), _) => {
                        let permit = if proved { self.service.admit(remote) } else { None };
                        if proved && (permit.is_none() || self.live >= self.shared.limits().connections) {
                            let transmit = self.endpoint.refuse(incoming, &mut answer);
                            let _ = self.socket.send(&transmit, &answer);
                            return AdmitOutcome::Nothing;
                        }
                        let config =
                            is_same_host(remote.ip(), local_ip).then(|| self.server.same_host.clone());
                        match self.endpoint.accept(incoming, now, &mut answer, config) {
                            Ok((handle, conn)) => {
                                self.add(handle, conn, (flow, interface, confirmed), permit, length);
                                return AdmitOutcome::New;
                            }
                            Err(error) => {
                                if let Some(transmit) = error.response.filter(|_| confirmed) {
                                    // A blocked socket is not waited for: the client sends its first flight again.
                                    let _ = self.socket.send(&transmit, &answer);
                                }
                            }
                        }
                    }
                    (None, Some((_, HelloVerdict::Alert, _))) => {
                        let transmit = self.endpoint.refuse(incoming, &mut answer);
                        let _ = self.socket.send(&transmit, &answer);
                    }
                    // A client that uses one of our connection IDs for a new connection, which the gate has not
                    // checked.
                    (None, _) => self.endpoint.ignore(incoming),
                }
            }
            // Version negotiation, stateless resets and the like would respond to unknown clients.
            Some(DatagramEvent::Response(_)) => self.service.dropped(remote, DropReason::Garbage),
            None => {}
        }
        AdmitOutcome::Nothing
    }

    /// Returns whether a client at this address must validate it by a Retry, because the client or all clients have
    /// too many pending handshakes.
    fn must_validate(&self, address: IpAddr) -> bool {
        let limits = self.shared.limits();
        self.pending_handshakes.must_validate(
            address,
            limits.pending_handshakes_per_client,
            limits.pending_handshakes,
        )
    }

    /// Adds a connection whose first datagram has `length` bytes, with its flow, the index of its interface, and true
    /// if its server name was accepted already. Without a permit, the client's address is not validated: its handshake
    /// is counted and the anti-amplification limit applies.
    fn add(
        &mut self,
        handle: ConnectionHandle,
        conn: quic::Connection,
        (flow, interface, confirmed): (Flow, Option<u32>, bool),
        permit: Option<S::Permit>,
        length: usize,
    ) {
        let cell = Rc::new(QuicConnectionCell {
            shared: Rc::clone(&self.shared),
            index: handle.0,
            dirty: Cell::new(false),
            state: RefCell::new(QuicConnection::new(
                conn,
                self.shared.now.get(),
                self.shared.limits().connection_window,
            )),
        });
        let handshake_client = permit.is_none().then(|| self.pending_handshakes.add(flow.0.ip()));
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
            handshake_client,
            unconfirmed: !confirmed,
            completed: false,
            queued: false,
            end_reported: false,
        });
        self.live += 1;
    }
}

/// Returns whether a client at the address `remote` is on this host. `local` is the address that it sent to, `None` if
/// that is not known. The kernel discards packets of other hosts with such addresses.
fn is_same_host(remote: IpAddr, local: Option<IpAddr>) -> bool {
    let remote = remote.to_canonical();
    remote.is_loopback() || local.is_some_and(|local| local.to_canonical() == remote)
}

#[cfg(test)]
mod tests {
    use super::is_same_host;

    #[test]
    fn clients_of_the_same_host() {
        let same = |remote: &str, local: Option<&str>| {
            is_same_host(remote.parse().unwrap(), local.map(|local| local.parse().unwrap()))
        };
        assert!(same("127.0.0.1", Some("127.0.0.53")) && same("::1", None));
        assert!(same("192.0.2.1", Some("192.0.2.1")) && same("::ffff:192.0.2.1", Some("192.0.2.1")));
        assert!(!same("192.0.2.1", Some("192.0.2.2")) && !same("192.0.2.1", None));
        assert!(!same("2001:db8::1", Some("2001:db8::2")));
    }
}
