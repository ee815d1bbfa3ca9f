//! The capabilities of this kernel, probed once at start.

use crate::sys;
use crate::tls13::record::ALERT;
use crate::tls13::{Cipher, Secret};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

/// The capabilities of a kernel with kernel TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Support {
    /// Keys can be changed (Linux 6.14 and later).
    pub(crate) rekeys: bool,
    /// Records that are encrypted by one key, besides what its cipher allows.
    pub(crate) records: u64,
}

/// Looks at a connection of our own on loopback. `None` if the kernel has no TLS (CONFIG_TLS, or the module `tls` is not
/// loaded).
pub(crate) fn probe() -> Option<Support> {
    match pair() {
        Ok((stream, peer)) => try_out(&stream, peer).ok(),
        // A sandbox may forbid this connection. Then only the presence of kernel TLS is checked, and no keys are
        // changed.
        Err(_) => has_tls().then_some(Support { rekeys: false, records: u64::MAX }),
    }
}

/// A connection to this process. The port is the kernel's choice without bind(2), which a sandbox may forbid.
fn pair() -> io::Result<(Socket, Socket)> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.listen(1)?;
    let port = listener.local_addr()?.as_socket_ipv4().ok_or(io::ErrorKind::Unsupported)?.port();
    let stream = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    stream.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    let (peer, from) = listener.accept()?;
    // Until now it could be reached by others too.
    let own = stream.local_addr()?;
    if from.as_socket() == own.as_socket() {
        Ok((stream, peer))
    } else {
        Err(io::ErrorKind::AddrInUse.into())
    }
}

/// A socket without a connection cannot have TLS, which a kernel that has it says so.
pub(super) fn has_tls() -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None);
    let attached = socket.and_then(|socket| sys::attach(socket.as_fd()));
    attached.is_err_and(|why| why.kind() == io::ErrorKind::NotConnected)
}

fn try_out(stream: &Socket, peer: Socket) -> io::Result<Support> {
    let socket = stream.as_fd();
    sys::attach(socket)?;
    let cipher = Cipher::Aes128Gcm;
    let keys =
        Secret::new(&[0; 32]).and_then(|secret| secret.keys(cipher)).ok_or(io::ErrorKind::Unsupported)?;
    let first = 7;
    sys::encrypt(socket, &keys, first)?;
    // What is counted on later: the kernel tells where it is, and so does TCP.
    let before = sys::queued(socket)?;
    sys::send_control(socket, ALERT, &[1, 0])?;
    let told = sys::sequence(socket, &keys)? == first + 1 && sys::queued(socket)? >= before;
    drop(peer);
    if !told {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(Support { rekeys: sys::encrypt(socket, &keys, 0).is_ok(), records: u64::MAX })
}
