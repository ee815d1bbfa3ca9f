//! The budget of a worker for content of HTTP/2 responses that is buffered for slow clients.
//!
//! An upstream sends as much of each response as its stream's window permits, whether or not the client reads. The
//! windows shrink as the number of streams grows, so that all together stay within a budget. If more is buffered
//! nevertheless, the responses whose clients have read nothing for the longest time are given up.

use super::window_growth::INITIAL_WINDOW;
use h2::FlowControl;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Instant;

/// The smallest window of a stream in bytes.
const MIN_WINDOW: usize = 16 * 1024;

/// Returns the window in bytes of a new stream among this many streams within a budget: `largest`, halved until the
/// windows of all streams would fill at most a quarter of the budget (an eighth while the window is above the initial
/// one), but not below [`MIN_WINDOW`] by more than one halving. Earlier streams keep their larger windows; even after
/// all halvings, all windows together fill at most the budget.
const fn window_of(budget: usize, streams: usize, largest: usize) -> usize {
    let mut window = largest;
    while window > MIN_WINDOW
        && window.saturating_mul(streams) > budget / if window > INITIAL_WINDOW { 8 } else { 4 }
    {
        window /= 2;
    }
    window
}

/// A buffered response: the flow control that knows its buffered bytes, and the state shared with its exchange.
struct ShareEntry {
    /// The flow control of the stream, which knows the number of buffered bytes.
    flow: FlowControl,
    /// The state that the exchange shares.
    state: Rc<ShareState>,
}

/// The state of a buffered response.
struct ShareState {
    /// The time at which the client last read content of the response, or the response began.
    taken: Cell<Instant>,
    /// True if the response is to be aborted.
    given_up: Cell<bool>,
    /// The task of the exchange, which is woken when the response is to be aborted. `None` if it does not wait for
    /// that.
    waker: RefCell<Option<Waker>>,
}

/// The budget of a worker, and its buffered responses.
struct BufferBudget {
    /// The budget in bytes.
    budget: Cell<usize>,
    /// The buffered responses, by their number.
    entries: RefCell<HashMap<u64, ShareEntry>>,
    /// The number of open streams, whether or not they have a response yet.
    streams: Cell<usize>,
    /// The number that the next response gets.
    next: Cell<u64>,
    /// The number of buffered bytes at the last check, without those of responses that are given up.
    held: Cell<usize>,
    /// The number of bytes received since the last check.
    since: Cell<usize>,
}

thread_local! {
    /// The budget of the thread's worker.
    static BUDGET: BufferBudget = BufferBudget {
        budget: Cell::new(edge_policy::config::Limits::default().upstream_buffer),
        entries: RefCell::default(),
        streams: Cell::new(0),
        next: Cell::new(0),
        held: Cell::new(0),
        since: Cell::new(0),
    };
}

/// Sets the budget of this thread's worker, in bytes.
pub(crate) fn set_budget(bytes: usize) {
    BUDGET.with(|shares| shares.budget.set(bytes));
}

/// Counts a stream of this thread's worker as open. A stream counts before its response begins: a thousand requests that
/// arrive together would otherwise all get the window of the first.
pub(super) fn stream_opened() {
    BUDGET.with(|shares| shares.streams.set(shares.streams.get() + 1));
}

/// Counts a stream of this thread's worker as closed.
pub(super) fn stream_closed() {
    // At the thread's end the budget may be gone before.
    let _ = BUDGET.try_with(|shares| shares.streams.set(shares.streams.get() - 1));
}

/// Returns the window in bytes of a new stream of this thread's worker, at most `largest`.
pub(super) fn window(largest: usize) -> u32 {
    BUDGET.with(|shares| window_of(shares.budget.get(), shares.streams.get(), largest) as u32)
}

/// Returns the number of bytes that this thread's worker buffers for clients now.
pub(super) fn buffered() -> usize {
    BUDGET.with(|shares| shares.entries.borrow().values().map(|entry| entry.flow.used_capacity()).sum())
}

/// Counts `n` bytes received from an upstream. If more than the budget may be buffered, checks that, and if so gives
/// up the responses whose clients have read nothing for the longest time.
pub(super) fn received(n: usize) {
    BUDGET.with(|shares| {
        shares.since.set(shares.since.get() + n);
        if shares.held.get() + shares.since.get() > shares.budget.get() {
            shares.enforce();
        }
    });
}

impl BufferBudget {
    /// Adds up the buffered bytes. If they exceed the budget, gives up responses and wakes their tasks, those that
    /// were not read for the longest time first, until at most seven eighths of the budget are filled.
    fn enforce(&self) {
        let entries = self.entries.borrow();
        let mut holding: Vec<(Instant, usize, &Rc<ShareState>)> = entries
            .values()
            .filter(|entry| !entry.state.given_up.get())
            .map(|entry| (entry.state.taken.get(), entry.flow.used_capacity(), &entry.state))
            .filter(|(_, used, _)| *used > 0)
            .collect();
        let mut held: usize = holding.iter().map(|(_, used, _)| used).sum();
        if held > self.budget.get() {
            holding.sort_unstable_by_key(|(taken, ..)| *taken);
            // More than necessary, so that the check is not repeated for each packet.
            let enough = self.budget.get() / 8 * 7;
            for (_, used, state) in holding {
                if held <= enough {
                    break;
                }
                held -= used;
                state.given_up.set(true);
                if let Some(waker) = state.waker.borrow_mut().take() {
                    waker.wake();
                }
            }
        }
        self.held.set(held);
        self.since.set(0);
    }
}

/// One response in the budget. Dropping it removes the response.
pub(super) struct BufferedShare {
    /// The number of the response in the budget.
    number: u64,
    /// The state that the budget shares.
    state: Rc<ShareState>,
}

impl BufferedShare {
    /// Adds a response with this flow control to the budget of this thread's worker.
    pub(super) fn new(flow: FlowControl) -> Self {
        let state = Rc::new(ShareState {
            taken: Cell::new(Instant::now()),
            given_up: Cell::new(false),
            waker: RefCell::default(),
        });
        let number = BUDGET.with(|shares| {
            let number = shares.next.get();
            shares.next.set(number + 1);
            shares.entries.borrow_mut().insert(number, ShareEntry { flow, state: state.clone() });
            number
        });
        Self { number, state }
    }

    /// Records that the client has read content of the response now.
    pub(super) fn taken(&self) {
        self.state.taken.set(Instant::now());
    }

    /// Returns whether the response is given up. If not, registers the task, which is woken when the response is given
    /// up.
    pub(super) fn is_given_up(&self, cx: &Context<'_>) -> bool {
        if !self.state.given_up.get() {
            *self.state.waker.borrow_mut() = Some(cx.waker().clone());
        }
        self.state.given_up.get()
    }
}

impl Drop for BufferedShare {
    fn drop(&mut self) {
        // At the thread's end the budget may be gone before.
        let _ = BUDGET.try_with(|shares| drop(shares.entries.borrow_mut().remove(&self.number)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::window_growth::LARGEST_WINDOW;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However many streams there come to be, one after another, each holding all of the window that it got: all of them
        /// are within the budget as long as the smallest windows are.
        #[test]
        fn windows_stay_within_the_budget(
            budget in (8usize << 20)..(256 << 20),
            streams in 1usize..4000,
            grown in any::<bool>(),
        ) {
            let largest = if grown { LARGEST_WINDOW } else { INITIAL_WINDOW };
            let of = |n| window_of(budget, n, largest);
            let held: usize = (1..=streams).map(of).sum();
            let least = streams * MIN_WINDOW;
            prop_assert!(held <= budget + least, "{held} of {budget} for {streams}");
            prop_assert!(of(streams) <= largest && of(streams) >= MIN_WINDOW);
            prop_assert!(of(streams + 1) <= of(streams));
        }
    }

    #[test]
    fn a_thousand_streams_fit_the_default() {
        let budget = edge_policy::config::Limits::default().upstream_buffer;
        for largest in [INITIAL_WINDOW, LARGEST_WINDOW] {
            let held: usize = (1..=1000).map(|n| window_of(budget, n, largest)).sum();
            assert!(held <= budget, "{held}");
            assert_eq!(window_of(budget, 1, largest), largest);
        }
    }
}
