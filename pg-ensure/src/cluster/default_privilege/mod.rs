//! Default privileges of a database: desired form, and the key of the current ones.

pub(crate) mod change;
pub(crate) mod plan;

use crate::acl::{Acl, Grantee, ObjectKind};
use crate::cluster::grant::PrivilegeSet;
use crate::name::Name;
use crate::version::Version;

/// Exact set of default privileges of a grantee, which objects created later get. Existing objects are not affected.
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
    /// Exact privileges. An empty set revokes all.
    pub privileges: PrivilegeSet,
    /// `true` if the privileges are to be held WITH GRANT OPTION, `false` if without.
    pub grantable: bool,
}

/// Key of default privileges in one database: creator, schema and kind of the objects that get them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefaultKey {
    /// The role whose newly created objects get these privileges (`FOR ROLE`).
    pub creator: Name,
    /// Schema to which they apply (`IN SCHEMA`). `None` for the whole database.
    pub schema: Option<Name>,
    /// Kind of object to which they apply.
    pub kind: DefaultKind,
}

/// Kind of object to which default privileges apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DefaultKind {
    /// Tables, views, materialized views and foreign tables.
    Tables,
    /// Sequences, including those of identity columns.
    Sequences,
    /// Functions, procedures and aggregates.
    Routines,
    /// Types and domains.
    Types,
    /// Schemas; only for the whole database.
    Schemas,
    /// Large objects (from PostgreSQL 18); only for the whole database.
    LargeObjects,
}

impl DefaultKind {
    /// Returns the corresponding kind of object.
    #[must_use]
    pub fn object(self) -> ObjectKind {
        match self {
            Self::Tables => ObjectKind::Table,
            Self::Sequences => ObjectKind::Sequence,
            Self::Routines => ObjectKind::Routine,
            Self::Types => ObjectKind::Type,
            Self::Schemas => ObjectKind::Schema,
            Self::LargeObjects => ObjectKind::LargeObject,
        }
    }

    /// Returns the keyword after ON in `ALTER DEFAULT PRIVILEGES`.
    #[must_use]
    pub fn sql(self) -> &'static str {
        match self {
            Self::Tables => "TABLES",
            Self::Sequences => "SEQUENCES",
            Self::Routines => "ROUTINES",
            Self::Types => "TYPES",
            Self::Schemas => "SCHEMAS",
            Self::LargeObjects => "LARGE OBJECTS",
        }
    }
}

impl DefaultKey {
    /// Returns the default privileges that apply without an entry: PostgreSQL's own for the whole database, none for a
    /// single schema.
    #[must_use]
    pub fn base(&self, version: Version) -> Acl {
        match self.schema {
            Some(_) => Acl::default(),
            None => Acl::default_of(self.kind.object(), &self.creator, version),
        }
    }
}
