//! Import: the desired state that describes a cluster in its current state.

use crate::acl::{Acl, Grantee, ObjectKind};
use crate::current::{Contents, CurrentState, MembershipOptions, Owned};
use crate::desired::{Database, DefaultGrant, DesiredState, Grant, GrantTarget, Membership, PrivilegeSet};
use crate::name::Name;
use crate::object::{Local, Object};
use crate::version::Version;

/// Returns a desired state that equals the current state of a cluster, so that a plan for it is empty.
///
/// Passwords are omitted, since they are secret. So are the bootstrap superuser and predefined roles, memberships
/// between predefined roles, the databases `template0` and `template1` with their settings, settings of predefined
/// roles, event triggers of extensions, properties of publications that a declaration cannot have
/// ([`PublicationState::undeclarable`](crate::inside::publication::PublicationState::undeclarable)), and grants of which only some carry the grant option, which a desired state
/// cannot express. Only privileges that differ from PostgreSQL's defaults are included, and objects and privileges
/// inside a database only if its contents were inspected.
#[must_use]
pub fn import(current: &CurrentState) -> DesiredState {
    let mut desired = DesiredState::new();
    let version = current.version;
    let own = |name: &Name| *name == current.session.bootstrap || name.as_str().starts_with("pg_");
    for (name, role) in current.roles.iter().filter(|(name, _)| !own(name)) {
        desired.role(name.clone(), role.imported());
    }
    if *current.session.bootstrap.as_str() != *"postgres" {
        desired.external(current.session.bootstrap.clone());
    }
    memberships(current, &mut desired);
    for (name, owned) in &current.tablespaces {
        let object = Object::Tablespace(name.clone());
        grants(&mut desired, &object, owned, version);
    }
    for (name, acl) in &current.parameters {
        let owned = Owned { owner: current.session.bootstrap.clone(), acl: acl.clone() };
        grants(&mut desired, &Object::Parameter(name.clone()), &owned, version);
    }
    for (key, settings) in &current.settings {
        let skipped = key.database.as_ref().is_some_and(template)
            || key.role.as_ref().is_some_and(|name| name.as_str().starts_with("pg_"));
        if !skipped {
            for (setting, value) in settings {
                desired.setting(key.role.clone(), key.database.clone(), setting.clone(), Some(value.clone()));
            }
        }
    }
    for (name, database) in current.databases.iter().filter(|(name, _)| !template(name)) {
        let mut wanted = database.imported(version);
        grants(&mut desired, &Object::Database(name.clone()), &database.owned, version);
        if let Some(contents) = &database.contents {
            inside(&mut desired, &mut wanted, name, contents, current);
        }
        desired.database(name.clone(), wanted);
    }
    desired
}

/// Returns `true` for `template0` and `template1`.
fn template(name: &Name) -> bool {
    *name == "template0" || *name == "template1"
}

/// Declares the memberships, except those between predefined roles. The options of several grantors are united.
fn memberships(current: &CurrentState, desired: &mut DesiredState) {
    let sixteen = current.version.membership_options();
    for (key, options) in &current.memberships {
        if key.role.as_str().starts_with("pg_") && key.member.as_str().starts_with("pg_") {
            continue;
        }
        let place = (key.role.clone(), key.member.clone());
        let wanted = desired.memberships.entry(place).or_default();
        let or = |wanted: Option<bool>, has: bool| Some(wanted.unwrap_or(false) || has);
        let MembershipOptions { admin, inherit, set } = *options;
        *wanted = Membership {
            admin: or(wanted.admin, admin),
            inherit: or(wanted.inherit, inherit).filter(|_| sixteen),
            set: or(wanted.set, set).filter(|_| sixteen),
            ..*wanted
        };
    }
}

/// Declares the grants by which the ACL of an object differs from its default.
fn grants(desired: &mut DesiredState, object: &Object, owned: &Owned, version: Version) {
    let base = if object.kind() == ObjectKind::Parameter {
        Acl::default_of(ObjectKind::Parameter, &owned.owner, version)
    } else {
        Acl::default_of(object.kind(), &owned.owner, version)
    };
    for (to, privileges, grantable) in differing_grantees(&owned.acl, &base, &owned.owner) {
        desired.grant(Grant { to, on: GrantTarget::One(object.clone()), privileges, grantable });
    }
}

/// Returns the grantees whose privileges differ from the default, each with its privileges and `true` if all of them
/// carry the grant option. Grantees with the grant option for only some of their privileges are omitted, since a
/// desired state cannot express them.
fn differing_grantees(acl: &Acl, base: &Acl, owner: &Name) -> Vec<(Grantee, PrivilegeSet, bool)> {
    let mut grantees: Vec<Grantee> =
        acl.iter().chain(base.iter()).map(|(grantee, ..)| grantee.clone()).collect();
    grantees.sort();
    grantees.dedup();
    let mut found = Vec::new();
    for grantee in grantees {
        let held = acl.privileges_of(&grantee);
        let is_owner = grantee.role() == Some(owner);
        let grantable = !is_owner && !held.privileges.is_empty() && held.grantable == held.privileges;
        let partly = !is_owner && !held.grantable.is_empty() && !grantable;
        if held != base.privileges_of(&grantee) && !partly {
            found.push((grantee, PrivilegeSet::Only(held.privileges), grantable));
        }
    }
    found
}

/// Declares the contents of a database: objects, grants and default privileges.
fn inside(
    desired: &mut DesiredState,
    wanted: &mut Database,
    name: &Name,
    contents: &Contents,
    current: &CurrentState,
) {
    let version = current.version;
    wanted.inside = contents.imported();
    for (schema, found) in &contents.schemas {
        let object = Object::Inside(name.clone(), Local::Schema(schema.clone()));
        grants(desired, &object, &found.owned, version);
    }
    for (local, owned) in &contents.objects {
        grants(desired, &Object::Inside(name.clone(), local.clone()), owned, version);
    }
    for (key, acl) in &contents.defaults {
        for (to, privileges, grantable) in differing_grantees(acl, &key.base(version), &key.creator) {
            desired.default_grant(DefaultGrant {
                database: name.clone(),
                creator: key.creator.clone(),
                schema: key.schema.clone(),
                kind: key.kind,
                to,
                privileges,
                grantable,
            });
        }
    }
}
