//! The bound sockets of listeners: opened for each worker, and retained so that they can be handed to a successor.

use super::downstream::h3::{Handover, Router};
use super::error::StartError;
use super::lifecycle::Sockets;
use super::listen::{self, InheritedSockets};
use super::sys;
use edge_policy::config::{Listener, ListenerKind};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// The sockets of several listeners, as returned by [`open`].
#[derive(Default)]
pub(super) struct OpenListeners {
    /// For each listener, in their order, the sockets of its workers, the last worker first: `pop` returns those of the
    /// next worker. Empty for a listener that waits for its interface or address.
    pub(super) sockets: Vec<Vec<Sockets>>,
    /// The address of each listener, in the same order. A configured port 0 is replaced by the port that was chosen,
    /// once there are sockets.
    pub(super) addresses: Vec<SocketAddr>,
    /// Duplicates of the sockets of each listener, in the same order, with its settings.
    pub(super) retained: Vec<RetainedSockets>,
}

/// Opens the sockets of these listeners for each of `workers` workers, or uses those `inherited` ones that are bound
/// to the same address. A listener whose interface or address does not exist yet gets no sockets, which is not an
/// error.
///
/// # Errors
/// [`StartError::Listen`] for the first listener whose sockets cannot be opened or duplicated.
pub(super) fn open(
    listeners: &[Listener],
    workers: usize,
    inherited: &mut InheritedSockets,
) -> Result<OpenListeners, StartError> {
    let mut open = OpenListeners { sockets: Vec::new(), addresses: Vec::new(), retained: Vec::new() };
    for listener in listeners {
        let failed = |source| StartError::Listen { address: listener.address, source };
        let index = listener.interface.as_deref().and_then(sys::interface_index);
        let spare = inherited.of(listen::reported_address(listener)).map_err(failed)?;
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

/// Returns one [`Sockets`] per worker from the opened sockets of a listener, the last worker first: workers pop from
/// the end. With HTTP/3, each has a UDP socket and the channels by which workers hand packets over.
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

/// The sockets of one listener that the process retains besides those of the workers, to hand them to a successor.
pub(super) struct RetainedSockets {
    /// The listener of the configuration.
    pub(super) listener: Listener,
    /// The address of the sockets, with the port that was chosen for port 0. The configured address while there are no
    /// sockets.
    pub(super) address: SocketAddr,
    /// The index of the interface that the sockets are bound to. `None` if the listener has no interface or waits for
    /// it.
    pub(super) index: Option<u32>,
    /// Duplicates of inherited sockets with the listener's address, for the time at which its interface or address
    /// appears. Empty if the listener was opened at the start.
    pub(super) spare: InheritedSockets,
    /// The TCP sockets by the index of the worker; empty while the listener waits. An entry is `None` once its worker
    /// has ended, so that the kernel assigns it no more connections.
    tcp: Vec<Option<TcpListener>>,
    /// The UDP sockets by the index of the worker, as in `tcp`; empty without HTTP/3.
    udp: Vec<Option<UdpSocket>>,
    /// The way of datagrams to the QUIC engines. `None` without HTTP/3, and while the listener waits.
    router: Option<Router>,
}

impl RetainedSockets {
    /// Creates the entry of a listener that waits for its interface or address: it has no sockets, the configured
    /// address, and `spare` as inherited sockets.
    fn waiting(listener: Listener, spare: InheritedSockets) -> Self {
        let address = listener.address;
        Self { listener, address, index: None, spare, tcp: Vec::new(), udp: Vec::new(), router: None }
    }

    /// Replaces the retained sockets by duplicates of `sockets`, which are in the reverse order of workers, and stores
    /// their address and `index`, that of their interface.
    ///
    /// # Errors
    /// The error of duplicating a descriptor. The retained sockets may be replaced in part then.
    pub(super) fn keep(&mut self, sockets: &[Sockets], index: Option<u32>) -> io::Result<()> {
        // Workers take from the end.
        let tcp = sockets.iter().rev().map(|sockets| sockets.tcp.try_clone().map(Some));
        let quic = sockets.iter().rev().filter_map(|sockets| sockets.quic.as_ref());
        self.tcp = tcp.collect::<io::Result<_>>()?;
        self.udp = quic.map(|(socket, _)| socket.try_clone().map(Some)).collect::<io::Result<_>>()?;
        let quic = sockets.iter().find_map(|sockets| sockets.quic.as_ref());
        self.router = quic.map(|(_, handover)| handover.router().clone());
        self.address = sockets.first().map_or(self.address, |sockets| sockets.address);
        self.index = index;
        Ok(())
    }

    /// Returns whether the listener has sockets: false while it waits for its interface or address.
    pub(super) const fn is_serving(&self) -> bool {
        !self.tcp.is_empty()
    }

    /// Closes all retained sockets and clears the interface's index, because the interface is gone or was replaced.
    pub(super) fn close(&mut self) {
        (self.tcp, self.udp, self.index, self.router) = (Vec::new(), Vec::new(), None, None);
    }

    /// Returns the way of datagrams to the QUIC engines. `None` without HTTP/3, and while the listener waits.
    pub(super) const fn router(&self) -> Option<&Router> {
        self.router.as_ref()
    }

    /// Closes the retained TCP and UDP socket of the worker with this index, which has ended. No effect if there is
    /// none.
    pub(super) fn release(&mut self, worker: usize) {
        self.tcp.get_mut(worker).map(Option::take);
        self.udp.get_mut(worker).map(Option::take);
    }

    /// Adds duplicates of the retained sockets to `sockets`, without those of workers that have ended.
    ///
    /// # Errors
    /// The error of duplicating a descriptor. Earlier duplicates remain in `sockets`.
    pub(super) fn duplicate_into(&self, sockets: &mut InheritedSockets) -> io::Result<()> {
        for socket in self.tcp() {
            sockets.tcp.push(socket.try_clone()?);
        }
        for socket in self.udp() {
            sockets.udp.push(socket.try_clone()?);
        }
        Ok(())
    }

    /// Returns an iterator over the retained TCP sockets, without those of workers that have ended.
    pub(super) fn tcp(&self) -> impl Iterator<Item = &TcpListener> {
        self.tcp.iter().flatten()
    }

    /// Returns an iterator over the retained UDP sockets, without those of workers that have ended. Empty without
    /// HTTP/3.
    pub(super) fn udp(&self) -> impl Iterator<Item = &UdpSocket> {
        self.udp.iter().flatten()
    }
}
