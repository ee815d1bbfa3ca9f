//! Classes of risk of changes.

use std::fmt;

/// Class of risk of a change, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Risk {
    /// `adds`: the change creates something.
    Adds,
    /// `changes`: the change modifies something.
    Changes,
    /// `disturbs`: the change may affect users, since files are moved or code in the database is replaced.
    Disturbs,
    /// `takes away`: the change may reduce permissions or what others receive.
    #[cfg_attr(feature = "serde", serde(rename = "takes away"))]
    TakesAway,
    /// `destroys`: the change removes data or definitions. Blocked without consent.
    Destroys,
}

impl Risk {
    /// Returns the stable, machine-readable name, such as `takes away`.
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
