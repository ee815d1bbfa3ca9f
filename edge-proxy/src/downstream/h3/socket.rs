//! The UDP socket of an engine, which receives and sends many datagrams per system call.

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

/// The size of a receive buffer in bytes: the most that the kernel merges from one sender (GRO).
const RECEIVE_BUFFER: usize = 64 * 1024;

/// The requested size of the kernel's buffers in each direction in bytes. They store datagrams while the worker is
/// busy.
const SYSTEM_BUFFER: usize = 2 * 1024 * 1024;

/// A received datagram with its metadata.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// The address of the sender.
    pub(super) remote: SocketAddr,
    /// The address that the datagram was sent to, if the kernel reports it. `None` otherwise.
    pub(super) local_ip: Option<IpAddr>,
    /// The ECN codepoint of the IP header. `None` for Not-ECT.
    pub(super) ecn: Option<quic::EcnCodepoint>,
    /// The index of the interface that the datagram arrived on. `None` if that was not requested or is not known.
    pub(super) interface: Option<u32>,
    /// The content of the datagram.
    pub(super) data: BytesMut,
}

/// A UDP socket for QUIC, with the memory for receiving.
pub(super) struct QuicSocket {
    /// The socket, registered with the runtime.
    io: UdpSocket,
    /// The capabilities of the socket, such as segmentation offload.
    state: UdpSocketState,
    /// The memory for receiving one batch of datagrams.
    buffer: Box<[u8]>,
    /// The metadata of the received buffers of one batch.
    meta: [RecvMeta; BATCH_SIZE],
}

impl QuicSocket {
    /// Configures a bound UDP socket for QUIC as non-blocking and registers it with the runtime. Also requests larger
    /// buffers from the kernel; if it refuses them, that is ignored.
    ///
    /// # Errors
    /// The error of a system call or of the runtime.
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

    /// Returns the number of datagrams that one system call may send (GSO): at least 1, at most 40.
    pub(super) fn segments(&self) -> usize {
        // Beyond about forty a batch is no cheaper, and a lost one is lost as a whole.
        self.state.max_gso_segments().clamp(1, 40)
    }

    /// Returns whether the kernel may fragment datagrams, so that path MTU discovery does not work.
    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Receives a batch of datagrams and appends them to `out`. If `interfaces` is true, each batch is one system call
    /// for one buffer, and the datagrams have the index of their interface. Pending if none has arrived.
    ///
    /// # Errors
    /// An error that concerns the socket itself.
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
            let mut filled = 0;
            let result = io.try_io(Interest::READABLE, || {
                filled = state.recv(io.into(), &mut slices, meta)?;
                // Buffers are left over, so nothing more has arrived, and a further call would fail with this error.
                // The call may also end early because a later datagram failed, for example for lack of memory (ENOBUFS,
                // ENOMEM). What remains is then received after the next datagram; the timers of QUIC make up for it.
                if filled < BATCH_SIZE { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match result {
                _ if filled > 0 => {
                    for (meta, slice) in self.meta[..filled].iter().zip(&slices) {
                        split(meta, slice, out);
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(()) => {}
                Err(e) if is_passing(&e) => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Completes when the socket may accept datagrams.
    ///
    /// # Errors
    /// The error of the runtime.
    pub(super) fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_send_ready(cx)
    }

    /// Sends all datagrams of `transmit`, whose content is at the beginning of `data`, or none of them.
    ///
    /// # Errors
    /// [`SendBlocked`] if the socket accepts nothing now. Other failures are ignored like losses in the network, which
    /// QUIC handles.
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

/// The error for a socket that accepts nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendBlocked;

/// Returns whether an error of receiving does not concern the socket itself: nothing to receive, an interruption, or
/// an ICMP error for an earlier datagram (connection refused or reset).
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
    )
}

/// Splits received bytes into datagrams by the segment size in `note`, and appends them to `out` with their interface.
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

/// Splits received bytes into datagrams by the segment size in `meta`, and appends them to `out` without an interface.
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
