//! Effects of changes on roles and memberships. Each function returns the reason if the server would reject the change.

use super::{RejectedChange, rejected, role_exists};
use crate::current::{CurrentState, Dependency, MembershipKey, MembershipOptions, RoleState, StoredPassword};
use crate::name::Name;
use crate::plan::{Attributes, Options};

/// Sets attributes of a role.
///
/// # Errors
/// Returns a [`RejectedChange`] if the role does not exist.
pub(super) fn alter(
    state: &mut CurrentState,
    name: &Name,
    attributes: &Attributes,
) -> Result<(), RejectedChange> {
    set(role(state, name)?, attributes);
    Ok(())
}

/// Sets the stored password of a role.
///
/// # Errors
/// Returns a [`RejectedChange`] if the role does not exist.
pub(super) fn set_password(
    state: &mut CurrentState,
    name: &Name,
    password: StoredPassword,
) -> Result<(), RejectedChange> {
    role(state, name)?.password = password;
    Ok(())
}

/// Revokes the ADMIN option of a membership, and removes memberships that depend on it. `grantor` is the grantor named
/// in the statement, `None` for the default.
///
/// # Errors
/// Returns a [`RejectedChange`] if the membership does not exist.
pub(super) fn revoke_admin(
    state: &mut CurrentState,
    role: &Name,
    member: &Name,
    grantor: Option<&Name>,
) -> Result<(), RejectedChange> {
    let key = key(state, role, member, grantor);
    let Some(found) = state.memberships.get_mut(&key) else {
        return rejected(format!("{member} is not a member of {role}"));
    };
    found.admin = false;
    orphans(state, role, member);
    Ok(())
}

/// Removes a membership, and memberships that depend on it. `grantor` is the grantor named in the statement, `None` for
/// the default.
///
/// # Errors
/// Returns a [`RejectedChange`] if the membership does not exist.
pub(super) fn revoke(
    state: &mut CurrentState,
    role: &Name,
    member: &Name,
    grantor: Option<&Name>,
) -> Result<(), RejectedChange> {
    let key = key(state, role, member, grantor);
    if state.memberships.remove(&key).is_none() {
        return rejected(format!("{member} is not a member of {role}"));
    }
    orphans(state, role, member);
    Ok(())
}

/// Returns a role of the model.
///
/// # Errors
/// Returns a [`RejectedChange`] if it does not exist.
fn role<'a>(state: &'a mut CurrentState, name: &Name) -> Result<&'a mut RoleState, RejectedChange> {
    state.roles.get_mut(name).ok_or_else(|| RejectedChange(format!("there is no role {name}")))
}

/// Creates a role. From PostgreSQL 16 on, a session that is not a superuser's becomes a member with ADMIN, and gets a
/// second membership with the options of `createrole_self_grant`.
///
/// # Errors
/// Returns a [`RejectedChange`] if the role exists already.
pub(super) fn create(
    state: &mut CurrentState,
    name: &Name,
    attributes: &Attributes,
) -> Result<(), RejectedChange> {
    if state.roles.contains_key(name) {
        return rejected(format!("there is a role {name} already"));
    }
    let mut role = RoleState::default();
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

/// Sets the attributes that are given, and leaves the others unchanged.
fn set(role: &mut RoleState, attributes: &Attributes) {
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

/// Removes a role with its memberships and settings, unless objects or memberships depend on it.
///
/// # Errors
/// Returns a [`RejectedChange`] if it does not exist, or something depends on it.
pub(super) fn drop_role(state: &mut CurrentState, name: &Name) -> Result<(), RejectedChange> {
    role_exists(state, name)?;
    if !state.dependencies_of(name).is_empty() {
        return rejected(format!("something depends on the role {name}"));
    }
    for (database, found) in &state.databases {
        if found.owned.owner == *name || found.owned.acl.roles().any(|role| role == name) {
            return rejected(format!("the database {database} depends on the role {name}"));
        }
    }
    let granted = |key: &&MembershipKey| key.grantor == *name && key.member != *name && key.role != *name;
    if state.version.membership_options()
        && let Some(key) = state.memberships.keys().find(granted)
    {
        return rejected(format!("the membership of {} in {} was granted by {name}", key.member, key.role));
    }
    state.roles.remove(name);
    state.dependencies.remove(name);
    state.memberships.retain(|key, _| key.role != *name && key.member != *name);
    state.settings.retain(|key, _| key.role.as_ref() != Some(name));
    Ok(())
}

/// Returns the key of a membership. Before PostgreSQL 16 there is one membership per role and member, whatever the
/// grantor.
fn key(state: &CurrentState, role: &Name, member: &Name, grantor: Option<&Name>) -> MembershipKey {
    let grantor = if state.version.membership_options() {
        grantor.cloned().unwrap_or_else(|| default_grantor(state, role))
    } else {
        let found =
            state.members(role).find(|(key, _)| key.member == *member).map(|(key, _)| key.grantor.clone());
        found.unwrap_or_else(|| state.session.bootstrap.clone())
    };
    MembershipKey { role: role.clone(), member: member.clone(), grantor }
}

/// Returns the grantor of a statement that names none, like `select_best_admin()`: the bootstrap superuser for a
/// superuser, else the session's role.
fn default_grantor(state: &CurrentState, _role: &Name) -> Name {
    if state.superuser() { state.session.bootstrap.clone() } else { state.session.user.clone() }
}

/// Grants a membership, or changes those of its options that are given. `grantor` is the grantor named in the
/// statement, `None` for the default. A new membership has the options of the server: no ADMIN, SET, and INHERIT as the
/// member's attribute (before PostgreSQL 16 always).
///
/// # Errors
/// Returns a [`RejectedChange`] if a role does not exist, or the membership would be circular.
pub(super) fn grant(
    state: &mut CurrentState,
    role: &Name,
    member: &Name,
    options: Options,
    grantor: Option<&Name>,
) -> Result<(), RejectedChange> {
    role_exists(state, role)?;
    role_exists(state, member)?;
    if state.is_member(role, member) {
        return rejected(format!("{role} is a member of {member}"));
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

/// Removes the memberships in a role that `grantor` granted, if that role no longer has ADMIN, and in turn those
/// granted by their members. No effect before PostgreSQL 16.
fn orphans(state: &mut CurrentState, role: &Name, grantor: &Name) {
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

/// Reassigns the databases of a role, and its objects in one database, to another role.
///
/// # Errors
/// Returns a [`RejectedChange`] if the role `to` or the database does not exist.
pub(super) fn reassign(
    state: &mut CurrentState,
    place: &Name,
    from: &Name,
    to: &Name,
) -> Result<(), RejectedChange> {
    role_exists(state, to)?;
    for database in state.databases.values_mut() {
        if database.owned.owner == *from {
            database.owned.give_to(to);
        }
    }
    if let Some(contents) = super::database(state, place)?.contents.as_mut() {
        contents.reassign(from, to);
    }
    Ok(())
}

/// Removes the privileges that a role has or has granted on shared objects and in one database and, from PostgreSQL 16
/// on, the memberships that it granted. Objects that it owns are left.
pub(super) fn drop_owned(state: &mut CurrentState, place: &Name, role: &Name) {
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
        contents.forget(role);
    }
    if let Some(found) = state.dependencies.get_mut(role) {
        // DROP OWNED also revokes privileges on databases and other shared objects; owned objects were reassigned
        // before.
        found.remove(&Dependency::Inside(place.clone()));
        found.retain(|dependency| matches!(dependency, Dependency::Inside(_)));
    }
}
