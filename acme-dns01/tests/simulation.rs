//! The machine on a virtual clock: killed anywhere, and for ten years.

use acme_dns01::simulate::{
    KillReport, OrderLists, Report, Restarts, simulate_clock_skew, simulate_decade, simulate_kills,
};
use acme_dns01::{
    AcmeError, Action, Authorization, CertificateSpec, ErrorKind, Event, Ledger, Machine, Order, Record,
    State, Status, Time, TxtRecord,
};
use proptest::prelude::*;
use std::time::Duration;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Fault 27: whatever the schedule of kills, there is at most one order a renewal, and no TXT record of ours is left.
    #[test]
    fn fault_27_random_kill_schedule(kills in prop::collection::vec(0_u32..12, 0..40), lists_orders: bool, seed: u64) {
        let lists = if lists_orders { OrderLists::Served } else { OrderLists::Missing };
        let found = simulate_kills(&kills, lists, seed);
        prop_assert_eq!(found, KillReport { orders: 1, certificates: 1, leftover: 0, accounts: 1, foreign: 1, triggers_twice: 0 });
    }
}

#[test]
fn ten_years_never_expired_never_limited() {
    let live = |seed: u64| {
        let found: Report = simulate_decade(24, seed);
        assert_eq!((found.expired, found.rate_limited), (0, 0), "{found:?}");
        assert!(found.orders > 24 * 40, "{found:?}");
        assert!(found.shortest_remaining.as_secs() > 12 * 3600, "{found:?}");
        assert!(found.most_orders_a_week < 300, "{found:?}");
        assert_eq!(found.leftover, 0);
    };
    std::thread::scope(|scope| {
        let lives: Vec<_> = (0..4).map(|seed| scope.spawn(move || live(seed))).collect();
        for life in lives {
            life.join().expect("it was never expired and never limited");
        }
    });
}

/// The time for places that cannot be asked from here passes before the CA is told.
#[test]
fn the_ca_is_told_only_after_everything_has_settled() {
    let mut spec = CertificateSpec::new(["www.example.org".parse().expect("a name")], "ca");
    spec.timeouts.settle = Duration::from_secs(30);
    let mut machine = Machine::new(spec, State::default());
    let (ledger, mut now) = (Ledger::default(), Time::from_secs(1_800_000_000));
    let mut visible = None;
    for _ in 0..100 {
        let event = match machine.poll(now, &ledger) {
            Action::Wait { until, .. } => {
                now = until;
                continue;
            }
            Action::Trigger { .. } => {
                let visible: Time = visible.expect("it was looked before");
                assert_eq!(now.since(visible), Duration::from_secs(30));
                return;
            }
            Action::Directory { .. } => Event::Directory { date: Some(now), renewal_info: false },
            Action::Account { .. } => Event::Account,
            Action::Preflight { .. } => Event::Clear,
            Action::Key => Event::Key { public_key: "aa".into() },
            Action::NewOrder { .. } => Event::Order(Order {
                url: "o".into(),
                status: Status::Pending,
                authorizations: vec!["a".into()],
                finalize: "f".into(),
                certificate: None,
                problem: None,
                retry_after: None,
            }),
            Action::FetchAuthorization { url } => Event::Authorization(Authorization {
                url,
                name: "www.example.org".into(),
                status: Status::Pending,
                challenge: Some("c".into()),
                challenge_status: Status::Pending,
                value: "v".into(),
                problem: None,
                retry_after: None,
            }),
            Action::Locate { name } => Event::Located(TxtRecord {
                provider: "p".into(),
                zone: "z".into(),
                name,
                value: String::new(),
                id: None,
                published: false,
            }),
            Action::Publish(_) => Event::Published { id: None },
            Action::Verify(_) => {
                visible = Some(now);
                Event::Visible
            }
            Action::Journal(_) | Action::Note(_) | Action::Alert(_) => Event::Done,
            other => panic!("{other:?}"),
        };
        machine.handle(event, now);
    }
    panic!("the CA is never told");
}

/// A line that cannot be written is not tried in a frenzy, and nothing that it comes before is done.
#[test]
fn what_cannot_be_written_down_is_not_done() {
    let spec = CertificateSpec::new(["www.example.org".parse().expect("a name")], "ca");
    let retry = spec.timeouts.retry;
    let mut machine = Machine::new(spec, State::default());
    let (ledger, mut now) = (Ledger::default(), Time::from_secs(1_800_000_000));
    assert!(matches!(machine.poll(now, &ledger), Action::Directory { .. }));
    machine.handle(Event::Directory { date: Some(now), renewal_info: false }, now);
    for tries in 0..5 {
        assert!(matches!(machine.poll(now, &ledger), Action::Journal(_)), "try {tries}");
        machine.handle(Event::Error(AcmeError::new(ErrorKind::Local, "the disk is full")), now);
        let Action::Wait { until, why } = machine.poll(now, &ledger) else { panic!("it does not wait") };
        assert_eq!((until.since(now), why.as_str()), (retry * 2_u32.pow(tries), "the disk is full"));
        now = until;
    }
    assert!(matches!(machine.poll(now, &ledger), Action::Journal(_)));
    machine.handle(Event::Done, now);
    assert!(matches!(machine.poll(now, &ledger), Action::Account { .. }), "it goes on at once");
}

/// Fault 23: a clock that is two days off, either way, makes as many orders as a right one, and somebody is told.
#[test]
fn fault_23_a_clock_two_days_off_is_no_storm() {
    const DAY: u32 = 86_400;
    for (lifetime, days) in [(90, 400), (45, 400), (6, 60)] {
        for restarts in [Restarts::Never, Restarts::SixHourly] {
            let run = |ahead: i64| -> Report {
                simulate_clock_skew(Duration::from_secs(u64::from(lifetime * DAY)), days, ahead, restarts)
            };
            let right = run(0);
            assert!(right.events.is_empty(), "{right:?}");
            for ahead in [-2 * i64::from(DAY), 2 * i64::from(DAY)] {
                let found = run(ahead);
                let about = format!("{lifetime} days, {ahead} s, restarts: {restarts:?}");
                assert_eq!(
                    (found.expired, found.rate_limited, found.leftover),
                    (0, 0, 0),
                    "{about}: {found:?}"
                );
                assert!(
                    found.orders.abs_diff(right.orders) <= 1,
                    "{about}: {} {}",
                    found.orders,
                    right.orders
                );
                assert!(!found.events.is_empty(), "{about}: nobody was told");
            }
        }
    }
}

/// A profile has its own lifetime, an authority its own limits, and neither expires nor is refused.
#[test]
fn profiles_limits_and_the_announced_calendar() {
    use acme_dns01::simulate::{Scenario, simulate_scenario};
    use acme_dns01::{CertificateSpec, Limits, Time};
    let begin = Time::parse_rfc3339("2026-11-29T00:00:00Z").expect("a date");
    let specs = |count: usize, profile: Option<&str>, limits: Limits| -> Vec<CertificateSpec> {
        (0..count)
            .map(|number| {
                let name = format!("host{number}.domain{number}.test").parse().expect("a name");
                let mut spec = CertificateSpec::new([name], "ca");
                spec.profile = profile.map(str::to_owned);
                spec.limits = limits;
                spec
            })
            .collect()
    };
    for profile in [None, Some("classic"), Some("tlsserver"), Some("shortlived")] {
        for limits in [Limits::default(), Limits::none()] {
            let found = simulate_scenario(&specs(3, profile, limits), Scenario::Announced, begin, 1);
            assert_eq!((found.expired, found.rate_limited), (0, 0), "{profile:?}: {:?}", found.incidents);
            assert_eq!(found.leftover, 0);
            let least = if profile == Some("shortlived") { 3 * 500 } else { 3 * 60 };
            assert!(found.orders > least, "{profile:?}: {}", found.orders);
        }
    }
    // More certificates of one domain than its limit allows in a week, and no ARI when they are new: who is held back is named.
    let mut many = specs(60, None, Limits::default());
    for (number, spec) in many.iter_mut().enumerate() {
        spec.names = vec![format!("host{number}.example.org").parse().expect("a name")];
    }
    let found = simulate_scenario(&many, Scenario::Announced, begin, 1);
    assert_eq!((found.expired, found.rate_limited), (0, 0), "{:?}", found.incidents);
    assert!(found.withheld > 0 && !found.incidents.is_empty());
    let dates: Vec<String> = found.events.iter().map(|(at, what)| format!("{at} {what}")).collect();
    assert!(dates.iter().any(|line| line.starts_with("2027-02-1") && line.contains("64 days")), "{dates:?}");
    assert!(dates.iter().any(|line| line.starts_with("2028-02-1") && line.contains("45 days")), "{dates:?}");
}

/// An order that the CA still processes is no failure, and is not polled before its Retry-After, also after a restart.
#[test]
fn an_order_that_the_ca_processes_is_pending() {
    let spec = CertificateSpec::new(["www.example.org".parse().expect("a name")], "ca");
    let (ledger, now) = (Ledger::default(), Time::from_secs(1_800_000_000));
    let until = now.after(Duration::from_secs(3600));
    let began = Record::Began {
        at: now,
        authority: "ca".into(),
        why: "it is missing".into(),
        replaces: None,
        request: None,
    };
    let mut records =
        vec![began, Record::Ordering { at: now }, Record::Ordered { url: "o".into() }, Record::Finalizing];
    let mut machine = Machine::new(spec.clone(), State::replay(&records));
    for _ in 0..6 {
        let event = match machine.poll(now, &ledger) {
            Action::Wait { .. } => break,
            Action::Directory { .. } => Event::Directory { date: Some(now), renewal_info: false },
            Action::Account { .. } => Event::Account,
            Action::FetchOrder { url } => Event::Order(Order {
                url,
                status: Status::Processing,
                authorizations: Vec::new(),
                finalize: "f".into(),
                certificate: None,
                problem: None,
                retry_after: Some(until.since(now)),
            }),
            Action::Journal(record) => {
                records.push(record);
                Event::Done
            }
            other => panic!("{other:?}"),
        };
        machine.handle(event, now);
    }
    for mut machine in [machine, Machine::new(spec, State::replay(&records))] {
        let Action::Wait { until: next, why } = machine.poll(now, &ledger) else {
            panic!("it polls at once")
        };
        assert_eq!((next, machine.rests(), machine.state().failures), (until, true, 0), "{why}");
        assert!(why.contains("has not finished the order"), "{why}");
    }
}
