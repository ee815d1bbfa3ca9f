//! Deterministic simulation of CA, DNS and clock: ten years of renewals in seconds, and machines that are killed at any
//! point.

mod environment;
mod killed;

pub use environment::OrderLists;
pub use killed::{KillReport, simulate_kills};

use crate::ledger::Ledger;
use crate::machine::{Action, Alert, CertificateSpec, Event, Machine, Record, State};
use crate::name::Name;
use crate::time::{DAY, Time};
use environment::{Environment, Random, SimulatedStore};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// Results of a simulation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Number of orders that the CA created.
    pub orders: u64,
    /// Maximum number of orders within any seven days. 0 under [`simulate_clock_skew`].
    pub most_orders_a_week: u64,
    /// Shortest remaining lifetime of a certificate when it was replaced, or at the end of any wait under
    /// [`simulate_clock_skew`]. Without a replacement, the initial bound: ten years, or the lifetime under
    /// [`simulate_clock_skew`].
    pub shortest_remaining: Duration,
    /// Number of certificates that expired before they were replaced, or have expired or are missing at the end. Under
    /// [`simulate_clock_skew`], the number of waits that ended with an expired certificate.
    pub expired: u64,
    /// Number of orders that the CA refused because of a rate limit.
    pub rate_limited: u64,
    /// Number of waits because the ledger withheld an order; 0 under [`simulate_clock_skew`].
    pub withheld: u64,
    /// Number of TXT records that were not removed by the end.
    pub leftover: usize,
    /// Changes of the environment, and alerts about a deviating clock, in order, each with its time.
    pub events: Vec<(Time, &'static str)>,
    /// The first hundred incidents, in order.
    pub incidents: Vec<Incident>,
}

/// An expiry, or an order that a rate limit of the CA or of the ledger prevented, in a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incident {
    /// Simulated time of the incident.
    pub at: Time,
    /// Id of the certificate.
    pub certificate: String,
    /// Kind of the incident.
    pub kind: IncidentKind,
}

/// Kind of an [`Incident`]: an expiry, or an order that was prevented.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IncidentKind {
    /// The certificate expired before it was renewed.
    Expired,
    /// The CA refused an order because of a rate limit.
    Refused,
    /// The ledger withheld an order. The text describes the limit.
    Withheld(String),
}

/// Changes of a simulated environment over time: lifetimes of certificates, outages, revocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scenario {
    /// The schedule announced by Let's Encrypt: lifetimes of 64 days from 2027-02-10 and of 45 days from 2028-02-16,
    /// with authorizations reused for 30 days, then 10 days, then 7 hours; two outages of a day, and a mass revocation.
    #[default]
    Announced,
    /// Lifetimes reduced from 90 to 64, 45 and 6 days within three years, with outages, weeks without ARI and mass
    /// revocations.
    Shrinking,
}

/// Maximum number of incidents in a [`Report`].
const MAX_INCIDENTS: usize = 100;

impl Report {
    /// Appends an incident, unless the report already has [`MAX_INCIDENTS`].
    fn incident(&mut self, at: Time, certificate: &str, kind: IncidentKind) {
        if self.incidents.len() < MAX_INCIDENTS {
            self.incidents.push(Incident { at, certificate: certificate.to_owned(), kind });
        }
    }
}

/// A change of the simulated environment: its time, a description, and the function that applies it at that time.
type CalendarChange = (Time, &'static str, fn(&mut Environment, Time));

/// The restarts of a simulated process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    /// None, as of a daemon.
    Never,
    /// An idle machine is created again from its journal every six hours, as by a systemd timer.
    SixHourly,
}

/// Simulates one certificate of this lifetime for `days` days, on a host whose clock is `ahead` seconds ahead of the
/// CA's, or behind if negative. Times in the report are the CA's. [`Report::expired`] then counts the waits that ended
/// with an expired certificate.
#[must_use]
pub fn simulate_clock_skew(lifetime: Duration, days: u32, ahead: i64, restarts: Restarts) -> Report {
    let begin = Time::from_secs(1_795_000_000);
    let end = begin.after(DAY * days);
    let ahead = ahead.saturating_mul(1000);
    let spec = CertificateSpec::new("host.example.org".parse::<Name>().ok(), "ca");
    let mut environment = Environment::new(OrderLists::Missing);
    environment.lifetime = lifetime;
    let mut store = SimulatedStore::default();
    let mut ledger = Ledger::default();
    let mut machine = Machine::new(spec.clone(), State::default());
    let mut result = Report { shortest_remaining: lifetime, ..Report::default() };
    let mut now = begin;
    while now < end {
        let local = now.shifted(ahead);
        let action = machine.poll(local, &ledger);
        let event = match &action {
            Action::Wait { until, .. } => {
                let next = until.shifted(-ahead).max(now.after(Duration::from_secs(1)));
                let timer = now.after(Duration::from_secs(6 * 3600));
                if restarts == Restarts::SixHourly && machine.rests() {
                    now = timer;
                    machine = Machine::new(spec.clone(), State::replay(&store.journal));
                } else {
                    now = next;
                }
                if let Some(held) = &store.installed {
                    let left = held.not_after.since(now);
                    result.shortest_remaining = result.shortest_remaining.min(left);
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
        // Actions take time, so that a machine that never waits comes to an end too.
        now = now.after(Duration::from_millis(50));
    }
    result.orders = environment.orders.len() as u64;
    result.rate_limited = environment.limited;
    result.leftover = environment.txt.len();
    result
}

/// Simulates ten years of `certificates` certificates, in [`Scenario::Shrinking`]. Deterministic for a `seed`.
#[must_use]
pub fn simulate_decade(certificates: usize, seed: u64) -> Report {
    let specs: Vec<CertificateSpec> = (0..certificates)
        .map(|number| {
            let name = format!("host{number}.domain{}.example.org", number % 5);
            let mut spec = CertificateSpec::new(name.parse::<Name>().ok(), "ca");
            spec.renewal_policy.position = u16::try_from(number * 997 % 1000).unwrap_or(500);
            spec
        })
        .collect();
    simulate_decade_of(&specs, seed)
}

/// Simulates ten years of these certificates, all from one authority, in [`Scenario::Shrinking`]. Deterministic for a
/// `seed`.
#[must_use]
pub fn simulate_decade_of(specs: &[CertificateSpec], seed: u64) -> Report {
    simulate_scenario(specs, Scenario::Shrinking, Time::from_secs(1_795_000_000), seed)
}

/// Simulates a scenario for ten years from `begin`, with these certificates, all from one authority named `ca`.
/// Deterministic for a `seed`.
///
/// The CA requests queries for renewal information every six hours, or once a day for more than a hundred certificates.
#[must_use]
pub fn simulate_scenario(specs: &[CertificateSpec], scenario: Scenario, begin: Time, seed: u64) -> Report {
    let mut environment = Environment::new(OrderLists::Missing);
    if specs.len() > 100 {
        environment.retry_after = DAY;
    }
    let mut ledger = Ledger::default();
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut result = Report { shortest_remaining: DAY * 3650, ..Report::default() };
    let mut machines: Vec<(Machine, SimulatedStore, CertificateSpec)> = specs
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
        // Timers are not exact to the second.
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
    result.rate_limited = environment.limited;
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

/// Performs the actions of a machine at the time `now` until it waits, and adds expiries, refused and withheld orders
/// to `result`. Returns the end of the wait.
fn step(
    machine: &mut Machine,
    store: &mut SimulatedStore,
    spec: &CertificateSpec,
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
                    result.withheld += 1;
                    result.incident(now, &spec.id, IncidentKind::Withheld(why.clone()));
                }
                return *until;
            }
            Action::Journal(Record::Installed { .. }) => {
                if let Some(before) = &machine.state().held {
                    let left = before.not_after.since(now);
                    result.shortest_remaining = result.shortest_remaining.min(left);
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

/// Returns the changes of the environment in a scenario that begins at `begin`, in order of time.
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
