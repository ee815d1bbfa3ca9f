//! Active health checks: requests that the proxy sends to each target at an interval. One worker sends them for all.

use super::pool::{ConnectOptions, Pool};
use super::{Cause, UpstreamError};
use crate::deadline::DeadlineSweeper;
use crate::traces::Trace;
use edge_http::proxy_protocol::Extensions;
use edge_http::{RequestHead, ResponseHead, Version};
use edge_policy::balance::health::Event;
use edge_policy::config::Check;
use std::cell::Cell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

/// The highest number of concurrent checks. Further checks wait, so that requests of clients have descriptors and
/// time.
const MAX_CONCURRENT: usize = 256;

/// The running checks of the pools in use. Dropping it ends them.
pub(crate) struct Checks {
    /// The checks of each pool, by the address of the pool in memory.
    running: HashMap<*const Pool, PoolChecks>,
    /// The semaphore that limits concurrent checks to [`MAX_CONCURRENT`].
    places: Rc<Semaphore>,
    /// The number of checks that were started so far, modulo 2^32. It determines the delay of the next one.
    begun: u32,
}

/// The checks of one pool. Owns the pool, so that no other pool can have the same address in memory, which is the key.
struct PoolChecks {
    /// The pool, which is not freed while this exists.
    _pool: Rc<Pool>,
    /// The handles that end the checks of the targets.
    tasks: Vec<AbortHandle>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { running: HashMap::new(), places: Rc::new(Semaphore::new(MAX_CONCURRENT)), begun: 0 }
    }
}

impl Checks {
    /// Starts checks for the targets of those pools whose upstreams configure checks, and ends the checks of all pools
    /// that are not given. Checks of pools that are given again continue. Must be called on the thread of a `LocalRuntime`.
    pub(crate) fn update(&mut self, pools: &[Rc<Pool>], sweep: &Rc<DeadlineSweeper>) {
        let mut before = std::mem::take(&mut self.running);
        for pool in pools {
            let Some(check) = &pool.upstream().health.check else { continue };
            let running = before.remove(&Rc::as_ptr(pool)).unwrap_or_else(|| {
                let tasks = (0..pool.upstream().targets.len()).map(|at| {
                    let delay = phase(self.begun, check.interval);
                    self.begun = self.begun.wrapping_add(1);
                    let task = repeat_check(
                        pool.clone(),
                        at,
                        delay,
                        check.clone(),
                        sweep.clone(),
                        self.places.clone(),
                    );
                    tokio::task::spawn_local(task).abort_handle()
                });
                PoolChecks { tasks: tasks.collect(), _pool: pool.clone() }
            });
            self.running.insert(Rc::as_ptr(pool), running);
        }
    }
}

impl Drop for PoolChecks {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Returns the initial delay of the check with this number, below `interval`. Multiples of the golden ratio spread any
/// number of checks evenly over the interval.
fn phase(number: u32, interval: Duration) -> Duration {
    const RATIO: u32 = 0x9e37_79b9;
    interval.mul_f64(f64::from(number.wrapping_mul(RATIO)) / (f64::from(u32::MAX) + 1.0))
}

/// Checks the target with the index `at` after an initial delay and then at the interval, and applies the results to
/// its health. A check that takes longer than its timeout has failed. A check that fails for a cause in this system is
/// noted and has no result. Never completes.
async fn repeat_check(
    pool: Rc<Pool>,
    at: usize,
    delay: Duration,
    check: Check,
    sweep: Rc<DeadlineSweeper>,
    places: Rc<Semaphore>,
) {
    tokio::time::sleep(delay).await;
    let mut ticks = tokio::time::interval(check.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The semaphore is never closed.
        let _place = places.acquire().await;
        let checked = tokio::time::timeout(check.timeout, check_once(&pool, at, &check, &sweep)).await;
        let (event, cause) = match checked.unwrap_or(Err(Cause::Silent)) {
            Ok(()) => (Event::CheckedUp, None),
            // A check that this system could not make gives no information about the target.
            Err(cause) if cause.is_local() => {
                pool.shared(at).note(Some(cause));
                continue;
            }
            Err(cause) => (Event::CheckedDown, Some(cause)),
        };
        pool.shared(at).tell(event, &pool.upstream().health.rules, cause);
    }
}

/// Performs one check on a new connection: sends a GET request, and expects a final response whose status is in the
/// configured range, both ends included.
///
/// # Errors
/// The cause for which the target is not healthy.
async fn check_once(pool: &Pool, at: usize, check: &Check, sweep: &Rc<DeadlineSweeper>) -> Result<(), Cause> {
    let mut head = RequestHead::new(Version::Http11);
    head.target.clone_from(&check.path);
    head.authority = match &check.host {
        Some(host) => host.clone(),
        None => pool.upstream().targets[at].authority(),
    };
    head.fields.push(b"User-Agent", b"health-check");
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let deadline = sweep.deadline();
    let options = ConnectOptions {
        client: nobody,
        local: nobody,
        extensions: Extensions::NONE,
        deadline: &deadline,
        connect: check.timeout,
        // A new connection, since the check includes that one can be established.
        fresh: true,
        shared: false,
        upgrade: None,
        sticky: None,
        missed: Cell::new(None),
        host: check.host.is_none(),
        trace: &Trace::NONE,
    };
    let cause = |why: UpstreamError| why.cause().unwrap_or(Cause::Closed);
    let mut exchange = pool.begin_at(at, &head, &options).await.map_err(cause)?;
    let mut answer = ResponseHead::default();
    loop {
        let asked = poll_fn(|cx| {
            // A failed write is detected by the following read.
            let _ = exchange.poll_flush(cx);
            exchange.poll_head(cx, &mut answer)
        });
        asked.await.map_err(cause)?;
        if !answer.is_interim() {
            let well = (check.status.0..=check.status.1).contains(&answer.status);
            return if well { Ok(()) } else { Err(Cause::Status(answer.status)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However many checks there are and at whichever number they begin: no tenth of the interval has many more
        /// than its share.
        #[test]
        fn checks_are_spread_over_the_interval(first in any::<u32>(), count in 1u32..3000, seconds in 1u64..100) {
            let interval = Duration::from_secs(seconds);
            let mut tenths = [0u32; 10];
            for number in 0..count {
                let delay = phase(first.wrapping_add(number), interval);
                prop_assert!(delay < interval + Duration::from_nanos(1));
                tenths[(delay.as_secs_f64() / interval.as_secs_f64() * 10.0).min(9.0) as usize] += 1;
            }
            prop_assert!(tenths.iter().all(|in_it| in_it.abs_diff(count / 10) <= 4), "{tenths:?} of {count}");
        }
    }
}
