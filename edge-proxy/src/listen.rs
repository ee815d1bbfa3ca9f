//! Creation of listening sockets: one per worker on a shared port, so that the kernel distributes connections.

use edge_policy::config::{Listener, ListenerKind};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The length of the accept queue.
const BACKLOG: i32 = 4096;
/// The size of the kernel buffers of a QUIC socket in bytes. The kernel may give less.
const UDP_BUFFER: usize = 2 * 1024 * 1024;
/// The number of attempts to find a port that is free for both TCP and UDP.
const PORT_ATTEMPTS: usize = 16;

/// Creates a socket that shares its port with those of other workers (`SO_REUSEPORT`).
fn shared_socket(listener: &Listener, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = exclusive_socket(listener, kind, protocol)?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

/// Creates a socket that does not share its port.
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

/// Enables TCP keep-alive, so that a vanished peer is detected within two minutes, however long tunnels may be idle.
pub(crate) fn keep_alive(socket: &SockRef<'_>) {
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    // Where it cannot be had, the limits of time hold alone.
    let _ = socket.set_tcp_keepalive(&probes);
}

/// Disables Nagle's algorithm, since heads and small content are written at once, and enables keep-alive. Accepted
/// sockets inherit both.
fn set_tcp_options(listening: BorrowedFd<'_>) {
    // Without it, responses are only later.
    let _ = SockRef::from(&listening).set_tcp_nodelay(true);
    keep_alive(&SockRef::from(&listening));
}

/// Inherited sockets: from a service manager, or from a predecessor of this process.
#[derive(Debug, Default)]
pub(crate) struct InheritedSockets {
    pub(crate) tcp: Vec<TcpListener>,
    pub(crate) udp: Vec<UdpSocket>,
}

impl InheritedSockets {
    /// Returns the highest number of sockets of one address.
    pub(crate) fn max_per_address(&self) -> usize {
        let same = |address: SocketAddr| {
            self.tcp.iter().filter(|socket| socket.local_addr().is_ok_and(|found| found == address)).count()
        };
        self.tcp.iter().filter_map(|socket| socket.local_addr().ok()).map(same).max().unwrap_or(0)
    }

    /// Returns duplicates of the sockets with this address.
    pub(crate) fn of(&self, address: SocketAddr) -> io::Result<Self> {
        let same = |found: io::Result<SocketAddr>| found.is_ok_and(|found| found == address);
        let tcp = self.tcp.iter().filter(|socket| same(socket.local_addr())).map(TcpListener::try_clone);
        let udp = self.udp.iter().filter(|socket| same(socket.local_addr())).map(UdpSocket::try_clone);
        Ok(Self { tcp: tcp.collect::<io::Result<_>>()?, udp: udp.collect::<io::Result<_>>()? })
    }

    /// Returns duplicates of all sockets.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            tcp: self.tcp.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
            udp: self.udp.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>()?,
        })
    }

    /// Takes the sockets with this address out of `sockets`. Port 0 stands for any port.
    fn take<S>(
        sockets: &mut Vec<S>,
        address: SocketAddr,
        of: impl Fn(&S) -> io::Result<SocketAddr>,
    ) -> Vec<S> {
        // A port of 0 takes any inherited socket of that address.
        let same =
            |found: SocketAddr| found == address || (address.port() == 0 && found.ip() == address.ip());
        let (mine, others) =
            std::mem::take(sockets).into_iter().partition(|socket| of(socket).is_ok_and(same));
        *sockets = others;
        mine
    }

    /// Distributes sockets to the workers. If there are fewer sockets than workers, they are duplicated by `again`.
    fn spread<S>(found: Vec<S>, workers: usize, again: impl Fn(&S) -> io::Result<S>) -> io::Result<Vec<S>> {
        let more = (found.len()..workers).map(|at| again(&found[at % found.len()]));
        let more: Vec<S> = more.collect::<io::Result<_>>()?;
        Ok(found.into_iter().chain(more).collect())
    }
}

/// Checks that no other program listens on these addresses. Sockets that share a port (SO_REUSEPORT) would hide that:
/// each program would get a part of the connections. Addresses with inherited sockets are not checked.
///
/// # Errors
/// The first address that is in use, with the error.
pub(crate) fn probe(
    listeners: &[Listener],
    inherited: &InheritedSockets,
) -> Result<(), (SocketAddr, io::Error)> {
    for listener in listeners.iter().filter(|listener| listener.address.port() != 0) {
        let has = |found: io::Result<SocketAddr>| found.is_ok_and(|found| found == listener.address);
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

/// The sockets of one listener.
pub(crate) struct OpenSockets {
    /// The address, with the port that was chosen for port 0.
    pub(crate) address: SocketAddr,
    pub(crate) tcp: Vec<TcpListener>,
    pub(crate) udp: Vec<UdpSocket>,
    /// True if another process opened the sockets, possibly for another interface.
    pub(crate) inherited: bool,
}

/// Opens the sockets of a listener, or takes the inherited ones.
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

/// Returns whether an error means that the listener's address or interface does not exist yet.
pub(crate) fn is_waiting(listener: &Listener, why: &io::Error) -> bool {
    match why.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => true,
        Some(libc::ENODEV | libc::ENXIO) => listener.interface.is_some(),
        _ => false,
    }
}

/// Binds an inherited socket to the listener's interface.
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

/// Returns whether the interface that a socket is bound to no longer exists.
fn is_deaf(socket: &SockRef<'_>) -> bool {
    socket.device().is_err_and(|why| why.raw_os_error() == Some(libc::ENODEV))
}

/// Opens the TCP sockets of one listener, one for each worker, or takes the inherited ones. Returns the address with
/// its actual port, the sockets, and whether they were inherited.
fn tcp(
    listener: &Listener,
    workers: usize,
    inherited: &mut InheritedSockets,
) -> io::Result<(SocketAddr, Vec<TcpListener>, bool)> {
    let found = InheritedSockets::take(&mut inherited.tcp, listener.address, TcpListener::local_addr);
    // A predecessor may not have seen yet that the interface was made anew.
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

/// Opens the UDP sockets of one listener, one for each worker, at `address`, or takes the inherited ones. Empty if
/// the listener has no HTTP/3.
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
