//! The retry budget of an upstream.

/// The cost of one retry, in hundredths of a request.
const RETRY_COST: u64 = 100;

/// A retry budget: a token bucket that allows one retry per number of requests, so that retries cannot multiply the
/// load of a failing upstream.
///
/// ```
/// use edge_policy::balance::Budget;
///
/// // One retry for five requests, and three at the start.
/// let mut budget = Budget::new(20, 3);
/// assert!((0..3).all(|_| budget.take()));
/// assert!(!budget.take());
/// (0..5).for_each(|_| budget.request());
/// assert!(budget.take());
/// assert!(!budget.take());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The amount that each request adds, in hundredths of a request.
    percent: u64,
    /// The amount left, in hundredths of a request. A retry takes [`RETRY_COST`].
    left: u64,
    /// The highest amount that accumulates, in hundredths of a request.
    most: u64,
}

impl Budget {
    /// Creates a budget of `percent` retries per hundred requests, plus `reserve` retries at the start. A `percent`
    /// above 100 is treated as 100. At most ten times the reserve accumulates, or one retry if the reserve is 0.
    pub const fn new(percent: u8, reserve: u16) -> Self {
        let (percent, reserve) = (percent as u64, reserve as u64 * RETRY_COST);
        // Unused budget accumulates up to ten times the reserve only; more would allow a flood of retries at once.
        let most = if reserve == 0 { RETRY_COST } else { reserve * 10 };
        Self { percent: if percent > 100 { 100 } else { percent }, left: reserve, most }
    }

    /// Records a request, which adds its share to the budget up to the highest amount.
    pub const fn request(&mut self) {
        let left = self.left.saturating_add(self.percent);
        self.left = if left > self.most { self.most } else { left };
    }

    /// Returns whether the budget allows a retry.
    pub const fn allows(&self) -> bool {
        self.left >= RETRY_COST
    }

    /// Takes a retry from the budget and returns true. Returns false, and takes nothing, if none is left.
    pub const fn take(&mut self) -> bool {
        let allowed = self.allows();
        if allowed {
            self.left -= RETRY_COST;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn repetitions_stay_below_the_share(
            percent in 0u8..=100,
            reserve in 0u16..20,
            events in proptest::collection::vec(any::<bool>(), 0..2000),
        ) {
            let mut budget = Budget::new(percent, reserve);
            let (mut requests, mut taken) = (0u64, 0u64);
            for repeat in events {
                if repeat {
                    taken += u64::from(budget.take());
                } else {
                    budget.request();
                    requests += 1;
                }
                prop_assert!(taken * 100 <= requests * u64::from(percent) + u64::from(reserve) * 100);
            }
        }
    }
}
