//! The link between two processes, one of which takes over from the other.
//!
//! Both receive from the same sockets, so that a datagram may arrive at the process that does not have its connection.
//! It is passed on over a pair of Unix sockets that keep the boundaries of messages (SOCK_SEQPACKET).

use super::socket::Datagram;
use bytes::BytesMut;
use quinn_proto as quic;
use socket2::{Domain, Socket, Type};
use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// The length of the secret of connection IDs in bytes.
pub(crate) const SECRET_LEN: usize = 16;

/// The longest message in bytes: the largest datagram with its metadata.
pub(crate) const MAX_MESSAGE: usize = 66 * 1024;

/// The longest time that [`Link::receive`] waits.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(250);

/// The requested size of the kernel's buffer in bytes. Datagrams that find no room are lost, as on a congested path.
const SYSTEM_BUFFER: usize = 2 * 1024 * 1024;

/// The first byte of a message with the engines of a process.
const ENGINES: u8 = 1;
/// The only byte of the message that a process serves.
const SERVING: u8 = 2;
/// The first byte of a message with a datagram.
const DATAGRAM: u8 = 3;

/// The engines of one address of a process, as they are described to another process.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EngineRecord {
    /// The index of the link to their process, in the order in which the links are passed.
    pub(crate) link: u8,
    /// The number of the group in its process.
    pub(crate) group: u16,
    /// The number of engines, one for each worker.
    pub(crate) workers: u8,
    /// The secret of their connection IDs.
    pub(crate) secret: [u8; SECRET_LEN],
    /// The address that they receive at.
    pub(crate) address: SocketAddr,
    /// The interface that their listener is bound to. `None` without one.
    pub(crate) interface: Option<String>,
}

/// Formats nothing of the secret.
impl fmt::Debug for EngineRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, group, workers, secret: _, address, interface } = self;
        f.debug_struct("EngineRecord")
            .field("link", link)
            .field("group", group)
            .field("workers", workers)
            .field("address", address)
            .field("interface", interface)
            .finish_non_exhaustive()
    }
}

/// A message over a link.
#[derive(Debug)]
pub(crate) enum Message {
    /// The engines of the process that is taken over from, and those of its predecessors.
    Engines(Vec<EngineRecord>),
    /// The process that takes over serves from now on.
    Serving,
    /// A datagram for the engines of a group of the process that is taken over from, or of unknown clients from them.
    Datagram {
        /// The number of the group.
        group: u16,
        /// The worker that it is for, or that it arrived at.
        worker: u8,
        /// The datagram as it was received.
        datagram: Datagram,
    },
}

/// The result of [`Link::receive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A message of this length.
    Message(usize),
    /// No message arrived in time.
    Nothing,
    /// The other process has ended, or closed the link.
    Closed,
}

/// One end of a link.
pub(crate) struct Link {
    /// The socket, which blocks for [`RECEIVE_TIMEOUT`] at most.
    socket: Socket,
    /// True once the other end is known to be closed.
    closed: AtomicBool,
}

impl Link {
    /// Creates a link. Returns this end, and the one for the other process.
    ///
    /// # Errors
    /// The error of creating the sockets.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (near, far) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        // The kernel may give less.
        let _ = far.set_send_buffer_size(SYSTEM_BUFFER);
        Ok((Self::new(near.into())?, far.into()))
    }

    /// Uses an end of a link that another process created.
    ///
    /// # Errors
    /// The descriptor is no socket.
    pub(crate) fn new(end: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(end);
        socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
        let _ = socket.set_send_buffer_size(SYSTEM_BUFFER);
        Ok(Self { socket, closed: AtomicBool::new(false) })
    }

    /// Returns a duplicate of this end's descriptor.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone().map(OwnedFd::from)
    }

    /// Closes this end and its duplicates, also while another thread reads from it. What was sent still arrives.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
        // It fails if the other end has been closed.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Returns whether this or the other end is known to be closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Sends a message. It is lost if the buffer is full or the other end is closed.
    pub(crate) fn send(&self, message: &[u8]) {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        match self.socket.send_with_flags(message, flags) {
            Err(why) if matches!(why.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                self.closed.store(true, Relaxed);
            }
            _ => {}
        }
    }

    /// Receives a message into `buffer`, which should have [`MAX_MESSAGE`] bytes. Waits 250 ms at most.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Received {
        match (&self.socket).read(buffer) {
            Ok(n @ 1..) => Received::Message(n),
            Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Received::Nothing
            }
            Ok(_) | Err(_) => {
                self.closed.store(true, Relaxed);
                Received::Closed
            }
        }
    }
}

/// Returns the message with these engines.
pub(crate) fn engines(records: &[EngineRecord]) -> Vec<u8> {
    let mut out = vec![ENGINES];
    for record in records {
        let EngineRecord { link, group, workers, secret, address, interface } = record;
        // Names of interfaces have at most 15 bytes.
        let name = interface.as_deref().unwrap_or_default().as_bytes();
        out.extend_from_slice(&[*link, *workers, name.len() as u8]);
        out.extend_from_slice(&group.to_le_bytes());
        out.extend_from_slice(secret);
        put_address(&mut out, *address);
        out.extend_from_slice(name);
    }
    out
}

/// Returns the message that a process serves.
pub(crate) fn serving() -> Vec<u8> {
    vec![SERVING]
}

/// Returns the message with a datagram.
pub(crate) fn datagram(group: u16, worker: u8, datagram: &Datagram) -> Vec<u8> {
    let Datagram { remote, local_ip, ecn, interface, data } = datagram;
    let mut out = Vec::with_capacity(64 + data.len());
    out.extend_from_slice(&[DATAGRAM, worker, ecn.map_or(0, |ecn| ecn as u8)]);
    out.extend_from_slice(&group.to_le_bytes());
    // The kernel has no interface of the index 0.
    out.extend_from_slice(&interface.unwrap_or(0).to_le_bytes());
    put_address(&mut out, *remote);
    put_ip(&mut out, *local_ip);
    out.extend_from_slice(data);
    out
}

impl Message {
    /// Parses a message. `None` if it is malformed, or of a kind that another version of this program has.
    pub(crate) fn parse(mut input: &[u8]) -> Option<Self> {
        let input = &mut input;
        match take(input)? {
            [ENGINES] => {
                let mut records = Vec::new();
                while !input.is_empty() {
                    let [link, workers, length] = take(input)?;
                    let group = u16::from_le_bytes(take(input)?);
                    let secret = take(input)?;
                    let address = take_address(input)?;
                    let (name, rest) = input.split_at_checked(length.into())?;
                    *input = rest;
                    let name = std::str::from_utf8(name).ok()?;
                    let interface = (!name.is_empty()).then(|| name.to_owned());
                    records.push(EngineRecord { link, group, workers, secret, address, interface });
                }
                Some(Self::Engines(records))
            }
            [SERVING] => Some(Self::Serving),
            [DATAGRAM] => {
                let [worker, ecn] = take(input)?;
                let group = u16::from_le_bytes(take(input)?);
                let interface = u32::from_le_bytes(take(input)?);
                let datagram = Datagram {
                    remote: take_address(input)?,
                    local_ip: take_ip(input)?,
                    ecn: quic::EcnCodepoint::from_bits(ecn),
                    interface: (interface != 0).then_some(interface),
                    data: BytesMut::from(*input),
                };
                Some(Self::Datagram { group, worker, datagram })
            }
            _ => None,
        }
    }
}

/// Takes the next `N` bytes. `None` if there are fewer.
fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*first)
}

/// Appends an address: its kind, 0 for `None`, and 16 bytes.
fn put_ip(out: &mut Vec<u8>, ip: Option<IpAddr>) {
    let (kind, octets) = match ip {
        None => (0, [0; 16]),
        Some(IpAddr::V4(ip)) => (4, ip.to_ipv6_mapped().octets()),
        Some(IpAddr::V6(ip)) => (6, ip.octets()),
    };
    out.push(kind);
    out.extend_from_slice(&octets);
}

/// Takes an address that [`put_ip`] appended. The outer `None` stands for malformed input.
fn take_ip(input: &mut &[u8]) -> Option<Option<IpAddr>> {
    let [kind] = take(input)?;
    let octets: [u8; 16] = take(input)?;
    let [.., a, b, c, d] = octets;
    match kind {
        0 => Some(None),
        4 => Some(Some(Ipv4Addr::new(a, b, c, d).into())),
        6 => Some(Some(Ipv6Addr::from(octets).into())),
        _ => None,
    }
}

/// Appends an address, its port and its zone.
fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    put_ip(out, Some(address.ip()));
    out.extend_from_slice(&address.port().to_le_bytes());
    let scope = if let SocketAddr::V6(address) = address { address.scope_id() } else { 0 };
    out.extend_from_slice(&scope.to_le_bytes());
}

/// Takes an address that [`put_address`] appended. `None` for malformed input.
fn take_address(input: &mut &[u8]) -> Option<SocketAddr> {
    let ip = take_ip(input)??;
    let port = u16::from_le_bytes(take(input)?);
    let scope = u32::from_le_bytes(take(input)?);
    Some(match ip {
        IpAddr::V4(ip) => (ip, port).into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address() -> impl Strategy<Value = SocketAddr> {
        prop_oneof![
            any::<(Ipv4Addr, u16)>().prop_map(SocketAddr::from),
            any::<(Ipv6Addr, u16, u32)>()
                .prop_map(|(ip, port, scope)| SocketAddrV6::new(ip, port, 0, scope).into()),
        ]
    }

    proptest! {
        #[test]
        fn a_datagram_arrives_as_it_is(
            (group, worker, ecn, interface) in any::<(u16, u8, u8, u32)>(),
            remote in address(),
            local_ip in any::<Option<IpAddr>>(),
            data in proptest::collection::vec(any::<u8>(), 0..1500),
        ) {
            let ecn = quic::EcnCodepoint::from_bits(ecn & 3);
            let interface = (interface != 0).then_some(interface);
            let sent = Datagram { remote, local_ip, ecn, interface, data: data[..].into() };
            let Some(Message::Datagram { group: g, worker: w, datagram: got }) =
                Message::parse(&datagram(group, worker, &sent))
            else {
                return Err(TestCaseError::fail("not a valid datagram: expected the one that was sent"));
            };
            prop_assert_eq!((g, w), (group, worker));
            prop_assert_eq!(
                (got.remote, got.local_ip, got.ecn, got.interface, &got.data[..]),
                (remote, local_ip, ecn, interface, &data[..])
            );
        }

        #[test]
        fn engines_arrive_as_they_are(
            records in proptest::collection::vec(
                (any::<(u8, u16, u8, [u8; SECRET_LEN])>(), address(), proptest::option::of("[a-z0-9]{1,15}")),
                0..20,
            ),
        ) {
            let record = |((link, group, workers, secret), address, interface)| EngineRecord {
                link, group, workers, secret, address, interface,
            };
            let records: Vec<_> = records.into_iter().map(record).collect();
            let Some(Message::Engines(got)) = Message::parse(&engines(&records)) else {
                return Err(TestCaseError::fail("they are no engines"));
            };
            prop_assert_eq!(got, records);
        }

        #[test]
        fn no_message_is_a_reason_to_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&bytes);
        }
    }

    #[test]
    fn a_link_can_be_closed_while_a_thread_reads_from_it() {
        let (near, far) = Link::pair().unwrap();
        let far = std::sync::Arc::new(Link::new(far).unwrap());
        let reader = far.clone();
        let reading = std::thread::spawn(move || {
            let mut buffer = vec![0; MAX_MESSAGE];
            while reader.receive(&mut buffer) != Received::Closed {}
        });
        far.send(&serving());
        far.close();
        let mut buffer = vec![0; MAX_MESSAGE];
        assert_eq!(near.receive(&mut buffer), Received::Message(1));
        assert_eq!(near.receive(&mut buffer), Received::Closed);
        reading.join().unwrap();
    }

    #[test]
    fn a_secret_is_not_formatted() {
        let address = ([127, 0, 0, 1], 443).into();
        let record =
            EngineRecord { link: 1, group: 2, workers: 3, secret: [173; 16], address, interface: None };
        let shown = format!("{:?}", Message::Engines(vec![record]));
        assert!(shown.contains("127.0.0.1:443") && !shown.contains("173"), "{shown}");
    }

    #[test]
    fn the_end_of_a_process_closes_its_links() {
        let (near, far) = Link::pair().unwrap();
        let far = Link::new(far).unwrap();
        let mut buffer = vec![0; MAX_MESSAGE];
        far.send(&serving());
        // Larger than any datagram.
        far.send(&vec![0; 65_600]);
        assert_eq!(near.receive(&mut buffer), Received::Message(1));
        assert_eq!(near.receive(&mut buffer), Received::Message(65_600));
        assert_eq!(near.receive(&mut buffer), Received::Nothing);
        drop(far);
        assert!(!near.is_closed());
        assert_eq!(near.receive(&mut buffer), Received::Closed);
        assert!(near.is_closed());
        let (near, far) = Link::pair().unwrap();
        drop(far);
        near.send(&serving());
        assert!(near.is_closed());
    }
}
