//! Privileges on objects: desired form.

pub(crate) mod change;
pub(crate) mod difference;
pub(crate) mod plan;

use crate::acl::{Grantee, ObjectKind, Privileges};
use crate::name::Name;
use crate::object::Object;
use crate::version::Version;
use std::fmt;

/// Exact set of privileges that a grantee is to hold on an object. Other grantees are not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Grantee of the privileges.
    pub to: Grantee,
    /// Object or objects of the grant.
    pub on: GrantTarget,
    /// Exact privileges. An empty set revokes all.
    pub privileges: PrivilegeSet,
    /// `true` if the privileges are to be held WITH GRANT OPTION, `false` if without.
    pub grantable: bool,
}

/// Object or objects of a grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantTarget {
    /// A single object.
    One(Object),
    /// Every object of one kind that a schema contains when the plan is made.
    AllIn {
        /// Name of the database.
        database: Name,
        /// Name of the schema.
        schema: Name,
        /// Kind of object: table, sequence, routine or type.
        kind: ObjectKind,
    },
}

impl GrantTarget {
    /// Returns the database that contains the object or objects. `None` for shared objects.
    #[must_use]
    pub fn database(&self) -> Option<&Name> {
        match self {
            Self::One(object) => object.database(),
            Self::AllIn { database, .. } => Some(database),
        }
    }

    /// Returns the kind of the object or objects.
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

/// Desired privileges: a set, or all that a kind of object has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivilegeSet {
    /// `ALL`: the privileges that the server's version has for the kind of object.
    All,
    /// These privileges only.
    Only(Privileges),
}

impl PrivilegeSet {
    /// Returns the set for a kind of object in a version of PostgreSQL.
    #[must_use]
    pub fn expand(self, kind: ObjectKind, version: Version) -> Privileges {
        match self {
            Self::All => kind.all(version),
            Self::Only(privileges) => privileges,
        }
    }
}
