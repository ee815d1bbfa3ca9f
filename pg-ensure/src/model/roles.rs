//! Roles and memberships.

use super::{Impossible, impossible, role_exists};
use crate::current::{Current, MembershipKey, MembershipOptions, Role, StoredPassword};
use crate::name::Name;
use crate::plan::{Attributes, Change, Options};

pub(super) fn change(state: &mut Current, change: &Change) -> Result<(), Impossible> {
    match change {
        Change::CreateRole { name, attributes } => create(state, name, attributes),
        Change::AlterRole { name, attributes } => {
            set(role(state, name)?, attributes);
            Ok(())
        }
        Change::SetPassword { name } => {
            let iterations = state.iterations;
            role(state, name)?.password = StoredPassword::Right(Some(iterations));
            Ok(())
        }
        Change::ClearPassword { name } => {
            role(state, name)?.password = StoredPassword::None;
            Ok(())
        }
        Change::DropRole { name } => drop_role(state, name),
        Change::GrantRole { role, member, options, grantor } => {
            grant(state, role, member, *options, grantor.as_ref())
        }
        Change::RevokeAdmin { role, member, grantor, .. } => {
            let key = key(state, role, member, grantor.as_ref());
            let Some(found) = state.memberships.get_mut(&key) else {
                return impossible(format!("{member} is no member of {role}"));
            };
            found.admin = false;
            orphans(state, role, member);
            Ok(())
        }
        Change::RevokeRole { role, member, grantor, .. } => {
            let key = key(state, role, member, grantor.as_ref());
            if state.memberships.remove(&key).is_none() {
                return impossible(format!("{member} is no member of {role}"));
            }
            orphans(state, role, member);
            Ok(())
        }
        Change::ReassignOwned { database, from, to } => {
            role_exists(state, to)?;
            reassign(state, database, from, to)
        }
        Change::DropOwned { database, role } => {
            drop_owned(state, database, role);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn role<'a>(state: &'a mut Current, name: &Name) -> Result<&'a mut Role, Impossible> {
    state.roles.get_mut(name).ok_or_else(|| Impossible(format!("there is no role {name}")))
}

fn create(state: &mut Current, name: &Name, attributes: &Attributes) -> Result<(), Impossible> {
    if state.roles.contains_key(name) {
        return impossible(format!("there is a role {name} already"));
    }
    let mut role = Role::default();
    set(&mut role, attributes);
    state.roles.insert(name.clone(), role);
    if state.version.membership_options() && !state.superuser() {
        let (user, bootstrap) = (state.session.user.clone(), state.session.bootstrap.clone());
        let key = MembershipKey { role: name.clone(), member: user.clone(), grantor: bootstrap };
        state.memberships.insert(key, MembershipOptions { admin: true, inherit: false, set: false });
        let (set, inherit) = state.session.self_grant;
        if set || inherit {
            let key = MembershipKey { role: name.clone(), member: user.clone(), grantor: user };
            state.memberships.insert(key, MembershipOptions { admin: false, inherit, set });
        }
    }
    Ok(())
}

fn set(role: &mut Role, attributes: &Attributes) {
    let flags = [
        (&mut role.superuser, attributes.superuser),
        (&mut role.createdb, attributes.createdb),
        (&mut role.createrole, attributes.createrole),
        (&mut role.inherit, attributes.inherit),
        (&mut role.login, attributes.login),
        (&mut role.replication, attributes.replication),
        (&mut role.bypassrls, attributes.bypassrls),
    ];
    for (flag, value) in flags {
        *flag = value.unwrap_or(*flag);
    }
    role.connection_limit = attributes.connection_limit.unwrap_or(role.connection_limit);
    role.valid_until = attributes.valid_until.unwrap_or(role.valid_until);
}

fn drop_role(state: &mut Current, name: &Name) -> Result<(), Impossible> {
    role_exists(state, name)?;
    if state.dependencies.get(name).is_some_and(|found| !found.is_empty()) {
        return impossible(format!("something depends on the role {name}"));
    }
    for (database, found) in &state.databases {
        if found.owned.owner == *name || found.owned.acl.roles().any(|role| role == name) {
            return impossible(format!("the database {database} depends on the role {name}"));
        }
    }
    let granted = |key: &&MembershipKey| key.grantor == *name && key.member != *name && key.role != *name;
    if state.version.membership_options()
        && let Some(key) = state.memberships.keys().find(granted)
    {
        return impossible(format!("the membership of {} in {} was granted by {name}", key.member, key.role));
    }
    state.roles.remove(name);
    state.dependencies.remove(name);
    state.memberships.retain(|key, _| key.role != *name && key.member != *name);
    state.settings.retain(|key, _| key.role.as_ref() != Some(name));
    Ok(())
}

/// The key of a membership: before PostgreSQL 16 there is one, whoever granted it.
fn key(state: &Current, role: &Name, member: &Name, grantor: Option<&Name>) -> MembershipKey {
    let grantor = if state.version.membership_options() {
        grantor.cloned().unwrap_or_else(|| default_grantor(state, role))
    } else {
        let found =
            state.members(role).find(|(key, _)| key.member == *member).map(|(key, _)| key.grantor.clone());
        found.unwrap_or_else(|| state.session.bootstrap.clone())
    };
    MembershipKey { role: role.clone(), member: member.clone(), grantor }
}

/// Who is the grantor when none is named, as `select_best_admin()` has it: a superuser grants as the bootstrap
/// superuser, others as themselves.
fn default_grantor(state: &Current, _role: &Name) -> Name {
    if state.superuser() { state.session.bootstrap.clone() } else { state.session.user.clone() }
}

fn grant(
    state: &mut Current,
    role: &Name,
    member: &Name,
    options: Options,
    grantor: Option<&Name>,
) -> Result<(), Impossible> {
    role_exists(state, role)?;
    role_exists(state, member)?;
    if state.is_member(role, member) {
        return impossible(format!("{role} is a member of {member}"));
    }
    let inherits = state.roles.get(member).is_none_or(|member| member.inherit);
    let key = key(state, role, member, grantor);
    let fresh = if state.version.membership_options() {
        MembershipOptions { admin: false, inherit: inherits, set: true }
    } else {
        MembershipOptions { admin: false, inherit: true, set: true }
    };
    let found = state.memberships.entry(key).or_insert(fresh);
    found.admin = options.admin.unwrap_or(found.admin);
    found.inherit = options.inherit.unwrap_or(found.inherit);
    found.set = options.set.unwrap_or(found.set);
    Ok(())
}

/// Takes away what was granted by somebody who has no admin option any more.
fn orphans(state: &mut Current, role: &Name, grantor: &Name) {
    if !state.version.membership_options() || state.is_admin_of(grantor, role) {
        return;
    }
    let lost: Vec<MembershipKey> =
        state.members(role).filter(|(key, _)| key.grantor == *grantor).map(|(key, _)| key.clone()).collect();
    for key in lost {
        state.memberships.remove(&key);
        orphans(state, role, &key.member);
    }
}

fn reassign(state: &mut Current, place: &Name, from: &Name, to: &Name) -> Result<(), Impossible> {
    for database in state.databases.values_mut() {
        if database.owned.owner == *from {
            database.owned.acl = database.owned.acl.with_owner(from, to);
            database.owned.owner = to.clone();
        }
    }
    let Some(contents) = super::database(state, place)?.contents.as_mut() else { return Ok(()) };
    let schemas = contents.schemas.values_mut().map(|schema| &mut schema.owned);
    for owned in schemas.chain(contents.objects.values_mut()) {
        if owned.owner == *from {
            owned.acl = owned.acl.with_owner(from, to);
            owned.owner = to.clone();
        }
    }
    contents
        .extensions
        .values_mut()
        .filter(|found| found.owner == *from)
        .for_each(|found| found.owner = to.clone());
    Ok(())
}

fn drop_owned(state: &mut Current, place: &Name, role: &Name) {
    for database in state.databases.values_mut() {
        database.owned.acl.forget(role);
    }
    for tablespace in state.tablespaces.values_mut() {
        tablespace.acl.forget(role);
    }
    if state.version.membership_options() {
        state.memberships.retain(|key, _| key.grantor != *role);
    }
    state.parameters.values_mut().for_each(|acl| acl.forget(role));
    state.parameters.retain(|_, acl| !acl.is_empty());
    if let Some(contents) = state.databases.get_mut(place).and_then(|found| found.contents.as_mut()) {
        contents.schemas.values_mut().for_each(|schema| schema.owned.acl.forget(role));
        contents.objects.values_mut().for_each(|owned| owned.acl.forget(role));
        contents.defaults.retain(|key, _| key.creator != *role);
        contents.defaults.values_mut().for_each(|acl| acl.forget(role));
    }
    if let Some(found) = state.dependencies.get_mut(role) {
        found.remove(&Some(place.clone()));
        found.remove(&None);
    }
}
