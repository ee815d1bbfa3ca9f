//! Wanted privileges.

use crate::acl::{Grantee, ObjectKind, Privileges};
use crate::current::DefaultKind;
use crate::name::Name;
use crate::object::Object;
use crate::version::Version;
use std::fmt;

/// Exactly what a grantee is to hold on something. Other grantees are not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who.
    pub to: Grantee,
    /// On what.
    pub on: On,
    /// What; nothing takes everything away.
    pub privileges: PrivilegeSet,
    /// Whether the grantee may grant it on.
    pub grantable: bool,
}

/// What a grant is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum On {
    /// One object.
    One(Object),
    /// Every object of a kind that a schema holds now: tables, sequences or routines.
    AllIn {
        /// The database.
        database: Name,
        /// The schema.
        schema: Name,
        /// [`ObjectKind::Table`], [`ObjectKind::Sequence`], [`ObjectKind::Routine`] or [`ObjectKind::Type`].
        kind: ObjectKind,
    },
}

impl On {
    /// The database whose inside it is about.
    #[must_use]
    pub fn database(&self) -> Option<&Name> {
        match self {
            Self::One(object) => object.database(),
            Self::AllIn { database, .. } => Some(database),
        }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::One(object) => object.kind(),
            Self::AllIn { kind, .. } => *kind,
        }
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(object) => object.fmt(f),
            Self::AllIn { database, schema, kind } => {
                write!(f, "every {kind} of schema {schema} in database {database}")
            }
        }
    }
}

/// Some privileges, or all that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivilegeSet {
    /// Whatever `ALL` means on the server's version.
    All,
    /// These.
    Only(Privileges),
}

impl PrivilegeSet {
    /// What it is for a kind on a version.
    #[must_use]
    pub fn expand(self, kind: ObjectKind, version: Version) -> Privileges {
        match self {
            Self::All => kind.all(version),
            Self::Only(privileges) => privileges,
        }
    }
}

/// Exactly what a grantee gets on what a role will create. Objects that exist already are not touched by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultGrant {
    /// The database.
    pub database: Name,
    /// Whose new objects.
    pub creator: Name,
    /// In which schema; `None` for everywhere.
    pub schema: Option<Name>,
    /// Which objects.
    pub kind: DefaultKind,
    /// Who.
    pub to: Grantee,
    /// What; nothing takes everything away.
    pub privileges: PrivilegeSet,
    /// Whether the grantee may grant it on.
    pub grantable: bool,
}
