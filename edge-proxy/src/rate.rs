//! How often something may happen: the generic cell rate algorithm (GCRA), whose whole state is one number, so that it can
//! live in one atomic.
//!
//! Time is nanoseconds since any fixed moment.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// So many in a time, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// From one to the next, in nanoseconds. At least 1.
    interval: u64,
    /// How many may come at once after a pause.
    burst: u32,
}

/// A text that is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no rate: write one such as 10/s, 600/m or 100/h")]
pub struct RateError;

impl Rate {
    /// `count` in each `period`, `burst` at once. `None` if one of them is 0 or they cannot be told apart from it.
    pub fn new(count: u32, period: Duration, burst: u32) -> Option<Self> {
        let interval = u64::try_from(period.as_nanos()).ok()?.checked_div(u64::from(count))?;
        (interval > 0 && burst > 0).then_some(Self { interval, burst })
    }

    /// The same rate with another burst; 0 is taken for 1.
    #[must_use]
    pub const fn with_burst(mut self, burst: u32) -> Self {
        self.burst = if burst == 0 { 1 } else { burst };
        self
    }

    /// How many may come at once after a pause.
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// One more at `now`: the new state, or how long until there may be one. The state begins as 0.
    ///
    /// # Errors
    /// It comes too early; the state stays as it was.
    ///
    /// ```
    /// use edge_proxy::rate::Rate;
    ///
    /// let rate: Rate = "2/s".parse().unwrap();
    /// let state = rate.step(0, 0).unwrap();
    /// let state = rate.step(state, 0).unwrap();
    /// assert_eq!(rate.step(state, 0), Err(std::time::Duration::from_millis(500)));
    /// assert!(rate.step(state, 500_000_000).is_ok());
    /// ```
    pub fn step(self, state: u64, now: u64) -> Result<u64, Duration> {
        let tolerance = self.interval.saturating_mul(u64::from(self.burst) - 1);
        // The state is when the next would be due if all kept their distance.
        let due = state.max(now);
        let early = due - now;
        if early > tolerance {
            return Err(Duration::from_nanos(early - tolerance));
        }
        Ok(due.saturating_add(self.interval))
    }
}

impl FromStr for Rate {
    type Err = RateError;

    /// `10/s`, `600/m`, `100/h`, `5/d`; what comes at once is a second's worth, at least one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (count, unit) = text.split_once('/').ok_or(RateError)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(RateError),
        };
        let count: u32 = count.parse().map_err(|_| RateError)?;
        let burst = (u64::from(count) / seconds).max(1) as u32;
        Self::new(count, Duration::from_secs(seconds), burst).ok_or(RateError)
    }
}

/// `one each 100ms, 10 at once`
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one each {:?}, {} at once", Duration::from_nanos(self.interval), self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_rate() {
        for text in ["", "10", "/s", "10/", "0/s", "-1/s", "10/w", "1.5/s", "5000000000/s"] {
            assert_eq!(text.parse::<Rate>(), Err(RateError), "{text}");
        }
        assert_eq!("600/m".parse::<Rate>().unwrap().to_string(), "one each 100ms, 10 at once");
        assert_eq!("5/d".parse::<Rate>().unwrap().burst(), 1);
    }

    proptest! {
        /// In no window more than the rate gives, and the burst.
        #[test]
        fn never_more_than_the_rate_and_the_burst(
            count in 1u32..1000, burst in 1u32..50, gaps in proptest::collection::vec(0u64..20_000_000, 1..400),
        ) {
            let rate = Rate::new(count, Duration::from_secs(1), burst).unwrap();
            let (mut state, mut now) = (0, 0);
            let mut admitted = Vec::new();
            for gap in gaps {
                now += gap;
                if let Ok(next) = rate.step(state, now) {
                    state = next;
                    admitted.push(now);
                }
            }
            for (i, from) in admitted.iter().enumerate() {
                for (n, to) in admitted[i..].iter().enumerate() {
                    let most = u64::from(burst) + (to - from) / rate.interval;
                    prop_assert!(n as u64 <= most, "{n} from {from} to {to}");
                }
            }
        }

        /// Whoever waits as long as is said is admitted, and not before.
        #[test]
        fn the_wait_is_exact(count in 1u32..1000, burst in 1u32..20, now in 0u64..1_000_000_000) {
            let rate = Rate::new(count, Duration::from_secs(1), burst).unwrap();
            let mut state = 0;
            while let Ok(next) = rate.step(state, now) {
                state = next;
            }
            let wait = rate.step(state, now).unwrap_err().as_nanos() as u64;
            prop_assert!(wait > 0);
            prop_assert!(rate.step(state, now + wait).is_ok());
            prop_assert!(rate.step(state, now + wait - 1).is_err());
        }
    }
}
