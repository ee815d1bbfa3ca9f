//! Creation of listening sockets: one per worker on a shared port, so that the kernel distributes connections.

use super::sys::interface_index;
use edge_policy::config::{Listener, ListenerKind};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The length of the accept queue in connections, which the kernel caps by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// The size requested for each of the two kernel buffers of a QUIC socket in bytes. The kernel may provide less.
const UDP_BUFFER: usize = 2 * 1024 * 1024;
/// The number of attempts to find a port that is free for both TCP and UDP, if port 0 is configured.
const PORT_ATTEMPTS: usize = 16;

/// Creates an unbound socket as [`exclusive_socket`] does, but one that shares its port with the sockets of other
/// workers (`SO_REUSEPORT`).
///
/// # Errors
/// The error of creating or configuring the socket.
fn shared_socket(listener: &Listener, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = exclusive_socket(listener, kind, protocol)?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

/// Creates an unbound, non-blocking socket of the listener's address family that does not share its port. The socket
/// is bound to the listener's interface, if one is configured, and an IPv6 socket accepts IPv6 only.
///
/// # Errors
/// The error of creating or configuring the socket.
fn exclusive_socket(listener: &Listener, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let address = listener.address;
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // Each family has a listener of its own, so that an address is what it looks like.
        socket.set_only_v6(true)?;
    }
    if let Some(interface) = &listener.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    Ok(socket)
}

/// Enables TCP keep-alive: the first probe is sent after 60 s without data, then one every 15 s, and the connection
/// fails after 4 of them, so that a vanished peer is detected within two minutes, however long tunnels may be idle.
/// Errors are ignored.
pub(crate) fn keep_alive(socket: &SockRef<'_>) {
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    // Without keep-alive, the timeouts still apply.
    let _ = socket.set_tcp_keepalive(&probes);
}

/// Disables Nagle's algorithm on a listening socket, since heads and small content are written at once, and enables
/// keep-alive. Accepted sockets inherit both. Errors are ignored.
fn set_tcp_options(listening: BorrowedFd<'_>) {
    // Without it, responses are only delayed.
    let _ = SockRef::from(&listening).set_tcp_nodelay(true);
    keep_alive(&SockRef::from(&listening));
}

/// Sockets inherited from a service manager or from a predecessor of this process.
#[derive(Debug, Default)]
pub(crate) struct InheritedSockets {
    /// The listening TCP sockets.
    pub(crate) tcp: Vec<TcpListener>,
    /// The bound UDP sockets.
    pub(crate) udp: Vec<UdpSocket>,
}

impl InheritedSockets {
    /// Returns the highest number of TCP sockets with one address. 0 without TCP sockets.
    pub(crate) fn max_per_address(&self) -> usize {
        let same = |address: SocketAddr| {
            self.tcp.iter().filter(|socket| socket.local_addr().is_ok_and(|found| found == address)).count()
        };
        self.tcp.iter().filter_map(|socket| socket.local_addr().ok()).map(same).max().unwrap_or(0)
    }

    /// Returns the addresses of the sockets, repeated for each socket.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let tcp = self.tcp.iter().filter_map(|socket| socket.local_addr().ok());
        tcp.chain(self.udp.iter().filter_map(|socket| socket.local_addr().ok()))
    }

    /// Returns duplicates of the TCP and UDP sockets that are bound to exactly this address and port.
    ///
    /// # Errors
    /// The error of duplicating a descriptor.
    pub(crate) fn of(&self, address: SocketAddr) -> io::Result<Self> {
        let same = |found: io::Result<SocketAddr>| found.is_ok_and(|found| found == address);
        let tcp = self.tcp.iter().filter(|socket| same(socket.local_addr())).map(TcpListener::try_clone);
        let udp = self.udp.iter().filter(|socket| same(socket.local_addr())).map(UdpSocket::try_clone);
        Ok(Self { tcp: tcp.collect::<io::Result<_>>()?, udp: udp.collect::<io::Result<_>>()? })
    }

    /// Returns duplicates of all sockets.
    ///
    /// # Errors
    /// The error of duplicating a descriptor.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            tcp: self.tcp.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
            udp: self.udp.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>()?,
        })
    }

    /// Removes the sockets with this address from `sockets` and returns them. For port 0, all sockets of the IP
    /// address match. `of` returns the local address of a socket.
    fn take<S>(
        sockets: &mut Vec<S>,
        address: SocketAddr,
        of: impl Fn(&S) -> io::Result<SocketAddr>,
    ) -> Vec<S> {
        // A port of 0 takes any inherited socket of that address.
        let same = |mut found: SocketAddr| {
            if address.port() == 0 {
                found.set_port(0);
            }
            found == address
        };
        let (mine, others) =
            std::mem::take(sockets).into_iter().partition(|socket| of(socket).is_ok_and(same));
        *sockets = others;
        mine
    }

    /// Returns at least one socket per worker. If there are fewer sockets than workers, they are duplicated by
    /// `again`, each in turn. `found` must not be empty.
    ///
    /// # Errors
    /// The error of `again`.
    ///
    /// # Panics
    /// If `found` is empty and `workers` is not 0.
    fn spread<S>(found: Vec<S>, workers: usize, again: impl Fn(&S) -> io::Result<S>) -> io::Result<Vec<S>> {
        let more = (found.len()..workers).map(|at| again(&found[at % found.len()]));
        let more: Vec<S> = more.collect::<io::Result<_>>()?;
        Ok(found.into_iter().chain(more).collect())
    }
}

/// Returns the address of a listener in the form in which its sockets report it: the scope ID of a link-local address is
/// the index of its interface. The index is 0 while the interface does not exist.
pub(crate) fn reported_address(listener: &Listener) -> SocketAddr {
    match (listener.address, &listener.interface) {
        (SocketAddr::V6(mut address), Some(interface))
            if address.ip().is_unicast_link_local() && address.scope_id() == 0 =>
        {
            address.set_scope_id(interface_index(interface).unwrap_or(0));
            address.into()
        }
        (address, _) => address,
    }
}

/// Checks that no other process has bound these addresses. Sockets that share a port (`SO_REUSEPORT`) would hide that:
/// each process would get a part of the connections. UDP is checked for listeners with HTTP/3. Not checked are port 0,
/// addresses with inherited sockets, addresses that share a port with one of `own`, and listeners whose interface or
/// address does not exist yet. `own` are addresses of this process or of the one that it takes over from.
///
/// # Errors
/// The first address that cannot be bound, with the error.
pub(crate) fn probe(
    listeners: &[Listener],
    inherited: &InheritedSockets,
    own: &[SocketAddr],
) -> Result<(), (SocketAddr, io::Error)> {
    let is_own = |listener: &Listener| own.iter().any(|own| share_a_port(*own, listener.address));
    let checked = listeners.iter().filter(|listener| listener.address.port() != 0 && !is_own(listener));
    for listener in checked {
        let reported = reported_address(listener);
        let has = |found: io::Result<SocketAddr>| found.is_ok_and(|found| found == reported);
        let quic = listener.kind == ListenerKind::Tls { http3: true };
        let failed = |why| (listener.address, why);
        // Nobody can listen there yet.
        match exclusive_socket(listener, Type::STREAM, Protocol::TCP)
            .and_then(|socket| socket.bind(&listener.address.into()))
        {
            Err(why) if is_waiting(listener, &why) => continue,
            _ => {}
        }
        if !inherited.tcp.iter().any(|socket| has(socket.local_addr())) {
            let socket = exclusive_socket(listener, Type::STREAM, Protocol::TCP).map_err(failed)?;
            // Connections of a predecessor may linger in TIME_WAIT.
            socket.set_reuse_address(true).map_err(failed)?;
            socket.bind(&listener.address.into()).map_err(failed)?;
        }
        if quic && !inherited.udp.iter().any(|socket| has(socket.local_addr())) {
            let socket = exclusive_socket(listener, Type::DGRAM, Protocol::UDP).map_err(failed)?;
            socket.bind(&listener.address.into()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Returns whether sockets at these addresses could not both be bound without sharing their port.
fn share_a_port(one: SocketAddr, other: SocketAddr) -> bool {
    let same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && same
}

/// The sockets of one listener: at least one TCP socket per worker, and as many UDP sockets with HTTP/3.
pub(crate) struct OpenSockets {
    /// The address, with the port that was chosen for port 0.
    pub(crate) address: SocketAddr,
    /// The listening TCP sockets.
    pub(crate) tcp: Vec<TcpListener>,
    /// The bound UDP sockets; empty without HTTP/3.
    pub(crate) udp: Vec<UdpSocket>,
    /// True if the TCP sockets were inherited, so that another process may have bound them to another interface.
    pub(crate) inherited: bool,
}

/// Opens the sockets of a listener for `workers` workers, or takes those of `inherited` with its address. For port 0,
/// up to [`PORT_ATTEMPTS`] ports are tried until one is free for both TCP and UDP.
///
/// # Errors
/// The error of creating, binding, configuring or duplicating a socket.
pub(crate) fn open(
    listener: &Listener,
    workers: usize,
    inherited: &mut InheritedSockets,
) -> io::Result<OpenSockets> {
    let mut attempts = 1;
    loop {
        let (address, tcp, taken) = tcp(listener, workers, inherited)?;
        match udp(listener, address, workers, inherited) {
            Ok(udp) => return Ok(OpenSockets { address, tcp, udp, inherited: taken }),
            // A port that the system chose for TCP can be in use for UDP. It is asked for another one.
            Err(why)
                if listener.address.port() == 0
                    && !taken
                    && why.kind() == io::ErrorKind::AddrInUse
                    && attempts < PORT_ATTEMPTS =>
            {
                attempts += 1;
            }
            Err(why) => return Err(why),
        }
    }
}

/// Returns whether an error of [`open`] means that the listener's address or interface does not exist yet, rather than
/// a failure. A missing device counts only if the listener is bound to an interface, by its name or by the scope ID of
/// its address.
pub(crate) fn is_waiting(listener: &Listener, why: &io::Error) -> bool {
    let scoped = matches!(listener.address, SocketAddr::V6(address) if address.scope_id() != 0);
    match why.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => true,
        Some(libc::ENODEV | libc::ENXIO) => listener.interface.is_some() || scoped,
        _ => false,
    }
}

/// Binds an inherited socket to the listener's interface. No effect if the listener has none, or the socket is bound
/// to it already.
///
/// # Errors
/// An error that names the setting of the unit if the process may not bind the socket to the interface; else the error
/// of the system call.
fn confine(socket: &SockRef<'_>, listener: &Listener) -> io::Result<()> {
    let Some(interface) = &listener.interface else { return Ok(()) };
    if socket.device().is_ok_and(|bound| bound.as_deref() == Some(interface.as_bytes())) {
        return Ok(());
    }
    socket.bind_device(Some(interface.as_bytes())).map_err(|why| match why.raw_os_error() {
        Some(libc::EPERM) => io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the inherited socket is bound to another interface: write BindToDevice={interface} in its unit"),
        ),
        _ => why,
    })
}

/// Returns whether the interface that a socket is bound to no longer exists, so that the socket receives nothing.
fn is_deaf(socket: &SockRef<'_>) -> bool {
    socket.device().is_err_and(|why| why.raw_os_error() == Some(libc::ENODEV))
}

/// Opens the TCP sockets of one listener, one for each worker, or takes the inherited ones of its address, except
/// those bound to an interface that no longer exists. Returns the address with its actual port, the sockets, and true
/// if they were inherited.
///
/// # Errors
/// The error of creating, binding, configuring or duplicating a socket.
fn tcp(
    listener: &Listener,
    workers: usize,
    inherited: &mut InheritedSockets,
) -> io::Result<(SocketAddr, Vec<TcpListener>, bool)> {
    let found =
        InheritedSockets::take(&mut inherited.tcp, reported_address(listener), TcpListener::local_addr);
    // A predecessor may not have noticed yet that the interface was created anew.
    let found: Vec<_> = found.into_iter().filter(|socket| !is_deaf(&SockRef::from(socket))).collect();
    if let Some(first) = found.first() {
        let address = first.local_addr()?;
        for socket in &found {
            confine(&SockRef::from(socket), listener)?;
            socket.set_nonblocking(true)?;
            set_tcp_options(socket.as_fd());
        }
        return Ok((address, InheritedSockets::spread(found, workers, TcpListener::try_clone)?, true));
    }
    let mut address = listener.address;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = shared_socket(listener, Type::STREAM, Protocol::TCP)?;
        // Connections of a predecessor may linger in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        set_tcp_options(socket.as_fd());
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok((address, sockets, false))
}

/// Opens the UDP sockets of one listener, one for each worker, at `address`, or takes the inherited ones of that
/// address, except those bound to an interface that no longer exists. Empty if the listener has no HTTP/3.
///
/// # Errors
/// The error of creating, binding, configuring or duplicating a socket.
fn udp(
    listener: &Listener,
    address: SocketAddr,
    workers: usize,
    inherited: &mut InheritedSockets,
) -> io::Result<Vec<UdpSocket>> {
    if listener.kind != (ListenerKind::Tls { http3: true }) {
        return Ok(Vec::new());
    }
    let found = InheritedSockets::take(&mut inherited.udp, address, UdpSocket::local_addr);
    let found: Vec<_> = found.into_iter().filter(|socket| !is_deaf(&SockRef::from(socket))).collect();
    if !found.is_empty() {
        for socket in &found {
            confine(&SockRef::from(socket), listener)?;
            socket.set_nonblocking(true)?;
        }
        return InheritedSockets::spread(found, workers, UdpSocket::try_clone);
    }
    (0..workers)
        .map(|_| {
            let socket = shared_socket(listener, Type::DGRAM, Protocol::UDP)?;
            // Best effort: the kernel caps both by net.core.rmem_max and wmem_max.
            let _ = socket.set_recv_buffer_size(UDP_BUFFER);
            let _ = socket.set_send_buffer_size(UDP_BUFFER);
            socket.bind(&address.into())?;
            Ok(UdpSocket::from(socket))
        })
        .collect()
}
