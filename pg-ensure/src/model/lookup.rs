//! Objects of the modelled state, as the effects of changes need them.

use super::rejected::{RejectedChange, rejected};
use crate::acl::{Acl, ObjectKind, Privileges};
use crate::current::{Contents, CurrentState, DatabaseState, RoleState};
use crate::inside::ClusterContext;
use crate::name::Name;
use crate::object::{Local, Object};
use crate::owned::Owned;
use std::collections::BTreeMap;

/// Checks that a role exists.
///
/// # Errors
/// Returns a [`RejectedChange`] if it does not.
pub(crate) fn role_exists(state: &CurrentState, name: &Name) -> Result<(), RejectedChange> {
    if state.roles.contains_key(name) { Ok(()) } else { rejected(format!("there is no role {name}")) }
}

/// Returns a role of the model.
///
/// # Errors
/// Returns a [`RejectedChange`] if it does not exist.
pub(crate) fn role<'a>(
    state: &'a mut CurrentState,
    name: &Name,
) -> Result<&'a mut RoleState, RejectedChange> {
    state.roles.get_mut(name).ok_or_else(|| RejectedChange(format!("there is no role {name}")))
}

/// Returns a database of the model.
///
/// # Errors
/// Returns a [`RejectedChange`] if the database does not exist.
pub(crate) fn database<'a>(
    state: &'a mut CurrentState,
    name: &Name,
) -> Result<&'a mut DatabaseState, RejectedChange> {
    state.databases.get_mut(name).ok_or_else(|| RejectedChange(format!("there is no database {name}")))
}

/// Returns the contents of a database. If they were not read, those of a new database are stored and returned.
///
/// # Errors
/// Returns a [`RejectedChange`] if the database does not exist.
pub(crate) fn contents_of<'a>(
    state: &'a mut CurrentState,
    name: &Name,
) -> Result<&'a mut Contents, RejectedChange> {
    let (bootstrap, version) = (state.session.bootstrap.clone(), state.version);
    Ok(database(state, name)?.contents.get_or_insert_with(|| Contents::fresh(&bootstrap, version)))
}

/// Returns the role that a GRANT of the session is recorded for, as `select_best_grantor()`: the owner of the object if
/// the session has its privileges, else the session's role or another one whose privileges it has, with the grant
/// option for all `privileges`; the owner without such a role. Never `None` for an object that exists.
///
/// # Errors
/// Returns a [`RejectedChange`] if the object does not exist.
pub(crate) fn grantor(
    state: &mut CurrentState,
    on: &Object,
    privileges: Privileges,
) -> Result<Option<Name>, RejectedChange> {
    let Some((owner, own)) = acl(state, on)? else { return Ok(None) };
    let mut lists = vec![own.clone()];
    // The grant options on a table count for its columns.
    if let Object::Inside(database, local @ Local::Column(..)) = on
        && let Some((_, whole)) = acl(state, &Object::Inside(database.clone(), local.owned()))?
    {
        lists.push(whole.clone());
    }
    let user = &state.session.user;
    let database = on.database().and_then(|name| state.databases.get(name));
    let implied = owner == "pg_database_owner"
        && database.is_some_and(|found| state.has_privileges_of(user, &found.owned.owner));
    if implied || state.has_privileges_of(user, &owner) {
        return Ok(Some(owner));
    }
    let mut options: BTreeMap<&Name, Privileges> = BTreeMap::new();
    for (grantee, _, rights) in lists.iter().flat_map(Acl::iter) {
        if let Some(role) = grantee.role().filter(|role| state.has_privileges_of(user, role)) {
            *options.entry(role).or_default() |= rights.grantable;
        }
    }
    let mut able = options.iter().filter(|(_, granted)| granted.includes(privileges)).map(|(role, _)| *role);
    let first = able.clone().find(|role| *role == user).or_else(|| able.next());
    Ok(Some(first.cloned().unwrap_or(owner)))
}

/// Returns the owner and the ACL of an object. A parameter without an ACL gets the default one. Never `None`.
///
/// # Errors
/// Returns a [`RejectedChange`] if the object does not exist.
pub(crate) fn acl<'a>(
    state: &'a mut CurrentState,
    on: &Object,
) -> Result<Option<(Name, &'a mut Acl)>, RejectedChange> {
    let missing = || RejectedChange(format!("there is no {on}"));
    match on {
        Object::Database(name) => {
            let owned = &mut database(state, name)?.owned;
            Ok(Some((owned.owner.clone(), &mut owned.acl)))
        }
        Object::Tablespace(name) => {
            let owned = state.tablespaces.get_mut(name).ok_or_else(missing)?;
            Ok(Some((owned.owner.clone(), &mut owned.acl)))
        }
        Object::Parameter(name) => {
            let owner = state.session.bootstrap.clone();
            let version = state.version;
            let fresh = || Acl::default_of(ObjectKind::Parameter, &owner, version);
            let acl = state.parameters.entry(name.clone()).or_insert_with(fresh);
            Ok(Some((owner, acl)))
        }
        Object::Inside(database, Local::Schema(schema)) => {
            let found = contents_of(state, database)?.schemas.get_mut(schema).ok_or_else(missing)?;
            Ok(Some((found.owned.owner.clone(), &mut found.owned.acl)))
        }
        Object::Inside(database, local) => {
            let found = contents_of(state, database)?.objects.get_mut(local).ok_or_else(missing)?;
            Ok(Some((found.owner.clone(), &mut found.acl)))
        }
    }
}

/// Returns the columns of a table whose privileges are known. A REVOKE on a table applies to each of them too.
pub(crate) fn columns<'a>(
    contents: &'a mut Contents,
    schema: &'a Name,
    table: &'a Name,
) -> impl Iterator<Item = &'a mut Owned> {
    contents.objects.iter_mut().filter_map(move |(local, owned)| match local {
        Local::Column(of, among, _) if of == schema && among == table => Some(owned),
        _ => None,
    })
}

/// Changes the contents of a database, or those of a new database if they were not read.
///
/// # Errors
/// Returns a [`RejectedChange`] if the database does not exist, or that of `change`.
pub(crate) fn in_database(
    state: &mut CurrentState,
    database: &Name,
    change: impl FnOnce(&mut Contents, &ClusterContext<'_>) -> Result<(), RejectedChange>,
) -> Result<(), RejectedChange> {
    let CurrentState { version, session, roles, databases, available, .. } = state;
    let missing = || RejectedChange(format!("there is no database {database}"));
    let contents = &mut databases.get_mut(database).ok_or_else(missing)?.contents;
    let contents = contents.get_or_insert_with(|| Contents::fresh(&session.bootstrap, *version));
    let roles = |role: &Name| roles.get(role).map(|role| role.superuser);
    change(contents, &ClusterContext { version: *version, user: &session.user, roles: &roles, available })
}
