//! Rate limits by the generic cell rate algorithm (GCRA), a token bucket whose state is a single number and fits into
//! an atomic.
//!
//! Time is in nanoseconds since any fixed moment.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A rate limit: a number of events per period, and a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// The interval between two events in nanoseconds, at least 1.
    interval: u64,
    /// The number of events allowed at once after a pause, at least 1.
    burst: u32,
}

/// The error for a text that is not a valid rate: a number of events per `s`, `m`, `h` or `d`, such as `10/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid rate: expected one such as 10/s, 600/m or 100/h")]
pub struct RateError;

impl Rate {
    /// Creates a rate of `count` events per `period`, of which `burst` may occur at once after a pause. `None` if
    /// `count` or `burst` is 0, or if the interval between events is below 1 ns or does not fit into 64 bits of
    /// nanoseconds.
    pub fn new(count: u32, period: Duration, burst: u32) -> Option<Self> {
        let interval = u64::try_from(period.as_nanos()).ok()?.checked_div(u64::from(count))?;
        (interval > 0 && burst > 0).then_some(Self { interval, burst })
    }

    /// Returns a rate of `count` events per hour, of which `burst`, which must be at least 1, may occur at once after
    /// a pause.
    ///
    /// # Panics
    /// If `count` is 0.
    pub const fn per_hour(count: u32, burst: u32) -> Self {
        Self { interval: 3_600_000_000_000 / count as u64, burst }
    }

    /// Returns the rate with another burst. A burst of 0 is treated as 1.
    #[must_use]
    pub const fn with_burst(mut self, burst: u32) -> Self {
        self.burst = if burst == 0 { 1 } else { burst };
        self
    }

    /// Returns `count` times the rate and the burst, for several clients that share a limit. The interval is at least
    /// 1 ns. For a `count` of 0, the rate is unchanged and the burst is 1.
    #[must_use]
    pub const fn times(mut self, count: u32) -> Self {
        let interval = self.interval / if count == 0 { 1 } else { count as u64 };
        self.interval = if interval == 0 { 1 } else { interval };
        self.burst = self.burst.saturating_mul(count);
        self.with_burst(self.burst)
    }

    /// Returns the rate with its interval rounded up to whole microseconds.
    pub const fn in_micros(mut self) -> Self {
        self.interval = self.interval_micros() * 1000;
        self
    }

    /// Returns the interval between events in microseconds, rounded up.
    pub const fn interval_micros(self) -> u64 {
        self.interval.div_ceil(1000)
    }

    /// Returns the number of events allowed at once after a pause.
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// Admits one event at `now`, in nanoseconds since any fixed moment, and returns the new state. The initial state
    /// is 0.
    ///
    /// # Errors
    /// The time to wait if the event exceeds the rate. The state is unchanged then.
    ///
    /// ```
    /// use edge_policy::rate::Rate;
    ///
    /// let rate: Rate = "2/s".parse().unwrap();
    /// let state = rate.step(0, 0).unwrap();
    /// let state = rate.step(state, 0).unwrap();
    /// assert_eq!(rate.step(state, 0), Err(std::time::Duration::from_millis(500)));
    /// assert!(rate.step(state, 500_000_000).is_ok());
    /// ```
    pub fn step(self, state: u64, now: u64) -> Result<u64, Duration> {
        let tolerance = self.interval.saturating_mul(u64::from(self.burst) - 1);
        // The state is the time at which the next event would be due if all kept their interval.
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

    /// Parses a rate such as `10/s`, `600/m`, `100/h` or `5/d`. The burst is the number of events per second, rounded
    /// down, at least 1.
    ///
    /// # Errors
    /// [`RateError`] if the text has another form, or is not valid as in [`Rate::new`].
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

/// Formats the rate as text such as `one per 100ms, burst 10`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one per {:?}, burst {}", Duration::from_nanos(self.interval), self.burst)
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
        assert_eq!("600/m".parse::<Rate>().unwrap().to_string(), "one per 100ms, burst 10");
        assert_eq!("5/d".parse::<Rate>().unwrap().burst(), 1);
    }

    proptest! {
        /// In every window, at most the rate plus the burst is admitted.
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

        /// An event that waits for the returned time is admitted, and not before.
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
