//! Deadlines without a timer per operation: a connection stores its deadline in a cell, and one sweep per worker checks
//! all cells. A deadline costs one store and is up to half a second late.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The interval at which deadlines are checked.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// The time that a connection without a request has for its first one once the worker drains. Its client may have sent
/// the request before it could know.
pub(crate) const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// The value of a deadline that is not set.
const NEVER: u64 = u64::MAX;

/// The time of a deadline, and the task that is woken when it has passed.
struct DeadlineCell {
    /// The deadline in milliseconds since the worker's start. [`NEVER`] if it is not set.
    at: Cell<u64>,
    /// The task to wake. `None` if none waits for the deadline.
    waker: RefCell<Option<Waker>>,
}

/// The clock of a worker, with a resolution of [`SWEEP_INTERVAL`], and the list of the worker's deadlines.
pub(crate) struct DeadlineSweeper {
    /// The time at which the worker was started.
    start: Instant,
    /// The time of the last sweep, in milliseconds since `start`.
    now: Cell<u64>,
    /// True if the worker is draining: it finishes requests in flight and begins no new ones.
    draining: Cell<bool>,
    /// The deadlines of the worker. Those whose owner is gone are removed by a sweep.
    slots: RefCell<Vec<Weak<DeadlineCell>>>,
}

impl DeadlineSweeper {
    /// Creates the clock of a worker, which is not draining.
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            start: Instant::now(),
            now: Cell::new(0),
            draining: Cell::new(false),
            slots: RefCell::new(Vec::new()),
        })
    }

    /// Updates the clock every [`SWEEP_INTERVAL`] and wakes the tasks whose deadline has passed. Never completes.
    pub(crate) async fn run(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.now.set(self.start.elapsed().as_millis() as u64);
            let now = self.now.get();
            self.wake(|at| at <= now);
        }
    }

    /// Marks the worker as draining and wakes the tasks of all deadlines, so that idle connections end.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.wake(|_| true);
    }

    /// Returns whether the worker is draining: it finishes requests in flight and begins no new ones.
    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Wakes the tasks of all deadlines for whose time, in milliseconds since the worker's start, `due` returns true.
    /// Removes deadlines whose owner is gone.
    fn wake(&self, due: impl Fn(u64) -> bool) {
        self.slots.borrow_mut().retain(|slot| {
            let Some(slot) = slot.upgrade() else { return false };
            if due(slot.at.get())
                && let Some(waker) = slot.waker.borrow_mut().take()
            {
                waker.wake();
            }
            true
        });
    }

    /// Creates a deadline of this worker that is not set.
    pub(crate) fn deadline(self: &Rc<Self>) -> Deadline {
        let slot = Rc::new(DeadlineCell { at: Cell::new(NEVER), waker: RefCell::new(None) });
        self.slots.borrow_mut().push(Rc::downgrade(&slot));
        Deadline { sweep: self.clone(), slot }
    }
}

/// A deadline of a connection or exchange.
pub(crate) struct Deadline {
    /// The clock of the worker.
    sweep: Rc<DeadlineSweeper>,
    /// The time of the deadline and the task that waits for it.
    slot: Rc<DeadlineCell>,
}

impl Deadline {
    /// Sets the deadline to `duration` from now, plus [`SWEEP_INTERVAL`], by which the clock may be late, so that the
    /// deadline never passes early.
    pub(crate) fn set(&self, duration: Duration) {
        self.slot
            .at
            .set(self.sweep.now.get() + duration.as_millis() as u64 + SWEEP_INTERVAL.as_millis() as u64);
    }

    /// Sets the deadline to `duration` from now as [`Deadline::set`] does, unless it is earlier already.
    pub(crate) fn sooner(&self, duration: Duration) {
        let before = self.slot.at.get();
        self.set(duration);
        self.slot.at.set(before.min(self.slot.at.get()));
    }

    /// Clears the deadline, so that it never passes.
    pub(crate) fn clear(&self) {
        self.slot.at.set(NEVER);
    }

    /// Completes if the deadline has passed. Otherwise registers the task, which is woken when the deadline passes and
    /// when the worker begins to drain; of several tasks only the last one that polled is woken.
    pub(crate) fn poll_due(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.slot.at.get() <= self.sweep.now.get() {
            return Poll::Ready(());
        }
        let mut waker = self.slot.waker.borrow_mut();
        match &mut *waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            other => *other = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Runs `future` until it completes, or until `duration` or the deadline that was set before has passed. Returns
    /// `None` if the time passed first. The previous deadline is set again afterwards, so that time limits can be
    /// nested.
    pub(crate) async fn within<T>(&self, duration: Duration, future: impl Future<Output = T>) -> Option<T> {
        self.limit(duration, false, future).await
    }

    /// Runs `future` as [`Deadline::within`] does, but once the worker drains, for at most [`FIRST_REQUEST_GRACE`]
    /// more. Returns `None` if the time passed first.
    pub(crate) async fn within_first<T>(
        &self,
        duration: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        self.limit(duration, true, future).await
    }

    /// Runs `future` for at most `duration` and the deadline set before; if `until_drained` is true, also for at most
    /// [`FIRST_REQUEST_GRACE`] once the worker drains. Returns `None` if the time passed first. The previous deadline
    /// is set again afterwards.
    async fn limit<T>(
        &self,
        duration: Duration,
        mut until_drained: bool,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let outer = self.slot.at.get();
        self.sooner(duration);
        let mut future = std::pin::pin!(future);
        let outcome = std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => {
                if until_drained && self.draining() {
                    until_drained = false;
                    self.sooner(FIRST_REQUEST_GRACE);
                }
                self.poll_due(cx).map(|()| None)
            }
        })
        .await;
        self.slot.at.set(outer);
        outcome
    }

    /// Returns whether the worker of this deadline is draining.
    pub(crate) fn draining(&self) -> bool {
        self.sweep.draining()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed<T>(test: impl AsyncFnOnce(Rc<DeadlineSweeper>) -> T) -> T {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&tokio, async {
            let sweep = DeadlineSweeper::new();
            tokio::task::spawn_local(sweep.clone().run());
            tokio::time::timeout(Duration::from_secs(20), test(sweep)).await.unwrap()
        })
    }

    #[test]
    fn a_limit_within_another_does_not_end_it() {
        timed(async |sweep| {
            let deadline = sweep.deadline();
            let begin = Instant::now();
            let never = deadline.within(Duration::from_millis(600), async {
                assert!(deadline.within(Duration::from_secs(60), async {}).await.is_some());
                std::future::pending::<()>().await;
            });
            assert!(never.await.is_none());
            assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
            // The outer one is not set any more.
            let after = deadline.within(Duration::from_secs(60), async {
                tokio::time::sleep(Duration::from_millis(700)).await;
            });
            assert!(after.await.is_some());
        });
    }

    #[test]
    fn the_sooner_of_two_limits_counts() {
        timed(async |sweep| {
            let deadline = sweep.deadline();
            let begin = Instant::now();
            let outer = deadline.within(Duration::from_millis(500), async {
                deadline.within(Duration::from_secs(60), std::future::pending::<()>()).await
            });
            assert!(matches!(outer.await, None | Some(None)));
            assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        });
    }
}
