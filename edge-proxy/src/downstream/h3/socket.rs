//! The UDP socket of an engine, which receives and sends many datagrams per system call.

use crate::sys::{self, DatagramNote};
use bytes::BytesMut;
use quinn_proto as quic;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The size of a receive buffer in bytes: the most that the kernel merges from one sender (GRO).
const RECEIVE_BUFFER: usize = 64 * 1024;

/// The requested size of the kernel's buffers in each direction in bytes. They store datagrams while the worker is
/// busy.
const SYSTEM_BUFFER: usize = 2 * 1024 * 1024;

/// The lowest number of buffers that a system call is given. Each costs time, also if it is not filled.
const MIN_BATCH: usize = 2;

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
    /// The socket, registered with the runtime for reading only: else each datagram that is sent would wake the engine,
    /// as soon as the kernel is done with it.
    io: AsyncFd<UdpSocket>,
    /// A duplicate of the socket, which is registered for writing while the engine waits until the socket accepts
    /// datagrams.
    writer: Writer,
    /// The number of buffers that the next system call is given.
    batch: usize,
    /// The capabilities of the socket, such as segmentation offload.
    state: UdpSocketState,
    /// The memory for receiving one batch of datagrams.
    buffer: Box<[u8]>,
    /// The metadata of the received buffers of one batch.
    meta: [RecvMeta; BATCH_SIZE],
}

/// A duplicate of a socket. It exists from the beginning, since later there may be no free descriptor.
enum Writer {
    /// It is not registered with the runtime.
    Idle(UdpSocket),
    /// It is registered for writing.
    Waiting(AsyncFd<UdpSocket>),
    /// It was lost when it could not be registered.
    Failed,
}

impl QuicSocket {
    /// Configures a bound UDP socket for QUIC as non-blocking and registers it with the runtime. Also requests larger
    /// buffers from the kernel; if it refuses them, that is ignored.
    ///
    /// # Errors
    /// The error of a system call or of the runtime.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        // Enough for a burst of uploads. The system may allow less.
        let _ = state.set_recv_buffer_size((&socket).into(), SYSTEM_BUFFER);
        let _ = state.set_send_buffer_size((&socket).into(), SYSTEM_BUFFER);
        Ok(Self {
            writer: Writer::Idle(socket.try_clone()?),
            io: register(socket, Interest::READABLE)?,
            batch: MIN_BATCH,
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
            let Self { io, state, buffer, meta, batch, .. } = self;
            let mut ready = ready!(io.poll_read_ready(cx))?;
            if interfaces {
                match ready.try_io(|io| sys::receive_datagram(io.as_fd(), buffer)) {
                    Ok(Ok(note)) => {
                        noted(&note, buffer, out);
                        return Poll::Ready(Ok(()));
                    }
                    Ok(Err(e)) if !is_passing(&e) => return Poll::Ready(Err(e)),
                    Ok(Err(_)) | Err(_) => continue,
                }
            }
            let mut parts = buffer.chunks_mut(RECEIVE_BUFFER);
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
            match state.recv(io.get_ref().into(), &mut slices[..*batch], meta) {
                Ok(filled) => {
                    if filled < *batch {
                        // Buffers are left over, so nothing more has arrived, and a further call would fail. The call
                        // may also end early because a later datagram failed, for example for lack of memory (ENOBUFS,
                        // ENOMEM). What remains is then received after the next datagram; the timers of QUIC make up
                        // for it.
                        ready.clear_ready();
                    }
                    *batch = next_batch(*batch, filled);
                    for (meta, slice) in meta[..filled].iter().zip(&slices) {
                        split(meta, slice, out);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(e) if is_passing(&e) => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Completes when the socket may accept datagrams.
    ///
    /// # Errors
    /// The error of the runtime.
    pub(super) fn poll_send_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let writer = match std::mem::replace(&mut self.writer, Writer::Failed) {
            Writer::Idle(socket) => register(socket, Interest::WRITABLE)?,
            Writer::Waiting(writer) => writer,
            Writer::Failed => return Poll::Ready(Err(io::ErrorKind::Other.into())),
        };
        let result = writer.poll_write_ready(cx).map_ok(drop);
        self.writer = match result {
            Poll::Pending => Writer::Waiting(writer),
            Poll::Ready(_) => Writer::Idle(writer.into_inner()),
        };
        result
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
        match self.state.send(self.io.get_ref().into(), &transmit) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(SendBlocked),
            _ => Ok(()),
        }
    }
}

/// Registers a non-blocking socket with the runtime.
///
/// # Errors
/// The error of the runtime.
fn register(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    // Its replacement is unsafe, because the descriptor of a type may change or be closed. That of a socket does not.
    #[allow(deprecated)]
    AsyncFd::with_interest(socket, interest)
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

/// Returns the number of buffers for the next system call, of which the last one filled `filled` of `batch`: more if it
/// filled all, fewer if it filled a quarter at most.
fn next_batch(batch: usize, filled: usize) -> usize {
    let next = if filled == batch {
        4 * batch
    } else if filled <= batch / 4 {
        batch / 2
    } else {
        batch
    };
    next.clamp(MIN_BATCH, BATCH_SIZE)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    #[test]
    fn batches_follow_what_arrives() {
        assert_eq!(next_batch(MIN_BATCH, 1), MIN_BATCH);
        assert_eq!([2, 8, 32].map(|batch| next_batch(batch, batch)), [8, BATCH_SIZE, BATCH_SIZE]);
        assert_eq!([(8, 2), (8, 3), (32, 1)].map(|(batch, filled)| next_batch(batch, filled)), [4, 8, 16]);
    }

    /// Returns whether the events of this descriptor that an epoll instance of the process reports include those of
    /// writing. `None` if none reports any.
    fn is_registered_for_writing(descriptor: i32) -> Option<bool> {
        std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten().find_map(|info| {
            let text = std::fs::read_to_string(info.path()).unwrap_or_default();
            let line = text.lines().find(|line| {
                let mut words = line.split_whitespace();
                words.next() == Some("tfd:") && words.next() == Some(&descriptor.to_string())
            })?;
            let events = line.split_whitespace().skip_while(|word| *word != "events:").nth(1)?;
            let events = u32::from_str_radix(events, 16).ok()?;
            Some(events & libc::EPOLLOUT as u32 != 0)
        })
    }

    /// Every datagram is received, however many have arrived. That the kernel is done with one that was sent is an event
    /// only for those who wait for it.
    #[tokio::test]
    async fn datagrams_of_bursts() {
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (near, far) = (bind(), bind());
        let (here, there) = (near.local_addr().unwrap(), far.local_addr().unwrap());
        let mut socket = QuicSocket::new(near).unwrap();
        for burst in [1, 2, 3, 40, 1, 7, 1, 1, 1, 9] {
            for n in 0..burst {
                far.send_to(&[n], here).unwrap();
            }
            let mut received = Vec::new();
            while received.len() < usize::from(burst) {
                let more = poll_fn(|cx| socket.poll_recv(cx, false, &mut received));
                tokio::time::timeout(Duration::from_secs(20), more).await.expect("a datagram").unwrap();
            }
            let content: Vec<_> = received.iter().map(|datagram| datagram.data.to_vec()).collect();
            assert_eq!(content, (0..burst).map(|n| vec![n]).collect::<Vec<_>>());
        }
        let transmit =
            quic::Transmit { destination: there, ecn: None, size: 3, segment_size: None, src_ip: None };
        assert_eq!(socket.send(&transmit, b"abc"), Ok(()));
        let mut buffer = [0; 8];
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(far.recv(&mut buffer).unwrap(), 3);
        assert_eq!(is_registered_for_writing(socket.io.as_raw_fd()), Some(false));
        // A socket that accepts datagrams is ready at once, and again.
        for _ in 0..2 {
            let ready = poll_fn(|cx| socket.poll_send_ready(cx));
            tokio::time::timeout(Duration::from_secs(20), ready).await.expect("room for datagrams").unwrap();
            assert!(matches!(socket.writer, Writer::Idle(_)));
        }
    }
}
