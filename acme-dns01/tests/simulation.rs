//! The machine on a virtual clock: killed anywhere, and for ten years.

use acme_dns01::simulate::{Decade, Killed, decade, killed};
use proptest::prelude::*;

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
