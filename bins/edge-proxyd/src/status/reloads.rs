//! The outcome of the last reload of the configuration.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The outcome of the last reload, true for success, and the time of the last successful one, or of the start.
#[derive(Debug)]
pub(crate) struct Reloads(Mutex<(bool, SystemTime)>);

impl Default for Reloads {
    /// Creates the record of a process that has just read its configuration.
    fn default() -> Self {
        Self(Mutex::new((true, SystemTime::now())))
    }
}

impl Reloads {
    /// Records the outcome of a reload that ends now.
    pub(crate) fn record(&self, successful: bool) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.0 = successful;
        if successful {
            last.1 = SystemTime::now();
        }
    }

    /// Returns true if the last reload succeeded or there was none, and the time of the last successful one, or of the
    /// start.
    pub(super) fn last(&self) -> (bool, SystemTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
