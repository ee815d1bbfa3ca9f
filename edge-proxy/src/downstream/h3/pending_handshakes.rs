//! The count of handshakes with clients whose addresses are not validated.

use std::collections::HashMap;
use std::net::IpAddr;

/// The number of pending handshakes, in total and by client. They are counted apart from the client's connections,
/// since the address is not validated and may be another client's.
#[derive(Debug, Default)]
pub(super) struct PendingHandshakes {
    /// The number of pending handshakes by client: an IPv4 address or a /64 of IPv6. Clients without any are absent.
    by_client: HashMap<IpAddr, u32>,
    /// The number of pending handshakes of all clients.
    all: usize,
}

impl PendingHandshakes {
    /// Counts a handshake of this address. Returns the key of its client, by which [`PendingHandshakes::remove`]
    /// removes it.
    pub(super) fn add(&mut self, address: IpAddr) -> IpAddr {
        let client = client(address);
        self.all += 1;
        *self.by_client.entry(client).or_insert(0) += 1;
        client
    }

    /// Removes a handshake that is complete or has ended from the count. `client` is the key that
    /// [`PendingHandshakes::add`] returned.
    pub(super) fn remove(&mut self, client: IpAddr) {
        self.all = self.all.saturating_sub(1);
        if let Some(count) = self.by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.by_client.remove(&client);
            }
        }
    }

    /// Returns whether a further client at this address must validate it by a Retry first (RFC 9000 §8.1.2), because
    /// its client has at least `per_client` pending handshakes, or all clients have at least `all`.
    pub(super) fn must_validate(&self, address: IpAddr, per_client: u32, all: usize) -> bool {
        self.all >= all || self.by_client.get(&client(address)).is_some_and(|count| *count >= per_client)
    }
}

/// Returns the key that handshakes are counted by: an IPv4 address, or the /64 prefix of an IPv6 address.
fn client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_come_and_go(steps in proptest::collection::vec((0u8..4, any::<bool>()), 0..200)) {
            let mut handshakes = PendingHandshakes::default();
            let mut held: Vec<(u8, IpAddr)> = Vec::new();
            for (number, adds) in steps {
                let address: IpAddr = format!("2001:db8:0:{number}::{}", held.len()).parse().unwrap();
                if adds {
                    held.push((number, handshakes.add(address)));
                } else if let Some(at) = held.iter().position(|(of, _)| *of == number) {
                    handshakes.remove(held.swap_remove(at).1);
                }
                let of = held.iter().filter(|(of, _)| *of == number).count();
                prop_assert_eq!(handshakes.must_validate(address, 3, 1000), of >= 3);
                prop_assert_eq!(handshakes.must_validate("192.0.2.1".parse().unwrap(), 3, 5), held.len() >= 5);
            }
            for (_, client) in held {
                handshakes.remove(client);
            }
            prop_assert!(handshakes.by_client.is_empty() && handshakes.all == 0);
        }
    }
}
