//! Plans the contents of a database: schemas, extensions, privileges.

use super::{Planner, roles::comment};
use crate::current::{Contents, SettingKey};
use crate::desired::{Extension, Presence, Schema};
use crate::name::{Name, Text};
use crate::plan::{Change, Commented, Destroyed, INITIALIZED, Obstacle};

impl Planner<'_> {
    pub(super) fn contents(&mut self, database: &Name) {
        let desired = self.desired;
        let Some(found) = self.now.databases.get(database) else {
            let declared = desired.databases.get(database);
            if declared.is_none_or(|declared| declared.presence == Presence::Present) {
                let what = format!("everything inside database {database}");
                self.block(what, Obstacle::Missing("there is no such database".to_owned()));
            }
            return;
        };
        if found.contents.is_none() {
            let why = "it takes no connections, so nothing inside it can be seen or changed".to_owned();
            return self.block(format!("everything inside database {database}"), Obstacle::InUse(why));
        }
        if let Some(wanted) = desired.databases.get(database) {
            let present = |presence: Presence| presence == Presence::Present;
            for (name, schema) in wanted.schemas.iter().filter(|(_, schema)| present(schema.presence)) {
                self.schema(database, name, schema);
            }
            for (name, extension) in wanted.extensions.iter().filter(|(_, wanted)| present(wanted.presence)) {
                self.extension(database, name, extension);
            }
        }
        if let Some(script) = desired.databases.get(database).and_then(|wanted| wanted.initial_sql.as_ref()) {
            self.initial_sql(database, script);
        }
        self.grants(database);
        self.default_grants(database);
        if let Some(wanted) = desired.databases.get(database) {
            for name in
                wanted.extensions.iter().filter(|(_, w)| w.presence == Presence::Absent).map(|(name, _)| name)
            {
                self.drop_extension(database, name);
            }
            for name in
                wanted.schemas.iter().filter(|(_, w)| w.presence == Presence::Absent).map(|(name, _)| name)
            {
                self.drop_schema(database, name);
            }
        }
    }

    /// Runs a script once: in a database that is made by this plan, or that has neither contents nor the record of it.
    fn initial_sql(&mut self, database: &Name, script: &Text) {
        let key = SettingKey { role: None, database: Some(database.clone()) };
        let settings = self.now.settings.get(&key);
        if settings.is_some_and(|all| all.keys().any(|setting| setting.as_str() == INITIALIZED)) {
            return;
        }
        let made = self
            .steps
            .iter()
            .any(|step| matches!(&step.change, Change::CreateDatabase(new) if new.name == *database));
        let used = self.inside(database).is_some_and(|inside| {
            !inside.occupied.is_empty() || inside.objects.keys().any(|object| object.schema().is_some())
        });
        if used && !made {
            self.notes.push(format!(
                "database {database} has contents and no record of initial_sql, so it is not run; ALTER DATABASE {} SET \
                 {INITIALIZED} TO 'done' says that it is not needed",
                database.quoted()
            ));
            return;
        }
        let change = Change::InitialSql { database: database.clone(), script: script.clone() };
        self.emit(change, "nothing is in the database yet");
    }

    /// Returns the current contents of a database, if known.
    pub(super) fn inside(&self, database: &Name) -> Option<&Contents> {
        self.now.databases.get(database)?.contents.as_ref()
    }

    fn schema(&mut self, database: &Name, name: &Name, wanted: &Schema) {
        if self.inside(database).is_some_and(|inside| !inside.schemas.contains_key(name)) {
            if let Some(owner) = &wanted.owner {
                self.act_as(owner);
            }
            if let Some(owner) = self.now.databases.get(database).map(|found| found.owned.owner.clone()) {
                self.act_as(&owner);
            }
            let change = Change::CreateSchema {
                database: database.clone(),
                name: name.clone(),
                owner: wanted.owner.clone(),
            };
            self.emit(change, "there is no such schema");
        }
        let Some(found) = self.inside(database).and_then(|inside| inside.schemas.get(name)).cloned() else {
            return;
        };
        if let Some(owner) = wanted.owner.as_ref().filter(|owner| **owner != found.owned.owner) {
            let reason = format!("its owner is {}", found.owned.owner);
            self.act_as(&found.owned.owner);
            self.act_as(owner);
            let change =
                Change::SchemaOwner { database: database.clone(), name: name.clone(), owner: owner.clone() };
            self.emit(change, reason);
        }
        if let Some(text) = comment(found.comment.as_ref(), wanted.comment.as_ref()) {
            let on = Commented::Schema(database.clone(), name.clone());
            self.emit(Change::Comment { on, text }, "the comment differs");
        }
    }

    fn extension(&mut self, database: &Name, name: &Name, wanted: &Extension) {
        let known = self.now.available.get(name);
        let what = || format!("extension {name} of database {database}");
        let offered = known.is_some_and(|known| {
            wanted.version.as_ref().is_none_or(|version| known.versions.contains(version))
        });
        let Some(found) = self.inside(database).and_then(|inside| inside.extensions.get(name)).cloned()
        else {
            if !offered {
                let why = match (&wanted.version, known) {
                    (Some(version), Some(known)) => {
                        let list: Vec<&str> = known.versions.iter().map(Text::as_str).collect();
                        format!("the server has no version {version} of it, but {}", list.join(", "))
                    }
                    _ => "the server does not have its files; install its package".to_owned(),
                };
                return self.block(what(), Obstacle::Missing(why));
            }
            // Without a word the search path would decide, unless the extension insists on a schema of its own.
            let insists = known.is_some_and(|known| known.schema.is_some());
            if let Some(owner) = self.now.databases.get(database).map(|found| found.owned.owner.clone()) {
                self.act_as(&owner);
            }
            let public = || Name::new("public").ok().filter(|_| !insists);
            let change = Change::CreateExtension {
                database: database.clone(),
                name: name.clone(),
                version: wanted.version.clone(),
                schema: wanted.schema.clone().or_else(public),
            };
            self.emit(change, "it is not installed");
            return;
        };
        if let Some(version) = wanted.version.as_ref().filter(|version| **version != found.version) {
            if offered {
                let change = Change::UpdateExtension {
                    database: database.clone(),
                    name: name.clone(),
                    version: version.clone(),
                };
                self.emit(change, format!("its version is {}", found.version));
            } else {
                let why = format!("the server has no version {version} of it");
                self.block(what(), Obstacle::Missing(why));
            }
        }
        if let Some(schema) = wanted.schema.as_ref().filter(|schema| **schema != found.schema) {
            let change = Change::ExtensionSchema {
                database: database.clone(),
                name: name.clone(),
                schema: schema.clone(),
            };
            self.emit(change, format!("it is in schema {}", found.schema));
        }
    }

    fn drop_extension(&mut self, database: &Name, name: &Name) {
        let there = self.inside(database).is_some_and(|inside| inside.extensions.contains_key(name));
        let what = format!("DROP EXTENSION {} in database {database}", name.quoted());
        if there && self.may_destroy(&what, Destroyed::Extension(database.clone(), name.clone())) {
            let change = Change::DropExtension { database: database.clone(), name: name.clone() };
            self.emit(change, "declared absent and listed in --destroy");
        }
    }

    fn drop_schema(&mut self, database: &Name, name: &Name) {
        let Some(inside) = self.inside(database).filter(|inside| inside.schemas.contains_key(name)) else {
            return;
        };
        let cascade = inside.occupied.contains(name);
        let what = format!("DROP SCHEMA {} in database {database}", name.quoted());
        if self.may_destroy(&what, Destroyed::Schema(database.clone(), name.clone())) {
            let change = Change::DropSchema { database: database.clone(), name: name.clone(), cascade };
            self.emit(change, "declared absent and listed in --destroy");
        }
    }
}
