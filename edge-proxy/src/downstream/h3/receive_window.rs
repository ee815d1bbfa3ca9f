//! The receive window of a QUIC connection, which limits request content in flight and not consumed.
//!
//! A client can send at most one window per round trip. A client that the window keeps from sending reports that by
//! DATA_BLOCKED (RFC 9000 §19.12). If content of a request is awaited then, the window is what limits the upload, and
//! is doubled, within the budget of the worker. A report counts only if the client has sent enough bytes to exhaust the
//! window, so that the budget is spent on bytes that arrive. Content that an upstream does not accept is not awaited, and enlarges
//! no window. The windows of streams are constant, since quinn-proto takes them from the configuration at the start of
//! a connection; they are smaller than the connection's, so that a request that nobody reads leaves room for others.

use crate::downstream::window_budget::WindowShare;

/// The largest receive window of a connection in bytes.
const MAX_WINDOW: u32 = 16 * 1024 * 1024;

/// The size of a connection's receive window.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    /// The size in bytes.
    size: u32,
    /// The number of DATA_BLOCKED frames that were received when the window last grew.
    blocked: u64,
    /// The number of received bytes at which the window can be exhausted. Reports before do not count.
    due: u64,
    /// The part of the worker's budget by which the window exceeds the initial one.
    share: WindowShare,
}

impl ReceiveWindow {
    /// Creates a window of the initial size in bytes.
    pub(super) fn new(initial: u32) -> Self {
        Self { size: initial, blocked: 0, due: u64::from(initial), share: WindowShare::default() }
    }

    /// Returns whether the client has reported since the last growth that the window keeps it from sending, has sent
    /// enough to exhaust the window, and the window can grow. `blocked` is the number of DATA_BLOCKED frames received so
    /// far, and `received` that of bytes in datagrams.
    pub(super) const fn is_limiting(&self, blocked: u64, received: u64) -> bool {
        blocked > self.blocked && received >= self.due && self.size < MAX_WINDOW
    }

    /// Doubles the window, at most up to [`MAX_WINDOW`], if the budget of the worker permits it. To be called if the
    /// window [is limiting](Self::is_limiting) while content is awaited; a further report is necessary before the next
    /// growth. `blocked` and `received` are as for [`ReceiveWindow::is_limiting`]. Returns the new size in bytes, `None`
    /// if the budget does not permit it; the report then counts later, when the budget has room.
    pub(super) fn grow(&mut self, blocked: u64, received: u64) -> Option<u32> {
        let size = self.size.saturating_mul(2).min(MAX_WINDOW);
        let more = size - self.size;
        self.share.extend(more as usize).then(|| {
            self.blocked = blocked;
            self.due = received + u64::from(more);
            self.size = size;
            size
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downstream::window_budget::MAX_GROWTH;
    use proptest::prelude::*;

    const INITIAL: u32 = 6 * 1024 * 1024;

    #[test]
    fn a_window_doubles_with_each_report() {
        const MIB: u64 = 1024 * 1024;
        let mut window = ReceiveWindow::new(INITIAL);
        assert!(!window.is_limiting(0, 6 * MIB));
        assert!(!window.is_limiting(1, 1000), "it cannot be exhausted");
        assert!(window.is_limiting(1, 6 * MIB));
        assert_eq!(window.grow(1, 7 * MIB), Some(2 * INITIAL));
        assert!(!window.is_limiting(1, 20 * MIB), "the same report");
        assert!(!window.is_limiting(2, 7 * MIB + 1000), "what it grew by cannot be exhausted");
        assert!(window.is_limiting(2, 13 * MIB));
        assert_eq!(window.grow(2, 13 * MIB), Some(MAX_WINDOW));
        assert!(!window.is_limiting(3, 100 * MIB), "none is larger");
    }

    #[test]
    fn a_report_that_the_budget_refuses_counts_later() {
        let mut others: Vec<ReceiveWindow> = (0..20).map(|_| ReceiveWindow::new(INITIAL)).collect();
        for window in &mut others {
            while window.grow(1, 0).is_some() && window.size < MAX_WINDOW {}
        }
        let mut window = ReceiveWindow::new(INITIAL);
        let received = u64::from(INITIAL);
        assert!(window.is_limiting(1, received));
        assert_eq!(window.grow(1, received), None);
        drop(others);
        assert!(window.is_limiting(1, received));
        assert_eq!(window.grow(1, received), Some(2 * INITIAL));
    }

    proptest! {
        /// Whatever the clients of a worker report, their windows stay within its budget, and return it.
        #[test]
        fn the_budget_is_kept(steps in proptest::collection::vec((0usize..20, any::<bool>()), 1..200)) {
            {
                let mut windows: Vec<ReceiveWindow> = (0..20).map(|_| ReceiveWindow::new(INITIAL)).collect();
                for (report, (at, ends)) in (1..).zip(steps) {
                    let received = u64::from(MAX_WINDOW) * report;
                    if ends {
                        windows[at] = ReceiveWindow::new(INITIAL);
                    } else if windows[at].is_limiting(report, received) {
                        windows[at].grow(report, received);
                    }
                    let more: usize = windows.iter().map(|window| (window.size - INITIAL) as usize).sum();
                    prop_assert!(more <= MAX_GROWTH && more == WindowShare::total());
                }
            }
            prop_assert_eq!(WindowShare::total(), 0);
        }
    }
}
