//! The risk of a change.

use std::fmt;

/// The risk of a change, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// It adds something.
    Adds,
    /// It changes something that is there.
    Changes,
    /// It may be noticed: files are moved, or code of the database changes.
    Disturbs,
    /// Somebody may be able to do less than before.
    TakesAway,
    /// Data or definitions are gone afterwards. Refused unless named.
    Destroys,
}

impl Risk {
    /// As a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adds => "adds",
            Self::Changes => "changes",
            Self::Disturbs => "disturbs",
            Self::TakesAway => "takes away",
            Self::Destroys => "destroys",
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
