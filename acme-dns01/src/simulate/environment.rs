//! The simulated environment of a machine: CA, DNS, and a store that persists when the machine is killed.

use crate::ledger::{Entry, Ledger, OrderLimits};
use crate::lifetime::{CertificateInfo, RenewalInfo};
use crate::machine::{
    AcmeError, Action, Authorization, CertificateSpec, ErrorKind, Event, Order, Record, Status, TxtRecord,
};
use crate::name::Name;
use crate::time::{DAY, Time};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// A xorshift pseudo-random generator. It holds the state, which must not be 0.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    /// Returns a pseudo-random number from 0 to `sides` − 1, and advances the generator. 0 for `sides` ≤ 1.
    pub(super) fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides.max(1)
    }
}

/// An order of the simulated CA.
#[derive(Clone, Debug)]
pub(super) struct SimulatedOrder {
    pub(super) names: Vec<Name>,
    /// Positions in `names` of the valid authorizations.
    pub(super) valid: BTreeSet<usize>,
    /// Positions in `names` of the triggered challenges.
    pub(super) triggered: BTreeSet<usize>,
    pub(super) issued: bool,
    /// Time at which the order was created.
    pub(super) at: Time,
}

/// The lists of an account's orders at a simulated CA (RFC 8555 §7.1.2.1), which few CAs implement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderLists {
    /// The CA lists orders.
    Served,
    /// The CA lists none.
    Missing,
}

/// Simulated CA and DNS.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) orders: Vec<SimulatedOrder>,
    /// Number of the latest order that is not finalized, for each set of names.
    pub(super) open: HashMap<Vec<Name>, usize>,
    /// End of the time during which a valid authorization is reused, by name.
    pub(super) authorized: HashMap<String, Time>,
    /// Time for which a valid authorization is reused. Zero if authorizations are not reused.
    pub(super) reuse: Duration,
    /// Delay that the CA requests before the next query for renewal information.
    pub(super) retry_after: Duration,
    /// Published TXT records: name and value.
    pub(super) txt: BTreeSet<(String, String)>,
    pub(super) accounts: usize,
    /// The lists of an account's orders, in which an interrupted order can be found again.
    pub(super) lists: OrderLists,
    pub(super) lifetime: Duration,
    /// End of the CA's outage. There is no outage if this time is in the past.
    pub(super) away: Time,
    /// `true` if the CA offers renewal information.
    pub(super) ari: bool,
    /// Certificates whose validity began before this time count as revoked: their renewal window lies in the past.
    pub(super) revoked_before: Time,
    /// The CA's own ledger of orders, by which it enforces the rate limits.
    pub(super) served: Ledger,
    /// Number of orders refused because of a rate limit.
    pub(super) limited: u64,
    /// Number of challenges triggered while they were already triggered.
    pub(super) triggers_twice: usize,
    pub(super) serial: u64,
}

impl Environment {
    /// Creates a CA with lifetimes of 90 days, ARI and no reuse of authorizations, and an empty DNS.
    pub(super) fn new(lists: OrderLists) -> Self {
        Self {
            orders: Vec::new(),
            open: HashMap::new(),
            authorized: HashMap::new(),
            reuse: Duration::ZERO,
            retry_after: Duration::from_secs(6 * 3600),
            txt: BTreeSet::new(),
            accounts: 0,
            lists,
            lifetime: DAY * 90,
            away: Time::default(),
            ari: true,
            revoked_before: Time::default(),
            served: Ledger::default(),
            limited: 0,
            triggers_twice: 0,
            serial: 0,
        }
    }

    /// Returns the order with this number as the CA represents it.
    fn order(&self, number: usize) -> Order {
        let made = &self.orders[number];
        let status = match (made.issued, made.valid.len() == made.names.len()) {
            (true, _) => Status::Valid,
            (_, true) => Status::Ready,
            _ => Status::Pending,
        };
        Order {
            url: format!("order/{number}"),
            status,
            authorizations: (0..made.names.len())
                .map(|name| format!("authorization/{number}/{name}"))
                .collect(),
            finalize: format!("finalize/{number}"),
            certificate: made.issued.then(|| format!("certificate/{number}")),
            problem: None,
            retry_after: None,
        }
    }

    /// Returns the number of the latest order for these names that is not finalized. `None` if there is none.
    fn open_order(&self, names: &[Name]) -> Option<usize> {
        self.open.get(names).copied()
    }

    /// Creates an order, or returns the open one for these names if the CA does not list orders. An `exempt` order does
    /// not count towards rate limits.
    ///
    /// # Errors
    /// Returns an error of the kind [`ErrorKind::RateLimited`] if a rate limit is reached.
    fn new_order(
        &mut self,
        spec: &CertificateSpec,
        limits: OrderLimits,
        now: Time,
    ) -> Result<Order, AcmeError> {
        if let Some(number) = self.open_order(&spec.names).filter(|_| self.lists == OrderLists::Missing) {
            // Boulder also returns the existing order.
            return Ok(self.order(number));
        }
        if self.served.permit(now, "ca", &spec.names, limits, &spec.limits).is_err() {
            self.limited += 1;
            let retry_after = Some(Duration::from_secs(3600));
            return Err(AcmeError::new(ErrorKind::RateLimited, "too many").after(retry_after));
        }
        let (authority, names) = ("ca".to_owned(), spec.names.clone());
        self.served.record(
            Entry::Order { at: now, authority, names, exempt: limits == OrderLimits::Exempt, void: false },
            now,
            &spec.limits,
        );
        let reused = |name: &Name| self.authorized.get(name.base()).is_some_and(|until| now < *until);
        let valid = (0..spec.names.len()).filter(|at| reused(&spec.names[*at])).collect();
        self.open.insert(spec.names.clone(), self.orders.len());
        self.orders.push(SimulatedOrder {
            names: spec.names.clone(),
            valid,
            triggered: BTreeSet::new(),
            issued: false,
            at: now,
        });
        Ok(self.order(self.orders.len() - 1))
    }

    /// Returns the lifetime of a new certificate: 160 hours for the profile `shortlived`, at most 45 days for
    /// `tlsserver`, and that of the environment otherwise.
    fn lifetime_of(&self, spec: &CertificateSpec) -> Duration {
        match spec.profile.as_deref() {
            Some("shortlived") => Duration::from_secs(160 * 3600),
            Some("tlsserver") => self.lifetime.min(DAY * 45),
            _ => self.lifetime,
        }
    }

    /// Performs an action on CA, DNS and store, and returns the event that is its result. While the CA is away,
    /// requests to it fail with a transient error.
    pub(super) fn answer(
        &mut self,
        action: &Action,
        spec: &CertificateSpec,
        now: Time,
        store: &mut SimulatedStore,
    ) -> Event {
        if now < self.away && is_ca_request(action) {
            return Event::Error(AcmeError::new(ErrorKind::Transient, "the CA is away"));
        }
        match action {
            Action::Directory { .. } => Event::Directory { date: Some(now), renewal_info: self.ari },
            Action::Account { .. } => self.register(store),
            Action::Preflight { .. } => Event::Clear,
            Action::Key => store.create_key(),
            Action::NewOrder { replaces } => {
                let exempt = replaces.is_some() && self.ari;
                let limits = if exempt { OrderLimits::Exempt } else { OrderLimits::Apply };
                self.new_order(spec, limits, now).map_or_else(Event::Error, Event::Order)
            }
            Action::FindOrder => {
                match self.open_order(&spec.names).filter(|_| self.lists == OrderLists::Served) {
                    Some(number) => Event::Order(self.order(number)),
                    None => Event::NoOrder,
                }
            }
            Action::FetchOrder { url } => match numbers(url).first() {
                Some(number) if *number < self.orders.len() => Event::Order(self.order(*number)),
                _ => gone("no such order"),
            },
            Action::FetchAuthorization { url } => self.authorization(url, now),
            Action::Locate { name } => Event::Located(TxtRecord {
                provider: "dns".to_owned(),
                zone: "zone".to_owned(),
                name: name.clone(),
                value: String::new(),
                id: None,
                published: false,
            }),
            Action::Publish(txt) => {
                self.txt.insert((txt.name.clone(), txt.value.clone()));
                Event::Published { id: None }
            }
            Action::Unpublish(txt) => {
                self.txt.remove(&(txt.name.clone(), txt.value.clone()));
                Event::Done
            }
            Action::Verify(wanted) => {
                let all = wanted.iter().all(|txt| self.txt.contains(&(txt.name.clone(), txt.value.clone())));
                if all { Event::Visible } else { Event::NotVisible("a record is missing".to_owned()) }
            }
            Action::Trigger { challenge } => self.trigger(challenge),
            Action::Finalize { order, .. } => {
                let number = numbers(order)[0];
                let made = &mut self.orders[number];
                made.issued = true;
                self.open.remove(&made.names);
                Event::Order(self.order(number))
            }
            Action::Download { .. } => self.issue(spec, now, store),
            Action::Restore { .. } => gone("no such certificate"),
            Action::Install => {
                store.installed = store.staged.clone();
                store.pending_key = None;
                Event::Done
            }
            Action::RenewalInfo { .. } => {
                let held = store.installed.as_ref().filter(|_| self.ari);
                let info = held.map(|held| self.renewal_window(held, now));
                Event::RenewalInfo { info, retry_after: Some(self.retry_after), date: Some(now) }
            }
            Action::Deploy
            | Action::Rollback
            | Action::Journal(_)
            | Action::Note(_)
            | Action::Alert(_)
            | Action::Wait { .. } => Event::Done,
        }
    }

    /// Registers an account, unless the store has one.
    fn register(&mut self, store: &mut SimulatedStore) -> Event {
        // The key is stored before the registration, so that a repeated registration finds the same account.
        if !store.account {
            store.account = true;
            self.accounts += 1;
        }
        Event::Account
    }

    /// Returns an authorization. The CA completes the validation of a triggered challenge by the second fetch.
    fn authorization(&mut self, url: &str, now: Time) -> Event {
        let [number, name] = numbers(url)[..] else { return gone("no such authorization") };
        let made = &mut self.orders[number];
        if made.triggered.contains(&name) {
            made.valid.insert(name);
            self.authorized.insert(made.names[name].base().to_owned(), now.after(self.reuse));
        }
        let processing = made.triggered.contains(&name);
        Event::Authorization(Authorization {
            url: url.to_owned(),
            name: made.names[name].base().to_owned(),
            status: if made.valid.contains(&name) { Status::Valid } else { Status::Pending },
            challenge: Some(format!("challenge/{number}/{name}")),
            challenge_status: if processing { Status::Processing } else { Status::Pending },
            value: format!("value-{number}-{name}"),
            problem: None,
            retry_after: None,
        })
    }

    /// Triggers the validation of a challenge, whose TXT record must be published.
    fn trigger(&mut self, challenge: &str) -> Event {
        let [number, name] = numbers(challenge)[..] else { return gone("no such challenge") };
        let made = &mut self.orders[number];
        let at = made.names[name].challenge();
        if !self.txt.contains(&(at, format!("value-{number}-{name}"))) {
            return gone("the CA does not see the record");
        }
        if !made.triggered.insert(name) {
            self.triggers_twice += 1;
        }
        Event::Done
    }

    /// Issues a certificate for the pending key, and stages it.
    fn issue(&mut self, spec: &CertificateSpec, now: Time, store: &mut SimulatedStore) -> Event {
        self.serial += 1;
        let (begin, end) = (now.before(Duration::from_secs(3600)), now.after(self.lifetime_of(spec)));
        let mut held = CertificateInfo::new(spec.names.clone(), begin, end);
        held.serial = self.serial.to_string();
        held.public_key = store.pending_key.unwrap_or_default().to_string();
        spec.key_type.as_str().clone_into(&mut held.key_type);
        held.ari = Some(format!("{}.{}", spec.id, self.serial));
        held.authority = Some("ca".to_owned());
        held.profile.clone_from(&spec.profile);
        store.staged = Some(held.clone());
        Event::Staged(Box::new(held))
    }

    /// Returns the renewal window of a certificate: around two thirds of its lifetime, or in the past if it was
    /// revoked.
    fn renewal_window(&self, held: &CertificateInfo, now: Time) -> RenewalInfo {
        if held.not_before < self.revoked_before {
            return RenewalInfo { start: held.not_before, end: now.before(DAY), explanation: None };
        }
        let two_thirds = held.not_before.after(held.lifetime() * 2 / 3);
        RenewalInfo {
            start: two_thirds.before(held.lifetime() / 60),
            end: two_thirds.after(held.lifetime() / 60),
            explanation: None,
        }
    }
}

impl SimulatedStore {
    /// Creates the key of the next certificate, unless there is one.
    fn create_key(&mut self) -> Event {
        if self.pending_key.is_none() {
            self.keys += 1;
            self.pending_key = Some(self.keys);
        }
        Event::Key { public_key: self.pending_key.unwrap_or_default().to_string() }
    }
}

/// Returns the event that the CA does not know the object of a request.
fn gone(why: &str) -> Event {
    Event::Error(AcmeError::new(ErrorKind::OrderGone, why))
}

/// Returns the numbers among the segments of a URL.
fn numbers(url: &str) -> Vec<usize> {
    url.split('/').filter_map(|part| part.parse().ok()).collect()
}

/// Returns whether an action is a request to the CA.
const fn is_ca_request(action: &Action) -> bool {
    match action {
        Action::Directory { .. }
        | Action::Account { .. }
        | Action::NewOrder { .. }
        | Action::FindOrder
        | Action::FetchOrder { .. }
        | Action::FetchAuthorization { .. }
        | Action::Trigger { .. }
        | Action::Finalize { .. }
        | Action::Download { .. }
        | Action::Restore { .. }
        | Action::RenewalInfo { .. } => true,
        Action::Preflight { .. }
        | Action::Key
        | Action::Locate { .. }
        | Action::Publish(_)
        | Action::Unpublish(_)
        | Action::Verify(_)
        | Action::Install
        | Action::Deploy
        | Action::Rollback
        | Action::Journal(_)
        | Action::Note(_)
        | Action::Alert(_)
        | Action::Wait { .. } => false,
    }
}

/// The simulated store, which persists when a machine is killed. Keys are represented by numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedStore {
    pub(super) journal: Vec<Record>,
    pub(super) account: bool,
    pub(super) pending_key: Option<u32>,
    pub(super) keys: u32,
    pub(super) staged: Option<CertificateInfo>,
    pub(super) installed: Option<CertificateInfo>,
}
