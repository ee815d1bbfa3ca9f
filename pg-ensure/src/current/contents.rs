//! The contents of a database, and its default privileges.

use super::Owned;
use crate::acl::{Acl, Grantee, ObjectKind, Privilege, Privileges};
use crate::name::{Name, Text};
use crate::object::Local;
use crate::version::Version;
use std::collections::{BTreeMap, BTreeSet};

/// The contents of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Schemas, without those of the system.
    pub schemas: BTreeMap<Name, SchemaState>,
    /// Installed extensions by name.
    pub extensions: BTreeMap<Name, InstalledExtension>,
    /// Owners and privileges of everything else.
    pub objects: BTreeMap<Local, Owned>,
    /// Default privileges that differ from PostgreSQL's own.
    pub defaults: BTreeMap<DefaultKey, Acl>,
    /// Schemas that other objects depend on, and that can only be dropped with them.
    pub occupied: BTreeSet<Name>,
}

/// A schema object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaState {
    /// Its owner and privileges.
    pub owned: Owned,
    /// The schema's comment.
    pub comment: Option<Text>,
}

/// An installed extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledExtension {
    /// The installed version.
    pub version: Text,
    /// The extension's schema.
    pub schema: Name,
    /// The extension's owner.
    pub owner: Name,
}

/// An extension that the server could install.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Available {
    /// The version that is installed when none is said.
    pub default: Option<Text>,
    /// All available versions.
    pub versions: BTreeSet<Text>,
    /// True if the extension is trusted: CREATE on the database is enough to install it.
    pub trusted: bool,
    /// The schema that it insists on.
    pub schema: Option<Name>,
}

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

impl Contents {
    /// Returns the contents of a database freshly created from an unmodified template1.
    #[must_use]
    pub fn fresh(bootstrap: &Name, version: Version) -> Self {
        let name = |name: &str| Name::new(name).expect("a name");
        let fifteen = version.major() >= 15;
        let owner = if fifteen { name("pg_database_owner") } else { bootstrap.clone() };
        let mut owned = Owned::new(ObjectKind::Schema, &owner, version);
        let everybody = if fifteen { Privilege::Usage.into() } else { ObjectKind::Schema.all(version) };
        owned.acl.grant(&Grantee::Public, &owner, everybody, Privileges::NONE);
        let comment = Text::new("standard public schema").ok();
        let mut fresh = Self::default();
        fresh.schemas.insert(name("public"), SchemaState { owned, comment });
        for language in ["c", "internal", "plpgsql", "sql"] {
            let owned = Owned::new(ObjectKind::Language, bootstrap, version);
            fresh.objects.insert(Local::Language(name(language)), owned);
        }
        let plpgsql = InstalledExtension {
            version: Text::new("1.0").expect("a text"),
            schema: name("pg_catalog"),
            owner: bootstrap.clone(),
        };
        fresh.extensions.insert(name("plpgsql"), plpgsql);
        fresh
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
