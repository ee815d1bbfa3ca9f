//! The clients that completed a handshake recently, in memory of fixed size that all workers share without a lock.
//!
//! A client is an IPv4 address or a /64 of IPv6. Only a handshake for a served name adds one, and a handshake is
//! completed only by a client that receives at its address, so a forged source adds nothing. The cells are chosen by a
//! keyed hash: without the key, nobody can choose addresses that displace a given client.

use super::sketch::client_key;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The number of cells, which is the highest number of clients. They occupy 128 KiB.
const CELLS: usize = 1 << 14;
/// The number of cells in a bucket.
const BUCKET_CELLS: usize = 8;
/// The number of bits of a cell for the time, in minutes: 24 bits last for 31 years. The upper 40 bits are the
/// fingerprint of the client.
const TIME_BITS: u32 = 24;
/// The mask of the time in a cell.
const TIME: u64 = (1 << TIME_BITS) - 1;
/// The time after which a client without a further handshake is forgotten.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// The clients that completed a handshake within [`LIFETIME`]. A further one displaces the one in its bucket whose
/// handshake was longest ago.
pub(crate) struct ReturningClients {
    /// The time at which the memory was created.
    epoch: Instant,
    /// The random key of the hash by which cells are chosen.
    key: RandomState,
    /// The cells, one for each client: its fingerprint, and the minute of its last handshake, counted from 1. Zero if
    /// the cell is free. [`BUCKET_CELLS`] successive cells form a bucket.
    cells: Box<[AtomicU64]>,
}

impl ReturningClients {
    /// Creates a memory without clients.
    pub(crate) fn new(now: Instant) -> Arc<Self> {
        let cells = (0..CELLS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { epoch: now, key: RandomState::new(), cells })
    }

    /// Adds a client that has completed a handshake, or records that it did so again.
    pub(crate) fn add(&self, client: IpAddr, now: Instant) {
        let (bucket, fingerprint) = self.bucket(client);
        let (mut cell, mut oldest) = (&bucket[0], u64::MAX);
        for other in bucket {
            let value = other.load(Relaxed);
            if value >> TIME_BITS == fingerprint && value != 0 {
                cell = other;
                break;
            }
            if value & TIME < oldest {
                (cell, oldest) = (other, value & TIME);
            }
        }
        // Another worker may take the same cell at once. One of the two clients is then not remembered.
        cell.store(fingerprint << TIME_BITS | self.minute(now), Relaxed);
    }

    /// Returns whether a client completed a handshake within [`LIFETIME`] and was not displaced since. For any other
    /// client, the result is true with a probability of at most 2⁻³⁷.
    pub(crate) fn contains(&self, client: IpAddr, now: Instant) -> bool {
        let (bucket, fingerprint) = self.bucket(client);
        let now = self.minute(now);
        bucket.iter().map(|cell| cell.load(Relaxed)).any(|value| {
            let age = now.saturating_sub(value & TIME);
            value != 0 && value >> TIME_BITS == fingerprint && age < LIFETIME.as_secs() / 60
        })
    }

    /// Returns the cells of a client's bucket, and its fingerprint.
    fn bucket(&self, client: IpAddr) -> (&[AtomicU64], u64) {
        let hash = self.key.hash_one(client_key(client.to_canonical()));
        let bucket = hash as usize % (CELLS / BUCKET_CELLS);
        (&self.cells[bucket * BUCKET_CELLS..][..BUCKET_CELLS], hash >> TIME_BITS)
    }

    /// Returns the minute of a time, counted from 1.
    fn minute(&self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.epoch).as_secs() / 60 + 1).min(TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn a_client_is_remembered_for_its_lifetime() {
        let begin = Instant::now();
        let clients = ReturningClients::new(begin);
        assert!(!clients.contains(client(1), begin));
        clients.add(client(1), begin);
        assert!(clients.contains(client(1), begin));
        assert!(!clients.contains(client(2), begin));
        let (before, after) = (begin + LIFETIME - Duration::from_secs(60), begin + LIFETIME);
        assert!(clients.contains(client(1), before));
        assert!(!clients.contains(client(1), after));
        clients.add(client(1), before);
        assert!(clients.contains(client(1), after), "a further handshake extends it");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let now = Instant::now();
        let clients = ReturningClients::new(now);
        clients.add("2001:db8:1:2::1".parse().unwrap(), now);
        assert!(clients.contains("2001:db8:1:2:3::4".parse().unwrap(), now));
        assert!(!clients.contains("2001:db8:1:3::1".parse().unwrap(), now));
        clients.add("::ffff:192.0.2.1".parse().unwrap(), now);
        assert!(clients.contains("192.0.2.1".parse().unwrap(), now), "over a socket of both families");
    }

    /// The number of clients is bounded, the latest are kept, and none that was not added is found.
    #[test]
    fn the_oldest_are_displaced() {
        let begin = Instant::now();
        let clients = ReturningClients::new(begin);
        for number in 0..1_000_000_u32 {
            let network = (0x2001_0db8_0000_0000 + u128::from(number)) << 64;
            clients.add(Ipv6Addr::from_bits(network).into(), begin);
        }
        assert_eq!(clients.cells.len(), CELLS);
        let later = begin + Duration::from_secs(600);
        (0..2000).for_each(|n| clients.add(client(n), later));
        let kept = (0..2000).filter(|n| clients.contains(client(*n), later)).count();
        assert!(kept >= 1990, "{kept} of 2000");
        assert!((2000..100_000).all(|n| !clients.contains(client(n), later)));
    }
}
