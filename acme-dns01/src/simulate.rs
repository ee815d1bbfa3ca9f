//! A simulated CA, DNS and clock: ten years of renewals in seconds, and machines that are killed anywhere.
//!
//! Everything is deterministic: the same seed gives the same years.

use crate::ledger::{Entry, Ledger, Limits};
use crate::lifetime::{CertificateInfo, RenewalInfo};
use crate::machine::{
    AcmeError, Action, Alert, Authorization, ErrorKind, Event, Machine, Order, Record, Spec, State, Status,
    Txt,
};
use crate::name::Name;
use crate::time::{DAY, Time};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

/// Results of a simulation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Orders in all.
    pub orders: u64,
    /// Orders in the busiest week.
    pub most_orders_a_week: u64,
    /// Shortest remaining lifetime of any certificate at its renewal.
    pub nearest_miss: Duration,
    /// Certificates that expired.
    pub expired: u64,
    /// Requests that the CA refused because of a limit.
    pub limited: u64,
    /// Requests that were not made, because the ledger said no.
    pub spared: u64,
    /// TXT records that were left.
    pub leftover: usize,
    /// Events of the simulated world, in order.
    pub events: Vec<(Time, &'static str)>,
    /// Certificates that expired or met a limit, in order; the first hundred.
    pub incidents: Vec<Incident>,
}

/// Harm to one certificate in a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incident {
    /// Time in the simulated world.
    pub at: Time,
    /// Id of the certificate.
    pub certificate: String,
    /// Kind of the harm.
    pub kind: IncidentKind,
}

/// Kind of an [`Incident`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IncidentKind {
    /// It expired before it was renewed.
    Expired,
    /// The CA refused its order because of a limit.
    Refused,
    /// The ledger held its order back; the limit.
    HeldBack(String),
}

/// Events of a simulated decade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scenario {
    /// The calendar that Let's Encrypt announced: 64 days from 2027-02-10, 45 days and authorizations that are reused for
    /// 7 hours from 2028-02-16; with outages and a mass revocation.
    #[default]
    Announced,
    /// From 90 over 64 and 45 to 6 days within three years, with outages, weeks without ARI and mass revocations.
    Shrinking,
}

const INCIDENTS: usize = 100;

impl Report {
    fn incident(&mut self, at: Time, certificate: &str, kind: IncidentKind) {
        if self.incidents.len() < INCIDENTS {
            self.incidents.push(Incident { at, certificate: certificate.to_owned(), kind });
        }
    }
}

/// Results of a run with kills.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KillReport {
    /// Orders that the CA made.
    pub orders: usize,
    /// Certificates that the CA issued.
    pub certificates: usize,
    /// TXT records of ours that are left.
    pub leftover: usize,
    /// Accounts that the CA made.
    pub accounts: usize,
    /// TXT records of others that are left, of one.
    pub foreign: usize,
    /// Challenges that were triggered after the CA had begun to validate.
    pub triggers_twice: usize,
}

/// A change of the simulated world: its time, a description, its effect.
type CalendarChange = (Time, &'static str, fn(&mut Environment, Time));

/// xorshift: what is random here needs no more.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides.max(1)
    }
}

#[derive(Clone, Debug)]
struct SimulatedOrder {
    names: Vec<Name>,
    /// Valid authorizations, of as many as there are names.
    valid: BTreeSet<usize>,
    triggered: BTreeSet<usize>,
    issued: bool,
    at: Time,
}

/// Everything around a machine: its CA and its DNS.
#[derive(Debug)]
struct Environment {
    orders: Vec<SimulatedOrder>,
    /// The newest order for the same names that is still open.
    open: HashMap<Vec<Name>, usize>,
    /// Authorizations that are valid, and until when.
    authorized: HashMap<String, Time>,
    /// Time for which a valid authorization is reused.
    reuse: Duration,
    retry_after: Duration,
    txt: BTreeSet<(String, String)>,
    accounts: usize,
    lists_orders: bool,
    lifetime: Duration,
    /// The CA is away until then.
    away: Time,
    ari: bool,
    /// Certificates made before this are revoked: ARI says to replace them at once.
    revoked_before: Time,
    served: Ledger,
    limited: u64,
    triggers_twice: usize,
    serial: u64,
}

impl Environment {
    fn new(lists_orders: bool) -> Self {
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

    fn open_order(&self, names: &[Name]) -> Option<usize> {
        self.open.get(names).copied()
    }

    fn new_order(&mut self, spec: &Spec, exempt: bool, now: Time) -> Result<Order, AcmeError> {
        if let Some(number) = self.open_order(&spec.names).filter(|_| !self.lists_orders) {
            // As Boulder does.
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

    /// Returns the lifetime of a new certificate: profiles of Let's Encrypt have their own.
    fn lifetime_of(&self, spec: &Spec) -> Duration {
        match spec.profile.as_deref() {
            Some("shortlived") => Duration::from_secs(160 * 3600),
            Some("tlsserver") => self.lifetime.min(DAY * 45),
            _ => self.lifetime,
        }
    }

    /// Answers an action. Its effect takes place before the answer.
    fn answer(&mut self, action: &Action, spec: &Spec, now: Time, store: &mut SimulatedStore) -> Event {
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
                // The key is stored first, so that it finds the same account again.
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
                    // Seen by the CA at the second look.
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
            Action::Locate { name } => Event::Located(Txt {
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

/// The store, which outlives a machine.
#[derive(Clone, Debug, Default)]
struct SimulatedStore {
    journal: Vec<Record>,
    account: bool,
    pending_key: Option<u32>,
    keys: u32,
    staged: Option<CertificateInfo>,
    installed: Option<CertificateInfo>,
}

/// One first certificate, by a machine that is killed: each number is after how many actions, before or after the action
/// had its effect (odd: the effect is there, but nobody heard of it).
#[must_use]
pub fn killed(kills: &[u32], lists_orders: bool, seed: u64) -> KillReport {
    let names: Vec<Name> = ["*.example.org", "example.org", "www.example.org"]
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    let spec = Spec::new(names, "ca");
    let mut random = Random(seed | 1);
    let mut environment = Environment::new(lists_orders);
    let foreign = ("_acme-challenge.example.org".to_owned(), "of somebody else".to_owned());
    environment.txt.insert(foreign.clone());
    let mut store = SimulatedStore::default();
    let mut ledger = Ledger::default();
    let mut now = Time::from_secs(1_800_000_000);
    let mut kills = kills.iter();
    let mut left = kills.next().copied();
    let mut machine = Machine::new(spec.clone(), State::default());
    for _ in 0..20_000 {
        let action = machine.poll(now, &ledger);
        if let Action::Wait { until, .. } = &action {
            let state = machine.state();
            if machine.rests() && state.held.is_some() && !state.undeployed && state.txt.is_empty() {
                break;
            }
            now = (*until).max(now.after(Duration::from_millis(1 + random.below(50))));
            continue;
        }
        let kill = left == Some(0);
        left = match left {
            Some(0) => kills.next().copied(),
            left => left.map(|left| left - 1),
        };
        // Half of the kills come before the effect, half after it.
        let effect = !kill || random.below(2) == 0;
        let mut event = Event::Done;
        if effect {
            match &action {
                Action::Journal(record) => store.journal.push(record.clone()),
                Action::Note(entry) => ledger.record(entry.clone(), now, &Limits::default()),
                action => event = environment.answer(action, &spec, now, &mut store),
            }
        }
        if kill {
            now = now.after(Duration::from_secs(1 + random.below(4000)));
            machine = Machine::new(spec.clone(), State::replay(&store.journal));
        } else {
            machine.handle(event, now);
        }
    }
    let foreign_left = usize::from(environment.txt.remove(&foreign));
    KillReport {
        orders: environment.orders.len(),
        certificates: environment.orders.iter().filter(|made| made.issued).count(),
        leftover: environment.txt.len(),
        accounts: environment.accounts,
        foreign: foreign_left,
        triggers_twice: environment.triggers_twice,
    }
}

/// One certificate of this lifetime for so many days, on a machine whose clock is ahead (or behind, if negative) by so many
/// seconds. The CA's clock is right, and so are the times in the result. With `restarts`, nothing but the journal lives longer
/// than six hours, as under a timer.
#[must_use]
pub fn skewed(lifetime: Duration, days: u32, ahead: i64, restarts: bool) -> Report {
    let begin = Time::from_secs(1_795_000_000);
    let end = begin.after(DAY * days);
    let ahead = ahead.saturating_mul(1000);
    let spec = Spec::new("host.example.org".parse::<Name>().ok(), "ca");
    let mut environment = Environment::new(false);
    environment.lifetime = lifetime;
    let mut store = SimulatedStore::default();
    let mut ledger = Ledger::default();
    let mut machine = Machine::new(spec.clone(), State::default());
    let mut result = Report { nearest_miss: lifetime, ..Report::default() };
    let mut now = begin;
    while now < end {
        let local = now.shifted(ahead);
        let action = machine.poll(local, &ledger);
        let event = match &action {
            Action::Wait { until, .. } => {
                let next = until.shifted(-ahead).max(now.after(Duration::from_secs(1)));
                let timer = now.after(Duration::from_secs(6 * 3600));
                if restarts && machine.rests() {
                    now = timer;
                    machine = Machine::new(spec.clone(), State::replay(&store.journal));
                } else {
                    now = next;
                }
                if let Some(held) = &store.installed {
                    let left = held.not_after.since(now);
                    result.nearest_miss = result.nearest_miss.min(left);
                    result.expired += u64::from(left.is_zero());
                }
                continue;
            }
            Action::Journal(record) => {
                store.journal.push(record.clone());
                Event::Done
            }
            Action::Note(entry) => {
                ledger.record(entry.clone(), local, &spec.limits);
                Event::Done
            }
            Action::Alert(Alert::Clock { .. }) => {
                result.events.push((now, "the clock is off"));
                Event::Done
            }
            action => environment.answer(action, &spec, now, &mut store),
        };
        machine.handle(event, local);
        // Nothing is instant; a machine that never waits comes to an end too.
        now = now.after(Duration::from_millis(50));
    }
    result.orders = environment.orders.len() as u64;
    result.limited = environment.limited;
    result.leftover = environment.txt.len();
    result
}

/// Ten years of this many certificates, from 90 over 64 and 45 to 6 days, with outages of the CA, weeks without ARI and a
/// mass revocation.
#[must_use]
pub fn decade(certificates: usize, seed: u64) -> Report {
    let specs: Vec<Spec> = (0..certificates)
        .map(|number| {
            let name = format!("host{number}.domain{}.example.org", number % 5);
            let mut spec = Spec::new(name.parse::<Name>().ok(), "ca");
            spec.plan.turn = u16::try_from(number * 997 % 1000).unwrap_or(500);
            spec
        })
        .collect();
    decade_of(&specs, seed)
}

/// Ten years of these certificates, all from one authority.
#[must_use]
pub fn decade_of(specs: &[Spec], seed: u64) -> Report {
    play(specs, Scenario::Shrinking, Time::from_secs(1_795_000_000), seed)
}

/// Plays a scenario over these certificates, all from one authority, from `begin` on for ten years.
///
/// The CA asks for renewal information every six hours; once a day for more than a hundred certificates.
#[must_use]
pub fn play(specs: &[Spec], scenario: Scenario, begin: Time, seed: u64) -> Report {
    let mut environment = Environment::new(false);
    if specs.len() > 100 {
        environment.retry_after = DAY;
    }
    let mut ledger = Ledger::default();
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut result = Report { nearest_miss: DAY * 3650, ..Report::default() };
    let mut machines: Vec<(Machine, SimulatedStore, Spec)> = specs
        .iter()
        .map(|spec| {
            let mut spec = spec.clone();
            spec.authorities = vec!["ca".to_owned()];
            spec.directories.clear();
            (Machine::new(spec.clone(), State::default()), SimulatedStore::default(), spec)
        })
        .collect();
    let changes = calendar(scenario, begin);
    let mut coming = changes.iter().peekable();
    let end = begin.after(DAY * 3650);
    let mut queue: BinaryHeap<Reverse<(Time, usize)>> =
        (0..machines.len()).map(|at| Reverse((begin, at))).collect();
    while let Some(Reverse((now, next))) = queue.pop() {
        if now >= end {
            break;
        }
        while let Some((_, what, change)) = coming.next_if(|(at, ..)| now >= *at) {
            change(&mut environment, now);
            result.events.push((now, *what));
        }
        let (machine, store, spec) = &mut machines[next];
        let wake = step(machine, store, spec, &mut environment, &mut ledger, now, &mut result);
        // Nothing in the world is exact to the second.
        let later = Duration::from_secs(random.below(30));
        queue.push(Reverse((wake.max(now.after(Duration::from_secs(1))).after(later), next)));
    }
    for (machine, ..) in &machines {
        if machine.state().held.as_ref().is_none_or(|held| held.not_after <= end) {
            result.expired += 1;
            result.incident(end, &machine.spec().id, IncidentKind::Expired);
        }
    }
    result.orders = environment.orders.len() as u64;
    result.limited = environment.limited;
    result.leftover = environment.txt.len();
    let mut week: VecDeque<Time> = VecDeque::new();
    for made in &environment.orders {
        week.push_back(made.at);
        while week.front().is_some_and(|first| made.at.since(*first) > DAY * 7) {
            week.pop_front();
        }
        result.most_orders_a_week = result.most_orders_a_week.max(week.len() as u64);
    }
    result
}

/// Runs a machine until it waits. Returns until when.
fn step(
    machine: &mut Machine,
    store: &mut SimulatedStore,
    spec: &Spec,
    environment: &mut Environment,
    ledger: &mut Ledger,
    now: Time,
    result: &mut Report,
) -> Time {
    loop {
        let action = machine.poll(now, ledger);
        let event = match &action {
            Action::Wait { until, why } => {
                if why.contains("limit") {
                    result.spared += 1;
                    result.incident(now, &spec.id, IncidentKind::HeldBack(why.clone()));
                }
                return *until;
            }
            Action::Journal(Record::Installed { .. }) => {
                if let Some(before) = &machine.state().held {
                    let left = before.not_after.since(now);
                    result.nearest_miss = result.nearest_miss.min(left);
                    if left.is_zero() {
                        result.expired += 1;
                        result.incident(before.not_after, &spec.id, IncidentKind::Expired);
                    }
                }
                Event::Done
            }
            Action::Note(entry) => {
                ledger.record(entry.clone(), now, &spec.limits);
                Event::Done
            }
            action => {
                let limited = environment.limited;
                let event = environment.answer(action, spec, now, store);
                if environment.limited > limited {
                    result.incident(now, &spec.id, IncidentKind::Refused);
                }
                event
            }
        };
        machine.handle(event, now);
    }
}

fn calendar(scenario: Scenario, begin: Time) -> Vec<CalendarChange> {
    let day = |day: u32| begin.after(DAY * day);
    let date = |text: &str| Time::parse_rfc3339(text).unwrap_or_default();
    let mut changes: Vec<CalendarChange> = match scenario {
        Scenario::Announced => vec![
            (begin, "90 days; authorizations are reused for 30 days", |environment, _| {
                environment.reuse = DAY * 30;
            }),
            (
                date("2027-02-10T00:00:00Z"),
                "64 days; authorizations are reused for 10 days",
                |environment, _| {
                    (environment.lifetime, environment.reuse) = (DAY * 64, DAY * 10);
                },
            ),
            (
                date("2028-02-16T00:00:00Z"),
                "45 days; authorizations are reused for 7 hours",
                |environment, _| {
                    (environment.lifetime, environment.reuse) = (DAY * 45, Duration::from_secs(7 * 3600));
                },
            ),
            (day(150), "the CA is away for a day", |environment, now| environment.away = now.after(DAY)),
            (day(700), "mass revocation", |environment, now| environment.revoked_before = now),
            (day(1100), "the CA is away for a day", |environment, now| environment.away = now.after(DAY)),
        ],
        Scenario::Shrinking => vec![
            (day(70), "the CA is away for 3 days", |environment, now| environment.away = now.after(DAY * 3)),
            (day(80), "64 days", |environment, _| environment.lifetime = DAY * 64),
            (day(300), "no ARI", |environment, _| environment.ari = false),
            (day(400), "ARI again", |environment, _| environment.ari = true),
            (day(445), "45 days", |environment, _| environment.lifetime = DAY * 45),
            (day(700), "mass revocation", |environment, now| environment.revoked_before = now),
            (day(1000), "6 days", |environment, _| environment.lifetime = DAY * 6 + DAY * 2 / 3),
            (day(1100), "the CA is away for a day", |environment, now| environment.away = now.after(DAY)),
            (day(1500), "mass revocation", |environment, now| environment.revoked_before = now),
            (day(2000), "no ARI", |environment, _| environment.ari = false),
            (day(2600), "ARI again", |environment, _| environment.ari = true),
            (day(3000), "the CA is away for 30 hours", |environment, now| {
                environment.away = now.after(DAY + DAY / 4);
            }),
        ],
    };
    changes.sort_by_key(|(at, ..)| *at);
    changes
}
