//! Events of the store of shared state.

use super::StoreError;

/// A change of the store of shared state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedEvent {
    /// It does not answer. Clients of other edges are not resumed until it does.
    Away(StoreError),
    /// The store responds, for the first time or again.
    Reached,
    /// It has keys that were not sealed under this edge's secret: not all edges have the same one.
    OtherSecret,
}
