//! Desired privileges and default privileges.

use crate::acl::{Grantee, ObjectKind, Privileges};
use crate::current::DefaultKind;
use crate::name::Name;
use crate::object::Object;
use crate::version::Version;
use std::fmt;

/// Privileges that a grantee is to hold on an object, exactly. Other grantees are not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Grantee of the privileges.
    pub to: Grantee,
    /// Object or objects of the grant.
    pub on: GrantTarget,
    /// Privileges. An empty set revokes all.
    pub privileges: PrivilegeSet,
    /// True to grant them WITH GRANT OPTION.
    pub grantable: bool,
}

/// Object or objects of a grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantTarget {
    /// A single object.
    One(Object),
    /// Every object of a kind that exists in a schema when the plan is made.
    AllIn {
        /// Name of the database.
        database: Name,
        /// Name of the schema.
        schema: Name,
        /// [`ObjectKind::Table`], [`ObjectKind::Sequence`], [`ObjectKind::Routine`] or [`ObjectKind::Type`].
        kind: ObjectKind,
    },
}

impl GrantTarget {
    /// Returns the database that contains the object. `None` for shared objects.
    #[must_use]
    pub fn database(&self) -> Option<&Name> {
        match self {
            Self::One(object) => object.database(),
            Self::AllIn { database, .. } => Some(database),
        }
    }

    /// Returns the kind of object.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::One(object) => object.kind(),
            Self::AllIn { kind, .. } => *kind,
        }
    }
}

impl fmt::Display for GrantTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(object) => object.fmt(f),
            Self::AllIn { database, schema, kind } => {
                write!(f, "every {kind} of schema {schema} in database {database}")
            }
        }
    }
}

/// A set of privileges, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivilegeSet {
    /// `ALL`: the privileges that the server's version has for the kind of object.
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

/// Default privileges of a grantee, exactly: they apply to objects created later. Existing objects are not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultGrant {
    /// Name of the database.
    pub database: Name,
    /// The role whose newly created objects get these privileges (`FOR ROLE`).
    pub creator: Name,
    /// Schema to which they apply (`IN SCHEMA`). `None` for the whole database.
    pub schema: Option<Name>,
    /// Kind of object to which they apply.
    pub kind: DefaultKind,
    /// Grantee of the privileges.
    pub to: Grantee,
    /// Privileges. An empty set revokes all.
    pub privileges: PrivilegeSet,
    /// True to grant them WITH GRANT OPTION.
    pub grantable: bool,
}
