//! Presence of declared objects.

/// Desired presence of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// The object must exist: if it is missing, it is created, or granted if it is a membership.
    #[default]
    Present,
    /// The object must not exist: if it exists, it is dropped, or revoked if it is a membership.
    Absent,
}
