//! Presence of declared objects.

/// Desired presence of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// The object is to exist.
    #[default]
    Present,
    /// The object is to be dropped.
    Absent,
}
