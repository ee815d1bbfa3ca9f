//! Ports for servers that have to be told theirs.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Below what Linux gives out by itself (`net.ipv4.ip_local_port_range` begins at 32768): a connection, or a server that asks
/// for any port, never takes one of these between the moment it is found and the moment it is listened on.
const FROM: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port that is free for TCP and UDP. Another test may take it only by being given the same one of 12,000 by chance.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    for _ in 0..200 {
        // The keys of a `RandomState` are random, the rest of the number is not asked for much.
        let any = RandomState::new().build_hasher().finish();
        let port = FROM + u16::try_from(any % u64::from(COUNT)).expect("less than COUNT");
        let at = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return port;
        }
    }
    panic!("no port from {FROM} on is free for both")
}

/// An address of this machine where nobody listens.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn nobody() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}
