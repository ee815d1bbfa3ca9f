//! A CA, a DNS and a clock that are not real: for the simulated decade, and for machines that are killed anywhere.
//!
//! Everything is deterministic: the same seed gives the same years.

use crate::ledger::{Entry, Ledger, Limits};
use crate::lifetime::{Held, RenewalInfo};
use crate::machine::{
    Action, Alert, Authorization, Event, Machine, Order, Record, Spec, State, Status, Trouble, TroubleKind,
    Txt,
};
use crate::name::Name;
use crate::time::{DAY, Time};
use std::collections::BTreeSet;
use std::time::Duration;

/// What ten years came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decade {
    /// Orders in all.
    pub orders: u64,
    /// Orders in the busiest week.
    pub most_orders_a_week: u64,
    /// How much life the certificate had left that came nearest to its end.
    pub nearest_miss: Duration,
    /// Certificates that expired.
    pub expired: u64,
    /// Requests that the CA refused because of a limit.
    pub limited: u64,
    /// Requests that were not made, because the ledger said no.
    pub spared: u64,
    /// TXT records that were left.
    pub leftover: usize,
    /// What happened, in order.
    pub events: Vec<(Time, &'static str)>,
}

/// What a machine that was killed again and again came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
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

/// A day, what happens then in words, and what it does.
type Change = (u32, &'static str, fn(&mut World, Time));

/// xorshift: what is random here needs no more.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides.max(1)
    }
}

#[derive(Clone, Debug)]
struct OrderMade {
    names: Vec<Name>,
    /// Valid authorizations, of as many as there are names.
    valid: BTreeSet<usize>,
    triggered: BTreeSet<usize>,
    issued: bool,
    at: Time,
    exempt: bool,
}

/// The world around a machine: its CA, its DNS.
#[derive(Debug)]
struct World {
    orders: Vec<OrderMade>,
    txt: BTreeSet<(String, String)>,
    accounts: usize,
    lists_orders: bool,
    lifetime: Duration,
    /// The CA is away until then.
    away: Time,
    ari: bool,
    /// Certificates made before this are revoked: ARI says to replace them at once.
    revoked_before: Time,
    limits: Limits,
    served: Ledger,
    limited: u64,
    triggers_twice: usize,
    serial: u64,
}

impl World {
    fn new(lists_orders: bool) -> Self {
        Self {
            orders: Vec::new(),
            txt: BTreeSet::new(),
            accounts: 0,
            lists_orders,
            lifetime: DAY * 90,
            away: Time::default(),
            ari: true,
            revoked_before: Time::default(),
            limits: Limits::default(),
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
        self.orders.iter().rposition(|made| made.names == names && !made.issued)
    }

    fn new_order(&mut self, spec: &Spec, exempt: bool, now: Time) -> Result<Order, Trouble> {
        if let Some(number) = self.open_order(&spec.names).filter(|_| !self.lists_orders) {
            // As Boulder does.
            return Ok(self.order(number));
        }
        if self.served.permit(now, "ca", &spec.names, exempt, &self.limits).is_err() {
            self.limited += 1;
            let retry_after = Some(Duration::from_secs(3600));
            return Err(Trouble { kind: TroubleKind::RateLimited, why: "too many".to_owned(), retry_after });
        }
        let (authority, names) = ("ca".to_owned(), spec.names.clone());
        self.served.record(
            Entry::Order { at: now, authority, names, exempt, void: false },
            now,
            &self.limits,
        );
        self.orders.push(OrderMade {
            names: spec.names.clone(),
            valid: BTreeSet::new(),
            triggered: BTreeSet::new(),
            issued: false,
            at: now,
            exempt,
        });
        Ok(self.order(self.orders.len() - 1))
    }

    /// What the world answers. An action that has an effect has it before the answer.
    fn answer(&mut self, action: &Action, spec: &Spec, now: Time, store: &mut Shelf) -> Event {
        let gone = |why: &str| Event::Error(Trouble::new(TroubleKind::OrderGone, why));
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
            | Action::RenewalInfo { .. }
                if away =>
            {
                Event::Error(Trouble::new(TroubleKind::Transient, "the CA is away"))
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
                self.orders[number].issued = true;
                Event::Order(self.order(number))
            }
            Action::Download { .. } => {
                self.serial += 1;
                let held = Held {
                    names: spec.names.clone(),
                    not_before: now.before(Duration::from_secs(3600)),
                    not_after: now.after(self.lifetime),
                    serial: self.serial.to_string(),
                    public_key: store.pending_key.unwrap_or_default().to_string(),
                    key_type: spec.key_type.as_str().to_owned(),
                    ari: Some(format!("{}.{}", spec.id, self.serial)),
                    authority: Some("ca".to_owned()),
                    profile: None,
                };
                store.staged = Some(held.clone());
                Event::Staged(Box::new(held))
            }
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
                Event::RenewalInfo { info, retry_after: Some(Duration::from_secs(6 * 3600)), date: Some(now) }
            }
            Action::Deploy | Action::Rollback | Action::Journal(_) | Action::Note(_) | Action::Alert(_) => {
                Event::Done
            }
            Action::Wait { .. } => Event::Done,
        }
    }
}

/// What survives a machine: its store.
#[derive(Clone, Debug, Default)]
struct Shelf {
    journal: Vec<Record>,
    account: bool,
    pending_key: Option<u32>,
    keys: u32,
    staged: Option<Held>,
    installed: Option<Held>,
}

/// One first certificate, by a machine that is killed: each number is after how many actions, before or after the action
/// had its effect (odd: the effect is there, but nobody heard of it).
#[must_use]
pub fn killed(kills: &[u32], lists_orders: bool, seed: u64) -> Killed {
    let names: Vec<Name> = ["*.example.org", "example.org", "www.example.org"]
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    let spec = Spec::new(names, "ca");
    let mut dice = Dice(seed | 1);
    let mut world = World::new(lists_orders);
    let foreign = ("_acme-challenge.example.org".to_owned(), "of somebody else".to_owned());
    world.txt.insert(foreign.clone());
    let mut shelf = Shelf::default();
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
            now = (*until).max(now.after(Duration::from_millis(1 + dice.roll(50))));
            continue;
        }
        let kill = left == Some(0);
        left = match left {
            Some(0) => kills.next().copied(),
            left => left.map(|left| left - 1),
        };
        // Half of the kills come before the effect, half after it.
        let effect = !kill || dice.roll(2) == 0;
        let mut event = Event::Done;
        if effect {
            match &action {
                Action::Journal(record) => shelf.journal.push(record.clone()),
                Action::Note(entry) => ledger.record(entry.clone(), now, &Limits::default()),
                action => event = world.answer(action, &spec, now, &mut shelf),
            }
        }
        if kill {
            now = now.after(Duration::from_secs(1 + dice.roll(4000)));
            machine = Machine::new(spec.clone(), State::replay(&shelf.journal));
        } else {
            machine.handle(event, now);
        }
    }
    let foreign_left = usize::from(world.txt.remove(&foreign));
    Killed {
        orders: world.orders.len(),
        certificates: world.orders.iter().filter(|made| made.issued).count(),
        leftover: world.txt.len(),
        accounts: world.accounts,
        foreign: foreign_left,
        triggers_twice: world.triggers_twice,
    }
}

/// One certificate of this lifetime for so many days, on a machine whose clock is ahead (or behind, if negative) by so many
/// seconds. The CA's clock is right, and so are the times in the result. With `restarts`, nothing but the journal lives longer
/// than six hours, as under a timer.
#[must_use]
pub fn skewed(lifetime: Duration, days: u32, ahead: i64, restarts: bool) -> Decade {
    let begin = Time::from_secs(1_795_000_000);
    let end = begin.after(DAY * days);
    let ahead = ahead.saturating_mul(1000);
    let spec = Spec::new("host.example.org".parse::<Name>().ok(), "ca");
    let mut world = World::new(false);
    world.lifetime = lifetime;
    let mut shelf = Shelf::default();
    let mut ledger = Ledger::default();
    let mut machine = Machine::new(spec.clone(), State::default());
    let mut result = Decade { nearest_miss: lifetime, ..Decade::default() };
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
                    machine = Machine::new(spec.clone(), State::replay(&shelf.journal));
                } else {
                    now = next;
                }
                if let Some(held) = &shelf.installed {
                    let left = held.not_after.since(now);
                    result.nearest_miss = result.nearest_miss.min(left);
                    result.expired += u64::from(left.is_zero());
                }
                continue;
            }
            Action::Journal(record) => {
                shelf.journal.push(record.clone());
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
            action => world.answer(action, &spec, now, &mut shelf),
        };
        machine.handle(event, local);
        // Nothing is instant; a machine that never waits comes to an end too.
        now = now.after(Duration::from_millis(50));
    }
    result.orders = world.orders.len() as u64;
    result.limited = world.limited;
    result.leftover = world.txt.len();
    result
}

/// Ten years of this many certificates, from 90 over 64 and 45 to 6 days, with outages of the CA, weeks without ARI and a
/// mass revocation.
#[must_use]
pub fn decade(certificates: usize, seed: u64) -> Decade {
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
pub fn decade_of(specs: &[Spec], seed: u64) -> Decade {
    let begin = Time::from_secs(1_795_000_000);
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut world = World::new(false);
    let mut ledger = Ledger::default();
    let mut result = Decade { nearest_miss: DAY * 3650, ..Decade::default() };
    let mut machines: Vec<(Machine, Shelf, Time)> = specs
        .iter()
        .map(|spec| {
            let mut spec = spec.clone();
            spec.authorities = vec!["ca".to_owned()];
            (Machine::new(spec, State::default()), Shelf::default(), begin)
        })
        .collect();
    let changes: [Change; 12] = [
        (70, "the CA is away for 3 days", |world, now| world.away = now.after(DAY * 3)),
        (80, "64 days", |world, _| world.lifetime = DAY * 64),
        (300, "no ARI", |world, _| world.ari = false),
        (400, "ARI again", |world, _| world.ari = true),
        (445, "45 days", |world, _| world.lifetime = DAY * 45),
        (700, "mass revocation", |world, now| world.revoked_before = now),
        (1000, "6 days", |world, _| world.lifetime = DAY * 6 + DAY * 2 / 3),
        (1100, "the CA is away for a day", |world, now| world.away = now.after(DAY)),
        (1500, "mass revocation", |world, now| world.revoked_before = now),
        (2000, "no ARI", |world, _| world.ari = false),
        (2600, "ARI again", |world, _| world.ari = true),
        (3000, "the CA is away for 30 hours", |world, now| world.away = now.after(DAY + DAY / 4)),
    ];
    let mut coming = changes.iter().peekable();
    let end = begin.after(DAY * 3650);
    loop {
        let Some(next) = machines.iter().enumerate().min_by_key(|(_, machine)| machine.2).map(|(at, _)| at)
        else {
            return result;
        };
        let now = machines[next].2;
        if now >= end {
            break;
        }
        while let Some((_, what, change)) = coming.next_if(|(day, ..)| now >= begin.after(DAY * *day)) {
            change(&mut world, now);
            result.events.push((now, *what));
        }
        let (machine, shelf, wake) = &mut machines[next];
        let spec = machine.spec().clone();
        loop {
            let action = machine.poll(now, &ledger);
            match &action {
                Action::Wait { until, why } => {
                    if why.contains("limit") {
                        result.spared += 1;
                    }
                    // Nothing in the world is exact to the second.
                    *wake = (*until)
                        .max(now.after(Duration::from_secs(1)))
                        .after(Duration::from_secs(dice.roll(30)));
                    break;
                }
                Action::Journal(Record::Installed { held, .. }) => {
                    if let Some(before) = &machine.state().held {
                        let left = before.not_after.since(now);
                        result.nearest_miss = result.nearest_miss.min(left);
                        if left.is_zero() {
                            result.expired += 1;
                        }
                    }
                    debug_assert!(held.not_after > now);
                    machine.handle(Event::Done, now);
                }
                Action::Note(entry) => {
                    ledger.record(entry.clone(), now, &spec.limits);
                    machine.handle(Event::Done, now);
                }
                action => {
                    let event = world.answer(action, &spec, now, shelf);
                    machine.handle(event, now);
                }
            }
        }
    }
    for (machine, ..) in &machines {
        if machine.state().held.as_ref().is_none_or(|held| held.not_after <= end) {
            result.expired += 1;
        }
    }
    result.orders = world.orders.len() as u64;
    result.limited = world.limited;
    result.leftover = world.txt.len();
    let mut week: std::collections::VecDeque<Time> = std::collections::VecDeque::new();
    for made in &world.orders {
        let _ = made.exempt;
        week.push_back(made.at);
        while week.front().is_some_and(|first| made.at.since(*first) > DAY * 7) {
            week.pop_front();
        }
        result.most_orders_a_week = result.most_orders_a_week.max(week.len() as u64);
    }
    result
}
