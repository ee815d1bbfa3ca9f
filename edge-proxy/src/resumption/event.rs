//! Events of the store of shared state.

use super::StoreError;

/// A change in the state of the store that edges share, by the result of the periodic query for ticket keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedEvent {
    /// The query failed, for this reason, at the start or after an earlier one had succeeded. Until one succeeds, no
    /// sessions are stored; tickets are still sealed and opened by the keys that are known.
    Away(StoreError),
    /// The query succeeded, for the first time or after it had failed.
    Reached,
    /// The store contains keys that were sealed under another secret: the edges do not all have the same secret.
    /// Reported once until all keys of the store can be opened.
    OtherSecret,
}
