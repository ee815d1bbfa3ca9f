//! Roles that are to go.

use super::Planner;
use crate::name::Name;
use crate::plan::{Change, Destroyed, Obstacle};

impl Planner<'_> {
    pub(super) fn drop_roles(&mut self) {
        let desired = self.desired;
        let leaving: Vec<&Name> =
            desired.leaving().filter(|name| self.now.roles.contains_key(*name)).collect();
        let mut going = Vec::new();
        for name in leaving {
            let what = format!("DROP ROLE {}", name.quoted());
            if *name == self.now.session.user || *name == self.now.session.bootstrap {
                self.block(
                    what,
                    Obstacle::InUse("this is the session's own role, or the one initdb made".to_owned()),
                );
            } else if self.may_destroy(&what, Destroyed::Role(name.clone())) {
                self.empty(name, desired.roles[name].reassign_to.as_ref());
                going.push(name);
            }
        }
        for name in going {
            if self.now.dependencies.get(name).is_some_and(|found| !found.is_empty()) {
                continue;
            }
            self.emit(Change::DropRole { name: name.clone() }, "it is to go, and was named");
        }
    }

    /// Hands over what a role owns and takes what it was granted.
    fn empty(&mut self, name: &Name, heir: Option<&Name>) {
        let places = self.now.dependencies.get(name).cloned().unwrap_or_default();
        if places.is_empty() {
            return;
        }
        let mut databases: Vec<Name> = places.iter().flatten().cloned().collect();
        let Some(heir) = heir else {
            let mut list: Vec<String> = databases.iter().map(|name| format!("database {name}")).collect();
            if places.contains(&None) {
                list.push("objects that databases share".to_owned());
            }
            let why = format!(
                "it owns or was granted something in {}; say reassign_to, or hand that over first",
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
