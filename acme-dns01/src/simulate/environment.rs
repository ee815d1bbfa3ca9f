//! The simulated environment of a machine: CA, DNS, and a store that persists when the machine is killed.

use crate::ledger::{Entry, Ledger};
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
    /// `true` if the CA lists the orders of an account, so that an interrupted order can be found again.
    pub(super) lists_orders: bool,
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
    /// Creates a CA with lifetimes of 90 days, ARI and no reuse of authorizations, and an empty DNS. If `lists_orders`,
    /// the CA lists the orders of an account.
    pub(super) fn new(lists_orders: bool) -> Self {
        Self {
            orders: Vec::new(),
            open: HashMap::new(),
            authorized: HashMap::new(),
            reuse: Duration::ZERO,
            retry_after: Duration::from_secs(6 * 3600),
            txt: BTreeSet::new(),
            accounts: 0,
            lists_orders,
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
    fn new_order(&mut self, spec: &CertificateSpec, exempt: bool, now: Time) -> Result<Order, AcmeError> {
        if let Some(number) = self.open_order(&spec.names).filter(|_| !self.lists_orders) {
            // Boulder also returns the existing order.
            return Ok(self.order(number));
        }
        if self.served.permit(now, "ca", &spec.names, exempt, &spec.limits).is_err() {
            self.limited += 1;
            let retry_after = Some(Duration::from_secs(3600));
            return Err(AcmeError::new(ErrorKind::RateLimited, "too many").after(retry_after));
        }
        let (authority, names) = ("ca".to_owned(), spec.names.clone());
        self.served.record(
            Entry::Order { at: now, authority, names, exempt, void: false },
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
        let gone = |why: &str| Event::Error(AcmeError::new(ErrorKind::OrderGone, why));
        let away = now < self.away;
        let numbers =
            |url: &str| -> Vec<usize> { url.split('/').filter_map(|part| part.parse().ok()).collect() };
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
            | Action::RenewalInfo { .. }
                if away =>
            {
                Event::Error(AcmeError::new(ErrorKind::Transient, "the CA is away"))
            }
            Action::Directory { .. } => Event::Directory { date: Some(now), renewal_info: self.ari },
            Action::Account { .. } => {
                // The key is stored before the registration, so that a repeated registration finds the same account.
                if !store.account {
                    store.account = true;
                    self.accounts += 1;
                }
                Event::Account
            }
            Action::Preflight { .. } => Event::Clear,
            Action::Key => {
                if store.pending_key.is_none() {
                    store.keys += 1;
                    store.pending_key = Some(store.keys);
                }
                Event::Key { public_key: store.pending_key.unwrap_or_default().to_string() }
            }
            Action::NewOrder { replaces } => {
                let exempt = replaces.is_some() && self.ari;
                self.new_order(spec, exempt, now).map_or_else(Event::Error, Event::Order)
            }
            Action::FindOrder => match self.open_order(&spec.names).filter(|_| self.lists_orders) {
                Some(number) => Event::Order(self.order(number)),
                None => Event::NoOrder,
            },
            Action::FetchOrder { url } => match numbers(url).first() {
                Some(number) if *number < self.orders.len() => Event::Order(self.order(*number)),
                _ => gone("no such order"),
            },
            Action::FetchAuthorization { url } => {
                let [number, name] = numbers(url)[..] else { return gone("no such authorization") };
                let made = &mut self.orders[number];
                if made.triggered.contains(&name) {
                    // The CA completes the validation by the second fetch.
                    made.valid.insert(name);
                    self.authorized.insert(made.names[name].base().to_owned(), now.after(self.reuse));
                }
                let processing = made.triggered.contains(&name);
                Event::Authorization(Authorization {
                    url: url.clone(),
                    name: made.names[name].base().to_owned(),
                    status: if made.valid.contains(&name) { Status::Valid } else { Status::Pending },
                    challenge: Some(format!("challenge/{number}/{name}")),
                    challenge_status: if processing { Status::Processing } else { Status::Pending },
                    value: format!("value-{number}-{name}"),
                    problem: None,
                    retry_after: None,
                })
            }
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
            Action::Trigger { challenge } => {
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
            Action::Finalize { order, .. } => {
                let number = numbers(order)[0];
                let made = &mut self.orders[number];
                made.issued = true;
                self.open.remove(&made.names);
                Event::Order(self.order(number))
            }
            Action::Download { .. } => {
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
            Action::Restore { .. } => gone("no such certificate"),
            Action::Install => {
                store.installed = store.staged.clone();
                store.pending_key = None;
                Event::Done
            }
            Action::RenewalInfo { .. } => {
                let held = store.installed.clone();
                let info = held.filter(|_| self.ari).map(|held| {
                    if held.not_before < self.revoked_before {
                        return RenewalInfo {
                            start: held.not_before,
                            end: now.before(DAY),
                            explanation: None,
                        };
                    }
                    let two_thirds = held.not_before.after(held.lifetime() * 2 / 3);
                    RenewalInfo {
                        start: two_thirds.before(held.lifetime() / 60),
                        end: two_thirds.after(held.lifetime() / 60),
                        explanation: None,
                    }
                });
                Event::RenewalInfo { info, retry_after: Some(self.retry_after), date: Some(now) }
            }
            Action::Deploy | Action::Rollback | Action::Journal(_) | Action::Note(_) | Action::Alert(_) => {
                Event::Done
            }
            Action::Wait { .. } => Event::Done,
        }
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
