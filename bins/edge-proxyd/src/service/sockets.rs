//! Sockets inherited at the start: from the service manager (sd_listen_fds(3)), which passes those of socket units and
//! of its file descriptor store, or from a predecessor.

use super::Notifier;
use super::store;
use edge_proxy::config::{Listener, ListenerKind};
use socket2::{Domain, Socket, Type};
use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

/// The first descriptor that the service manager passes (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// The environment variable with the descriptors that a predecessor passes, separated by commas.
pub(super) const SOCKETS: &str = "EDGE_PROXYD_SOCKETS";

/// The origin of an inherited socket.
enum Origin {
    /// The process that this one replaces.
    Predecessor,
    /// The file descriptor store of the service manager, under this name.
    Store(String),
    /// A socket unit, under this name (`FileDescriptorName=`), which may be empty.
    Unit(String),
}

/// The inherited sockets.
pub(crate) struct PassedSockets {
    /// The TCP and UDP sockets, each with its origin.
    sockets: Vec<(Socket, Origin)>,
    /// The control socket of the predecessor. `None` if there is none.
    pub(crate) control: Option<UnixListener>,
    /// The links to the predecessors, over which QUIC datagrams are passed on.
    pub(crate) quic_links: Vec<OwnedFd>,
}

/// The inherited sockets for listeners of the configuration.
#[derive(Default)]
pub(crate) struct MatchedSockets {
    /// The listening TCP sockets.
    pub(crate) tcp: Vec<TcpListener>,
    /// The UDP sockets.
    pub(crate) udp: Vec<UdpSocket>,
    /// The names of the sockets that socket units passed, in the form of [`store::name`]. They need not be in the
    /// manager's store.
    pub(crate) passed: Vec<String>,
    /// The addresses of all sockets of the predecessor, also of those that no listener uses.
    pub(crate) predecessor: Vec<SocketAddr>,
}

impl PassedSockets {
    /// Takes the inherited sockets: those of a predecessor, or else those of the service manager, of which at most 4096
    /// are read. None if there are neither. Must be called once only, since it takes ownership of the descriptors.
    ///
    /// # Errors
    /// A descriptor is not open, or is not a socket for streams or datagrams.
    pub(crate) fn take() -> io::Result<Self> {
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut named = |fd| {
            let name = names.next().unwrap_or_default().to_owned();
            (fd, if store::is_name(&name) { Origin::Store(name) } else { Origin::Unit(name) })
        };
        let fds: Vec<(RawFd, Origin)> = match env::var(SOCKETS) {
            Ok(text) => {
                let fds = text.split(',').filter_map(|fd| fd.parse().ok());
                fds.map(|fd| (fd, Origin::Predecessor)).collect()
            }
            Err(_) if number("LISTEN_PID") == Some(std::process::id()) => {
                let end = FIRST + number("LISTEN_FDS").unwrap_or(0).min(4096) as RawFd;
                (FIRST..end).map(&mut named).collect()
            }
            Err(_) => Vec::new(),
        };
        let mut handed = Self { sockets: Vec::new(), control: None, quic_links: Vec::new() };
        for (fd, origin) in fds {
            let socket = Socket::from(take_ownership(fd)?);
            // Child processes must not inherit it.
            socket.set_cloexec(true)?;
            if socket.domain()? == Domain::UNIX && matches!(origin, Origin::Predecessor) {
                if socket.r#type()? == Type::SEQPACKET {
                    handed.quic_links.push(socket.into());
                } else {
                    handed.control = Some(OwnedFd::from(socket).into());
                }
                continue;
            }
            match socket.r#type()? {
                Type::STREAM | Type::DGRAM => handed.sockets.push((socket, origin)),
                other => {
                    let why = format!("inherited a socket of type {other:?}, which cannot listen");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
                }
            }
        }
        Ok(handed)
    }

    /// Assigns the sockets to listeners of the configuration. A socket of the predecessor or the store is closed, and
    /// removed from the store, if no listener has its address, or the listener has another interface; a duplicate of a
    /// socket that a socket unit passed is removed from the store too.
    ///
    /// # Errors
    /// A socket of a socket unit has no listener: the manager keeps listening there, so that clients would wait for a
    /// response in vain. Or the address of a socket is not known, or the manager could not be reached.
    pub(crate) fn matching(
        self,
        listeners: &[Listener],
        notifier: &Notifier,
    ) -> Result<MatchedSockets, String> {
        let passed: Vec<u64> = self
            .sockets
            .iter()
            .filter(|(_, origin)| matches!(origin, Origin::Unit(_)))
            .filter_map(|(socket, _)| inode(socket))
            .collect();
        let mut matched = MatchedSockets::default();
        let mut closed = false;
        for (socket, origin) in self.sockets {
            let address = address(&socket)?;
            let stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
            let name = store::name(stream, address);
            if matches!(origin, Origin::Predecessor) {
                matched.predecessor.push(address);
            }
            let at = || listeners.iter().filter(|listener| is_listener_at(listener, address, stream));
            // A link-local address may be that of several listeners, each in another zone.
            let listener = at().find(|listener| is_bound_for(&socket, listener)).or_else(|| at().next());
            match (listener, origin) {
                (None, Origin::Unit(unit)) => return Err(foreign(address, stream, &unit)),
                (Some(listener), Origin::Unit(unit)) if is_bound_elsewhere(&socket, listener) => {
                    return Err(foreign(address, stream, &unit));
                }
                (Some(_), Origin::Unit(_)) => {
                    matched.passed.push(name);
                    matched.push(socket, stream);
                }
                // The same socket came from its unit too.
                (Some(_), Origin::Store(stored))
                    if inode(&socket).is_some_and(|one| passed.contains(&one)) =>
                {
                    notifier.forget(&stored);
                }
                (Some(listener), _) if is_bound_for(&socket, listener) => matched.push(socket, stream),
                (_, Origin::Store(stored)) => {
                    notifier.forget(&stored);
                    closed = true;
                }
                (_, Origin::Predecessor) => notifier.forget(&name),
            }
        }
        if closed {
            // Otherwise the manager's copy would still hold the address.
            notifier.settle().map_err(|why| format!("the service manager: {why}"))?;
        }
        Ok(matched)
    }
}

impl MatchedSockets {
    /// Adds a socket: to the TCP sockets if `stream`, otherwise to the UDP sockets.
    fn push(&mut self, socket: Socket, stream: bool) {
        if stream { self.tcp.push(socket.into()) } else { self.udp.push(socket.into()) }
    }
}

/// Returns the message about a socket of a socket unit that has no listener. `stream` is true for TCP, false for UDP.
fn foreign(address: SocketAddr, stream: bool, unit: &str) -> String {
    let (kind, key) = if stream { ("TCP", "") } else { ("UDP", " with http3 = true") };
    let unit = if unit.is_empty() || unit == "unknown" { "the service manager" } else { unit };
    format!(
        "{unit} passes a {kind} socket at {address}, which no [[listen]]{key} names, so that clients would wait there for an answer: \
         add a listener, or remove the address from the socket unit"
    )
}

/// Returns true if a listener uses this address: over TCP if `stream`, otherwise over UDP, which only listeners with
/// HTTP/3 use. A listener with port 0 matches every port of its address, and one with an interface every scope ID.
fn is_listener_at(listener: &Listener, mut address: SocketAddr, stream: bool) -> bool {
    if listener.address.port() == 0 {
        address.set_port(0);
    }
    if let (SocketAddr::V6(address), Some(_)) = (&mut address, &listener.interface) {
        address.set_scope_id(scope(listener));
    }
    listener.address == address && (stream || listener.kind == ListenerKind::Tls { http3: true })
}

/// Returns true if the socket is bound to the network interface of the listener, or to none if the listener has neither
/// an interface nor a scope ID. False also if the interface cannot be determined, as when it no longer exists.
fn is_bound_for(socket: &Socket, listener: &Listener) -> bool {
    let wanted = listener.interface.as_ref().map(String::as_bytes);
    // An error: the interface is gone. A socket with a scope ID is bound to the interface of that index.
    socket.device().is_ok_and(|device| device.as_deref() == wanted || scope(listener) != 0)
}

/// Returns true if the socket is bound to another network interface than that of the listener. False if the listener has
/// none, or the socket is bound to none.
fn is_bound_elsewhere(socket: &Socket, listener: &Listener) -> bool {
    let wanted = listener.interface.as_ref().map(String::as_bytes);
    wanted.is_some() && socket.device().is_ok_and(|device| device.is_some() && device.as_deref() != wanted)
}

/// Returns the scope ID of a listener's address. 0 if it has none.
const fn scope(listener: &Listener) -> u32 {
    match listener.address {
        SocketAddr::V6(address) => address.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

/// Returns the local address of a socket.
///
/// # Errors
/// The address is not known, or neither IPv4 nor IPv6.
fn address(socket: &Socket) -> Result<SocketAddr, String> {
    let address = socket.local_addr().map_err(|why| format!("an inherited socket: {why}"))?;
    address.as_socket().ok_or_else(|| "inherited a socket that is neither IPv4 nor IPv6".to_owned())
}

/// Returns the inode number of a socket, which is equal for all duplicates of its descriptor. `None` if `/proc` cannot
/// be read.
pub(super) fn inode(socket: &impl AsRawFd) -> Option<u64> {
    std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok().map(|found| found.ino())
}

/// Takes ownership of a descriptor whose number is in an environment variable. Must be called at most once for each, at
/// the start of the process.
///
/// # Errors
/// The descriptor is not open, or is standard input, output or error.
pub(super) fn take_ownership(fd: RawFd) -> io::Result<OwnedFd> {
    // Standard input and output are never passed on; the others are checked to be open before they are taken.
    if fd <= 2 || std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_err() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("descriptor {fd} is not open")));
    }
    // SAFETY: the descriptor is open, and whoever named it in the environment gave it to this process. Each is taken
    // once, at start, before anything else could have opened a descriptor of that number.
    #[allow(unsafe_code)]
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Protocol};

    /// A socket that a unit bound to one interface serves no listener of another, and is thus no hole where clients wait.
    #[test]
    fn a_socket_of_another_interface_is_not_that_of_a_listener() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        let listener = |interface: Option<&str>| {
            let mut listener = Listener::plain("127.0.0.1:80".parse().expect("an address"));
            listener.interface = interface.map(Into::into);
            listener
        };
        // Bound to none: it is bound to the interface of the listener later.
        for interface in [None, Some("lo"), Some("tailscale0")] {
            assert!(!is_bound_elsewhere(&socket, &listener(interface)));
        }
        socket.bind_device(Some(b"lo")).expect("an unbound socket may be bound by anybody");
        for (interface, elsewhere) in [(None, false), (Some("lo"), false), (Some("tailscale0"), true)] {
            assert_eq!(is_bound_elsewhere(&socket, &listener(interface)), elsewhere, "{interface:?}");
        }
    }
}
