//! Planning of the contents of a database: declared objects, the initial script, privileges, event triggers.

use super::planner::Planner;
use crate::cluster::{database, default_privilege, grant};
use crate::current::{AvailableExtension, Contents};
use crate::desired::Presence;
use crate::inside::{DatabasePlanner, InsideChange};
use crate::name::Name;
use crate::plan::{Change, DestructibleObject, Obstacle};

/// Plans the changes inside a database: event triggers that end, declared objects, the initial script, privileges,
/// default privileges, removals, and last the event triggers that fire from then on, which none of these steps is to
/// meet. A database that does not exist, or whose contents could not be inspected, is reported as blocked. One
/// that is invalid, or is missing and declared absent, is left out.
pub(super) fn plan(planner: &mut Planner<'_>, database: &Name) {
    let desired = planner.desired();
    let Some(found) = planner.now().databases.get(database) else {
        let declared = desired.databases.get(database);
        if declared.is_none_or(|declared| declared.presence == Presence::Present) {
            let what = format!("everything inside database {database}");
            planner.block(what, Obstacle::Missing("there is no such database".to_owned()));
        }
        return;
    };
    if found.is_invalid() && desired.databases.contains_key(database) {
        // An invalid database is reported as a whole.
        return;
    }
    if found.contents.is_none() {
        let closed = found.refusal.as_ref().map(|why| format!("the session cannot enter it: {why}"));
        let none = || "it takes no connections, so nothing inside it can be seen or changed".to_owned();
        let why = closed.unwrap_or_else(none);
        return planner.block(format!("everything inside database {database}"), Obstacle::InUse(why));
    }
    let wanted = desired.databases.get(database).map(|wanted| &wanted.inside);
    if let Some(wanted) = wanted {
        wanted.plan_ends_of_event_triggers(&mut DatabaseWork { planner, database });
        wanted.plan(&mut DatabaseWork { planner, database });
    }
    if let Some(script) = desired.databases.get(database).and_then(|wanted| wanted.initial_sql.as_ref()) {
        database::plan::plan_initial_sql(planner, database, script);
    }
    if let Some(wanted) = wanted {
        wanted.plan_publications(&mut DatabaseWork { planner, database });
    }
    grant::plan::plan_in(planner, database);
    default_privilege::plan::plan_in(planner, database);
    if let Some(wanted) = wanted {
        wanted.plan_removals(&mut DatabaseWork { planner, database });
        wanted.plan_event_triggers(&mut DatabaseWork { planner, database });
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
        self.planner.now().available.get(extension)
    }

    fn owner(&self) -> Option<Name> {
        self.planner.now().databases.get(self.database).map(|found| found.owned.owner.clone())
    }

    fn emit(&mut self, change: InsideChange, reason: String) {
        self.planner.emit(Change::Inside { database: self.database.clone(), change }, reason);
    }

    fn emit_as(&mut self, roles: &[Name], change: InsideChange, reason: String) {
        let roles: Vec<&Name> = roles.iter().collect();
        self.planner.emit_as(&roles, Change::Inside { database: self.database.clone(), change }, reason);
    }

    fn may_destroy(&mut self, what: &str, named: DestructibleObject) -> bool {
        self.planner.may_destroy(what, named)
    }

    fn block(&mut self, what: String, why: Obstacle) {
        self.planner.block(what, why);
    }

    fn postpone(&mut self, what: &str) -> bool {
        let is_opaque = self.planner.is_opaque(self.database);
        if is_opaque {
            self.planner.note(format!(
                "{what}: which objects an extension or initial_sql of this plan makes is not known yet; apply goes on with \
                 it, and a saved plan leaves it to the next run"
            ));
        }
        is_opaque
    }
}
