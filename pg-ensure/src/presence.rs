//! The wanted presence of an object.

/// The wanted presence of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// It is to exist.
    #[default]
    Present,
    /// It is to go.
    Absent,
}
