//! Schemas: desired and current state, and the changes between them.

use super::{ClusterContext, Contents, DatabasePlanner, DeclarationValidation, InsideChange, SessionRights};
use crate::acl::ObjectKind;
use crate::comment;
use crate::desired::InvalidReason;
use crate::model::{RejectedChange, rejected};
use crate::name::{Name, Text};
use crate::object::Local;
use crate::owned::Owned;
use crate::plan::Risk;
use crate::presence::Presence;
use crate::subject::{DestructibleObject, Subject};
use crate::version::Version;

/// Desired schema of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// `Absent` if the schema is to be dropped. Default: `Present`.
    pub presence: Presence,
    /// Name of the owner.
    pub owner: Option<Name>,
    /// Comment on the schema. An empty text removes it.
    pub comment: Option<Text>,
}

/// Current state of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaState {
    /// Owner and ACL of the schema.
    pub owned: Owned,
    /// Comment on the schema. `None` if there is none.
    pub comment: Option<Text>,
}

/// A change of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaChange {
    /// A `CREATE SCHEMA` statement.
    Create {
        /// The schema's name.
        name: Name,
        /// Owner. `None` for the session's role.
        owner: Option<Name>,
    },
    /// `ALTER SCHEMA … OWNER TO`.
    Owner {
        /// The schema's name.
        name: Name,
        /// The new owner.
        owner: Name,
    },
    /// `COMMENT ON SCHEMA`.
    Comment {
        /// The schema's name.
        name: Name,
        /// New comment. `None` removes the comment.
        text: Option<Text>,
    },
    /// `DROP SCHEMA`, with its contents if `cascade`.
    Drop {
        /// The schema's name.
        name: Name,
        /// `true` to drop the contents too (CASCADE).
        cascade: bool,
    },
}

impl SchemaChange {
    /// Returns the statement of the change.
    pub(super) fn sql(&self, _: Version) -> String {
        match self {
            Self::Create { name, owner } => {
                let owner = owner.as_ref().map(|owner| format!(" AUTHORIZATION {}", owner.quoted()));
                format!("CREATE SCHEMA {}{}", name.quoted(), owner.unwrap_or_default())
            }
            Self::Owner { name, owner } => {
                format!("ALTER SCHEMA {} OWNER TO {}", name.quoted(), owner.quoted())
            }
            Self::Comment { name, text } => comment::sql(&format!("SCHEMA {}", name.quoted()), text.as_ref()),
            Self::Drop { name, cascade } => {
                format!("DROP SCHEMA {}{}", name.quoted(), if *cascade { " CASCADE" } else { "" })
            }
        }
    }

    /// Returns the risk of the change.
    pub(super) fn risk(&self) -> Risk {
        match self {
            Self::Create { .. } => Risk::Adds,
            Self::Comment { .. } => Risk::Changes,
            Self::Owner { .. } => Risk::Restricts,
            Self::Drop { .. } => Risk::Destroys,
        }
    }

    /// Checks that the session may make the change. A new schema needs CREATE on the database, a change or removal the
    /// privileges of the schema's owner (for a removal those of the database's owner suffice), and a new owner CREATE
    /// on the database and SET ROLE.
    ///
    /// # Errors
    /// Returns a description of the missing permission.
    pub(super) fn permitted(&self, rights: &dyn SessionRights) -> Result<(), String> {
        match self {
            Self::Create { owner, .. } => {
                rights.creates()?;
                owner.as_ref().map_or(Ok(()), |owner| rights.becomes(owner))
            }
            Self::Owner { name, owner } => {
                rights.owns(&Local::Schema(name.clone()))?;
                rights.creates()?;
                rights.becomes(owner)
            }
            Self::Comment { name, .. } => rights.owns(&Local::Schema(name.clone())),
            Self::Drop { name, .. } => {
                rights.owns(&Local::Schema(name.clone())).or_else(|_| rights.owns_database())
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
            Self::Create { name, owner } => {
                let owner = owner.as_ref().unwrap_or(around.user);
                around.role_exists(owner)?;
                if contents.schemas.contains_key(name) {
                    return rejected(format!("there is a schema {name} already"));
                }
                let owned = Owned::new(ObjectKind::Schema, owner, around.version);
                contents.schemas.insert(name.clone(), SchemaState { owned, comment: None });
            }
            Self::Owner { name, owner } => {
                around.role_exists(owner)?;
                found(contents, name)?.owned.give_to(owner);
            }
            Self::Comment { name, text } => {
                found(contents, name)?.comment = comment::stored(text.as_ref());
            }
            Self::Drop { name, cascade } => {
                if !cascade && contents.occupied.contains(name) {
                    return rejected(format!("the schema {name} is not empty"));
                }
                found(contents, name)?;
                contents.drop_schema(name);
            }
        }
        Ok(())
    }
}

/// Returns the modelled state of a schema.
///
/// # Errors
/// Returns a [`RejectedChange`] if the schema does not exist.
fn found<'a>(contents: &'a mut Contents, name: &Name) -> Result<&'a mut SchemaState, RejectedChange> {
    contents.schemas.get_mut(name).ok_or_else(|| RejectedChange(format!("there is no schema {name}")))
}

impl Schema {
    /// Plans the creation of a schema, or the changes of its owner and comment. No effect on one that is declared
    /// absent.
    pub(super) fn plan(&self, name: &Name, work: &mut dyn DatabasePlanner) {
        if self.presence == Presence::Absent {
            return;
        }
        if work.contents().is_some_and(|contents| !contents.schemas.contains_key(name)) {
            let change = SchemaChange::Create { name: name.clone(), owner: self.owner.clone() };
            let roles: Vec<Name> = self.owner.clone().into_iter().chain(work.owner()).collect();
            work.emit_as(&roles, InsideChange::Schema(change), "there is no such schema".to_owned());
        }
        let Some(found) = work.contents().and_then(|contents| contents.schemas.get(name)).cloned() else {
            return;
        };
        if let Some(owner) = self.owner.as_ref().filter(|owner| **owner != found.owned.owner) {
            let change = SchemaChange::Owner { name: name.clone(), owner: owner.clone() };
            let reason = format!("its owner is {}", found.owned.owner);
            let roles = [found.owned.owner.clone(), owner.clone()];
            work.emit_as(&roles, InsideChange::Schema(change), reason);
        }
        if let Some(text) = comment::changed(found.comment.as_ref(), self.comment.as_ref()) {
            emit(work, SchemaChange::Comment { name: name.clone(), text }, "the comment differs");
        }
    }

    /// Plans the removal of a schema that is declared absent, with CASCADE if other objects depend on it, if the
    /// operator consents. No effect if it does not exist.
    pub(super) fn plan_removal(&self, name: &Name, work: &mut dyn DatabasePlanner) {
        let Some(contents) = work.contents().filter(|contents| contents.schemas.contains_key(name)) else {
            return;
        };
        if self.presence == Presence::Present {
            return;
        }
        let cascade = contents.occupied.contains(name);
        let what = format!("DROP SCHEMA {} in database {}", name.quoted(), work.database());
        if work.may_destroy(&what, DestructibleObject::Schema(work.database().clone(), name.clone())) {
            let change = SchemaChange::Drop { name: name.clone(), cascade };
            emit(work, change, "declared absent and listed in --destroy");
        }
    }
}

impl Schema {
    /// Reports errors of the declaration: a reserved name (`pg_…` or `information_schema`), or an owner that is unknown
    /// or declared absent.
    pub(super) fn check(&self, subject: &Subject, name: &Name, check: &mut dyn DeclarationValidation) {
        if name.as_str().starts_with("pg_") || *name == "information_schema" {
            check.add(subject, InvalidReason::Reserved(name.clone()));
        }
        if let Some(owner) = &self.owner {
            check.require_role(subject, "owner", owner);
        }
    }
}

impl SchemaState {
    /// Returns the desired state that equals the current one.
    pub(super) fn imported(&self) -> Schema {
        let comment = Some(comment::imported(self.comment.as_ref()));
        Schema { presence: Presence::Present, owner: Some(self.owned.owner.clone()), comment }
    }
}

/// Adds a step with a change of a schema to the plan, or reports the change as blocked.
fn emit(work: &mut dyn DatabasePlanner, change: SchemaChange, reason: &str) {
    work.emit(InsideChange::Schema(change), reason.to_owned());
}

#[cfg(feature = "client")]
pub(super) mod snapshot {
    //! Schemas in a snapshot.

    use super::{ObjectKind, SchemaState};
    use crate::client::snapshot::{List, Names, SnapshotError, Str, maybe_text, owned};
    use crate::inside::Contents;
    use crate::version::Version;

    /// Query for one array per schema of users (`spaces`): name, owner, ACL, comment, and `true` if other objects
    /// depend on the schema.
    pub(in crate::inside) const QUERY: &str =
        "SELECT json_build_array(s.nspname, o.rolname, s.nspacl::text[], obj_description(s.oid, 'pg_namespace'),
            EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = s.oid)) AS entry
        FROM pg_namespace s JOIN spaces USING (oid) JOIN pg_roles o ON o.oid = s.nspowner";

    /// Row of the query: name, owner, access privileges, comment, and whether other objects depend on it.
    pub(in crate::inside) type Row<'a> = (Str<'a>, Str<'a>, List<'a>, Option<Str<'a>>, bool);

    /// Adds the schema of a row to `contents`.
    ///
    /// # Errors
    /// Returns an error if a name, the access privileges or the comment are not valid.
    pub(in crate::inside) fn read(
        (name, owner, acl, comment, occupied): Row<'_>,
        names: &mut Names,
        version: Version,
        contents: &mut Contents,
    ) -> Result<(), SnapshotError> {
        let name = names.get(&name)?;
        let owned = owned(ObjectKind::Schema, names.get(&owner)?, &acl, version)?;
        if occupied {
            contents.occupied.insert(name.clone());
        }
        contents.schemas.insert(name, SchemaState { owned, comment: maybe_text(comment.as_ref())? });
        Ok(())
    }
}

#[cfg(feature = "manifest")]
mod written {
    use super::{Name, Schema};
    use crate::manifest::spanned::{
        ManifestObject, ManifestReader, SpannedString, absent, maybe, no, presence, text, word,
    };
    use crate::subject::Subject;
    use serde::{Deserialize, Serialize};
    use std::ops::Range;
    use toml::Spanned;

    /// Serialized form of [`Schema`].
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(missing_docs, reason = "each is that of Schema")]
    pub struct SchemaSpec {
        pub name: SpannedString,
        #[serde(default, skip_serializing_if = "no")]
        pub absent: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub owner: Option<SpannedString>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub comment: Option<SpannedString>,
    }

    impl ManifestObject for SchemaSpec {
        type Form = Schema;

        fn name(&self) -> &SpannedString {
            &self.name
        }

        fn form(&self, reader: &mut dyn ManifestReader) -> Schema {
            Schema {
                presence: presence(self.absent),
                owner: reader.maybe(self.owner.as_ref()),
                comment: reader.text(self.comment.as_ref()),
            }
        }

        fn subject(database: Name, name: Name) -> Subject {
            Subject::Schema(database, name)
        }

        fn fields(&self) -> Vec<(&'static str, Range<usize>)> {
            self.owner.iter().map(|owner| ("owner", Spanned::span(owner))).collect()
        }

        fn of(name: &Name, schema: &Schema) -> Self {
            Self {
                name: word(name.as_str()),
                absent: absent(schema.presence),
                owner: maybe(schema.owner.as_ref()),
                comment: text(schema.comment.as_ref()),
            }
        }
    }
}

#[cfg(feature = "manifest")]
pub use written::SchemaSpec;
