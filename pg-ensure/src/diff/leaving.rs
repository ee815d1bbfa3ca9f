//! Planning of the removal of roles.

use super::Planner;
use crate::current::Dependency;
use crate::name::Name;
use crate::plan::{Change, DestructibleObject, Obstacle};

impl Planner<'_> {
    /// Plans the removal of roles that are declared absent, as far as the operator consents and no object depends on
    /// them. The role of the session and the bootstrap superuser are reported as blocked.
    pub(super) fn drop_roles(&mut self) {
        let desired = self.desired;
        let leaving: Vec<&Name> =
            desired.absent_roles().filter(|name| self.now.roles.contains_key(*name)).collect();
        let mut going = Vec::new();
        for name in leaving {
            let what = format!("DROP ROLE {}", name.quoted());
            if *name == self.now.session.user || *name == self.now.session.bootstrap {
                self.block(
                    what,
                    Obstacle::InUse("this is the session's own role, or the one initdb made".to_owned()),
                );
            } else if self.may_destroy(&what, DestructibleObject::Role(name.clone())) {
                self.empty(name, desired.roles[name].reassign_to.as_ref());
                going.push(name);
            }
        }
        for name in going {
            if !self.now.dependencies_of(name).is_empty() {
                continue;
            }
            self.emit(Change::DropRole { name: name.clone() }, "declared absent and listed in --destroy");
        }
    }

    /// Plans to reassign the objects of a role to `heir` and to revoke its privileges, in every database that contains
    /// any. Without an heir, DROP ROLE is reported as blocked. No effect if the role owns no objects and holds no
    /// privileges.
    fn empty(&mut self, name: &Name, heir: Option<&Name>) {
        let places = self.now.dependencies_of(name);
        if places.is_empty() {
            return;
        }
        let inside = places.iter().filter_map(|place| match place {
            Dependency::Inside(database) => Some(database.clone()),
            Dependency::Database(_) | Dependency::Shared => None,
        });
        let mut databases: Vec<Name> = inside.collect();
        let Some(heir) = heir else {
            let list: Vec<String> = places
                .iter()
                .map(|place| match place {
                    Dependency::Database(database) => format!("database {database} itself"),
                    Dependency::Inside(database) => format!("objects in database {database}"),
                    Dependency::Shared => "objects that databases share".to_owned(),
                })
                .collect();
            let why = format!(
                "it owns or holds privileges on {}: set reassign_to, or hand these over first",
                list.join(", ")
            );
            return self.block(format!("DROP ROLE {}", name.quoted()), Obstacle::InUse(why));
        };
        if databases.is_empty() {
            databases.push(self.now.session.database.clone());
        }
        self.act_as(name);
        self.act_as(heir);
        for database in databases {
            let change =
                Change::ReassignOwned { database: database.clone(), from: name.clone(), to: heir.clone() };
            if self.emit(change, format!("{name} is to go, and {heir} inherits")) {
                let change = Change::DropOwned { database, role: name.clone() };
                self.emit(change, format!("{name} is to go, with its privileges"));
            }
        }
    }
}
