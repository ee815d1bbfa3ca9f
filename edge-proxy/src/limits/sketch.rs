//! Counters per client address, in memory of fixed size that all workers share without a lock.
//!
//! Rates are in cells that are tagged with a fingerprint of their client. Connections of a client are counted by two
//! counters, chosen by a keyed hash. Two clients that share one counter seldom share the other, so the smaller count is
//! used. Without the key, nobody can choose addresses that collide.

use edge_policy::rate::Rate;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The number of counters in each of the two rows of a sketch.
const ROW_LEN: usize = 1 << 15;

/// The keyed hash by which the two counters of a client are chosen.
struct RowHasher {
    /// The random key of the hash.
    key: RandomState,
}

impl RowHasher {
    /// Returns the indexes of the client's counters, the first in the first row and the second in the second.
    fn of(&self, client: IpAddr) -> (usize, usize) {
        let hash = self.key.hash_one(client_key(client));
        (hash as usize % ROW_LEN, ROW_LEN + (hash >> 32) as usize % ROW_LEN)
    }
}

/// The number of cells in a bucket of the table of rates.
const BUCKET_CELLS: usize = 8;
/// The number of bits of a cell for the state of its rate, in microseconds since the table was created: 48 bits last
/// for nine years. The upper 16 bits are the fingerprint of the client.
const STATE_BITS: u32 = 48;
/// The mask of the state in a cell.
const STATE: u64 = (1 << STATE_BITS) - 1;
/// The factor by which the rate of an IPv6 /48 exceeds that of one client. A /48 may belong to one customer or to
/// many.
const NETWORK_FACTOR: u32 = 64;

/// The rates of clients for one kind of event at one site, in the table of all sites. A client that is not in the
/// table begins with an unused rate, and takes the cell in its bucket whose rate becomes unused soonest.
pub(crate) struct Rates {
    /// The table of all rates.
    table: Arc<RateTable>,
    /// The hash of the site and the kind of event, by which rates in the table are separated.
    scope: u64,
}

/// The table of the rates of clients at all sites.
pub(crate) struct RateTable {
    /// The time at which the table was created.
    epoch: Instant,
    /// The random key of the hash by which cells are chosen.
    key: RandomState,
    /// The cells, one for each client. [`BUCKET_CELLS`] successive cells form a bucket.
    cells: Box<[AtomicU64]>,
    /// The number of clients for which the table was created.
    clients: usize,
}

impl RateTable {
    /// Creates a table for this many clients, at least one, rounded up to whole buckets. It occupies 8 bytes per
    /// client.
    pub(crate) fn new(clients: usize) -> Arc<Self> {
        let cells = clients.max(1).next_multiple_of(BUCKET_CELLS);
        Arc::new(Self {
            epoch: Instant::now(),
            key: RandomState::new(),
            cells: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            clients,
        })
    }

    /// Returns the number of clients that the table was created for.
    pub(crate) const fn clients(&self) -> usize {
        self.clients
    }
}

/// A table that several limiters share while one of them needs it. Reloads that do not change its size retain it.
/// `None` while none needs it.
#[derive(Default)]
pub(crate) struct SharedTable(Mutex<Option<Arc<RateTable>>>);

impl SharedTable {
    /// Returns the table for this many clients, which is created if it has another size or does not exist. If no table
    /// is needed, discards it and returns `None`.
    pub(crate) fn of(&self, needed: bool, clients: usize) -> Option<Arc<RateTable>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !needed {
            *table = None;
        } else if table.as_ref().is_none_or(|table| table.clients() != clients) {
            *table = Some(RateTable::new(clients));
        }
        table.clone()
    }

    /// Returns the present table. `None` if none is needed.
    #[cfg(test)]
    pub(crate) fn now(&self) -> Option<Arc<RateTable>> {
        self.0.lock().unwrap().clone()
    }
}

/// The keyed hash of a rate's client and scope: the bucket of its cell, and the fingerprint that identifies the cell.
#[derive(Clone, Copy)]
struct SketchKey {
    /// The index of the bucket.
    bucket: usize,
    /// The 16 bits that identify the cell in its bucket.
    fingerprint: u64,
}

impl Rates {
    /// Creates the rates of one kind of event at a site, in this table. `kind` separates, for example, requests from
    /// passwords.
    pub(crate) fn of(table: &Arc<RateTable>, site: &str, kind: &str) -> Self {
        Self { table: table.clone(), scope: table.key.hash_one((site, kind)) }
    }

    /// Returns whether these rates are in this table.
    pub(crate) fn are_in(&self, table: &Arc<RateTable>) -> bool {
        Arc::ptr_eq(&self.table, table)
    }

    /// Counts an event of a client. An IPv6 client is a /64; its events also count for its /48, whose rate is
    /// [`NETWORK_FACTOR`] times as high.
    ///
    /// # Errors
    /// The time to wait if a rate is exceeded. The event is not counted for the client then.
    pub(crate) fn admit(&self, client: IpAddr, rate: Rate) -> Result<(), Duration> {
        let own = self.key(client_key(client));
        if let IpAddr::V6(address) = client {
            // A client that has used up its own rate takes nothing from the other clients of its network.
            self.step(own, rate, false)?;
            self.step(self.key((address.to_bits() >> 80, 48)), rate.times(NETWORK_FACTOR), true)?;
        }
        self.step(own, rate, true)
    }

    /// Counts an event of this client and name, also for the client's /48 as [`Rates::admit`] does.
    ///
    /// # Errors
    /// The time to wait if a rate is exceeded. The event is not counted for the client then.
    pub(crate) fn charge(&self, client: IpAddr, name: &str, rate: Rate) -> Result<(), Duration> {
        let own = self.key((client_key(client), name));
        if let Some(network) = self.network_key(client, name) {
            self.step(own, rate, false)?;
            self.step(network, rate.times(NETWORK_FACTOR), true)?;
        }
        self.step(own, rate, true)
    }

    /// Reverts an event that [`Rates::charge`] counted with the same arguments. No effect if the cell was taken for
    /// another client in the meantime.
    pub(crate) fn give_back(&self, client: IpAddr, name: &str, rate: Rate) {
        self.revert(self.key((client_key(client), name)), rate);
        if let Some(network) = self.network_key(client, name) {
            self.revert(network, rate.times(NETWORK_FACTOR));
        }
    }

    /// Reverts an event of one key that [`Rates::step`] counted for this rate.
    fn revert(&self, key: SketchKey, rate: Rate) {
        for cell in self.bucket(key) {
            let less = |value: u64| {
                let state = (value & STATE).saturating_sub(rate.interval_micros());
                (value >> STATE_BITS == key.fingerprint).then_some(key.fingerprint << STATE_BITS | state)
            };
            if cell.fetch_update(AcqRel, Acquire, less).is_ok() {
                return;
            }
        }
    }

    /// Returns the key of the /48 of an IPv6 client for events of this name. `None` for IPv4.
    fn network_key(&self, client: IpAddr, name: &str) -> Option<SketchKey> {
        let IpAddr::V6(address) = client else { return None };
        Some(self.key((address.to_bits() >> 80, 48, name)))
    }

    /// Returns the key of `what`, such as a client, in the scope of these rates.
    fn key(&self, what: impl Hash) -> SketchKey {
        let hash = self.table.key.hash_one((self.scope, what));
        SketchKey {
            bucket: hash as usize % (self.table.cells.len() / BUCKET_CELLS),
            fingerprint: hash >> STATE_BITS,
        }
    }

    /// Returns the cells of a key's bucket.
    fn bucket(&self, key: SketchKey) -> &[AtomicU64] {
        &self.table.cells[key.bucket * BUCKET_CELLS..][..BUCKET_CELLS]
    }

    /// Applies the rate of one key to an event that happens now. The event is counted only if `counts` is true.
    ///
    /// # Errors
    /// The time to wait if the event exceeds the rate. The event is not counted then.
    fn step(&self, key: SketchKey, rate: Rate, counts: bool) -> Result<(), Duration> {
        // In whole microseconds, so that rounding does not reduce the burst.
        let (now, rate) = (self.table.epoch.elapsed().as_micros() as u64 * 1000, rate.in_micros());
        let bucket = self.bucket(key);
        loop {
            let (mut cell, mut seen) = (&bucket[0], bucket[0].load(Acquire));
            for other in bucket {
                let value = other.load(Acquire);
                if value >> STATE_BITS == key.fingerprint {
                    (cell, seen) = (other, value);
                    break;
                }
                if value & STATE < seen & STATE {
                    (cell, seen) = (other, value);
                }
            }
            let own = seen >> STATE_BITS == key.fingerprint;
            let state = if own { (seen & STATE) * 1000 } else { 0 };
            let next = (rate.step(state, now)? / 1000).min(STATE);
            let next = key.fingerprint << STATE_BITS | next;
            if !counts || cell.compare_exchange(seen, next, AcqRel, Relaxed).is_ok() {
                return Ok(());
            }
        }
    }
}

/// Returns the number by which a client is counted: its IPv4 address, or the /64 prefix of its IPv6 address with the
/// highest bit set, so that the two kinds do not overlap.
pub(crate) const fn client_key(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(address) => address.to_bits() as u64,
        // No address of this half is in use anywhere (RFC 4291 §2.4), so the two kinds do not meet.
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64 | 1 << 63,
    }
}

/// The state of a rate that all clients share.
pub(crate) struct SharedRate {
    /// The time at which the rate was created.
    epoch: Instant,
    /// The state of the rate, in nanoseconds since `epoch`.
    state: AtomicU64,
}

impl SharedRate {
    /// Creates an unused rate.
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now(), state: AtomicU64::new(0) }
    }

    /// Counts an event.
    ///
    /// # Errors
    /// The time to wait if the rate is exceeded. The event is not counted then.
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

/// The number of open connections of each client, in a count-min sketch: an estimate that is never too low.
pub(crate) struct CountMinSketch {
    /// The hash by which the two counters of a client are chosen.
    places: RowHasher,
    /// The counters of both rows, the first row first.
    counts: Box<[AtomicU32]>,
}

impl CountMinSketch {
    /// Creates a sketch without connections.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            places: RowHasher { key: RandomState::new() },
            counts: (0..2 * ROW_LEN).map(|_| AtomicU32::new(0)).collect(),
        })
    }

    /// Returns the estimated number of connections of a client, which may be too high but not too low.
    pub(crate) fn of(&self, client: IpAddr) -> u32 {
        let (a, b) = self.places.of(client);
        self.counts[a].load(Relaxed).min(self.counts[b].load(Relaxed))
    }

    /// Counts a connection of a client until the returned permit is dropped. `None` if the estimated number of the
    /// client's connections is `limit` or more already.
    pub(crate) fn hold(self: &Arc<Self>, client: IpAddr, limit: u32) -> Option<ConnectionPermit> {
        let (a, b) = self.places.of(client);
        let before = [a, b].map(|at| self.counts[at].fetch_add(1, Relaxed));
        let held = ConnectionPermit { counts: self.clone(), at: [a, b] };
        // Dropping what is refused takes it back.
        (before[0].min(before[1]) < limit).then_some(held)
    }
}

/// A permit that counts a connection for its client until it is dropped.
pub(crate) struct ConnectionPermit {
    /// The sketch that counts the connection.
    counts: Arc<CountMinSketch>,
    /// The indexes of the client's counters.
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

    const CLIENTS: usize = 1 << 16;

    fn rates() -> Rates {
        Rates::of(&RateTable::new(CLIENTS), "a.test", "requests")
    }
    use std::net::Ipv4Addr;

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn sites_share_a_table_and_no_rate() {
        let (table, rate) = (RateTable::new(1 << 17), "5/h".parse::<Rate>().unwrap().with_burst(1));
        let sites: Vec<_> =
            (0..1000).map(|site| Rates::of(&table, &format!("site{site}"), "requests")).collect();
        // One client at a thousand sites is admitted once at each of them.
        let client: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
        let admitted = || sites.iter().filter(|site| site.admit(client, rate).is_ok()).count();
        assert!(admitted() >= 998);
        assert!(admitted() <= 2);
    }

    #[test]
    fn each_client_has_its_own_rate() {
        let (rates, rate) = (rates(), "5/h".parse::<Rate>().unwrap().with_burst(5));
        // As many as a busy edge sees: nearly all have a place of their own.
        let refused: usize =
            (0..2000).map(|n| (0..5).filter(|_| rates.admit(client(n), rate).is_err()).count()).sum();
        assert!(refused <= 100, "{refused}");
        assert!((0..2000).all(|n| rates.admit(client(n), rate).is_err()));
    }

    #[test]
    fn threads_share_a_rate_exactly() {
        let (rates, rate) = (rates(), "1/d".parse::<Rate>().unwrap().with_burst(1000));
        let admitted: usize = std::thread::scope(|scope| {
            let one = || (0..1000).filter(|_| rates.admit(client(7), rate).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1000);
    }

    #[test]
    fn d14_addresses_of_one_network_lock_nobody_out() {
        for rate in ["5/d", "100/h", "10/s"] {
            let (rates, rate) = (rates(), rate.parse::<Rate>().unwrap());
            let of = |network: u128, number: u128| {
                IpAddr::from(std::net::Ipv6Addr::from_bits((network << 80) | (number << 64) | 1))
            };
            let admitted =
                (0..65_536).filter(|n| rates.admit(of(0x2001_0db8_0001, *n), rate).is_ok()).count();
            assert!(admitted < 64 * 200, "{admitted} of one /48");
            // As many as fill the table, each of a network of its own.
            (0..65_536).for_each(|n| _ = rates.admit(of(0x2001_0db9_0000 + n, 0), rate));
            let refused = (0..2000).filter(|n| rates.admit(client(*n), rate).is_err()).count();
            assert!(refused <= 2, "{refused} of 2000 who were not there before");
        }
    }

    #[test]
    fn d15_who_is_over_the_rate_takes_nothing_from_neighbours() {
        let (rates, rate) = (rates(), "5/d".parse::<Rate>().unwrap());
        let of = |number: u16| format!("2001:db8:1:{number:x}::1").parse::<IpAddr>().unwrap();
        (0..10_000).for_each(|_| _ = rates.admit(of(1), rate));
        assert!(rates.admit(of(2), rate).is_ok());
    }

    #[test]
    fn what_is_given_back_counts_no_more() {
        let (rates, rate) = (rates(), "1/h".parse::<Rate>().unwrap().with_burst(2));
        for _ in 0..100 {
            assert!(rates.charge(client(1), "ann", rate).is_ok());
            rates.give_back(client(1), "ann", rate);
        }
        assert!(rates.charge(client(1), "ann", rate).is_ok() && rates.charge(client(1), "ann", rate).is_ok());
        assert!(rates.charge(client(1), "ann", rate).is_err());
        assert!(rates.charge(client(1), "bob", rate).is_ok() && rates.charge(client(2), "ann", rate).is_ok());
    }

    #[test]
    fn d12_guesses_of_one_network_count_together() {
        let (rates, rate) = (rates(), "1/h".parse::<Rate>().unwrap().with_burst(20));
        let of = |number: u32| format!("2001:db8:1:{number:x}::1").parse::<IpAddr>().unwrap();
        for number in 0..10_000 {
            assert!(rates.charge(of(number), "ann", rate).is_ok(), "{number}");
            rates.give_back(of(number), "ann", rate);
        }
        let guesses = (0..60_000).filter(|number| rates.charge(of(*number), "ann", rate).is_ok()).count();
        assert!((64 * 20..64 * 20 + 20).contains(&guesses), "{guesses} from one /48");
        let other = "2001:db8:2::1".parse().unwrap();
        assert!(rates.charge(other, "ann", rate).is_ok() && rates.charge(of(1), "bob", rate).is_ok());
    }

    /// Of each rate exactly as many are admitted as it says, slow ones too.
    #[test]
    fn d14_slow_rates_are_as_exact_as_fast_ones() {
        for text in ["5/d", "100/h", "600/m", "1000/s"] {
            let rate: Rate = text.parse().unwrap();
            let rates = rates();
            let admitted = (0..rate.burst() + 10).filter(|_| rates.admit(client(1), rate).is_ok()).count();
            let most = rate.burst() as usize + usize::from(rate.interval_micros() < 100_000) * 10;
            assert!((rate.burst() as usize..=most).contains(&admitted), "{text}: {admitted}");
            if let Err(wait) = rates.admit(client(1), rate) {
                assert!(wait.as_micros() as u64 <= rate.interval_micros() + 2, "{text}: {wait:?}");
            }
        }
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
