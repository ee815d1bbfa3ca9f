//! Publications: desired and current state, and the changes between them.

use super::{
    ClusterContext, Contents, DatabasePlanner, DeclarationValidation, DeclaredObjects, InsideChange,
    SessionRights,
};
use crate::desired::InvalidReason;
use crate::model::{RejectedChange, rejected};
use crate::name::Name;
use crate::object::Local;
use crate::plan::{Obstacle, Risk};
use crate::presence::Presence;
use crate::subject::{DestructibleObject, Subject};
use crate::version::Version;
use std::collections::BTreeSet;

/// A table that a publication contains, or may contain: schema and name.
pub type Table = (Name, Name);

/// Desired publication of a database. Row filters, column lists, schemas and comments are not managed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publication {
    /// `Absent` if the publication is to be dropped. Default: `Present`.
    pub presence: Presence,
    /// Name of the owner.
    pub owner: Option<Name>,
    /// FOR ALL TABLES: `true` to publish all tables of the database, including later ones. Cannot be changed after
    /// creation.
    pub all_tables: Option<bool>,
    /// Exact set of tables of the publication.
    pub tables: Option<BTreeSet<Table>>,
    /// Exact set of operations that the publication publishes.
    pub publish: Option<BTreeSet<Operation>>,
}

/// Current state of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicationState {
    /// Name of the owner.
    pub owner: Name,
    /// `true` if all tables of the database are published (FOR ALL TABLES).
    pub all_tables: bool,
    /// `true` if all tables of some schema are published (FOR TABLES IN SCHEMA, from PostgreSQL 15).
    pub has_schemas: bool,
    /// Tables that were added individually (FOR TABLE).
    pub tables: BTreeSet<Table>,
    /// Operations that the publication publishes.
    pub publish: BTreeSet<Operation>,
    /// Properties that a declaration cannot have, such as `row filters`, so that an import loses them. Empty if there are
    /// none.
    pub undeclarable: BTreeSet<String>,
}

/// An operation that a publication can publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "manifest",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum Operation {
    /// INSERT on a published table.
    Insert,
    /// UPDATE on a published table.
    Update,
    /// DELETE on a published table.
    Delete,
    /// TRUNCATE on a published table.
    Truncate,
}

/// A change of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicationChange {
    /// A `CREATE PUBLICATION` statement.
    Create {
        /// Name of the publication.
        name: Name,
        /// FOR ALL TABLES: `true` to publish all tables.
        all_tables: bool,
        /// Initial tables of the publication. Ignored with `all_tables`.
        tables: BTreeSet<Table>,
        /// Operations to publish. `None` for all.
        publish: Option<BTreeSet<Operation>>,
    },
    /// `ALTER PUBLICATION … OWNER TO`.
    Owner {
        /// Name of the publication.
        name: Name,
        /// The new owner.
        owner: Name,
    },
    /// `ALTER PUBLICATION … SET (publish = …)`.
    Publish {
        /// Name of the publication.
        name: Name,
        /// New set of operations.
        publish: BTreeSet<Operation>,
    },
    /// `ALTER PUBLICATION … ADD TABLE`.
    Add {
        /// Name of the publication.
        name: Name,
        /// Table to add.
        table: Table,
    },
    /// `ALTER PUBLICATION … DROP TABLE`.
    Remove {
        /// Name of the publication.
        name: Name,
        /// Table to remove.
        table: Table,
    },
    /// A `DROP PUBLICATION` statement.
    Drop {
        /// Name of the publication.
        name: Name,
    },
}

impl Operation {
    /// All operations, in the order of the columns of `pg_publication`.
    const ALL: [Self; 4] = [Self::Insert, Self::Update, Self::Delete, Self::Truncate];

    /// Returns the name of the operation in the option `publish`.
    fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
        }
    }
}

/// Returns the option `publish` with these operations, in parentheses: `(publish = 'insert, update')`.
fn option(publish: &BTreeSet<Operation>) -> String {
    let all: Vec<&str> = publish.iter().map(|operation| operation.word()).collect();
    format!("(publish = '{}')", all.join(", "))
}

/// Returns the quoted name of a table with its schema.
fn quoted_table((schema, table): &Table) -> String {
    format!("{}.{}", schema.quoted(), table.quoted())
}

impl PublicationChange {
    /// Returns the statement of the change.
    pub(super) fn sql(&self, _: Version) -> String {
        match self {
            Self::Create { name, all_tables, tables, publish } => {
                let listed: Vec<String> = tables.iter().map(quoted_table).collect();
                let tables = match (all_tables, listed.is_empty()) {
                    (true, _) => " FOR ALL TABLES".to_owned(),
                    (false, true) => String::new(),
                    (false, false) => format!(" FOR TABLE {}", listed.join(", ")),
                };
                let with = publish.as_ref().map(|publish| format!(" WITH {}", option(publish)));
                format!("CREATE PUBLICATION {}{tables}{}", name.quoted(), with.unwrap_or_default())
            }
            Self::Owner { name, owner } => {
                format!("ALTER PUBLICATION {} OWNER TO {}", name.quoted(), owner.quoted())
            }
            Self::Publish { name, publish } => {
                format!("ALTER PUBLICATION {} SET {}", name.quoted(), option(publish))
            }
            Self::Add { name, table } => {
                format!("ALTER PUBLICATION {} ADD TABLE {}", name.quoted(), quoted_table(table))
            }
            Self::Remove { name, table } => {
                format!("ALTER PUBLICATION {} DROP TABLE {}", name.quoted(), quoted_table(table))
            }
            Self::Drop { name } => format!("DROP PUBLICATION {}", name.quoted()),
        }
    }

    /// Returns the risk of the change.
    pub(super) fn risk(&self) -> Risk {
        match self {
            Self::Create { .. } | Self::Add { .. } => Risk::Adds,
            // Subscribers may receive less than before.
            Self::Owner { .. } | Self::Publish { .. } | Self::Remove { .. } => Risk::Restricts,
            Self::Drop { .. } => Risk::Destroys,
        }
    }

    /// Checks that the session may make the change. Publishing all tables needs a superuser; other publications need
    /// CREATE on the database and the privileges of the tables' owners. Changes need the privileges of the
    /// publication's owner and, for a new table, of its owner; a new owner needs CREATE on the database and SET ROLE.
    ///
    /// # Errors
    /// Returns a description of the missing permission.
    pub(super) fn permitted(&self, rights: &dyn SessionRights) -> Result<(), String> {
        let owns = |name: &Name| {
            let found = rights.contents().and_then(|contents| contents.publications.get(name));
            found.map_or(Ok(()), |found| rights.has(&found.owner))
        };
        let owns_table = |(schema, table): &Table| rights.owns(&Local::Table(schema.clone(), table.clone()));
        match self {
            Self::Create { all_tables: true, .. } => {
                Err("publishing all tables takes a superuser".to_owned())
            }
            Self::Create { tables, .. } => {
                rights.creates()?;
                tables.iter().try_for_each(owns_table)
            }
            Self::Owner { name, owner } => {
                owns(name)?;
                rights.creates()?;
                rights.becomes(owner)
            }
            Self::Add { name, table } => {
                owns(name)?;
                owns_table(table)
            }
            Self::Publish { name, .. } | Self::Remove { name, .. } | Self::Drop { name } => owns(name),
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
            Self::Create { name, all_tables, tables, publish } => {
                if contents.publications.contains_key(name) {
                    return rejected(format!("there is a publication {name} already"));
                }
                tables.iter().try_for_each(|table| can_be_published(contents, table))?;
                let made = PublicationState {
                    owner: around.user.clone(),
                    all_tables: *all_tables,
                    has_schemas: false,
                    tables: tables.clone(),
                    publish: publish.clone().unwrap_or_else(|| Operation::ALL.into()),
                    undeclarable: BTreeSet::new(),
                };
                contents.publications.insert(name.clone(), made);
            }
            Self::Owner { name, owner } => {
                around.role_exists(owner)?;
                let found = found(contents, name)?;
                if found.all_tables && (around.roles)(owner) == Some(false) {
                    let why = "is not a superuser, as the owner of a publication of all tables must be";
                    return rejected(format!("{owner} {why}"));
                }
                found.owner = owner.clone();
            }
            Self::Publish { name, publish } => found(contents, name)?.publish = publish.clone(),
            Self::Add { name, table } => {
                can_be_published(contents, table)?;
                found(contents, name)?.tables.insert(table.clone());
            }
            Self::Remove { name, table } => {
                if !found(contents, name)?.tables.remove(table) {
                    return rejected(format!("the publication {name} does not have it"));
                }
            }
            Self::Drop { name } => {
                found(contents, name)?;
                contents.publications.remove(name);
            }
        }
        Ok(())
    }
}

/// Returns the modelled state of a publication.
///
/// # Errors
/// Returns a [`RejectedChange`] if the publication does not exist.
fn found<'a>(contents: &'a mut Contents, name: &Name) -> Result<&'a mut PublicationState, RejectedChange> {
    contents
        .publications
        .get_mut(name)
        .ok_or_else(|| RejectedChange(format!("there is no publication {name}")))
}

/// Checks that a table exists and can be added to a publication.
///
/// # Errors
/// Returns a [`RejectedChange`] if the table does not exist or is one of [`Contents::unpublishable`].
fn can_be_published(contents: &Contents, table: &Table) -> Result<(), RejectedChange> {
    let (schema, name) = table;
    if !contents.objects.contains_key(&Local::Table(schema.clone(), name.clone())) {
        return rejected(format!("there is no table {schema}.{name}"));
    }
    if contents.unpublishable.contains(table) {
        return rejected(format!(
            "{schema}.{name} is not an ordinary table, and nothing else can be published"
        ));
    }
    Ok(())
}

impl Publication {
    /// Plans the creation of a publication, or the changes of its tables, operations and owner. A difference in
    /// `all_tables` is reported as blocked. No effect on one that is declared absent, and one with a table that a script of
    /// this plan may create is left to a later plan.
    pub(super) fn plan(&self, name: &Name, work: &mut dyn DatabasePlanner) {
        if self.presence == Presence::Absent {
            return;
        }
        let is_unknown = |contents: &Contents, (schema, table): &Table| {
            !contents.objects.contains_key(&Local::Table(schema.clone(), table.clone()))
        };
        let mut tables = self.tables.iter().flatten();
        let unknown = |contents: &Contents| tables.any(|table| is_unknown(contents, table));
        if work.contents().is_some_and(unknown)
            && work.postpone(&format!("publication {name} in database {}", work.database()))
        {
            return;
        }
        if work.contents().is_some_and(|contents| !contents.publications.contains_key(name)) {
            let change = PublicationChange::Create {
                name: name.clone(),
                all_tables: self.all_tables == Some(true),
                tables: self.tables.clone().unwrap_or_default(),
                publish: self.publish.clone(),
            };
            let owner: Vec<Name> = work.owner().into_iter().collect();
            let reason = "there is no such publication".to_owned();
            work.emit_as(&owner, InsideChange::Publication(change), reason);
        }
        let found = work.contents().and_then(|contents| contents.publications.get(name));
        let Some(found) = found.cloned() else { return };
        if self.all_tables.is_some_and(|wanted| wanted != found.all_tables) {
            let has = if found.all_tables { "all tables" } else { "some tables" };
            let why = format!("it has {has}; drop it, and the next run makes it anew");
            let what = format!("all_tables of publication {name} of database {}", work.database());
            return work.block(what, Obstacle::Immutable(why));
        }
        if let Some(wanted) = &self.tables {
            for table in wanted.difference(&found.tables).cloned() {
                emit(work, PublicationChange::Add { name: name.clone(), table }, "it lacks this table");
            }
            for table in found.tables.difference(wanted).cloned() {
                emit(work, PublicationChange::Remove { name: name.clone(), table }, "it is not to have it");
            }
        }
        if let Some(publish) = self.publish.clone().filter(|wanted| *wanted != found.publish) {
            emit(work, PublicationChange::Publish { name: name.clone(), publish }, "it publishes others");
        }
        if let Some(owner) = self.owner.as_ref().filter(|owner| **owner != found.owner) {
            let change = PublicationChange::Owner { name: name.clone(), owner: owner.clone() };
            let reason = format!("its owner is {}", found.owner);
            work.emit_as(&[found.owner, owner.clone()], InsideChange::Publication(change), reason);
        }
    }

    /// Plans the removal of a publication that is declared absent, if the operator consents.
    pub(super) fn plan_removal(&self, name: &Name, work: &mut dyn DatabasePlanner) {
        let there = work.contents().is_some_and(|contents| contents.publications.contains_key(name));
        if self.presence == Presence::Present || !there {
            return;
        }
        let what = format!("DROP PUBLICATION {} in database {}", name.quoted(), work.database());
        if work.may_destroy(&what, DestructibleObject::Publication(work.database().clone(), name.clone())) {
            let change = PublicationChange::Drop { name: name.clone() };
            emit(work, change, "declared absent and listed in --destroy");
        }
    }

    /// Reports errors of the declaration: an owner that is unknown or declared absent, tables together with
    /// `all_tables`, or a table in a schema that is declared absent.
    pub(super) fn check(
        &self,
        subject: &Subject,
        beside: &DeclaredObjects,
        faults: &mut dyn DeclarationValidation,
    ) {
        if let Some(owner) = &self.owner {
            faults.require_role(subject, "owner", owner);
        }
        if self.all_tables == Some(true) && self.tables.is_some() {
            faults.add(subject, InvalidReason::Contradiction("all_tables leaves no tables to name"));
        }
        // A table leaves the publication when its schema is dropped.
        let leaves = |schema: &Name| {
            beside.schemas.get(schema).is_some_and(|schema| schema.presence == Presence::Absent)
        };
        if self.presence == Presence::Present
            && self.tables.iter().flatten().any(|(schema, _)| leaves(schema))
        {
            faults.add(
                subject,
                InvalidReason::Contradiction("the schema of one of its tables is declared absent"),
            );
        }
    }
}

impl PublicationState {
    /// Returns the desired state that equals the current one.
    pub(super) fn imported(&self) -> Publication {
        Publication {
            presence: Presence::Present,
            owner: Some(self.owner.clone()),
            all_tables: Some(self.all_tables),
            tables: Some(self.tables.clone()).filter(|_| !self.all_tables),
            publish: Some(self.publish.clone()),
        }
    }
}

/// Adds a step with a change of a publication to the plan, or reports the change as blocked.
fn emit(work: &mut dyn DatabasePlanner, change: PublicationChange, reason: &str) {
    work.emit(InsideChange::Publication(change), reason.to_owned());
}

#[cfg(feature = "client")]
pub(super) mod snapshot {
    //! Publications in a snapshot.

    use super::{Contents, Operation, PublicationState};
    use crate::client::snapshot::{Names, SnapshotError, Str};

    /// Query for one array per publication: name, owner, flag for all tables, flags of the operations in the order of
    /// [`Operation::ALL`], tables, flag for tables of schemas, properties that a declaration cannot have. Columns of
    /// later versions are read through `to_jsonb`.
    pub(in crate::inside) const QUERY: &str = "SELECT json_build_array(p.pubname, o.rolname, p.puballtables,
            json_build_array(p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate),
            (SELECT coalesce(json_agg(json_build_array(n.nspname, c.relname)), '[]') FROM pg_publication_rel r
                JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE r.prpubid = p.oid),
            EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_publication'::regclass AND d.refobjid = p.oid
                AND d.classid = to_regclass('pg_publication_namespace')),
            (SELECT coalesce(json_agg(what), '[]') FROM (VALUES
                ('lists of columns', EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid
                    AND to_jsonb(r)->>'prattrs' IS NOT NULL)),
                ('row filters', EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid
                    AND to_jsonb(r)->>'prqual' IS NOT NULL)),
                ('publish_via_partition_root', p.pubviaroot),
                ('publish_generated_columns', coalesce(to_jsonb(p)->>'pubgencols', 'n') NOT IN ('n', 'false')),
                ('tables in schemas', EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_publication'::regclass
                    AND d.refobjid = p.oid AND d.classid = to_regclass('pg_publication_namespace')))
                ) properties (what, has) WHERE has)) AS entry
        FROM pg_publication p JOIN pg_roles o ON o.oid = p.pubowner";

    /// Query for one array per relation that cannot be added to a publication (schema and name): views, materialized
    /// views, foreign tables, and temporary and unlogged tables.
    pub(in crate::inside) const UNPUBLISHABLE: &str = "SELECT json_build_array(n.nspname, c.relname) AS entry
        FROM pg_class c JOIN spaces n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('v', 'm', 'f') OR c.relkind IN ('r', 'p') AND c.relpersistence <> 'p'";

    /// Row of the query of tables that cannot be published: schema and name.
    pub(in crate::inside) type TableRow<'a> = (Str<'a>, Str<'a>);
    /// Row of the query: name, owner, `true` if all tables are published, flags of the operations in the order of
    /// [`Operation::ALL`], tables, `true` if tables of schemas are published, and properties that a declaration cannot
    /// have.
    pub(in crate::inside) type Row<'a> =
        (Str<'a>, Str<'a>, bool, [bool; 4], Vec<TableRow<'a>>, bool, Vec<Str<'a>>);

    /// Adds the publication of a row to `contents`.
    ///
    /// # Errors
    /// Returns an error if a name is not valid.
    pub(in crate::inside) fn read(
        (name, owner, all_tables, publish, tables, has_schemas, undeclarable): Row<'_>,
        names: &mut Names,
        contents: &mut Contents,
    ) -> Result<(), SnapshotError> {
        let publish = Operation::ALL.into_iter().zip(publish).filter(|(_, does)| *does);
        let publish = publish.map(|(operation, _)| operation).collect();
        let table = |(schema, table): TableRow<'_>, names: &mut Names| {
            Ok::<_, SnapshotError>((names.get(&schema)?, names.get(&table)?))
        };
        let tables = tables.into_iter().map(|row| table(row, names)).collect::<Result<_, _>>()?;
        let owner = names.get(&owner)?;
        let undeclarable = undeclarable.into_iter().map(Str::into_owned).collect();
        let state = PublicationState { owner, all_tables, has_schemas, tables, publish, undeclarable };
        contents.publications.insert(names.get(&name)?, state);
        Ok(())
    }
}

#[cfg(feature = "manifest")]
mod written {
    use super::{Name, Operation, Publication, Subject, Table};
    use crate::manifest::spanned::{
        ManifestObject, ManifestReader, SpannedString, absent, maybe, name, no, presence,
    };
    use serde::{Deserialize, Serialize};
    use std::ops::Range;
    use toml::Spanned;

    /// Serialized form of [`Publication`].
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(missing_docs, reason = "each is that of Publication")]
    pub struct PublicationSpec {
        pub name: SpannedString,
        #[serde(default, skip_serializing_if = "no")]
        pub absent: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub owner: Option<SpannedString>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub all_tables: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tables: Option<Vec<TableSpec>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub publish: Option<Vec<Operation>>,
    }

    /// Serialized form of a table of a publication.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(missing_docs, reason = "each is that of the table")]
    pub struct TableSpec {
        pub schema: SpannedString,
        pub name: SpannedString,
    }

    impl ManifestObject for PublicationSpec {
        type Form = Publication;

        fn name(&self) -> &SpannedString {
            &self.name
        }

        fn form(&self, reader: &mut dyn ManifestReader) -> Publication {
            let mut table = |written: &TableSpec| -> Option<Table> {
                Some((reader.name(&written.schema)?, reader.name(&written.name)?))
            };
            let tables = self.tables.as_ref().map(|all| all.iter().filter_map(&mut table).collect());
            Publication {
                presence: presence(self.absent),
                owner: reader.maybe(self.owner.as_ref()),
                all_tables: self.all_tables,
                tables,
                publish: self.publish.as_ref().map(|all| all.iter().copied().collect()),
            }
        }

        fn subject(database: Name, name: Name) -> Subject {
            Subject::Publication(database, name)
        }

        fn fields(&self) -> Vec<(&'static str, Range<usize>)> {
            self.owner.iter().map(|owner| ("owner", Spanned::span(owner))).collect()
        }

        fn of(of: &Name, publication: &Publication) -> Self {
            let table = |(schema, table): &Table| TableSpec { schema: name(schema), name: name(table) };
            Self {
                name: name(of),
                absent: absent(publication.presence),
                owner: maybe(publication.owner.as_ref()),
                all_tables: publication.all_tables,
                tables: publication.tables.as_ref().map(|all| all.iter().map(table).collect()),
                publish: publication.publish.as_ref().map(|all| all.iter().copied().collect()),
            }
        }
    }
}

#[cfg(feature = "manifest")]
pub use written::{PublicationSpec, TableSpec};
