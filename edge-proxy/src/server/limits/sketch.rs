//! Counters per client address, in memory of a fixed size that all workers share without a lock.
//!
//! An address has two places, chosen by a keyed hash. Two addresses that share one place seldom share the other, so the
//! smaller count is used. Without the key, no one can choose addresses that collide.

use crate::rate::Rate;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

/// Places in one of the two rows.
const PLACES: usize = 1 << 15;

struct Places {
    key: RandomState,
}

impl Places {
    fn of(&self, client: IpAddr) -> (usize, usize) {
        let hash = match client {
            IpAddr::V4(address) => self.key.hash_one(address.to_bits()),
            // A customer has a whole /64, and can come from each address of it.
            IpAddr::V6(address) => self.key.hash_one((address.to_bits() >> 64) as u64),
        };
        (hash as usize % PLACES, PLACES + (hash >> 32) as usize % PLACES)
    }
}

/// The request rates of clients.
pub(crate) struct Rates {
    epoch: Instant,
    places: Places,
    states: Box<[AtomicU64]>,
}

impl Rates {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            places: Places { key: RandomState::new() },
            states: (0..2 * PLACES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Once more, or how long until that may be.
    pub(crate) fn admit(&self, client: IpAddr, rate: Rate) -> Result<(), Duration> {
        let now = self.epoch.elapsed().as_nanos() as u64;
        let (a, b) = self.places.of(client);
        let (a, b) = (&self.states[a], &self.states[b]);
        loop {
            let (at_a, at_b) = (a.load(Acquire), b.load(Acquire));
            let (believed, state, other) = if at_a <= at_b { (a, at_a, b) } else { (b, at_b, a) };
            let next = rate.step(state, now)?;
            // The other place first: a client counted meanwhile still reads the same place, where only one that saw the
            // same state gets in.
            other.fetch_max(next, AcqRel);
            if believed.compare_exchange(state, next, AcqRel, Relaxed).is_ok() {
                return Ok(());
            }
        }
    }
}

/// One rate for everybody.
pub(crate) struct SharedRate {
    epoch: Instant,
    state: AtomicU64,
}

impl SharedRate {
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now(), state: AtomicU64::new(0) }
    }

    /// Once more, or how long until that may be.
    pub(crate) fn admit(&self, rate: Rate) -> Result<(), Duration> {
        let now = self.epoch.elapsed().as_nanos() as u64;
        let mut state = self.state.load(Relaxed);
        loop {
            let next = rate.step(state, now)?;
            match self.state.compare_exchange_weak(state, next, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => state = other,
            }
        }
    }
}

/// The number of connections of each client, in a count-min sketch.
pub(crate) struct CountMinSketch {
    places: Places,
    counts: Box<[AtomicU32]>,
}

impl CountMinSketch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            places: Places { key: RandomState::new() },
            counts: (0..2 * PLACES).map(|_| AtomicU32::new(0)).collect(),
        })
    }

    /// Returns the number of connections of a client.
    pub(crate) fn of(&self, client: IpAddr) -> u32 {
        let (a, b) = self.places.of(client);
        self.counts[a].load(Relaxed).min(self.counts[b].load(Relaxed))
    }

    /// One more for as long as the guard lives, or none if there are as many as there may be.
    pub(crate) fn hold(self: &Arc<Self>, client: IpAddr, limit: u32) -> Option<ConnectionPermit> {
        let (a, b) = self.places.of(client);
        let before = [a, b].map(|at| self.counts[at].fetch_add(1, Relaxed));
        let held = ConnectionPermit { counts: self.clone(), at: [a, b] };
        // Dropping what is refused takes it back.
        (before[0].min(before[1]) < limit).then_some(held)
    }
}

/// One connection that counts for its client.
pub(crate) struct ConnectionPermit {
    counts: Arc<CountMinSketch>,
    at: [usize; 2],
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        for at in self.at {
            self.counts.counts[at].fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn each_client_has_its_own_rate() {
        let (rates, rate) = (Rates::new(), "5/h".parse::<Rate>().unwrap().with_burst(5));
        // As many as a busy edge sees: nearly all have a place of their own.
        let refused: usize =
            (0..2000).map(|n| (0..5).filter(|_| rates.admit(client(n), rate).is_err()).count()).sum();
        assert!(refused <= 100, "{refused}");
        assert!((0..2000).all(|n| rates.admit(client(n), rate).is_err()));
    }

    #[test]
    fn threads_share_a_rate_exactly() {
        let (rates, rate) = (Rates::new(), "1/d".parse::<Rate>().unwrap().with_burst(1000));
        let admitted: usize = std::thread::scope(|scope| {
            let one = || (0..1000).filter(|_| rates.admit(client(7), rate).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1000);
    }

    #[test]
    fn a_customers_addresses_count_together() {
        let counts = CountMinSketch::new();
        let held: Vec<_> =
            (0..5).filter_map(|n| counts.hold(format!("2001:db8:1:2::{n}").parse().unwrap(), 3)).collect();
        assert_eq!(held.len(), 3);
        assert!(counts.hold("2001:db8:1:3::1".parse().unwrap(), 3).is_some());
        drop(held);
        assert_eq!(counts.of("2001:db8:1:2::9".parse().unwrap()), 0);
        assert!(counts.hold("2001:db8:1:2::9".parse().unwrap(), 1).is_some());
    }
}
