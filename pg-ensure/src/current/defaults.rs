//! Default privileges of a database.

use crate::acl::{Acl, ObjectKind};
use crate::name::Name;
use crate::version::Version;

/// The key of a set of default privileges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefaultKey {
    /// The role whose newly created objects get these privileges (`FOR ROLE`).
    pub creator: Name,
    /// In which schema; `None` for everywhere.
    pub schema: Option<Name>,
    /// The kind of object.
    pub kind: DefaultKind,
}

/// The kinds of objects that default privileges exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DefaultKind {
    /// Tables and what is like them.
    Tables,
    /// Sequences of all types.
    Sequences,
    /// Functions, procedures and aggregates.
    Routines,
    /// Types and domains.
    Types,
    /// Schemas by name.
    Schemas,
    /// Large objects (PostgreSQL 18).
    LargeObjects,
}

impl DefaultKind {
    /// The kind of each object.
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

    /// Returns the SQL form.
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
    /// Returns the built-in default: PostgreSQL's own for the whole database, nothing more for one schema.
    #[must_use]
    pub fn base(&self, version: Version) -> Acl {
        match self.schema {
            Some(_) => Acl::default(),
            None => Acl::default_of(self.kind.object(), &self.creator, version),
        }
    }
}
