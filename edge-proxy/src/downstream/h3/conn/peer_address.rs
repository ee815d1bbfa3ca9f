//! The address of a client that policy and logs use.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The time for which a new address must have been in use before it is adopted. Another port of the validated IP address
/// needs no proof, and QUIC goes back to the earlier one if nothing is received there.
const MIGRATION_DELAY: Duration = Duration::from_secs(30);

/// The address of a client that policy and logs use: that of the handshake, or a later one.
pub(super) struct PeerAddress {
    /// The address of the client that requests are attributed to.
    address: SocketAddr,
    /// Another address that QUIC uses, and the time at which it was noticed. `None` if QUIC uses `address`.
    moved: Option<(SocketAddr, Instant)>,
}

impl PeerAddress {
    /// Creates the address of a new connection.
    pub(super) const fn new(address: SocketAddr) -> Self {
        Self { address, moved: None }
    }

    /// Returns the address.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adopts `current`, the address that QUIC uses now, if QUIC has used it for longer than [`MIGRATION_DELAY`] without
    /// a change, and if it is validated. How long QUIC uses an address without validation is up to the client: three
    /// probe timeouts, which its parameters prolong and each further move renews.
    pub(super) fn follow(&mut self, now: Instant, current: SocketAddr, is_validated: bool) {
        if current == self.address {
            self.moved = None;
            return;
        }
        match self.moved {
            Some((new, since)) if new == current => {
                if is_validated && now.saturating_duration_since(since) > MIGRATION_DELAY {
                    *self = Self::new(current);
                }
            }
            _ => self.moved = Some((current, now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s37_an_address_without_proof_is_never_the_clients() {
        let [home, other]: [SocketAddr; 2] = [([192, 0, 2, 1], 443).into(), ([192, 0, 2, 2], 443).into()];
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut peer = PeerAddress::new(home);
        for seconds in 0..1000 {
            peer.follow(at(seconds), other, false);
            assert_eq!(peer.address(), home);
        }
        peer.follow(at(1000), other, true);
        assert_eq!(peer.address(), other);
    }

    #[test]
    fn a_change_that_does_not_last_is_not_followed() {
        let [home, other]: [SocketAddr; 2] = [([192, 0, 2, 1], 443).into(), ([192, 0, 2, 1], 444).into()];
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut peer = PeerAddress::new(home);
        peer.follow(at(0), other, true);
        peer.follow(at(30), other, true);
        assert_eq!(peer.address(), home);
        peer.follow(at(31), home, true);
        peer.follow(at(32), other, true);
        peer.follow(at(62), other, true);
        assert_eq!(peer.address(), home);
        peer.follow(at(63), other, true);
        assert_eq!(peer.address(), other);
    }
}
