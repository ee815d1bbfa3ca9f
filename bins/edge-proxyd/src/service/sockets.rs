//! Sockets inherited at start: from a service manager (sd_listen_fds(3)), or from a predecessor.

use std::env;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The first descriptor passed by a service manager (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;
/// Environment variable with the descriptors passed by a predecessor.
pub(super) const SOCKETS: &str = "EDGE_PROXYD_SOCKETS";

/// Returns the sockets passed to this process. Must be called once.
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
        // Child processes must not inherit it.
        socket.set_cloexec(true)?;
        match socket.r#type()? {
            socket2::Type::STREAM => tcp.push(socket.into()),
            socket2::Type::DGRAM => udp.push(socket.into()),
            other => {
                let why = format!("inherited a socket of type {other:?}, which cannot listen");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        }
    }
    Ok((tcp, udp))
}

/// Takes ownership of a descriptor named in the environment.
pub(super) fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    // Standard input and output are never passed on; the others are checked to be open before they are taken.
    if fd <= 2 || std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_err() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("descriptor {fd} is not open")));
    }
    // SAFETY: the descriptor is open, and whoever named it in the environment gave it to this process. Each is taken
    // once, at start, before anything else could have opened a descriptor of that number.
    #[allow(unsafe_code)]
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
