//! Grants that are wanted.

use crate::acl::{Grantee, ObjectKind, Privileges};
use crate::current::DefaultKind;
use crate::name::Name;
use crate::object::Object;
use crate::version::Version;
use std::fmt;

/// Exactly what a grantee is to hold on something. Other grantees are not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The grantee's name.
    pub to: Grantee,
    /// The object concerned.
    pub on: On,
    /// The privileges; an empty set revokes everything.
    pub privileges: PrivilegeSet,
    /// True if the grantee may grant it on.
    pub grantable: bool,
}

/// The object or objects of a grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum On {
    /// A single object.
    One(Object),
    /// Every object of a kind that a schema holds now: tables, sequences or routines.
    AllIn {
        /// The database's name.
        database: Name,
        /// The schema's name.
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

    /// The kind of object.
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
    /// These privileges only.
    Only(Privileges),
}

impl PrivilegeSet {
    /// Returns the privileges for a kind of object on a version.
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
    /// The database's name.
    pub database: Name,
    /// The role whose newly created objects get these privileges (`FOR ROLE`).
    pub creator: Name,
    /// In which schema; `None` for everywhere.
    pub schema: Option<Name>,
    /// The kind of object.
    pub kind: DefaultKind,
    /// The grantee's name.
    pub to: Grantee,
    /// The privileges; an empty set revokes everything.
    pub privileges: PrivilegeSet,
    /// True if the grantee may grant it on.
    pub grantable: bool,
}
