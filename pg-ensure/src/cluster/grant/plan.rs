//! Planning of privileges: comparison with the desired sets, and the smallest changes between them.

use super::change::GrantChange;
use super::difference::PrivilegeDifference;
use super::{Grant, GrantTarget, PrivilegeSet};
use crate::acl::{Grantee, ObjectKind, Privileges};
use crate::diff::planner::Planner;
use crate::name::Name;
use crate::object::Object;
use crate::plan::Obstacle;
use std::collections::BTreeSet;

/// Plans the changes of privileges on shared objects.
pub(crate) fn plan_shared(planner: &mut Planner<'_>) {
    let desired = planner.desired();
    for grant in desired.grants.iter().filter(|grant| grant.on.database().is_none()) {
        if let GrantTarget::One(object) = &grant.on {
            plan_one(planner, object, grant);
        }
    }
}

/// Plans the changes of privileges on objects in a database. Columns come after their tables, which affect them.
pub(crate) fn plan_in(planner: &mut Planner<'_>, database: &Name) {
    let desired = planner.desired();
    let here = || desired.grants.iter().filter(|grant| grant.on.database() == Some(database));
    let mut named: BTreeSet<(&Object, &Grantee)> = BTreeSet::new();
    // Columns come last, since a REVOKE on a table also affects its columns.
    let mut columns = Vec::new();
    for grant in here() {
        if let GrantTarget::One(object) = &grant.on {
            named.insert((object, &grant.to));
            if object.kind() == ObjectKind::Column {
                columns.push((object, grant));
            } else {
                plan_one(planner, object, grant);
            }
        }
    }
    for grant in here() {
        let GrantTarget::AllIn { schema, kind, .. } = &grant.on else { continue };
        let Some(inside) = planner.inside(database) else { break };
        let what = format!("privileges of {} on {}", grant.to, grant.on);
        let there = inside.schemas.contains_key(schema);
        // In a schema that is not there nobody holds anything.
        let nothing = grant.privileges == PrivilegeSet::Only(Privileges::NONE);
        if planner.is_opaque(database) {
            later(planner, &what);
        } else if !there && !nothing {
            planner.block(what, Obstacle::Missing(format!("there is no schema {schema}")));
        }
        if !there {
            continue;
        }
        let Some(inside) = planner.inside(database) else { break };
        let all =
            inside.objects.keys().filter(|local| local.kind() == *kind && local.schema() == Some(schema));
        let all: Vec<Object> = all.map(|local| Object::Inside(database.clone(), local.clone())).collect();
        for object in all.iter().filter(|object| !named.contains(&(*object, &grant.to))) {
            plan_one(planner, object, grant);
        }
    }
    for (object, grant) in columns {
        plan_one(planner, object, grant);
    }
}

/// Adds a note that the privileges depend on objects that an extension or a script of this plan creates.
fn later(planner: &mut Planner<'_>, what: &str) {
    planner.note(format!(
        "{what}: which objects an extension or initial_sql of this plan makes is not known yet; apply goes on with what is \
         to be granted, and leaves what is to be revoked to the next run, as a saved plan leaves both"
    ));
}

/// Returns the desired privileges for a kind of object. `None` if this version lacks one of them, which is reported
/// as unsupported for `what`.
pub(crate) fn wanted(
    planner: &mut Planner<'_>,
    what: &str,
    set: PrivilegeSet,
    kind: ObjectKind,
) -> Option<Privileges> {
    let version = planner.now().version;
    let wanted = set.expand(kind, version);
    let strange = wanted - kind.all(version);
    if !strange.is_empty() {
        planner.unsupported(what, &format!("{} on a {kind}", strange.sql()));
        return None;
    }
    Some(wanted)
}

/// Plans the changes that give a grantee exactly the desired privileges on one object. An object that does not
/// exist, or a version that lacks a privilege, is reported as blocked, unless nothing has to be revoked.
fn plan_one(planner: &mut Planner<'_>, object: &Object, grant: &Grant) {
    let to = &grant.to;
    let what = format!("privileges of {to} on {object}");
    if matches!(object, Object::Parameter(_)) && !planner.now().version.parameter_grants() {
        return planner.unsupported(what, "privileges on parameters came with PostgreSQL 15");
    }
    let Some(wanted) = wanted(planner, &what, grant.privileges, object.kind()) else { return };
    let Some((owner, acl)) = planner.now().access(object) else {
        if object.database().is_some_and(|database| planner.is_opaque(database)) {
            later(planner, &what);
        } else if !wanted.is_empty() {
            planner.block(what, Obstacle::Missing(format!("there is no {object}")));
        }
        return;
    };
    // A role that does not exist has no privileges to revoke.
    if wanted.is_empty() && acl.privileges_of(to).privileges.is_empty() {
        return;
    }
    let differs = PrivilegeDifference::of(&acl, to, wanted, grant.grantable, &owner);
    for (grantor, rights) in acl.grants_to(to) {
        let (extra, options) = differs.to_revoke(rights.privileges, rights.grantable);
        let foreign = (*grantor != owner).then(|| grantor.clone());
        for (privileges, option_only) in [(extra, false), (options, true)] {
            if privileges.is_empty() {
                continue;
            }
            let dependent = acl.privileges_of(to).grantable & privileges;
            let cascade =
                to.role().is_some_and(|role| *role != owner && !acl.dependents(role, dependent).is_empty());
            let change = GrantChange::Revoke {
                on: object.clone(),
                from: to.clone(),
                privileges,
                option_only,
                grantor: foreign.clone(),
                cascade,
            };
            let reason = match (option_only, cascade) {
                (true, false) => "it is not to grant it on".to_owned(),
                (false, false) => format!("{to} is not to have it"),
                (_, true) => format!("{to} is not to have it, nor those whom it granted it to"),
            };
            planner.emit_as(&[grantor], change, reason);
        }
    }
    // Privileges that a cascade revoked as well are granted again.
    let Some((_, acl)) = planner.now().access(object) else { return };
    let differs = PrivilegeDifference::of(&acl, to, wanted, grant.grantable, &owner);
    for (privileges, grantable) in [(differs.missing, false), (differs.options, true)] {
        if !privileges.is_empty() {
            let change = GrantChange::Grant { on: object.clone(), to: to.clone(), privileges, grantable };
            // A grant option is enough.
            let roles: &[&Name] = if planner.may_grant(object, privileges) { &[] } else { &[&owner] };
            planner.emit_as(roles, change, format!("{to} lacks it"));
        }
    }
}
