//! Events of the store of shared state.

use super::StoreError;

/// A change in the state of the store that edges share.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedEvent {
    /// The store cannot be reached, for this reason. Until it is reached, sessions of other edges are not resumed.
    Away(StoreError),
    /// The store is reached, for the first time or again.
    Reached,
    /// The store contains keys that were sealed under another secret: the edges do not all have the same secret.
    OtherSecret,
}
