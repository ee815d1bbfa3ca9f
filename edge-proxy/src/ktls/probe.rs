//! The probe of the kernel's TLS capabilities.

use crate::sys;
use crate::tls13::record::ALERT;
use crate::tls13::{Cipher, Secret};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

/// The TLS capabilities of the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelTlsSupport {
    /// True if keys can be updated (Linux 6.14 and later).
    pub(crate) rekeys: bool,
    /// The highest number of records that the kernel encrypts under one key. The limit of the cipher applies if it is
    /// lower.
    pub(crate) records: u64,
}

/// Probes kernel TLS on a loopback connection. `None` if the kernel has none, because it lacks CONFIG_TLS or the
/// module `tls` is not loaded, or if it does not work as needed. If the connection is not possible, as in a sandbox,
/// only the presence of kernel TLS is checked, and key updates count as unsupported.
pub(crate) fn probe() -> Option<KernelTlsSupport> {
    match pair() {
        Ok((stream, peer)) => try_out(&stream, peer).ok(),
        // A sandbox may forbid this connection. Then only the presence of kernel TLS is checked, and keys are not
        // changed.
        Err(_) => has_tls().then_some(KernelTlsSupport { rekeys: false, records: u64::MAX }),
    }
}

/// Creates a TCP connection of this process to itself on loopback, and returns both ends. The kernel chooses the port
/// without bind(2), which a sandbox may forbid.
///
/// # Errors
/// The error of a system call, or `AddrInUse` if another process connected first.
fn pair() -> io::Result<(Socket, Socket)> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.listen(1)?;
    let port = listener.local_addr()?.as_socket_ipv4().ok_or(io::ErrorKind::Unsupported)?.port();
    let stream = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    stream.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    let (peer, from) = listener.accept()?;
    // Until now, another process could connect, too.
    let own = stream.local_addr()?;
    if from.as_socket() == own.as_socket() {
        Ok((stream, peer))
    } else {
        Err(io::ErrorKind::AddrInUse.into())
    }
}

/// Returns whether the kernel has TLS, which is known from its error for a socket that is not connected.
pub(super) fn has_tls() -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None);
    let attached = socket.and_then(|socket| sys::attach(socket.as_fd()));
    attached.is_err_and(|why| why.kind() == io::ErrorKind::NotConnected)
}

/// Sends a record by kernel TLS on a connection, checks the kernel's sequence number and TCP's count of bytes, and
/// tries to change the keys. Returns the capabilities that were found.
///
/// # Errors
/// The error of a system call, or `Unsupported` if the kernel's counts are wrong.
fn try_out(stream: &Socket, peer: Socket) -> io::Result<KernelTlsSupport> {
    let socket = stream.as_fd();
    sys::attach(socket)?;
    let cipher = Cipher::Aes128Gcm;
    let keys =
        Secret::new(&[0; 32]).and_then(|secret| secret.keys(cipher)).ok_or(io::ErrorKind::Unsupported)?;
    let first = 7;
    sys::encrypt(socket, &keys, first)?;
    // The sending side depends on both counts: the kernel's sequence number and TCP's queued bytes.
    let before = sys::queued(socket)?;
    sys::send_control(socket, ALERT, &[1, 0])?;
    let counted = sys::sequence(socket, &keys)? == first + 1 && sys::queued(socket)? >= before;
    drop(peer);
    if !counted {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(KernelTlsSupport { rekeys: sys::encrypt(socket, &keys, 0).is_ok(), records: u64::MAX })
}
