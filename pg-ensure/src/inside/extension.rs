//! Extensions: desired and current state, and the changes between them.

use super::{
    ClusterContext, Contents, DatabasePlanner, DeclarationValidation, DeclaredObjects, InsideChange,
    SessionRights,
};
use crate::desired::InvalidReason;
use crate::model::{RejectedChange, rejected};
use crate::name::{Name, Text};
use crate::plan::{Obstacle, Risk};
use crate::presence::Presence;
use crate::subject::{DestructibleObject, Subject};
use crate::version::Version;
use std::collections::BTreeSet;

/// Desired extension of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    /// `Absent` if the extension is to be dropped. Default: `Present`.
    pub presence: Presence,
    /// Version of the extension. `None` accepts any installed version, and installs the default one.
    pub version: Option<Text>,
    /// Schema for the extension's objects. `None` is not managed; a new extension is then installed in `public` or the
    /// schema that it requires.
    pub schema: Option<Name>,
}

/// An installed extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledExtension {
    /// Installed version of the extension (`extversion`).
    pub version: Text,
    /// Schema that contains the extension's objects.
    pub schema: Name,
    /// Owner of the extension.
    pub owner: Name,
}

/// An extension that is available for installation (`pg_available_extensions`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AvailableExtension {
    /// Version that is installed by default. `None` if unknown.
    pub default: Option<Text>,
    /// All versions that can be installed.
    pub versions: BTreeSet<Text>,
    /// `true` if the default version is trusted, so that CREATE on the database suffices to install the extension.
    pub trusted: bool,
    /// Schema that the default version requires. `None` if it can be installed into any.
    pub schema: Option<Name>,
}

/// A change of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtensionChange {
    /// A `CREATE EXTENSION` statement.
    Create {
        /// The extension's name.
        name: Name,
        /// Version to install. `None` for the default version.
        version: Option<Text>,
        /// Schema for the extension's objects. `None` for the schema that the extension requires.
        schema: Option<Name>,
    },
    /// `ALTER EXTENSION … UPDATE TO`.
    Update {
        /// The extension's name.
        name: Name,
        /// The target version.
        version: Text,
    },
    /// `ALTER EXTENSION … SET SCHEMA`.
    Move {
        /// The extension's name.
        name: Name,
        /// Name of the schema.
        schema: Name,
    },
    /// A `DROP EXTENSION` statement.
    Drop {
        /// The extension's name.
        name: Name,
    },
}

impl ExtensionChange {
    /// Returns the statement of the change.
    pub(super) fn sql(&self, _: Version) -> String {
        match self {
            Self::Create { name, version, schema } => {
                let schema = schema.as_ref().map(|schema| format!(" SCHEMA {}", schema.quoted()));
                let version = version.as_ref().map(|version| format!(" VERSION {}", version.quoted()));
                let (schema, version) = (schema.unwrap_or_default(), version.unwrap_or_default());
                format!("CREATE EXTENSION {}{schema}{version}", name.quoted())
            }
            Self::Update { name, version } => {
                format!("ALTER EXTENSION {} UPDATE TO {}", name.quoted(), version.quoted())
            }
            Self::Move { name, schema } => {
                format!("ALTER EXTENSION {} SET SCHEMA {}", name.quoted(), schema.quoted())
            }
            Self::Drop { name } => format!("DROP EXTENSION {}", name.quoted()),
        }
    }

    /// Returns the risk of the change.
    pub(super) fn risk(&self) -> Risk {
        match self {
            Self::Create { .. } => Risk::Adds,
            Self::Move { .. } => Risk::Changes,
            Self::Update { .. } => Risk::Disturbs,
            Self::Drop { .. } => Risk::Destroys,
        }
    }

    /// Checks that the session may make the change: to create an extension, it must be trusted and the session have
    /// CREATE on the database; other changes need the privileges of the extension's owner.
    ///
    /// # Errors
    /// Returns a description of the missing permission.
    pub(super) fn permitted(&self, rights: &dyn SessionRights) -> Result<(), String> {
        match self {
            Self::Create { name, .. } => {
                if !rights.available(name).is_some_and(|available| available.trusted) {
                    return Err(format!("the extension {name} is not trusted, so it takes a superuser"));
                }
                rights.creates()
            }
            Self::Update { name, .. } | Self::Move { name, .. } | Self::Drop { name } => {
                let found = rights.contents().and_then(|contents| contents.extensions.get(name));
                found.map_or(Ok(()), |found| rights.has(&found.owner))
            }
        }
    }

    /// Applies the change to the modelled contents of a database.
    ///
    /// # Errors
    /// Returns a [`RejectedChange`] if the server would reject the change.
    pub(super) fn make(
        &self,
        contents: &mut Contents,
        around: &ClusterContext<'_>,
    ) -> Result<(), RejectedChange> {
        match self {
            Self::Create { name, version, schema } => {
                let available = around.available.get(name).cloned().unwrap_or_default();
                if contents.extensions.contains_key(name) {
                    return rejected(format!("there is an extension {name} already"));
                }
                let insisted = available.schema.as_ref();
                let schema = schema.as_ref().or(insisted).cloned();
                let schema = schema.unwrap_or_else(|| Name::new("public").expect("a name"));
                let system = schema == "pg_catalog";
                if !contents.schemas.contains_key(&schema) && insisted != Some(&schema) && !system {
                    return rejected(format!("there is no schema {schema}"));
                }
                let version = version.clone().or(available.default);
                let version = version.unwrap_or_else(|| Text::new("").expect("a text"));
                let owner = around.user.clone();
                contents.extensions.insert(name.clone(), InstalledExtension { version, schema, owner });
            }
            Self::Update { name, version } => found(contents, name)?.version = version.clone(),
            Self::Move { name, schema } => found(contents, name)?.schema = schema.clone(),
            Self::Drop { name } => {
                if contents.extensions.remove(name).is_none() {
                    return rejected(format!("there is no extension {name}"));
                }
                contents.event_triggers.retain(|_, found| found.extension.as_ref() != Some(name));
            }
        }
        Ok(())
    }
}

/// Returns the modelled state of an extension.
///
/// # Errors
/// Returns a [`RejectedChange`] if the extension does not exist.
fn found<'a>(contents: &'a mut Contents, name: &Name) -> Result<&'a mut InstalledExtension, RejectedChange> {
    contents.extensions.get_mut(name).ok_or_else(|| RejectedChange(format!("there is no extension {name}")))
}

impl Extension {
    /// Plans the installation of an extension, or the changes of its version and schema. The change is blocked if the
    /// server does not offer the extension or the version. No effect on one that is declared absent. Without a declared
    /// or required schema, the extension is installed into `public`.
    pub(super) fn plan(&self, name: &Name, work: &mut dyn DatabasePlanner) {
        if self.presence == Presence::Absent {
            return;
        }
        let known = work.available(name).cloned();
        let offered = known.as_ref().is_some_and(|known| {
            self.version.as_ref().is_none_or(|version| known.versions.contains(version))
        });
        let what = format!("extension {name} of database {}", work.database());
        let Some(found) = work.contents().and_then(|contents| contents.extensions.get(name)).cloned() else {
            if !offered {
                let why = match (&self.version, known) {
                    (Some(version), Some(known)) => {
                        let list: Vec<&str> = known.versions.iter().map(Text::as_str).collect();
                        format!("the server has no version {version} of it, but {}", list.join(", "))
                    }
                    _ => "the server does not have its files; install its package".to_owned(),
                };
                return work.block(what, Obstacle::Missing(why));
            }
            // Without a schema in the statement the search path would decide, unless the extension requires a certain
            // schema.
            let insists = known.is_some_and(|known| known.schema.is_some());
            let public = || Name::new("public").ok().filter(|_| !insists);
            let change = ExtensionChange::Create {
                name: name.clone(),
                version: self.version.clone(),
                schema: self.schema.clone().or_else(public),
            };
            let owner: Vec<Name> = work.owner().into_iter().collect();
            return work.emit_as(&owner, InsideChange::Extension(change), "it is not installed".to_owned());
        };
        if let Some(version) = self.version.as_ref().filter(|version| **version != found.version) {
            if offered {
                let change = ExtensionChange::Update { name: name.clone(), version: version.clone() };
                emit(work, change, &format!("its version is {}", found.version));
            } else {
                let why = format!("the server has no version {version} of it");
                work.block(what, Obstacle::Missing(why));
            }
        }
        if let Some(schema) = self.schema.as_ref().filter(|schema| **schema != found.schema) {
            let change = ExtensionChange::Move { name: name.clone(), schema: schema.clone() };
            emit(work, change, &format!("it is in schema {}", found.schema));
        }
    }

    /// Plans the removal of an extension that is declared absent, if the operator consents.
    pub(super) fn plan_removal(&self, name: &Name, work: &mut dyn DatabasePlanner) {
        let there = work.contents().is_some_and(|contents| contents.extensions.contains_key(name));
        if self.presence == Presence::Present || !there {
            return;
        }
        let what = format!("DROP EXTENSION {} in database {}", name.quoted(), work.database());
        if work.may_destroy(&what, DestructibleObject::Extension(work.database().clone(), name.clone())) {
            emit(
                work,
                ExtensionChange::Drop { name: name.clone() },
                "declared absent and listed in --destroy",
            );
        }
    }

    /// Reports an error if the declared schema of the extension is declared absent in the same database.
    pub(super) fn check(
        &self,
        subject: &Subject,
        beside: &DeclaredObjects,
        check: &mut dyn DeclarationValidation,
    ) {
        let schema = self.schema.as_ref().and_then(|schema| beside.schemas.get(schema));
        if schema.is_some_and(|schema| schema.presence == Presence::Absent) {
            check.add(subject, InvalidReason::Contradiction("its schema is declared absent"));
        }
    }
}

impl InstalledExtension {
    /// Returns the desired state that equals the current one.
    pub(super) fn imported(&self) -> Extension {
        let (version, schema) = (Some(self.version.clone()), Some(self.schema.clone()));
        Extension { presence: Presence::Present, version, schema }
    }
}

/// Adds a step with a change of an extension to the plan, or reports the change as blocked.
fn emit(work: &mut dyn DatabasePlanner, change: ExtensionChange, reason: &str) {
    work.emit(InsideChange::Extension(change), reason.to_owned());
}

#[cfg(feature = "client")]
pub(super) mod snapshot {
    //! Extensions in a snapshot.

    use super::{Contents, InstalledExtension};
    use crate::client::snapshot::{Names, SnapshotError, Str, text};

    /// Query for one array per extension: name, version, schema, owner.
    pub(in crate::inside) const QUERY: &str =
        "SELECT json_build_array(e.extname, e.extversion, n.nspname, o.rolname) AS entry
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace JOIN pg_roles o ON o.oid = e.extowner";

    /// Row of the query: name, version, schema and owner.
    pub(in crate::inside) type Row<'a> = (Str<'a>, Str<'a>, Str<'a>, Str<'a>);

    /// Adds the extension of a row to `contents`.
    ///
    /// # Errors
    /// Returns an error if a name or the version is not valid.
    pub(in crate::inside) fn read(
        (name, version, schema, owner): Row<'_>,
        names: &mut Names,
        contents: &mut Contents,
    ) -> Result<(), SnapshotError> {
        let (schema, owner) = (names.get(&schema)?, names.get(&owner)?);
        let extension = InstalledExtension { version: text(&version)?, schema, owner };
        contents.extensions.insert(names.get(&name)?, extension);
        Ok(())
    }
}

#[cfg(feature = "manifest")]
mod written {
    use super::{Extension, Name, Subject};
    use crate::manifest::spanned::{
        ManifestObject, ManifestReader, SpannedString, absent, maybe, no, presence, text, word,
    };
    use serde::{Deserialize, Serialize};

    /// Serialized form of [`Extension`].
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(missing_docs, reason = "each is that of Extension")]
    pub struct ExtensionSpec {
        pub name: SpannedString,
        #[serde(default, skip_serializing_if = "no")]
        pub absent: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<SpannedString>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub schema: Option<SpannedString>,
    }

    impl ManifestObject for ExtensionSpec {
        type Form = Extension;

        fn name(&self) -> &SpannedString {
            &self.name
        }

        fn form(&self, reader: &mut dyn ManifestReader) -> Extension {
            Extension {
                presence: presence(self.absent),
                version: reader.text(self.version.as_ref()),
                schema: reader.maybe(self.schema.as_ref()),
            }
        }

        fn subject(database: Name, name: Name) -> Subject {
            Subject::Extension(database, name)
        }

        fn of(name: &Name, extension: &Extension) -> Self {
            Self {
                name: word(name.as_str()),
                absent: absent(extension.presence),
                version: text(extension.version.as_ref()),
                schema: maybe(extension.schema.as_ref()),
            }
        }
    }
}

#[cfg(feature = "manifest")]
pub use written::ExtensionSpec;
