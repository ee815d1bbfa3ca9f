//! Classes of risk of changes.

use std::fmt;

/// Class of risk of a change, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Risk {
    /// `adds`: the change creates an object, grants privileges or a membership, adds a table to a publication, or runs
    /// the initial script of a database.
    Adds,
    /// `changes`: the change modifies a property of an existing object: a setting, a password, a comment, an attribute
    /// of a role that does not limit it, an option of a database or a membership, or the schema of an extension.
    Changes,
    /// `disturbs`: the change may affect sessions of others: a database is moved to another tablespace, an extension is
    /// updated, or an event trigger is created or enabled.
    Disturbs,
    /// `takes away`: the change may reduce permissions or what others receive: it revokes, limits a role or removes its
    /// password, changes an owner or what a publication publishes, or replaces or disables an event trigger.
    #[cfg_attr(feature = "serde", serde(rename = "takes away"))]
    TakesAway,
    /// `destroys`: the change drops an object, or all objects of a role, with data and definitions. Blocked without
    /// consent.
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
