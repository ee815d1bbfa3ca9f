//! Events of the store for shared state.

use super::StoreError;

/// A change in the state of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedEvent {
    /// The store does not respond. Sessions of other edges are not resumed until it does.
    Away(StoreError),
    /// The store responds, for the first time or again.
    Reached,
    /// The store contains keys that were sealed under another secret: not all edges have the same one.
    OtherSecret,
}
