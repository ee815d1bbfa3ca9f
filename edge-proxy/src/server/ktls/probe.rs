//! What this kernel can do, found out once at the start.

use super::keys::{Cipher, Secret};
use super::sys;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;

/// What a kernel with kernel TLS can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Support {
    /// Keys can be changed (Linux 6.14 and later).
    pub(crate) rekeys: bool,
    /// Records that are encrypted by one key, besides what its cipher allows.
    pub(crate) records: u64,
}

/// Looks at a connection of our own on loopback. `None` if the kernel has no TLS (CONFIG_TLS, or the module `tls` is not
/// loaded), or loopback cannot be used.
pub(crate) fn probe() -> Option<Support> {
    try_out().ok()
}

fn try_out() -> io::Result<Support> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (peer, _) = listener.accept()?;
    let socket = stream.as_fd();
    sys::attach(socket)?;
    let cipher = Cipher::Aes128Gcm;
    let keys =
        Secret::new(&[0; 32]).and_then(|secret| secret.keys(cipher)).ok_or(io::ErrorKind::Unsupported)?;
    let first = 7;
    sys::encrypt(socket, &keys, first)?;
    // What is counted on later: the kernel tells where it is, and so does TCP.
    let before = sys::queued(socket)?;
    sys::send_control(socket, super::keys::ALERT, &[1, 0])?;
    let told = sys::sequence(socket, &keys)? == first + 1 && sys::queued(socket)? >= before;
    drop(peer);
    if !told {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(Support { rekeys: sys::encrypt(socket, &keys, 0).is_ok(), records: u64::MAX })
}
