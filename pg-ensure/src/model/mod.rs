//! What a change does to a cluster: a model of the server.
//!
//! The planner keeps it beside the steps that it makes, so that each step is planned for the state that the steps before
//! it leave. The tests hold it against real servers.

mod databases;
mod roles;

use crate::acl::Acl;
use crate::current::{Contents, Current, Database};
use crate::name::Name;
use crate::object::{Local, Object};
use crate::plan::{Change, Commented};
use thiserror::Error;

/// A change that the server would refuse.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Impossible(pub String);

fn impossible<T>(why: String) -> Result<T, Impossible> {
    Err(Impossible(why))
}

/// Makes one change.
///
/// # Errors
/// When the server would refuse it in this state: something is missing, or already there, or in its way.
pub fn change(state: &mut Current, change: &Change) -> Result<(), Impossible> {
    match change {
        Change::CreateRole { .. }
        | Change::AlterRole { .. }
        | Change::SetPassword { .. }
        | Change::ClearPassword { .. }
        | Change::DropRole { .. }
        | Change::GrantRole { .. }
        | Change::RevokeAdmin { .. }
        | Change::RevokeRole { .. }
        | Change::ReassignOwned { .. }
        | Change::DropOwned { .. } => roles::change(state, change),
        Change::Comment { on, text } => comment(state, on, text.clone()),
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
            let Some((owner, acl)) = acl(state, on)? else { return Ok(()) };
            let owner = owner.clone();
            let options = if *grantable { *privileges } else { crate::acl::Privileges::NONE };
            acl.grant(to, &owner, *privileges, options);
            Ok(())
        }
        Change::Revoke { on, from, privileges, option_only, grantor, cascade } => {
            let Some((owner, acl)) = acl(state, on)? else { return Ok(()) };
            let owner = owner.clone();
            let grantor = grantor.as_ref().unwrap_or(&owner).clone();
            if !cascade
                && let Some(role) = from.role().filter(|role| **role != owner)
                && !acl.dependents(role, acl.held(from).grantable & *privileges).is_empty()
            {
                return impossible(format!("privileges on {on} depend on those of {role}"));
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
            Ok(())
        }
        _ => databases::change(state, change),
    }
}

fn role_exists(state: &Current, name: &Name) -> Result<(), Impossible> {
    if state.roles.contains_key(name) { Ok(()) } else { impossible(format!("there is no role {name}")) }
}

fn database<'a>(state: &'a mut Current, name: &Name) -> Result<&'a mut Database, Impossible> {
    state.databases.get_mut(name).ok_or_else(|| Impossible(format!("there is no database {name}")))
}

/// The contents of a database. What was not looked at is taken to be as new.
fn contents<'a>(state: &'a mut Current, name: &Name) -> Result<&'a mut Contents, Impossible> {
    let (bootstrap, version) = (state.session.bootstrap.clone(), state.version);
    Ok(database(state, name)?.contents.get_or_insert_with(|| Contents::fresh(&bootstrap, version)))
}

/// The owner and list of an object; none for what a model cannot know, such as a large object.
fn acl<'a>(state: &'a mut Current, on: &Object) -> Result<Option<(Name, &'a mut Acl)>, Impossible> {
    let missing = || Impossible(format!("there is no {on}"));
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
            let found = contents(state, database)?.schemas.get_mut(schema).ok_or_else(missing)?;
            Ok(Some((found.owned.owner.clone(), &mut found.owned.acl)))
        }
        Object::Inside(database, local) => {
            let found = contents(state, database)?.objects.get_mut(local).ok_or_else(missing)?;
            Ok(Some((found.owner.clone(), &mut found.acl)))
        }
    }
}

fn comment(state: &mut Current, on: &Commented, text: Option<crate::name::Text>) -> Result<(), Impossible> {
    let text = text.filter(|text| !text.as_str().is_empty());
    match on {
        Commented::Role(name) => {
            let role = state.roles.get_mut(name);
            role.ok_or_else(|| Impossible(format!("there is no role {name}")))?.comment = text;
        }
        Commented::Database(name) => database(state, name)?.comment = text,
        Commented::Schema(database, name) => {
            let schema = contents(state, database)?.schemas.get_mut(name);
            schema.ok_or_else(|| Impossible(format!("there is no schema {name} in {database}")))?.comment =
                text;
        }
    }
    Ok(())
}
