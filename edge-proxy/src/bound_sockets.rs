//! The bound sockets of listeners: opened for each worker, and retained so that they can be handed to a successor.

use super::downstream::h3::Handover;
use super::error::StartError;
use super::lifecycle::Sockets;
use super::listen::{self, InheritedSockets};
use super::sys;
use edge_policy::config::{Listener, ListenerKind};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Newly opened sockets.
pub(super) struct OpenListeners {
    /// The sockets by listener, then by worker in reverse order. Empty for a listener that waits for its interface.
    pub(super) sockets: Vec<Vec<Sockets>>,
    /// The addresses by listener.
    pub(super) addresses: Vec<SocketAddr>,
    /// Duplicates of the sockets, by listener.
    pub(super) retained: Vec<RetainedSockets>,
}

/// Opens the sockets of these listeners for each worker, or takes inherited ones. A listener whose interface or
/// address is missing gets none yet.
pub(super) fn open(
    listeners: &[Listener],
    workers: usize,
    inherited: &mut InheritedSockets,
) -> Result<OpenListeners, StartError> {
    let mut open = OpenListeners { sockets: Vec::new(), addresses: Vec::new(), retained: Vec::new() };
    for listener in listeners {
        let failed = |source| StartError::Listen { address: listener.address, source };
        let index = listener.interface.as_deref().and_then(sys::interface_index);
        let spare = inherited.of(listener.address).map_err(failed)?;
        let found = match listen::open(listener, workers, inherited) {
            Err(why) if listen::is_waiting(listener, &why) => None,
            found => Some(found.map_err(failed)?),
        };
        let mut retained = RetainedSockets::waiting(listener.clone(), spare);
        let sockets = match found {
            Some(found) => {
                let sockets = places(listener, found, workers);
                retained.keep(&sockets, index).map_err(failed)?;
                retained.spare = InheritedSockets::default();
                sockets
            }
            None => Vec::new(),
        };
        open.addresses.push(retained.address);
        open.sockets.push(sockets);
        open.retained.push(retained);
    }
    Ok(open)
}

/// Distributes the sockets of a listener to the workers. Workers take from the end, so that the first worker gets the first
/// socket.
pub(super) fn places(listener: &Listener, found: listen::OpenSockets, workers: usize) -> Vec<Sockets> {
    let listen::OpenSockets { address, tcp, udp, inherited } = found;
    let http3 = listener.kind == (ListenerKind::Tls { http3: true });
    let places = if http3 { Handover::mesh(workers as u8) } else { Vec::new() };
    let mut quic = udp.into_iter().zip(places);
    let mut sockets: Vec<Sockets> = tcp
        .into_iter()
        .map(|tcp| Sockets { listener: listener.clone(), address, tcp, quic: quic.next(), inherited })
        .collect();
    sockets.reverse();
    sockets
}

/// The retained sockets of one listener.
pub(super) struct RetainedSockets {
    pub(super) listener: Listener,
    pub(super) address: SocketAddr,
    /// The index of the interface that the sockets are bound to. `None` while the listener waits for its interface.
    pub(super) index: Option<u32>,
    /// Inherited sockets that wait for the interface.
    pub(super) spare: InheritedSockets,
    /// The TCP sockets by worker. `None` once the worker has ended, so that the kernel gives it no more connections.
    tcp: Vec<Option<TcpListener>>,
    udp: Vec<Option<UdpSocket>>,
}

impl RetainedSockets {
    /// Creates the entry of a listener that waits for its interface or address, without sockets.
    fn waiting(listener: Listener, spare: InheritedSockets) -> Self {
        let address = listener.address;
        Self { listener, address, index: None, spare, tcp: Vec::new(), udp: Vec::new() }
    }

    /// Retains duplicates of newly opened sockets.
    pub(super) fn keep(&mut self, sockets: &[Sockets], index: Option<u32>) -> io::Result<()> {
        // Workers take from the end.
        let tcp = sockets.iter().rev().map(|sockets| sockets.tcp.try_clone().map(Some));
        let quic = sockets.iter().rev().filter_map(|sockets| sockets.quic.as_ref());
        self.tcp = tcp.collect::<io::Result<_>>()?;
        self.udp = quic.map(|(socket, _)| socket.try_clone().map(Some)).collect::<io::Result<_>>()?;
        self.address = sockets.first().map_or(self.address, |sockets| sockets.address);
        self.index = index;
        Ok(())
    }

    /// Returns whether the listener is served.
    pub(super) const fn is_serving(&self) -> bool {
        !self.tcp.is_empty()
    }

    /// Closes the sockets because the interface is gone.
    pub(super) fn close(&mut self) {
        (self.tcp, self.udp, self.index) = (Vec::new(), Vec::new(), None);
    }

    /// Closes the sockets of a worker that has ended.
    pub(super) fn release(&mut self, worker: usize) {
        self.tcp.get_mut(worker).map(Option::take);
        self.udp.get_mut(worker).map(Option::take);
    }

    /// Iterates over the retained TCP sockets.
    pub(super) fn tcp(&self) -> impl Iterator<Item = &TcpListener> {
        self.tcp.iter().flatten()
    }

    /// Iterates over the retained UDP sockets.
    pub(super) fn udp(&self) -> impl Iterator<Item = &UdpSocket> {
        self.udp.iter().flatten()
    }
}
