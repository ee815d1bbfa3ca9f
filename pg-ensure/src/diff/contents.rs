//! Planning of the contents of a database: declared objects, the initial script, privileges.

use super::Planner;
use crate::current::{AvailableExtension, Contents, SettingKey};
use crate::desired::Presence;
use crate::inside::{DatabasePlanner, InsideChange};
use crate::name::{Name, Text};
use crate::plan::{Change, DestructibleObject, INITIALIZED, Obstacle};

impl Planner<'_> {
    /// Plans the changes inside a database: declared objects, the initial script, privileges, default privileges, and
    /// removals. A database that does not exist, or whose contents could not be inspected, is reported as blocked. One
    /// that is invalid, or is missing and declared absent, is left out.
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
        if found.is_invalid() && desired.databases.contains_key(database) {
            // An invalid database is reported as a whole.
            return;
        }
        if found.contents.is_none() {
            let closed = found.closed.as_ref().map(|why| format!("the session cannot enter it: {why}"));
            let none = || "it takes no connections, so nothing inside it can be seen or changed".to_owned();
            let why = closed.unwrap_or_else(none);
            return self.block(format!("everything inside database {database}"), Obstacle::InUse(why));
        }
        let wanted = desired.databases.get(database).map(|wanted| &wanted.inside);
        if let Some(wanted) = wanted {
            wanted.plan(&mut DatabaseWork { planner: self, database });
        }
        if let Some(script) = desired.databases.get(database).and_then(|wanted| wanted.initial_sql.as_ref()) {
            self.initial_sql(database, script);
        }
        self.grants(database);
        self.default_grants(database);
        if let Some(wanted) = wanted {
            wanted.plan_removals(&mut DatabaseWork { planner: self, database });
        }
    }

    /// Plans the initial script of a database, if this plan creates the database or it is empty. The script is left out
    /// if the database has a record of it; if the database has contents but no record, a note is added.
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

    /// Returns the current contents of a database. `None` if the database does not exist or was not inspected.
    pub(super) fn inside(&self, database: &Name) -> Option<&Contents> {
        self.now.databases.get(database)?.contents.as_ref()
    }
}

/// The planner, restricted to one database.
struct DatabaseWork<'p, 'a> {
    planner: &'p mut Planner<'a>,
    database: &'p Name,
}

impl DatabasePlanner for DatabaseWork<'_, '_> {
    fn database(&self) -> &Name {
        self.database
    }

    fn contents(&self) -> Option<&Contents> {
        self.planner.inside(self.database)
    }

    fn available(&self, extension: &Name) -> Option<&AvailableExtension> {
        self.planner.now.available.get(extension)
    }

    fn act_as(&mut self, role: &Name) {
        self.planner.act_as(role);
    }

    fn act_as_owner(&mut self) {
        let found = self.planner.now.databases.get(self.database);
        if let Some(owner) = found.map(|found| found.owned.owner.clone()) {
            self.planner.act_as(&owner);
        }
    }

    fn emit(&mut self, change: InsideChange, reason: String) {
        self.planner.emit(Change::Inside { database: self.database.clone(), change }, reason);
    }

    fn may_destroy(&mut self, what: &str, named: DestructibleObject) -> bool {
        self.planner.may_destroy(what, named)
    }

    fn block(&mut self, what: String, why: Obstacle) {
        self.planner.block(what, why);
    }
}
