//! The budget of a worker for growing receive windows of its client connections, over HTTP/2 and HTTP/3 alike.

use std::cell::Cell;

/// The number of bytes by which the connection windows of a worker may exceed the initial ones in total.
pub(crate) const MAX_GROWTH: usize = 64 * 1024 * 1024;

thread_local! {
    /// The number of bytes by which the connection windows of the worker exceed the initial ones.
    static GROWN: Cell<usize> = const { Cell::new(0) };
}

/// The part of the worker's budget that one connection has. It is returned when this value is dropped.
#[derive(Debug, Default)]
pub(crate) struct WindowShare {
    /// The number of bytes by which the connection's window exceeds the initial one.
    bytes: usize,
}

impl WindowShare {
    /// Adds `more` bytes to the share. Returns false, without an effect, if the budget has less left.
    pub(crate) fn extend(&mut self, more: usize) -> bool {
        let grown = GROWN.get().saturating_add(more);
        let fits = grown <= MAX_GROWTH;
        if fits {
            GROWN.set(grown);
            self.bytes += more;
        }
        fits
    }

    /// Returns the number of bytes that all shares of this worker have.
    #[cfg(test)]
    pub(crate) fn total() -> usize {
        GROWN.get()
    }
}

impl Drop for WindowShare {
    fn drop(&mut self) {
        // A thread that ends has no budget any more.
        let _ = GROWN.try_with(|grown| grown.set(grown.get() - self.bytes));
    }
}
