//! The machine on a virtual clock: killed anywhere, and for ten years.

use acme_dns01::simulate::{Decade, Killed, decade, killed, skewed};
use proptest::prelude::*;
use std::time::Duration;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Fault 27: whatever the schedule of kills, there is at most one order a renewal, and no TXT record of ours is left.
    #[test]
    fn fault_27_random_kill_schedule(kills in prop::collection::vec(0_u32..12, 0..40), lists_orders: bool, seed: u64) {
        let found = killed(&kills, lists_orders, seed);
        prop_assert_eq!(found, Killed { orders: 1, certificates: 1, leftover: 0, accounts: 1, foreign: 1, triggers_twice: 0 });
    }
}

#[test]
fn ten_years_never_expired_never_limited() {
    for seed in 0..4 {
        let found: Decade = decade(24, seed);
        assert_eq!((found.expired, found.limited), (0, 0), "{found:?}");
        assert!(found.orders > 24 * 40, "{found:?}");
        assert!(found.nearest_miss.as_secs() > 12 * 3600, "{found:?}");
        assert!(found.most_orders_a_week < 300, "{found:?}");
        assert_eq!(found.leftover, 0);
    }
}

/// Fault 23: a clock that is two days off, either way, makes as many orders as a right one, and somebody is told.
#[test]
fn fault_23_a_clock_two_days_off_is_no_storm() {
    const DAY: u32 = 86_400;
    for (lifetime, days) in [(90, 400), (45, 400), (6, 60)] {
        for restarts in [false, true] {
            let run = |ahead: i64| -> Decade {
                skewed(Duration::from_secs(u64::from(lifetime * DAY)), days, ahead, restarts)
            };
            let right = run(0);
            assert!(right.events.is_empty(), "{right:?}");
            for ahead in [-2 * i64::from(DAY), 2 * i64::from(DAY)] {
                let found = run(ahead);
                let about = format!("{lifetime} days, {ahead} s, restarts: {restarts}");
                assert_eq!((found.expired, found.limited, found.leftover), (0, 0, 0), "{about}: {found:?}");
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
