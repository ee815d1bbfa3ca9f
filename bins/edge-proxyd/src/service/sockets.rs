//! Sockets that were open when the program began: from a service manager (sd_listen_fds(3)), or from a predecessor.

use std::env;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The first descriptor that a service manager hands on (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;
/// Names the descriptors of sockets that a predecessor hands on.
pub(super) const SOCKETS: &str = "EDGE_PROXYD_SOCKETS";

/// The sockets that were handed to this process; none, if none were meant for it. Called once.
pub(crate) fn inherited() -> io::Result<(Vec<TcpListener>, Vec<UdpSocket>)> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let fds: Vec<RawFd> = match env::var(SOCKETS) {
        Ok(text) => text.split(',').filter_map(|fd| fd.parse().ok()).collect(),
        Err(_) if number("LISTEN_PID") == Some(std::process::id()) => {
            (FIRST..FIRST + number("LISTEN_FDS").unwrap_or(0).min(4096) as RawFd).collect()
        }
        Err(_) => Vec::new(),
    };
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    for fd in fds {
        let socket = socket2::Socket::from(owned(fd)?);
        // Programs that are started later must not have it.
        socket.set_cloexec(true)?;
        match socket.r#type()? {
            socket2::Type::STREAM => tcp.push(socket.into()),
            socket2::Type::DGRAM => udp.push(socket.into()),
            other => {
                let why =
                    format!("a socket of the kind {other:?} was handed on, which cannot be listened on");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        }
    }
    Ok((tcp, udp))
}

/// A descriptor that the environment names.
pub(super) fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    // Standard input and output are nobody's to hand on; that the rest is open is asked before it is taken.
    if fd <= 2 || std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_err() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("descriptor {fd} is not open")));
    }
    // SAFETY: it is open, and whoever named it in the environment of this process left it to this process; each is taken
    // once, at the start, before anything else could have opened a descriptor of that number.
    #[allow(unsafe_code)]
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
