//! The UDP socket: many datagrams a system call, in both directions.

use crate::sys::{self, DatagramNote};
use bytes::BytesMut;
use quinn_proto as quic;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// The size of the receive buffer: the most bytes of one sender that the kernel merges (GRO).
const RECEIVE_BUFFER: usize = 64 * 1024;

/// The size of the kernel's buffers in each direction, which hold datagrams while this worker is busy.
const SYSTEM_BUFFER: usize = 2 * 1024 * 1024;

/// A datagram, with the kernel's metadata.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(super) remote: SocketAddr,
    pub(super) local_ip: Option<IpAddr>,
    pub(super) ecn: Option<quic::EcnCodepoint>,
    /// The index of the interface that it arrived on. `None` if that was not requested.
    pub(super) interface: Option<u32>,
    pub(super) data: BytesMut,
}

pub(super) struct QuicSocket {
    io: UdpSocket,
    state: UdpSocketState,
    buffer: Box<[u8]>,
    meta: [RecvMeta; BATCH_SIZE],
}

impl QuicSocket {
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        // Enough for a burst of uploads. The system may allow less.
        let _ = state.set_recv_buffer_size((&socket).into(), SYSTEM_BUFFER);
        let _ = state.set_send_buffer_size((&socket).into(), SYSTEM_BUFFER);
        Ok(Self {
            io: UdpSocket::from_std(socket)?,
            state,
            buffer: vec![0; RECEIVE_BUFFER * BATCH_SIZE].into(),
            meta: [RecvMeta::default(); BATCH_SIZE],
        })
    }

    /// Returns the number of datagrams that may be sent with one system call (GSO).
    pub(super) fn segments(&self) -> usize {
        // Beyond about forty a batch is no cheaper, and a lost one is lost as a whole.
        self.state.max_gso_segments().clamp(1, 40)
    }

    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Receives a batch of datagrams, with their interfaces if those matter. Pending if there is none.
    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        interfaces: bool,
        out: &mut Vec<Datagram>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.io.poll_recv_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Ready(Ok(())) => {}
            }
            if interfaces {
                match self
                    .io
                    .try_io(Interest::READABLE, || sys::receive_datagram(self.io.as_fd(), &mut self.buffer))
                {
                    Ok(note) => {
                        noted(&note, &self.buffer, out);
                        return Poll::Ready(Ok(()));
                    }
                    Err(e) if is_passing(&e) => continue,
                    Err(e) => return Poll::Ready(Err(e)),
                }
            }
            let (io, state, meta) = (&self.io, &self.state, &mut self.meta);
            let mut parts = self.buffer.chunks_mut(RECEIVE_BUFFER);
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
            match io.try_io(Interest::READABLE, || state.recv(io.into(), &mut slices, meta)) {
                Ok(n) => {
                    for (meta, slice) in self.meta[..n].iter().zip(&slices) {
                        split(meta, slice, out);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(e) if is_passing(&e) => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    pub(super) fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_send_ready(cx)
    }

    /// Sends all of `transmit` or nothing.
    ///
    /// # Errors
    /// [`SendBlocked`] if the socket accepts nothing now. Other failures are ignored like losses in the network,
    /// which QUIC handles.
    pub(super) fn send(&self, transmit: &quic::Transmit, data: &[u8]) -> Result<(), SendBlocked> {
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &data[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        match self.io.try_io(Interest::WRITABLE, || self.state.send((&self.io).into(), &transmit)) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(SendBlocked),
            _ => Ok(()),
        }
    }
}

/// An error for a socket that accepts nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendBlocked;

/// Returns whether an error does not concern the socket itself: nothing to receive, or an ICMP error for an earlier
/// datagram.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
    )
}

fn noted(note: &DatagramNote, buffer: &[u8], out: &mut Vec<Datagram>) {
    let mut rest = BytesMut::from(&buffer[..note.length]);
    while !rest.is_empty() {
        let data = rest.split_to(rest.len().min(note.stride));
        out.push(Datagram {
            remote: note.remote,
            local_ip: note.local_ip,
            ecn: quic::EcnCodepoint::from_bits(note.ecn),
            interface: note.interface,
            data,
        });
    }
}

fn split(meta: &RecvMeta, slice: &[u8], out: &mut Vec<Datagram>) {
    let mut rest = BytesMut::from(&slice[..meta.len.min(slice.len())]);
    while !rest.is_empty() {
        let data = rest.split_to(rest.len().min(meta.stride.max(1)));
        out.push(Datagram {
            remote: meta.addr,
            local_ip: meta.dst_ip,
            ecn: meta.ecn.and_then(|ecn| quic::EcnCodepoint::from_bits(ecn as u8)),
            interface: None,
            data,
        });
    }
}
