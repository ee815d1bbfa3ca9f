//! Objects inside a database that a desired state can declare.
//!
//! Each kind has a file with its desired and current state, its changes with their SQL, risk, permissions and effect,
//! its planning, the rows of a snapshot, and its serialized form. This file joins the kinds.

pub mod event_trigger;
pub mod extension;
pub mod publication;
pub mod schema;

use crate::acl::{Acl, Grantee, ObjectKind, Privilege, Privileges};
use crate::current::DefaultKey;
use crate::desired::InvalidReason;
use crate::model::{RejectedChange, rejected};
use crate::name::{Name, Text};
use crate::object::Local;
use crate::owned::Owned;
use crate::plan::{Obstacle, Risk};
use crate::presence::Presence;
use crate::subject::{DestructibleObject, Subject};
use crate::version::Version;
use event_trigger::{EventTrigger, EventTriggerChange, EventTriggerState, TriggerFunction};
use extension::{AvailableExtension, Extension, ExtensionChange, InstalledExtension};
use publication::{Publication, PublicationChange, PublicationState};
use schema::{Schema, SchemaChange, SchemaState};
use std::collections::{BTreeMap, BTreeSet};

/// Objects inside a database that a desired state declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeclaredObjects {
    /// Schemas by name.
    pub schemas: BTreeMap<Name, Schema>,
    /// Extensions by name.
    pub extensions: BTreeMap<Name, Extension>,
    /// Publications by name.
    pub publications: BTreeMap<Name, Publication>,
    /// Event triggers by name.
    pub event_triggers: BTreeMap<Name, EventTrigger>,
}

/// Current contents of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Schemas by name, without those of the system.
    pub schemas: BTreeMap<Name, SchemaState>,
    /// Installed extensions by name.
    pub extensions: BTreeMap<Name, InstalledExtension>,
    /// Publications by name.
    pub publications: BTreeMap<Name, PublicationState>,
    /// Relations that cannot be added to a publication, such as views and temporary tables.
    pub unpublishable: BTreeSet<publication::Table>,
    /// Event triggers by name, without those at events of later versions.
    pub event_triggers: BTreeMap<Name, EventTriggerState>,
    /// Functions without arguments that return `event_trigger`, except those of the system.
    pub event_functions: BTreeSet<TriggerFunction>,
    /// Owners and ACLs of relations, sequences, routines, types, languages, foreign data wrappers and foreign servers,
    /// and of those columns and large objects that have an ACL or that a desired grant names.
    pub objects: BTreeMap<Local, Owned>,
    /// Owners of objects that no other field describes, each with the schema of such objects: operators, their classes
    /// and families, collations, conversions, text search configurations and dictionaries, and extended statistics. The
    /// schema is `None` for large objects.
    pub other_owners: BTreeSet<(Name, Option<Name>)>,
    /// Default privileges with an entry in `pg_default_acl`, by creator, schema and kind.
    pub defaults: BTreeMap<DefaultKey, Acl>,
    /// Schemas on which other objects depend, so that dropping them requires CASCADE.
    pub occupied: BTreeSet<Name>,
}

impl DeclaredObjects {
    /// Returns `true` if no object is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Plans the changes that bring every declared schema and extension to its desired state, except removals, in this
    /// order.
    pub(crate) fn plan(&self, work: &mut dyn DatabasePlanner) {
        self.schemas.iter().for_each(|(name, wanted)| wanted.plan(name, work));
        self.extensions.iter().for_each(|(name, wanted)| wanted.plan(name, work));
    }

    /// Plans the creation and the changes of publications. This comes after the script that may create their tables.
    pub(crate) fn plan_publications(&self, work: &mut dyn DatabasePlanner) {
        self.publications.iter().for_each(|(name, wanted)| wanted.plan(name, work));
    }

    /// Plans the removal of event triggers that are declared absent, and disables those that are declared disabled.
    /// This comes before all other changes in the database, at which they would fire.
    pub(crate) fn plan_ends_of_event_triggers(&self, work: &mut dyn DatabasePlanner) {
        self.event_triggers.iter().for_each(|(name, wanted)| wanted.plan_end(name, work));
    }

    /// Plans the creation and the changes of event triggers. This comes after all other changes in the database, at
    /// which they would fire.
    pub(crate) fn plan_event_triggers(&self, work: &mut dyn DatabasePlanner) {
        self.event_triggers.iter().for_each(|(name, wanted)| wanted.plan(name, work));
    }

    /// Plans the removal of the objects that are declared absent, in the order publications, extensions, schemas. If an
    /// extension or a schema is declared absent, event triggers that exist and shall call another function come first,
    /// since the removal may take the function that they call now.
    pub(crate) fn plan_removals(&self, work: &mut dyn DatabasePlanner) {
        let absent = |presence: Presence| presence == Presence::Absent;
        if self.extensions.values().any(|wanted| absent(wanted.presence))
            || self.schemas.values().any(|wanted| absent(wanted.presence))
        {
            for (name, wanted) in &self.event_triggers {
                let now = work.contents().and_then(|contents| contents.event_triggers.get(name));
                if now
                    .is_some_and(|now| wanted.function.as_ref().is_some_and(|called| *called != now.function))
                {
                    wanted.plan(name, work);
                }
            }
        }
        self.publications.iter().for_each(|(name, wanted)| wanted.plan_removal(name, work));
        self.extensions.iter().for_each(|(name, wanted)| wanted.plan_removal(name, work));
        self.schemas.iter().for_each(|(name, wanted)| wanted.plan_removal(name, work));
    }

    /// Reports the errors of the declarations in a database.
    pub(crate) fn check(&self, database: &Name, check: &mut dyn DeclarationValidation) {
        for (name, wanted) in &self.extensions {
            wanted.check(&Subject::Extension(database.clone(), name.clone()), self, check);
        }
        for (name, wanted) in &self.publications {
            wanted.check(&Subject::Publication(database.clone(), name.clone()), self, check);
        }
        for (name, wanted) in &self.event_triggers {
            wanted.check(&Subject::EventTrigger(database.clone(), name.clone()), self, check);
        }
        for (name, wanted) in &self.schemas {
            wanted.check(&Subject::Schema(database.clone(), name.clone()), name, check);
        }
    }
}

impl Contents {
    /// Returns the contents of a database that was just created from an unmodified template1: the schema `public`, the
    /// built-in languages and the extension `plpgsql`.
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

    /// Returns the desired state that equals the current one.
    pub(crate) fn imported(&self) -> DeclaredObjects {
        let schemas = self.schemas.iter().map(|(name, found)| (name.clone(), found.imported()));
        let extensions = self.extensions.iter().map(|(name, found)| (name.clone(), found.imported()));
        let publications = self.publications.iter().map(|(name, found)| (name.clone(), found.imported()));
        let own = self.event_triggers.iter().filter(|(_, found)| found.extension.is_none());
        let event_triggers = own.map(|(name, found)| (name.clone(), found.imported()));
        DeclaredObjects {
            schemas: schemas.collect(),
            extensions: extensions.collect(),
            publications: publications.collect(),
            event_triggers: event_triggers.collect(),
        }
    }

    /// Removes a schema from the model with its objects, extensions and default privileges; its tables leave their
    /// publications.
    fn drop_schema(&mut self, name: &Name) {
        self.schemas.remove(name);
        self.occupied.remove(name);
        self.objects.retain(|local, _| local.schema() != Some(name));
        self.other_owners.retain(|(_, schema)| schema.as_ref() != Some(name));
        self.extensions.retain(|_, extension| extension.schema != *name);
        self.defaults.retain(|key, _| key.schema.as_ref() != Some(name));
        self.publications.values_mut().for_each(|found| found.tables.retain(|(schema, _)| schema != name));
        self.event_triggers.retain(|_, found| found.function.0 != *name);
        self.event_functions.retain(|(schema, _)| schema != name);
    }

    /// Returns an object of a role whose owner must be a superuser, as part of a message. `None` if there is none.
    pub(crate) fn superusers_object(&self, owner: &Name) -> Option<String> {
        let triggers = self.event_triggers.iter().filter(|(_, trigger)| trigger.owner == *owner);
        let triggers = triggers.map(|(name, _)| format!("event trigger {name}"));
        let wrappers = self.objects.iter().filter(|(_, owned)| owned.owner == *owner);
        let wrappers = wrappers.filter_map(|(local, _)| match local {
            Local::ForeignDataWrapper(name) => Some(format!("foreign-data wrapper {name}")),
            _ => None,
        });
        triggers.chain(wrappers).next()
    }

    /// Changes the owner of everything that `from` owns to `to`.
    pub(crate) fn reassign(&mut self, from: &Name, to: &Name) {
        let schemas = self.schemas.values_mut().map(|schema| &mut schema.owned);
        let all = schemas.chain(self.objects.values_mut());
        all.filter(|owned| owned.owner == *from).for_each(|owned| owned.give_to(to));
        let owners = self.extensions.values_mut().map(|extension| &mut extension.owner);
        let owners = owners.chain(self.publications.values_mut().map(|publication| &mut publication.owner));
        let owners = owners.chain(self.event_triggers.values_mut().map(|trigger| &mut trigger.owner));
        owners.filter(|owner| **owner == *from).for_each(|owner| *owner = to.clone());
        let others = std::mem::take(&mut self.other_owners).into_iter();
        self.other_owners =
            others.map(|(owner, schema)| (if owner == *from { to.clone() } else { owner }, schema)).collect();
    }

    /// Removes the privileges and default privileges that a role has or has granted, and the default privileges of
    /// objects that it creates.
    pub(crate) fn forget(&mut self, role: &Name) {
        self.schemas.values_mut().for_each(|schema| schema.owned.acl.forget(role));
        self.objects.values_mut().for_each(|owned| owned.acl.forget(role));
        self.defaults.retain(|key, _| key.creator != *role);
        self.defaults.values_mut().for_each(|acl| acl.forget(role));
    }
}

/// The interface of the planner for objects inside a database.
pub(crate) trait DatabasePlanner {
    /// Returns the name of the database.
    fn database(&self) -> &Name;
    /// Returns the contents of the database as the steps so far leave them. `None` if they were not read.
    fn contents(&self) -> Option<&Contents>;
    /// Returns an extension that the server offers. `None` if there is none with this name.
    fn available(&self, extension: &Name) -> Option<&AvailableExtension>;
    /// Returns the owner of the database. `None` if the database does not exist.
    fn owner(&self) -> Option<Name>;
    /// Adds a step to the plan, or reports the change as blocked.
    fn emit(&mut self, change: InsideChange, reason: String);
    /// Adds the memberships that the session needs to act for `roles`, as far as it is permitted to grant them, and a
    /// step to the plan, or reports the change as blocked, without memberships.
    fn emit_as(&mut self, roles: &[Name], change: InsideChange, reason: String);
    /// Returns `true` if the operator consents to destroying `named`; otherwise reports `what` as blocked.
    fn may_destroy(&mut self, what: &str, named: DestructibleObject) -> bool;
    /// Reports a change as blocked.
    fn block(&mut self, what: String, why: Obstacle);
    /// Returns `true` if a step of the plan creates objects in the database that only the server knows. `what`, which
    /// needs an object that is not known, is then left to a later plan, with a note.
    fn postpone(&mut self, what: &str) -> bool;
}

/// Permissions of a session that is not a superuser's. The error of each check names the missing permission.
pub(crate) trait SessionRights {
    /// Returns the contents of the database. `None` if they were not read.
    fn contents(&self) -> Option<&Contents>;
    /// Returns an extension that the server offers. `None` if there is none with this name.
    fn available(&self, extension: &Name) -> Option<&AvailableExtension>;
    /// Checks that the session has the privileges of an object's owner.
    ///
    /// # Errors
    /// Returns a description of the missing right.
    fn owns(&self, object: &Local) -> Result<(), String>;
    /// Checks that the session has the privileges of the database's owner.
    ///
    /// # Errors
    /// Returns a description of the missing right.
    fn owns_database(&self) -> Result<(), String>;
    /// Checks that the session has CREATE on the database.
    ///
    /// # Errors
    /// Returns a description of the missing right.
    fn creates(&self) -> Result<(), String>;
    /// Checks that the session has the privileges of a role.
    ///
    /// # Errors
    /// Returns a description of the missing right.
    fn has(&self, role: &Name) -> Result<(), String>;
    /// Checks that the session may make a role the owner of an object.
    ///
    /// # Errors
    /// Returns a description of the missing right.
    fn becomes(&self, role: &Name) -> Result<(), String>;
}

/// The interface of validation for objects inside a database.
pub(crate) trait DeclarationValidation {
    /// Reports an error of a declaration.
    fn add(&mut self, subject: &Subject, why: InvalidReason);
    /// Reports an error if a role is neither declared nor external nor predefined, or is declared absent. `what` is the
    /// purpose of the role, such as `owner`.
    fn require_role(&mut self, subject: &Subject, what: &'static str, role: &Name);
}

/// The part of a cluster on which changes inside a database depend.
pub(crate) struct ClusterContext<'a> {
    pub(crate) version: Version,
    /// Role of the session.
    pub(crate) user: &'a Name,
    /// Function that returns whether a role is a superuser: `Some(true)` or `Some(false)`. `None` if the role does not
    /// exist.
    pub(crate) roles: &'a dyn Fn(&Name) -> Option<bool>,
    pub(crate) available: &'a BTreeMap<Name, AvailableExtension>,
}

impl ClusterContext<'_> {
    /// Checks that a role exists.
    ///
    /// # Errors
    /// Returns a [`RejectedChange`] if it does not.
    fn role_exists(&self, role: &Name) -> Result<(), RejectedChange> {
        if (self.roles)(role).is_some() { Ok(()) } else { rejected(format!("there is no role {role}")) }
    }
}

macro_rules! changes {
    ($($(#[$doc:meta])* $kind:ident($change:ty),)*) => {
        /// A change of an object inside a database.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum InsideChange {
            $($(#[$doc])* $kind($change),)*
        }

        impl InsideChange {
            /// Returns the statement that makes the change in this version of PostgreSQL.
            pub(crate) fn sql(&self, version: Version) -> String {
                match self { $(Self::$kind(change) => change.sql(version),)* }
            }

            /// Returns the risk of the change.
            pub(crate) fn risk(&self) -> Risk {
                match self { $(Self::$kind(change) => change.risk(),)* }
            }

            /// Checks that the session may make the change.
            ///
            /// # Errors
            /// Returns the missing right.
            pub(crate) fn permitted(&self, rights: &dyn SessionRights) -> Result<(), String> {
                match self { $(Self::$kind(change) => change.permitted(rights),)* }
            }

            /// Makes the change in the model of the database.
            ///
            /// # Errors
            /// Returns an error if PostgreSQL would reject the change.
            pub(crate) fn make(&self, contents: &mut Contents, around: &ClusterContext<'_>) -> Result<(), RejectedChange> {
                match self { $(Self::$kind(change) => change.make(contents, around),)* }
            }
        }
    };
}

changes! {
    /// A change of a schema.
    Schema(SchemaChange),
    /// A change of an extension.
    Extension(ExtensionChange),
    /// A change of a publication.
    Publication(PublicationChange),
    /// A change of an event trigger.
    EventTrigger(EventTriggerChange),
}

impl InsideChange {
    /// Returns `true` if the change creates objects whose names are not known in advance.
    pub(crate) fn brings_objects(&self) -> bool {
        matches!(self, Self::Extension(ExtensionChange::Create { .. } | ExtensionChange::Update { .. }))
    }
}

#[cfg(feature = "client")]
pub(crate) mod snapshot {
    //! Declared kinds of objects in a snapshot.

    use super::{Contents, event_trigger, extension, publication, schema};
    use crate::client::snapshot::{Names, SnapshotError};
    use crate::version::Version;
    use serde::Deserialize;

    /// Query of each kind by its key in the JSON. Each yields one array per row.
    pub(crate) const QUERIES: &[(&str, &str)] = &[
        ("schemas", schema::snapshot::QUERY),
        ("extensions", extension::snapshot::QUERY),
        ("publications", publication::snapshot::QUERY),
        ("unpublishable", publication::snapshot::UNPUBLISHABLE),
        ("event_triggers", event_trigger::snapshot::QUERY),
        ("event_functions", event_trigger::snapshot::FUNCTIONS),
    ];

    /// Results of the queries of [`QUERIES`] for a database.
    #[derive(Deserialize)]
    pub(crate) struct Rows<'a> {
        #[serde(borrow)]
        schemas: Vec<schema::snapshot::Row<'a>>,
        #[serde(borrow)]
        extensions: Vec<extension::snapshot::Row<'a>>,
        #[serde(borrow)]
        publications: Vec<publication::snapshot::Row<'a>>,
        #[serde(borrow)]
        unpublishable: Vec<publication::snapshot::TableRow<'a>>,
        #[serde(borrow)]
        event_triggers: Vec<event_trigger::snapshot::Row<'a>>,
        #[serde(borrow)]
        event_functions: Vec<event_trigger::snapshot::FunctionRow<'a>>,
    }

    impl Rows<'_> {
        /// Adds the rows of all queries to `contents`.
        ///
        /// # Errors
        /// Returns an error if a row is not valid.
        pub(crate) fn read(
            self,
            names: &mut Names,
            version: Version,
            contents: &mut Contents,
        ) -> Result<(), SnapshotError> {
            for row in self.schemas {
                schema::snapshot::read(row, names, version, contents)?;
            }
            for row in self.extensions {
                extension::snapshot::read(row, names, contents)?;
            }
            for row in self.publications {
                publication::snapshot::read(row, names, contents)?;
            }
            for (schema, name) in self.unpublishable {
                contents.unpublishable.insert((names.get(&schema)?, names.get(&name)?));
            }
            for row in self.event_triggers {
                event_trigger::snapshot::read(row, names, contents)?;
            }
            for (schema, name) in self.event_functions {
                contents.event_functions.insert((names.get(&schema)?, names.get(&name)?));
            }
            Ok(())
        }
    }
}
