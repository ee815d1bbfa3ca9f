//! What was asked of each CA, so that a request that would be refused is not made.
//!
//! The limits are Let's Encrypt's, as published; each can be set. The ledger is plain data: a store keeps it over restarts.

use crate::name::Name;
use crate::time::{Time, spoken};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// So many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: usize,
    /// In how long.
    pub within: Duration,
}

/// The limits of a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// New orders of an account.
    pub orders: Rate,
    /// New certificates of a registered domain.
    pub domain: Rate,
    /// New certificates for exactly the same names.
    pub same: Rate,
    /// Failed authorizations of a name.
    pub failures: Rate,
}

impl Default for Limits {
    /// 300 orders in 3 hours; 50 certificates a registered domain and 5 for the same names in 7 days; 5 failed
    /// authorizations a name and hour.
    fn default() -> Self {
        const HOUR: u64 = 3600;
        let rate = |count, hours| Rate { count, within: Duration::from_secs(hours * HOUR) };
        Self { orders: rate(300, 3), domain: rate(50, 168), same: rate(5, 168), failures: rate(5, 1) }
    }
}

impl Limits {
    /// No limits, for an authority of one's own.
    #[must_use]
    pub const fn none() -> Self {
        let rate = Rate { count: usize::MAX, within: Duration::ZERO };
        Self { orders: rate, domain: rate, same: rate, failures: rate }
    }
}

/// Something that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Entry {
    /// An order was asked for.
    Order {
        /// When.
        at: Time,
        /// The authority.
        authority: String,
        /// Its names, sorted.
        names: Vec<Name>,
        /// It renews by ARI within the window, which counts against no limit.
        exempt: bool,
        /// It came to nothing: no certificate counts for it.
        #[cfg_attr(feature = "serde", serde(default))]
        void: bool,
    },
    /// The last order for these names came to nothing. It is not kept itself: the order says so then.
    Void {
        /// The authority.
        authority: String,
        /// Its names, sorted.
        names: Vec<Name>,
    },
    /// An authorization failed.
    Failure {
        /// When.
        at: Time,
        /// The authority.
        authority: String,
        /// The name, without `*.`.
        name: String,
    },
    /// The authority said when to come again.
    RetryAfter {
        /// Not before.
        until: Time,
        /// The authority.
        authority: String,
        /// In its words.
        why: String,
    },
}

/// The ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Ledger {
    entries: Vec<Entry>,
}

/// A request that would be refused, and when it may go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("not before {until}: {limit}")]
pub struct Refusal {
    /// When it may go.
    pub until: Time,
    /// Which limit it is.
    pub limit: Limit,
}

/// Which limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// New orders of the account.
    Orders(Rate),
    /// Certificates of this registered domain.
    Domain(String, Rate),
    /// Certificates for exactly these names.
    Same(Rate),
    /// Failed authorizations of this name.
    Failures(String, Rate),
    /// The authority said so.
    RetryAfter(String),
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.count, spoken(self.within))
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
            Self::RetryAfter(why) => write!(f, "the authority said so: {why}"),
        }
    }
}

impl Ledger {
    /// What is in it.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Writes something down. What no limit of `limits` can still count is dropped.
    pub fn record(&mut self, entry: Entry, now: Time, limits: &Limits) {
        if let Entry::Void { authority: by, names: of } = &entry {
            let last = self.entries.iter_mut().rev().find_map(|entry| match entry {
                Entry::Order { authority, names, void, .. } if authority == by && names == of => Some(void),
                _ => None,
            });
            if let Some(void) = last {
                *void = true;
            }
            return;
        }
        let longest = [limits.orders, limits.domain, limits.same, limits.failures]
            .into_iter()
            .map(|rate| rate.within)
            .max()
            .unwrap_or_default();
        self.entries.retain(|entry| match entry {
            Entry::Order { at, .. } | Entry::Failure { at, .. } => now.since(*at) <= longest,
            Entry::RetryAfter { until, .. } => *until > now,
            Entry::Void { .. } => false,
        });
        self.entries.push(entry);
    }

    /// Whether the authority may be talked to at all.
    ///
    /// # Errors
    /// [`Refusal`] while its Retry-After runs.
    pub fn open(&self, now: Time, authority: &str) -> Result<(), Refusal> {
        let blocked = self.entries.iter().filter_map(|entry| match entry {
            Entry::RetryAfter { until, authority: of, why } if of == authority && *until > now => {
                Some((*until, why))
            }
            _ => None,
        });
        match blocked.max_by_key(|(until, _)| *until) {
            Some((until, why)) => Err(Refusal { until, limit: Limit::RetryAfter(why.clone()) }),
            None => Ok(()),
        }
    }

    /// Whether an order for these names (sorted) may be asked for.
    ///
    /// # Errors
    /// [`Refusal`], with the limit that would be broken the longest.
    pub fn permit(
        &self,
        now: Time,
        authority: &str,
        names: &[Name],
        exempt: bool,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        self.open(now, authority)?;
        if exempt {
            return Ok(());
        }
        let orders = || {
            self.entries.iter().filter_map(|entry| match entry {
                Entry::Order { at, authority: of, names, exempt, void } if of == authority && !exempt => {
                    Some((*at, names, *void))
                }
                _ => None,
            })
        };
        let mut refusals = Vec::new();
        let mut check = |times: Vec<Time>, rate: Rate, limit: &dyn Fn() -> Limit| {
            if let Some(until) = free_at(times, now, rate) {
                refusals.push(Refusal { until, limit: limit() });
            }
        };
        check(orders().map(|(at, ..)| at).collect(), limits.orders, &|| Limit::Orders(limits.orders));
        // Certificates are what the others count.
        let certificates = || orders().filter(|(_, _, void)| !void).map(|(at, names, _)| (at, names));
        let same =
            certificates().filter(|(_, ordered)| ordered.as_slice() == names).map(|(at, _)| at).collect();
        check(same, limits.same, &|| Limit::Same(limits.same));
        let domains: BTreeSet<&str> = names.iter().map(Name::registered_domain).collect();
        for domain in domains {
            let times = certificates()
                .filter(|(_, ordered)| ordered.iter().any(|name| name.registered_domain() == domain))
                .map(|(at, _)| at)
                .collect();
            check(times, limits.domain, &|| Limit::Domain(domain.to_owned(), limits.domain));
        }
        let bases: BTreeSet<&str> = names.iter().map(Name::base).collect();
        for base in bases {
            let times = self.entries.iter().filter_map(|entry| match entry {
                Entry::Failure { at, authority: of, name } if of == authority && name == base => Some(*at),
                _ => None,
            });
            check(times.collect(), limits.failures, &|| Limit::Failures(base.to_owned(), limits.failures));
        }
        refusals.into_iter().max_by_key(|refusal| refusal.until).map_or(Ok(()), Err)
    }
}

/// When another one fits, if none does now.
fn free_at(mut times: Vec<Time>, now: Time, rate: Rate) -> Option<Time> {
    times.retain(|at| now.since(*at) < rate.within || *at > now);
    if times.len() < rate.count {
        return None;
    }
    times.sort_unstable();
    times.get(times.len() - rate.count).map(|at| at.after(rate.within))
}

#[cfg(test)]
mod tests {
    use super::*;
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
            ledger.permit(now, "ca", &names, false, &limits).expect("it fits");
            ledger.record(order(now, &names), now, &limits);
        }
        let now = begin.after(Duration::from_secs(6 * 3600));
        let refusal = ledger.permit(now, "ca", &names, false, &limits).expect_err("the sixth");
        assert_eq!(refusal.until, begin.after(limits.same.within));
        assert!(refusal.to_string().contains("exactly these names"), "{refusal}");
        assert!(ledger.permit(now, "other", &names, false, &limits).is_ok());
        assert!(ledger.permit(now, "ca", &names, true, &limits).is_ok());
        assert!(ledger.permit(refusal.until, "ca", &names, false, &limits).is_ok());
    }

    #[test]
    fn what_came_to_nothing_is_no_certificate() {
        let (limits, names) = (Limits::default(), names(&["a.test"]));
        let mut ledger = Ledger::default();
        let mut now = Time::from_secs(1_000_000);
        for _ in 0..20 {
            now = now.after(Duration::from_secs(600));
            ledger.permit(now, "ca", &names, false, &limits).expect("nothing was issued");
            ledger.record(order(now, &names), now, &limits);
            ledger.record(Entry::Void { authority: "ca".into(), names: names.clone() }, now, &limits);
        }
        assert_eq!(ledger.entries().len(), 20);
        // Orders count as orders all the same.
        let limits = Limits { orders: Rate { count: 20, within: Duration::from_secs(20_000) }, ..limits };
        let refusal = ledger.permit(now, "ca", &names, false, &limits).expect_err("the account's orders");
        assert!(refusal.to_string().contains("orders of an account"), "{refusal}");
    }

    #[test]
    fn retry_after_closes_the_authority() {
        let (limits, names) = (Limits::default(), names(&["a.test"]));
        let (now, until) = (Time::from_secs(1000), Time::from_secs(5000));
        let mut ledger = Ledger::default();
        let entry = Entry::RetryAfter { until, authority: "ca".into(), why: "slow down".into() };
        ledger.record(entry, now, &limits);
        assert_eq!(ledger.permit(now, "ca", &names, true, &limits).expect_err("closed").until, until);
        assert!(ledger.open(until, "ca").is_ok());
    }

    proptest! {
        /// Who asks before every order and waits as told never breaks a limit.
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
                while let Err(refusal) = ledger.permit(now, "ca", names, false, &limits) {
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
