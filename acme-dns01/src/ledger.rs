//! Rate-limit ledger: records the requests to each CA, so that a request over a limit is not sent.
//!
//! The default limits are those that Let's Encrypt publishes. The ledger is plain data, which a store saves across
//! restarts.

use crate::name::Name;
use crate::time::{Time, format_duration};
use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

/// A rate limit over a sliding window: at most `count` events within any period of the length `within`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Number of events allowed.
    pub count: usize,
    /// Length of the window.
    pub within: Duration,
}

/// Applicability of a CA's rate limits to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderLimits {
    /// The limits apply.
    Apply,
    /// The CA exempts the order, since it replaces a certificate within the suggested renewal window (RFC 9773 §5).
    Exempt,
}

/// Rate limits of a CA that the engine keeps of its own accord, so that the CA does not have to refuse an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// New orders per authority, whether a certificate was issued or not. Exempt orders do not count here and below.
    pub orders: Rate,
    /// Orders per authority and registered domain (a public suffix and one label before it) that have led to a
    /// certificate or still may.
    pub domain: Rate,
    /// Orders per authority and exact set of names that have led to a certificate or still may.
    pub same: Rate,
    /// Failed authorizations per authority and name without `*.`.
    pub failures: Rate,
}

impl Default for Limits {
    /// Returns the limits of Let's Encrypt: 300 orders in 3 hours; 50 certificates per registered domain and 5 per set
    /// of names in 7 days; 5 failed authorizations per name in an hour.
    fn default() -> Self {
        /// One hour, in seconds.
        const HOUR: u64 = 3600;
        let rate = |count, hours| Rate { count, within: Duration::from_secs(hours * HOUR) };
        Self { orders: rate(300, 3), domain: rate(50, 168), same: rate(5, 168), failures: rate(5, 1) }
    }
}

impl Limits {
    /// Returns limits that no number of orders exceeds, for a private CA.
    #[must_use]
    pub const fn none() -> Self {
        let rate = Rate { count: usize::MAX, within: Duration::ZERO };
        Self { orders: rate, domain: rate, same: rate, failures: rate }
    }
}

/// An entry of the ledger: a request to a CA, or a result of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Entry {
    /// A newOrder request.
    Order {
        /// Time of the event.
        at: Time,
        /// Configured name of the authority.
        authority: String,
        /// Names of the order, sorted.
        names: Vec<Name>,
        /// `true` if the order is an ARI renewal within its window, which counts towards no limit.
        exempt: bool,
        /// `true` if the order ended without a certificate. It then counts towards [`Limits::orders`] only.
        #[cfg_attr(feature = "serde", serde(default))]
        void: bool,
    },
    /// The latest order for these names ended without a certificate. Recording this entry sets `void` of that order;
    /// the entry itself is not stored.
    Void {
        /// Configured name of the authority.
        authority: String,
        /// Names of the order, sorted.
        names: Vec<Name>,
    },
    /// An authorization failed.
    Failure {
        /// Time of the event.
        at: Time,
        /// Configured name of the authority.
        authority: String,
        /// Name of the authorization, without `*.`.
        name: String,
    },
    /// A Retry-After from the CA, during which no request is sent.
    RetryAfter {
        /// Earliest time of the next request.
        until: Time,
        /// Configured name of the authority.
        authority: String,
        /// Human-readable reason from the CA's response.
        why: String,
        /// Time of the response. `None` in entries of older versions.
        #[cfg_attr(feature = "serde", serde(default))]
        at: Option<Time>,
    },
}

/// The record of past orders, failures and Retry-After of all CAs, which shows if a further order would exceed a rate
/// limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "Vec<Entry>", into = "Vec<Entry>"))]
pub struct Ledger {
    /// Orders and failures, in the order of recording.
    rows: VecDeque<Row>,
    /// Retry-After entries of all authorities.
    waits: Vec<Entry>,
    index: Index,
}

/// Sequence numbers of the rows for each set of names, each registered domain and each name of a failed authorization,
/// in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Index {
    /// Sequence number of the first stored row. A row's position is its sequence number minus this one.
    first: u64,
    same: HashMap<Vec<Name>, VecDeque<u64>>,
    domains: HashMap<String, VecDeque<u64>>,
    failures: HashMap<String, VecDeque<u64>>,
}

impl Index {
    /// Adds a row with this sequence number, which must be the highest.
    fn add(&mut self, number: u64, row: &Row) {
        match &row.entry {
            Entry::Order { names, .. } => self.same.entry(names.clone()).or_default().push_back(number),
            Entry::Failure { name, .. } => self.failures.entry(name.clone()).or_default().push_back(number),
            Entry::Void { .. } | Entry::RetryAfter { .. } => {}
        }
        for domain in &row.domains {
            self.domains.entry(domain.clone()).or_default().push_back(number);
        }
    }

    /// Removes the first stored row from the index. `row` must be that row.
    fn remove(&mut self, row: &Row) {
        self.first += 1;
        match &row.entry {
            Entry::Order { names, .. } => take_first(&mut self.same, names.as_slice()),
            Entry::Failure { name, .. } => take_first(&mut self.failures, name.as_str()),
            Entry::Void { .. } | Entry::RetryAfter { .. } => {}
        }
        for domain in &row.domains {
            take_first(&mut self.domains, domain.as_str());
        }
    }
}

/// Removes the first sequence number of a key, and the key itself if no number is left. Does nothing for an unknown
/// key.
fn take_first<K, Q>(numbers: &mut HashMap<K, VecDeque<u64>>, key: &Q)
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
{
    if let Some(held) = numbers.get_mut(key) {
        held.pop_front();
        if held.is_empty() {
            numbers.remove(key);
        }
    }
}

/// An order or a failed authorization, with its lookup keys.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    entry: Entry,
    /// Registered domains of an order, sorted. Empty for a failure.
    domains: Vec<String>,
}

impl From<Vec<Entry>> for Ledger {
    fn from(entries: Vec<Entry>) -> Self {
        let mut ledger = Self::default();
        entries.into_iter().for_each(|entry| ledger.push(entry));
        ledger
    }
}

impl From<Ledger> for Vec<Entry> {
    fn from(ledger: Ledger) -> Self {
        ledger.rows.into_iter().map(|row| row.entry).chain(ledger.waits).collect()
    }
}

/// Refusal of a request that would exceed a limit, with the earliest time at which the request is permitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("not before {until}: {limit}")]
pub struct Refusal {
    /// Earliest time at which the request is permitted.
    pub until: Time,
    /// Limit that would be exceeded.
    pub limit: Limit,
}

/// A limit that a request would exceed, or a Retry-After that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// The limit of orders, [`Limits::orders`].
    Orders(Rate),
    /// The limit of a registered domain, which is given, [`Limits::domain`].
    Domain(String, Rate),
    /// The limit of the same set of names, [`Limits::same`].
    Same(Rate),
    /// The limit of failed authorizations of a name, which is given, [`Limits::failures`].
    Failures(String, Rate),
    /// A Retry-After of the CA, with the human-readable reason from its response.
    RetryAfter(String),
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.count, format_duration(self.within))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Orders(rate) => write!(f, "the limit of orders of an account is reached ({rate})"),
            Self::Domain(name, rate) => write!(f, "the limit of certificates of {name} is reached ({rate})"),
            Self::Same(rate) => {
                write!(f, "the limit of certificates for exactly these names is reached ({rate})")
            }
            Self::Failures(name, rate) => {
                write!(f, "the limit of failed authorizations of {name} is reached ({rate})")
            }
            Self::RetryAfter(why) => write!(f, "the authority asked to wait: {why}"),
        }
    }
}

impl Ledger {
    /// Returns all entries: orders and failures in the order of recording, then Retry-After entries.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.rows.iter().map(|row| &row.entry).chain(&self.waits)
    }

    /// Records an entry. First drops the oldest orders and failures, as long as they are older than the longest window
    /// of `limits` or lie in the future, and Retry-After entries that are no longer in force. An exempt order is not
    /// stored, and [`Entry::Void`] only changes the latest order for its names.
    pub fn record(&mut self, entry: Entry, now: Time, limits: &Limits) {
        if let Entry::Void { authority: by, names: of } = &entry {
            let numbers = self.index.same.get(of).into_iter().flatten().rev().copied();
            let places: Vec<usize> = numbers.filter_map(|number| self.place(number)).collect();
            for place in places {
                if let Some(Row { entry: Entry::Order { authority, void, .. }, .. }) =
                    self.rows.get_mut(place)
                    && authority == by
                {
                    *void = true;
                    break;
                }
            }
            return;
        }
        let longest = [limits.orders, limits.domain, limits.same, limits.failures]
            .into_iter()
            .map(|rate| rate.within)
            .max()
            .unwrap_or_default();
        // Rows are in order of time, unless the clock was set.
        while self
            .rows
            .front()
            .is_some_and(|row| row.at().is_none_or(|at| now.since(at) > longest || at.is_ahead_of(now)))
        {
            if let Some(row) = self.rows.pop_front() {
                self.index.remove(&row);
            }
        }
        self.waits.retain(|entry| match entry {
            Entry::RetryAfter { until, at, .. } => retry_after_in_force(*until, *at, now),
            Entry::Order { .. } | Entry::Void { .. } | Entry::Failure { .. } => false,
        });
        self.push(entry);
    }

    /// Adds an entry to the rows or the Retry-After entries, without dropping others. Exempt orders and [`Entry::Void`]
    /// are not stored.
    fn push(&mut self, entry: Entry) {
        match &entry {
            Entry::Order { exempt: true, .. } | Entry::Void { .. } => {}
            Entry::Order { names, .. } => {
                let domains: BTreeSet<&str> = names.iter().map(Name::registered_domain).collect();
                let domains = domains.into_iter().map(str::to_owned).collect();
                self.add(Row { entry, domains });
            }
            Entry::Failure { .. } => self.add(Row { entry, domains: Vec::new() }),
            Entry::RetryAfter { .. } => self.waits.push(entry),
        }
    }

    /// Appends a row with the next sequence number.
    fn add(&mut self, row: Row) {
        let number = self.index.first + self.rows.len() as u64;
        self.index.add(number, &row);
        self.rows.push_back(row);
    }

    /// Returns the position of a row by its sequence number. `None` for a row that was removed. The position may be
    /// past the last row.
    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.index.first)?).ok()
    }

    /// Returns the times of the rows with these sequence numbers that belong to the authority `of`. Void orders are
    /// left out. Empty for `None`.
    fn times(&self, numbers: Option<&VecDeque<u64>>, of: &str) -> Vec<Time> {
        let places = numbers.into_iter().flatten().filter_map(|number| self.place(*number));
        let rows = places.filter_map(|place| self.rows.get(place));
        rows.filter_map(|row| match &row.entry {
            // Only orders that led to a certificate, or still may, count.
            Entry::Order { at, authority, void: false, .. } | Entry::Failure { at, authority, .. }
                if authority == of =>
            {
                Some(*at)
            }
            _ => None,
        })
        .collect()
    }

    /// Checks that no Retry-After of the authority is in force at `now`.
    ///
    /// # Errors
    /// Returns a [`Refusal`] for the Retry-After that ends last.
    pub fn check_retry_after(&self, now: Time, authority: &str) -> Result<(), Refusal> {
        let blocked = self.waits.iter().filter_map(|entry| match entry {
            Entry::RetryAfter { until, authority: of, why, at }
                if of == authority && retry_after_in_force(*until, *at, now) =>
            {
                Some((*until, why))
            }
            _ => None,
        });
        match blocked.max_by_key(|(until, _)| *until) {
            Some((until, why)) => Err(Refusal { until, limit: Limit::RetryAfter(why.clone()) }),
            None => Ok(()),
        }
    }

    /// Checks that an order for these names, which must be sorted, is within every limit at `now`, and that no
    /// Retry-After is in force. An exempt order is checked for Retry-After only.
    ///
    /// # Errors
    /// Returns the [`Refusal`] of a Retry-After, or else that with the latest `until` among the limits that would be
    /// exceeded.
    pub fn permit(
        &self,
        now: Time,
        authority: &str,
        names: &[Name],
        order: OrderLimits,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        self.check_retry_after(now, authority)?;
        if order == OrderLimits::Exempt {
            return Ok(());
        }
        let orders = self.rows.iter().filter_map(|row| match &row.entry {
            Entry::Order { at, authority: of, .. } if of == authority => Some(*at),
            _ => None,
        });
        let mut refusals = Vec::new();
        let mut check = |times: Vec<Time>, rate: Rate, limit: &dyn Fn() -> Limit| {
            if let Some(until) = free_at(times, now, rate) {
                refusals.push(Refusal { until, limit: limit() });
            }
        };
        check(orders.collect(), limits.orders, &|| Limit::Orders(limits.orders));
        let same = self.times(self.index.same.get(names), authority);
        check(same, limits.same, &|| Limit::Same(limits.same));
        let domains: BTreeSet<&str> = names.iter().map(Name::registered_domain).collect();
        for domain in domains {
            let times = self.times(self.index.domains.get(domain), authority);
            check(times, limits.domain, &|| Limit::Domain(domain.to_owned(), limits.domain));
        }
        let bases: BTreeSet<&str> = names.iter().map(Name::base).collect();
        for base in bases {
            let times = self.times(self.index.failures.get(base), authority);
            check(times, limits.failures, &|| Limit::Failures(base.to_owned(), limits.failures));
        }
        refusals.into_iter().max_by_key(|refusal| refusal.until).map_or(Ok(()), Err)
    }
}

impl Row {
    /// Returns the time of an order or a failure. `None` for the other entries.
    const fn at(&self) -> Option<Time> {
        match &self.entry {
            Entry::Order { at, .. } | Entry::Failure { at, .. } => Some(*at),
            Entry::Void { .. } | Entry::RetryAfter { .. } => None,
        }
    }
}

/// Longest Retry-After that is respected: four weeks.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(28 * 86_400);

/// Returns `true` if a Retry-After that was recorded at `at`, `None` if that is unknown, and ends at `until` is in
/// force at `now`. `false` if it has ended, was recorded in the future, or ends more than four weeks after `now`.
fn retry_after_in_force(until: Time, at: Option<Time>, now: Time) -> bool {
    until > now && until <= now.after(LONGEST_RETRY_AFTER) && at.is_none_or(|at| !at.is_ahead_of(now))
}

/// Returns the earliest time at which one more event is within the rate. `None` if that is the case at `now`. Events
/// outside the window or in the future do not count.
fn free_at(mut times: Vec<Time>, now: Time, rate: Rate) -> Option<Time> {
    times.retain(|at| now.since(*at) < rate.within && !at.is_ahead_of(now));
    if times.len() < rate.count {
        return None;
    }
    times.sort_unstable();
    times.get(times.len() - rate.count).map(|at| at.after(rate.within))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY;
    use proptest::prelude::*;

    fn names(list: &[&str]) -> Vec<Name> {
        list.iter().map(|name| name.parse().expect("a name")).collect()
    }

    fn order(at: Time, names: &[Name]) -> Entry {
        Entry::Order { at, authority: "ca".into(), names: names.to_vec(), exempt: false, void: false }
    }

    #[test]
    fn the_sixth_of_the_same_waits_for_the_first_to_age() {
        let (limits, names) = (Limits::default(), names(&["a.test"]));
        let begin = Time::from_secs(1_000_000);
        let mut ledger = Ledger::default();
        for hour in 0..5 {
            let now = begin.after(Duration::from_secs(hour * 3600));
            ledger.permit(now, "ca", &names, OrderLimits::Apply, &limits).expect("it fits");
            ledger.record(order(now, &names), now, &limits);
        }
        let now = begin.after(Duration::from_secs(6 * 3600));
        let refusal = ledger.permit(now, "ca", &names, OrderLimits::Apply, &limits).expect_err("the sixth");
        assert_eq!(refusal.until, begin.after(limits.same.within));
        assert!(refusal.to_string().contains("exactly these names"), "{refusal}");
        assert!(ledger.permit(now, "other", &names, OrderLimits::Apply, &limits).is_ok());
        assert!(ledger.permit(now, "ca", &names, OrderLimits::Exempt, &limits).is_ok());
        assert!(ledger.permit(refusal.until, "ca", &names, OrderLimits::Apply, &limits).is_ok());
    }

    #[test]
    fn what_came_to_nothing_is_no_certificate() {
        let (limits, names) = (Limits::default(), names(&["a.test"]));
        let mut ledger = Ledger::default();
        let mut now = Time::from_secs(1_000_000);
        for _ in 0..20 {
            now = now.after(Duration::from_secs(600));
            ledger.permit(now, "ca", &names, OrderLimits::Apply, &limits).expect("nothing was issued");
            ledger.record(order(now, &names), now, &limits);
            ledger.record(Entry::Void { authority: "ca".into(), names: names.clone() }, now, &limits);
        }
        assert_eq!(ledger.entries().count(), 20);
        // Orders count as orders all the same.
        let limits = Limits { orders: Rate { count: 20, within: Duration::from_secs(20_000) }, ..limits };
        let refusal =
            ledger.permit(now, "ca", &names, OrderLimits::Apply, &limits).expect_err("the account's orders");
        assert!(refusal.to_string().contains("orders of an account"), "{refusal}");
    }

    #[test]
    fn retry_after_closes_the_authority() {
        let (limits, names) = (Limits::default(), names(&["a.test"]));
        let (now, until) = (Time::from_secs(1000), Time::from_secs(5000));
        let mut ledger = Ledger::default();
        let entry =
            Entry::RetryAfter { until, authority: "ca".into(), why: "slow down".into(), at: Some(now) };
        ledger.record(entry, now, &limits);
        assert_eq!(
            ledger.permit(now, "ca", &names, OrderLimits::Exempt, &limits).expect_err("closed").until,
            until
        );
        assert!(ledger.check_retry_after(until, "ca").is_ok());
    }

    #[test]
    fn entries_of_a_clock_that_was_ahead_hold_nothing_back() {
        let (limits, names) = (Limits::default(), names(&["a.test"]));
        let now = Time::from_secs(10_000_000);
        let ahead = now.after(DAY * 200);
        let mut ledger = Ledger::default();
        for _ in 0..5 {
            ledger.record(order(ahead, &names), ahead, &limits);
        }
        for at in [None, Some(ahead)] {
            let until = ahead.after(DAY);
            let why = String::new();
            ledger.record(Entry::RetryAfter { until, authority: "ca".into(), why, at }, ahead, &limits);
        }
        assert!(ledger.permit(ahead, "ca", &names, OrderLimits::Apply, &limits).is_err());
        assert_eq!(ledger.permit(now, "ca", &names, OrderLimits::Apply, &limits), Ok(()));
    }

    proptest! {
        /// A client that checks before every order and waits as told never exceeds a limit.
        #[test]
        fn obedience_keeps_within_every_limit(picks in prop::collection::vec((0_usize..6, 0_u64..30_000), 1..120)) {
            let sets = [
                names(&["a.test"]), names(&["b.a.test"]), names(&["a.test", "b.test"]),
                names(&["*.c.test", "c.test"]), names(&["d.test"]), names(&["e.d.test"]),
            ];
            let limits = Limits {
                orders: Rate { count: 7, within: Duration::from_secs(10_000) },
                domain: Rate { count: 5, within: Duration::from_secs(50_000) },
                same: Rate { count: 2, within: Duration::from_secs(40_000) },
                ..Limits::default()
            };
            let mut ledger = Ledger::default();
            let mut now = Time::from_secs(1_000_000);
            let mut done: Vec<(Time, Vec<Name>)> = Vec::new();
            for (pick, wait) in picks {
                now = now.after(Duration::from_secs(wait));
                let names = &sets[pick];
                while let Err(refusal) = ledger.permit(now, "ca", names, OrderLimits::Apply, &limits) {
                    prop_assert!(refusal.until > now);
                    now = refusal.until;
                }
                ledger.record(order(now, names), now, &limits);
                done.push((now, names.clone()));
                let count = |rate: Rate, fits: &dyn Fn(&[Name]) -> bool| {
                    done.iter().filter(|(at, names)| now.since(*at) < rate.within && fits(names)).count() <= rate.count
                };
                prop_assert!(count(limits.orders, &|_| true));
                prop_assert!(count(limits.same, &|other| other == names));
                for name in names {
                    let domain = name.registered_domain();
                    prop_assert!(count(limits.domain, &|other| other.iter().any(|n| n.registered_domain() == domain)));
                }
            }
        }
    }
}
