//! The limits of a site, shared by all workers: its rates, and its requests in flight.

use super::sketch::{Rates, SharedRate};
use crate::config::{Auth, Site};
use crate::rate::Rate;
use crate::server::metrics::counters::{Shards, SiteShard};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Wrong passwords of one client for one user's name, in an hour and at once.
const OF_USER: Rate = Rate::per_hour(120, 20);
/// Wrong passwords of one client for all names.
const OF_CLIENT: Rate = Rate::per_hour(600, 100);

/// Returns the name as it is counted by, which is never that of a client alone.
fn named(user: &str) -> String {
    format!("user:{user}")
}

/// The counters of one site.
pub(crate) struct SiteLimiter {
    /// Memory is allocated only if there is a limit.
    clients: Option<Rates>,
    site: SharedRate,
    /// Passwords that were wrong.
    failures: Option<Rates>,
    under_way: AtomicU32,
    pub(crate) counts: Arc<Shards<SiteShard>>,
}

/// The reason why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitExceeded {
    /// The client asks too often; it may come again after this.
    Client(Duration),
    /// The site is asked too often by all together.
    Site(Duration),
    /// Too many requests are in flight.
    Concurrent,
}

impl SiteLimiter {
    fn new(site: &Site, counts: Arc<Shards<SiteShard>>) -> Self {
        let basic = |auth: &Option<Auth>| matches!(auth, Some(Auth::Basic(_)));
        let passwords = basic(&site.auth) || site.routes.iter().any(|route| basic(&route.auth));
        Self {
            clients: site.rate.client.map(|_| Rates::new()),
            site: SharedRate::new(),
            failures: passwords.then(Rates::new),
            under_way: AtomicU32::new(0),
            counts,
        }
    }

    /// Returns whether it has room for the limits that the site has now.
    fn suits(&self, site: &Site) -> bool {
        let other = Self::new(site, self.counts.clone());
        self.clients.is_some() == other.clients.is_some()
            && self.failures.is_some() == other.failures.is_some()
    }

    /// A request comes.
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

    /// Counts a password as wrong before it is looked at: for the client and the user's name, and for the client alone, so
    /// that many names are no way around it. What was right is given back.
    pub(crate) fn charge(&self, client: IpAddr, user: &str) -> Result<(), Duration> {
        let Some(failures) = &self.failures else { return Ok(()) };
        let user = named(user);
        failures.charge(client, &user, OF_USER)?;
        failures.charge(client, "", OF_CLIENT).inspect_err(|_| failures.give_back(client, &user, OF_USER))
    }

    /// The password was right, or was not looked at.
    pub(crate) fn give_back(&self, client: IpAddr, user: &str) {
        if let Some(failures) = &self.failures {
            failures.give_back(client, &named(user), OF_USER);
            failures.give_back(client, "", OF_CLIENT);
        }
    }
}

/// A request that counts.
pub(crate) struct InFlightPermit(Option<Arc<SiteLimiter>>);

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        if let Some(guard) = &self.0 {
            guard.under_way.fetch_sub(1, Relaxed);
        }
    }
}

/// The guards of all sites: what was counted survives a reload.
pub(crate) struct SiteLimiters {
    workers: usize,
    known: Mutex<HashMap<String, Arc<SiteLimiter>>>,
}

impl SiteLimiters {
    pub(crate) fn new(workers: usize) -> Self {
        Self { workers, known: Mutex::default() }
    }

    /// The guards of these sites, in their order. All others are forgotten.
    pub(crate) fn of(&self, sites: &[Site]) -> Vec<Arc<SiteLimiter>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let guards: Vec<_> = sites
            .iter()
            .map(|site| {
                let before = known.get(&site.name);
                let counts =
                    before.map_or_else(|| Arc::new(Shards::new(self.workers)), |guard| guard.counts.clone());
                let kept = before.filter(|guard| guard.suits(site)).cloned();
                kept.unwrap_or_else(|| Arc::new(SiteLimiter::new(site, counts)))
            })
            .collect();
        *known = sites.iter().map(|site| site.name.clone()).zip(guards.iter().cloned()).collect();
        guards
    }
}
