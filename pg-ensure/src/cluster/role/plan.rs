//! Planning of roles, their passwords and comments, and of the removal of roles.

use super::RoleState;
use super::change::{Attributes, RoleChange};
use super::password::{Password, StoredPassword, Verdict, judge};
use crate::cluster::owned::OwnedChange;
use crate::comment;
use crate::current::Dependency;
use crate::desired::{self, Presence};
use crate::diff::planner::Planner;
use crate::name::Name;
use crate::plan::{Change, DestructibleObject, Obstacle};

/// Plans the creation and change of roles that are to exist, then their passwords and comments.
pub(crate) fn plan(planner: &mut Planner<'_>) {
    let desired = planner.desired();
    let present = || desired.roles.iter().filter(|(_, wanted)| wanted.presence == Presence::Present);
    for (name, wanted) in present() {
        match planner.now().roles.get(name) {
            None => {
                let attributes = changed_attributes(&RoleState::default(), wanted);
                planner.emit(RoleChange::Create { name: name.clone(), attributes }, "there is no such role");
            }
            Some(found) => {
                let attributes = changed_attributes(found, wanted);
                if !attributes.is_empty() {
                    alter(planner, name, attributes);
                }
            }
        }
    }
    for (name, wanted) in present() {
        if let (Some(declared), Some(found)) = (&wanted.password, planner.now().roles.get(name)) {
            password(planner, name, declared, &found.password.clone());
        }
    }
    for (name, wanted) in present() {
        let Some(found) = planner.now().roles.get(name) else { continue };
        if let Some(text) = comment::changed(found.comment.as_ref(), wanted.comment.as_ref()) {
            planner.emit(RoleChange::Comment { name: name.clone(), text }, "the comment differs");
        }
    }
}

/// Plans one statement that changes the attributes of a role, or one per group of attributes if the session may
/// change only some of them; the others are then reported as blocked.
fn alter(planner: &mut Planner<'_>, name: &Name, attributes: Attributes) {
    let reason = |attributes: &Attributes| format!("it is not {}", attributes.words().join(", "));
    let whole = Change::from(RoleChange::Alter { name: name.clone(), attributes: attributes.clone() });
    if whole.permitted(planner.now()).is_ok() {
        planner.emit(whole, reason(&attributes));
        return;
    }
    let all = attributes;
    let none = Attributes::default;
    let parts = [
        Attributes { superuser: all.superuser, ..none() },
        Attributes { createdb: all.createdb, ..none() },
        Attributes { createrole: all.createrole, ..none() },
        Attributes { replication: all.replication, ..none() },
        Attributes { bypassrls: all.bypassrls, ..none() },
        Attributes {
            inherit: all.inherit,
            login: all.login,
            connection_limit: all.connection_limit,
            valid_until: all.valid_until,
            ..none()
        },
    ];
    for attributes in parts.into_iter().filter(|part| !part.is_empty()) {
        let reason = reason(&attributes);
        planner.emit(RoleChange::Alter { name: name.clone(), attributes }, reason);
    }
}

/// Plans to set or clear the password of a role, or notes that its state cannot be determined.
fn password(planner: &mut Planner<'_>, name: &Name, wanted: &Password, stored: &StoredPassword) {
    match judge(wanted, stored, planner.now().iterations) {
        Verdict::Fine => {}
        Verdict::Unseen => {
            planner.note(format!("whether {name} has a password cannot be seen, so it is left as it is"));
        }
        Verdict::Clear => {
            planner.emit(RoleChange::ClearPassword { name: name.clone() }, "it is to have no password");
        }
        Verdict::Set(why) => {
            planner.emit(RoleChange::SetPassword { name: name.clone() }, why);
        }
    }
}

/// Plans the removal of roles that are declared absent, as far as the operator consents and no object depends on
/// them. The role of the session and the bootstrap superuser are reported as blocked.
pub(crate) fn plan_removals(planner: &mut Planner<'_>) {
    let desired = planner.desired();
    let leaving: Vec<&Name> =
        desired.absent_roles().filter(|name| planner.now().roles.contains_key(*name)).collect();
    let mut going = Vec::new();
    for name in leaving {
        let what = format!("DROP ROLE {}", name.quoted());
        if *name == planner.now().session.user || *name == planner.now().session.bootstrap {
            planner.block(
                what,
                Obstacle::InUse("this is the session's own role, or the one initdb made".to_owned()),
            );
        } else if planner.may_destroy(&what, DestructibleObject::Role(name.clone())) {
            empty(planner, name, desired.roles[name].reassign_to.as_ref());
            going.push(name);
        }
    }
    for name in going {
        if !planner.now().dependencies_of(name).is_empty() {
            continue;
        }
        planner.emit(RoleChange::Drop { name: name.clone() }, "declared absent and listed in --destroy");
    }
}

/// Plans to reassign the objects of a role to `heir` and to revoke its privileges, in every database that contains
/// any. Without an heir, DROP ROLE is reported as blocked. No effect if the role owns no objects and holds no
/// privileges.
fn empty(planner: &mut Planner<'_>, name: &Name, heir: Option<&Name>) {
    let places = planner.now().dependencies_of(name);
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
        return planner.block(format!("DROP ROLE {}", name.quoted()), Obstacle::InUse(why));
    };
    if databases.is_empty() {
        databases.push(planner.now().session.database.clone());
    }
    for database in databases {
        let change =
            OwnedChange::Reassign { database: database.clone(), from: name.clone(), to: heir.clone() };
        if planner.emit_as(&[name, heir], change, format!("{name} is to go, and {heir} inherits")) {
            let change = OwnedChange::Drop { database, role: name.clone() };
            planner.emit(change, format!("{name} is to go, with its privileges"));
        }
    }
}

/// Returns the declared attributes that differ from the current ones.
fn changed_attributes(found: &RoleState, wanted: &desired::Role) -> Attributes {
    /// Returns the desired value if it differs from the current one. `None` if they are equal, or none is desired.
    fn other<T: PartialEq + Copy>(found: T, wanted: Option<T>) -> Option<T> {
        wanted.filter(|wanted| *wanted != found)
    }
    Attributes {
        superuser: other(found.superuser, wanted.superuser),
        createdb: other(found.createdb, wanted.createdb),
        createrole: other(found.createrole, wanted.createrole),
        inherit: other(found.inherit, wanted.inherit),
        login: other(found.login, wanted.login),
        replication: other(found.replication, wanted.replication),
        bypassrls: other(found.bypassrls, wanted.bypassrls),
        connection_limit: other(found.connection_limit, wanted.connection_limit),
        valid_until: other(found.valid_until, wanted.valid_until),
    }
}
