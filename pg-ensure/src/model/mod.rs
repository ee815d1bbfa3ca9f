//! A model of the server: the effect of each change on the state of a cluster.
//!
//! The planner applies each step to the model, so that later steps are planned for the resulting state. The tests
//! compare the model with real servers.

mod databases;
mod defaults;
mod rejected;
mod roles;

pub use rejected::RejectedChange;
pub(crate) use rejected::rejected;

use crate::acl::{Acl, Privileges};
use crate::comment;
use crate::current::{Contents, CurrentState, DatabaseState, StoredPassword};
use crate::inside::{ClusterContext, InsideChange};
use crate::name::{Name, Text};
use crate::object::{Local, Object, Setting};
use crate::owned::Owned;
use crate::plan::{Change, Commented, INITIALIZED};
use std::collections::BTreeMap;

/// Applies one change to the modelled state. Executes no SQL.
///
/// # Errors
/// Returns a [`RejectedChange`] if the server would reject the change: an object is missing, exists already, or others
/// depend on it.
pub fn change(state: &mut CurrentState, change: &Change) -> Result<(), RejectedChange> {
    match change {
        Change::CreateRole { name, attributes } => roles::create(state, name, attributes),
        Change::AlterRole { name, attributes } => roles::alter(state, name, attributes),
        Change::SetPassword { name } => {
            let password = StoredPassword::Right(Some(state.iterations));
            roles::set_password(state, name, password)
        }
        Change::ClearPassword { name } => roles::set_password(state, name, StoredPassword::None),
        Change::DropRole { name } => roles::drop_role(state, name),
        Change::GrantRole { role, member, options, grantor } => {
            roles::grant(state, role, member, *options, grantor.as_ref())
        }
        Change::RevokeAdmin { role, member, grantor, cascade: _ } => {
            roles::revoke_admin(state, role, member, grantor.as_ref())
        }
        Change::RevokeRole { role, member, grantor, cascade: _ } => {
            roles::revoke(state, role, member, grantor.as_ref())
        }
        Change::InitialSql { database, .. } => {
            self::database(state, database)?;
            let key = crate::current::SettingKey { role: None, database: Some(database.clone()) };
            let (Ok(setting), Ok(done)) = (Setting::new(INITIALIZED), Text::new("done")) else {
                return rejected("the record of the script has no name".to_owned());
            };
            state.settings.entry(key).or_default().insert(setting, done);
            Ok(())
        }
        Change::ReassignOwned { database, from, to } => roles::reassign(state, database, from, to),
        Change::DropOwned { database, role } => {
            roles::drop_owned(state, database, role);
            Ok(())
        }
        Change::Comment { on, text } => comment(state, on, text.as_ref()),
        Change::Set { role, database, setting, value } => {
            if let Some(role) = role {
                role_exists(state, role)?;
            }
            if let Some(database) = database {
                self::database(state, database)?;
            }
            let key = crate::current::SettingKey { role: role.clone(), database: database.clone() };
            let settings = state.settings.entry(key.clone()).or_default();
            match value {
                Some(value) => drop(settings.insert(setting.clone(), value.clone())),
                None => drop(settings.remove(setting)),
            }
            if settings.is_empty() {
                state.settings.remove(&key);
            }
            Ok(())
        }
        Change::Grant { on, to, privileges, grantable } => {
            if let Some(role) = to.role() {
                role_exists(state, role)?;
            }
            let Some(grantor) = grantor(state, on, *privileges)? else { return Ok(()) };
            let Some((_, acl)) = acl(state, on)? else { return Ok(()) };
            let options = if *grantable { *privileges } else { Privileges::NONE };
            acl.grant(to, &grantor, *privileges, options);
            Ok(())
        }
        Change::Revoke { on, from, privileges, option_only, grantor, cascade } => {
            let Some((owner, acl)) = acl(state, on)? else { return Ok(()) };
            let owner = owner.clone();
            let grantor = grantor.as_ref().unwrap_or(&owner).clone();
            if !cascade
                && let Some(role) = from.role().filter(|role| **role != owner)
                && !acl.dependents(role, acl.privileges_of(from).grantable & *privileges).is_empty()
            {
                return rejected(format!("privileges on {on} depend on those of {role}"));
            }
            if *option_only {
                acl.revoke_option(from, &grantor, *privileges, &owner);
            } else {
                acl.revoke(from, &grantor, *privileges, &owner);
            }
            if let Object::Parameter(name) = on
                && acl.is_empty()
            {
                state.parameters.remove(name);
            }
            if let Object::Inside(database, Local::Table(schema, table)) = on {
                for column in columns(contents_of(state, database)?, schema, table) {
                    if *option_only {
                        column.acl.revoke_option(from, &grantor, *privileges, &owner);
                    } else {
                        column.acl.revoke(from, &grantor, *privileges, &owner);
                    }
                }
            }
            Ok(())
        }
        Change::CreateDatabase(new) => databases::create(state, new),
        Change::DatabaseOwner { name, owner } => databases::change_owner(state, name, owner),
        Change::DatabaseTablespace { name, tablespace } => databases::move_to(state, name, tablespace),
        Change::DatabaseOptions { name, connection_limit, allow_connections, is_template } => {
            databases::set_options(state, name, *connection_limit, *allow_connections, *is_template)
        }
        Change::DropDatabase { name } => databases::drop_database(state, name),
        Change::Inside { database, change } => inside(state, database, change),
        Change::GrantDefault { database, key, to, privileges, grantable } => {
            defaults::grant(state, database, key, to, *privileges, *grantable)
        }
        Change::RevokeDefault { database, key, from, privileges, option_only } => {
            defaults::revoke(state, database, key, from, *privileges, *option_only)
        }
    }
}

/// Applies a change inside a database.
///
/// # Errors
/// Returns a [`RejectedChange`] if the database does not exist, or PostgreSQL would reject the change.
fn inside(state: &mut CurrentState, database: &Name, change: &InsideChange) -> Result<(), RejectedChange> {
    let CurrentState { version, session, roles, databases, available, .. } = state;
    let missing = || RejectedChange(format!("there is no database {database}"));
    let contents = &mut databases.get_mut(database).ok_or_else(missing)?.contents;
    let contents = contents.get_or_insert_with(|| Contents::fresh(&session.bootstrap, *version));
    let roles = |role: &Name| roles.get(role).map(|role| role.superuser);
    change
        .make(contents, &ClusterContext { version: *version, user: &session.user, roles: &roles, available })
}

/// Checks that a role exists.
///
/// # Errors
/// Returns a [`RejectedChange`] if it does not.
fn role_exists(state: &CurrentState, name: &Name) -> Result<(), RejectedChange> {
    if state.roles.contains_key(name) { Ok(()) } else { rejected(format!("there is no role {name}")) }
}

/// Returns a database of the model.
///
/// # Errors
/// Returns a [`RejectedChange`] if the database does not exist.
fn database<'a>(state: &'a mut CurrentState, name: &Name) -> Result<&'a mut DatabaseState, RejectedChange> {
    state.databases.get_mut(name).ok_or_else(|| RejectedChange(format!("there is no database {name}")))
}

/// Returns the contents of a database. If they were not read, those of a new database are stored and returned.
///
/// # Errors
/// Returns a [`RejectedChange`] if the database does not exist.
fn contents_of<'a>(state: &'a mut CurrentState, name: &Name) -> Result<&'a mut Contents, RejectedChange> {
    let (bootstrap, version) = (state.session.bootstrap.clone(), state.version);
    Ok(database(state, name)?.contents.get_or_insert_with(|| Contents::fresh(&bootstrap, version)))
}

/// Returns the role that a GRANT of the session is recorded for, as `select_best_grantor()`: the owner of the object if
/// the session has its privileges, else the session's role or another one whose privileges it has, with the grant
/// option for all `privileges`; the owner without such a role. Never `None` for an object that exists.
///
/// # Errors
/// Returns a [`RejectedChange`] if the object does not exist.
fn grantor(
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
fn acl<'a>(state: &'a mut CurrentState, on: &Object) -> Result<Option<(Name, &'a mut Acl)>, RejectedChange> {
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
            let fresh = || Acl::default_of(crate::acl::ObjectKind::Parameter, &owner, version);
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
fn columns<'a>(
    contents: &'a mut Contents,
    schema: &'a Name,
    table: &'a Name,
) -> impl Iterator<Item = &'a mut Owned> {
    contents.objects.iter_mut().filter_map(move |(local, owned)| match local {
        Local::Column(of, among, _) if of == schema && among == table => Some(owned),
        _ => None,
    })
}

/// Sets or removes the comment on a role or database; `None` and an empty text remove it.
///
/// # Errors
/// Returns a [`RejectedChange`] if the role or database does not exist.
fn comment(state: &mut CurrentState, on: &Commented, text: Option<&Text>) -> Result<(), RejectedChange> {
    let text = comment::stored(text);
    match on {
        Commented::Role(name) => {
            let role = state.roles.get_mut(name);
            role.ok_or_else(|| RejectedChange(format!("there is no role {name}")))?.comment = text;
        }
        Commented::Database(name) => database(state, name)?.comment = text,
    }
    Ok(())
}
