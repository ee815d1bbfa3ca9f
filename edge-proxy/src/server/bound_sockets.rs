//! The sockets that listeners are bound to: opened for each worker, and retained so that they can be handed on.

use super::downstream::h3::Handover;
use super::error::StartError;
use super::lifecycle::Sockets;
use super::listen::{self, Inherited};
use crate::config::{Listener, ListenerKind};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Newly opened sockets, by listener and then by worker in reverse, and the addresses of the listeners.
pub(super) type OpenListeners = (Vec<Vec<Sockets>>, Vec<SocketAddr>);

/// Opens the sockets of these listeners, one for each worker.
pub(super) fn open(
    listeners: &[Listener],
    workers: usize,
    inherited: &mut Inherited,
) -> Result<OpenListeners, StartError> {
    let mut all = Vec::new();
    let mut addresses = Vec::new();
    for listener in listeners {
        let failed = |source| StartError::Listen { address: listener.address, source };
        let (address, tcp) = listen::tcp(listener, workers, inherited).map_err(failed)?;
        let udp = listen::udp(listener, address, workers, inherited).map_err(failed)?;
        let mut udp = udp.into_iter();
        let mut places = if listener.kind == (ListenerKind::Tls { http3: true }) {
            Handover::mesh(workers as u8).into_iter()
        } else {
            Vec::new().into_iter()
        };
        let mut mine: Vec<Sockets> = tcp
            .into_iter()
            .map(|tcp| Sockets {
                listener: listener.clone(),
                address,
                tcp,
                quic: udp.next().zip(places.next()),
            })
            .collect();
        // Workers take from the end, so that the first worker gets the first socket.
        mine.reverse();
        all.push(mine);
        addresses.push(address);
    }
    Ok((all, addresses))
}

/// The sockets of one listener, besides those that the workers have.
pub(super) struct RetainedSockets {
    pub(super) listener: Listener,
    /// By worker. `None` once the worker has ended, so that the kernel gives it no more connections.
    tcp: Vec<Option<TcpListener>>,
    udp: Vec<Option<UdpSocket>>,
}

impl RetainedSockets {
    /// Duplicates the sockets of each listener.
    pub(super) fn of(listeners: &[Listener], sockets: &[Vec<Sockets>]) -> Result<Vec<Self>, StartError> {
        let one = |(listener, sockets): (&Listener, &Vec<Sockets>)| {
            // Workers take from the end.
            let tcp = sockets.iter().rev().map(|sockets| sockets.tcp.try_clone().map(Some));
            let quic = sockets.iter().rev().filter_map(|sockets| sockets.quic.as_ref());
            Ok(Self {
                listener: listener.clone(),
                tcp: tcp.collect::<io::Result<_>>()?,
                udp: quic.map(|(socket, _)| socket.try_clone().map(Some)).collect::<io::Result<_>>()?,
            })
        };
        listeners
            .iter()
            .zip(sockets)
            .map(|each| one(each).map_err(|source| StartError::Listen { address: each.0.address, source }))
            .collect()
    }

    /// Closes the sockets of a worker that has ended.
    pub(super) fn release(&mut self, worker: usize) {
        self.tcp.get_mut(worker).map(Option::take);
        self.udp.get_mut(worker).map(Option::take);
    }

    pub(super) fn tcp(&self) -> impl Iterator<Item = &TcpListener> {
        self.tcp.iter().flatten()
    }

    pub(super) fn udp(&self) -> impl Iterator<Item = &UdpSocket> {
        self.udp.iter().flatten()
    }
}
