//! Ports for servers that cannot choose a free port themselves.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Lowest port. The range is below the ephemeral ports of Linux (`net.ipv4.ip_local_port_range` begins at 32768), so
/// that no outgoing connection and no server with an ephemeral port can occupy a port between its selection and its
/// use.
const FROM: u16 = 20_000;
/// Number of ports in the range.
const COUNT: u16 = 12_000;

/// Ports that [`free_port`] has returned in this process.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Returns a port of 20000 to 31999 that is free for TCP and UDP at 127.0.0.1, and was not returned before in this
/// process. A test in another process may choose the same port by chance.
///
/// # Panics
/// Panics if 200 random ports are not free.
#[must_use]
pub fn free_port() -> u16 {
    for _ in 0..200 {
        // `RandomState` has random keys, which suffices here.
        let any = RandomState::new().build_hasher().finish();
        let port = FROM + u16::try_from(any % u64::from(COUNT)).expect("less than COUNT");
        let at = (Ipv4Addr::LOCALHOST, port);
        let is_free = TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok();
        if is_free && GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return port;
        }
    }
    panic!("no port from {FROM} on is free for both")
}

/// Returns an address of 127.0.0.1 with a port on which nothing listens.
///
/// # Panics
/// Panics if no port is free.
#[must_use]
pub fn nobody() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}
