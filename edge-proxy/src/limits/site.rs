//! The limits of a site, shared by all workers: rates of requests and of wrong passwords, and requests in flight.

use super::sketch::{RateTable, Rates, SharedRate, SharedTable};
use crate::metrics::counters::{Shards, SiteShard};
use edge_policy::config::{Auth, Site};
use edge_policy::rate::Rate;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The limit of wrong passwords of one client for one user name: 120 per hour, 20 at once.
const WRONG_PASSWORDS_PER_USER: Rate = Rate::per_hour(120, 20);
/// The limit of wrong passwords of one client for all user names: 600 per hour, 100 at once.
const WRONG_PASSWORDS_PER_CLIENT: Rate = Rate::per_hour(600, 100);

/// Returns the key by which wrong passwords for a user name are counted. It never equals the empty key, by which those
/// for all names are counted.
fn user_key(user: &str) -> String {
    format!("user:{user}")
}

/// The limiter of one site, with the site's counters.
pub(crate) struct SiteLimiter {
    /// The rates of requests by client. `None` if the site has no such limit.
    clients: Option<Rates>,
    /// The rate of all requests of the site.
    site: SharedRate,
    /// The rates of wrong passwords by client. `None` if the site has no Basic authentication.
    failures: Option<Rates>,
    /// The number of requests in flight, counted only while that is limited.
    under_way: AtomicU32,
    /// The counters of the site for each worker.
    pub(crate) counts: Arc<Shards<SiteShard>>,
}

/// The limit of a site that a request exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitExceeded {
    /// The client exceeds its rate. Contains the time to wait.
    Client(Duration),
    /// All clients together exceed the rate of the site. Contains the time to wait.
    Site(Duration),
    /// The limit of requests in flight is reached.
    Concurrent,
}

/// Returns whether a site or one of its routes uses Basic authentication, so that wrong passwords are counted.
fn has_passwords(site: &Site) -> bool {
    let basic = |auth: &Option<Auth>| matches!(auth, Some(Auth::Basic(_)));
    basic(&site.auth) || site.routes.iter().any(|route| basic(&route.auth))
}

impl SiteLimiter {
    /// Creates a limiter whose rates are in this table, which must be given if the site needs it. `counts` are the
    /// site's counters.
    fn new(site: &Site, table: Option<&Arc<RateTable>>, counts: Arc<Shards<SiteShard>>) -> Self {
        let rates =
            |needed: bool, kind| table.filter(|_| needed).map(|table| Rates::of(table, &site.name, kind));
        Self {
            clients: rates(site.rate.client.is_some(), "requests"),
            site: SharedRate::new(),
            failures: rates(has_passwords(site), "passwords"),
            under_way: AtomicU32::new(0),
            counts,
        }
    }

    /// Returns whether the limiter has exactly the rates that the site needs, in this table, so that a reload can
    /// retain it.
    fn suits(&self, site: &Site, table: Option<&Arc<RateTable>>) -> bool {
        let same = |rates: &Rates| table.is_some_and(|table| rates.are_in(table));
        self.clients.is_some() == site.rate.client.is_some()
            && self.failures.is_some() == has_passwords(site)
            && self.clients.iter().chain(&self.failures).all(same)
    }

    /// Applies the limits of `site` to a request, in this order: the client's rate, the site's rate, and the number in
    /// flight. The request counts as in flight until the returned permit is dropped. An event that a rate has admitted
    /// stays counted even if a later limit is exceeded.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub(crate) fn admit(
        self: &Arc<Self>,
        site: &Site,
        client: IpAddr,
    ) -> Result<InFlightPermit, LimitExceeded> {
        if let (Some(rates), Some(rate)) = (&self.clients, site.rate.client) {
            rates.admit(client, rate).map_err(LimitExceeded::Client)?;
        }
        if let Some(rate) = site.rate.site {
            self.site.admit(rate).map_err(LimitExceeded::Site)?;
        }
        let Some(limit) = site.rate.concurrent else { return Ok(InFlightPermit(None)) };
        let before = self.under_way.fetch_add(1, Relaxed);
        let held = InFlightPermit(Some(self.clone()));
        if before < limit { Ok(held) } else { Err(LimitExceeded::Concurrent) }
    }

    /// Counts a wrong password before it is verified: for the client and the user name, and for the client alone, so
    /// that many names do not evade the limit. [`SiteLimiter::give_back`] reverts the counts. No effect without Basic
    /// authentication.
    ///
    /// # Errors
    /// The time to wait if a limit is exceeded. Nothing is counted then.
    pub(crate) fn charge(&self, client: IpAddr, user: &str) -> Result<(), Duration> {
        let Some(failures) = &self.failures else { return Ok(()) };
        let user = user_key(user);
        failures.charge(client, &user, WRONG_PASSWORDS_PER_USER)?;
        failures
            .charge(client, "", WRONG_PASSWORDS_PER_CLIENT)
            .inspect_err(|_| failures.give_back(client, &user, WRONG_PASSWORDS_PER_USER))
    }

    /// Reverts [`SiteLimiter::charge`] with the same arguments, because the password was correct or was not verified.
    pub(crate) fn give_back(&self, client: IpAddr, user: &str) {
        if let Some(failures) = &self.failures {
            failures.give_back(client, &user_key(user), WRONG_PASSWORDS_PER_USER);
            failures.give_back(client, "", WRONG_PASSWORDS_PER_CLIENT);
        }
    }
}

/// A permit that counts a request as in flight until it is dropped. Contains the limiter; `None` if requests in flight
/// are not limited.
pub(crate) struct InFlightPermit(Option<Arc<SiteLimiter>>);

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        if let Some(guard) = &self.0 {
            guard.under_way.fetch_sub(1, Relaxed);
        }
    }
}

/// The limiters of all sites. Their state survives reloads under the conditions of [`SiteLimiters::of`].
pub(crate) struct SiteLimiters {
    /// The number of workers.
    workers: usize,
    /// The limiters by the name of their site.
    known: Mutex<HashMap<String, Arc<SiteLimiter>>>,
    /// The table of the rates of all clients at all sites, present while a site needs it.
    table: SharedTable,
}

impl SiteLimiters {
    /// Creates an empty set of limiters for this number of workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self { workers, known: Mutex::default(), table: SharedTable::default() }
    }

    /// Returns the limiters of these sites, in their order. Known limiters retain their state if the site needs the
    /// same rates and the table is unchanged; counters are retained in any case. `clients` is the number of clients
    /// that the table is created for. Limiters of other sites are discarded.
    pub(crate) fn of(&self, sites: &[Site], clients: usize) -> Vec<Arc<SiteLimiter>> {
        let needed = sites.iter().any(|site| site.rate.client.is_some() || has_passwords(site));
        let table = self.table.of(needed, clients);
        let table = table.as_ref();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let guards: Vec<_> = sites
            .iter()
            .map(|site| {
                let before = known.get(&site.name);
                let counts =
                    before.map_or_else(|| Arc::new(Shards::new(self.workers)), |guard| guard.counts.clone());
                let kept = before.filter(|guard| guard.suits(site, table)).cloned();
                kept.unwrap_or_else(|| Arc::new(SiteLimiter::new(site, table, counts)))
            })
            .collect();
        *known = sites.iter().map(|site| site.name.clone()).zip(guards.iter().cloned()).collect();
        guards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(number: usize, rate: Option<&str>) -> Site {
        let mut site = Site::new(format!("site{number}"), vec![format!("{number}.test").parse().unwrap()]);
        site.rate.client = rate.map(|rate| rate.parse().unwrap());
        site
    }

    #[test]
    fn ten_thousand_sites_share_one_table() {
        let limiters = SiteLimiters::new(1);
        let sites: Vec<Site> = (0..10_000).map(|number| site(number, Some("1/h"))).collect();
        let first = limiters.of(&sites, 4096);
        let table = limiters.table.now().unwrap();
        assert_eq!(table.clients(), 4096);
        assert!(first.iter().zip(&sites).all(|(limiter, site)| limiter.suits(site, Some(&table))));
        // A reload keeps what was counted, and makes nothing anew.
        let client = "192.0.2.1".parse().unwrap();
        assert!(first[7].admit(&sites[7], client).is_ok());
        let again = limiters.of(&sites, 4096);
        assert!(first.iter().zip(&again).all(|(first, again)| Arc::ptr_eq(first, again)));
        while again[7].admit(&sites[7], client).is_ok() {}
        assert!(again[8].admit(&sites[8], client).is_ok(), "each site has a rate of its own");
        // Another size is another table; without a limit there is none.
        limiters.of(&sites, 8192);
        assert_eq!(limiters.table.now().unwrap().clients(), 8192);
        limiters.of(&[site(0, None)], 8192);
        assert!(limiters.table.now().is_none());
    }
}
