//! Effects of changes on databases. Each function returns the reason if the server would reject the change.

use super::{RejectedChange, database, rejected, role_exists};
use crate::acl::ObjectKind;
use crate::current::{Contents, CurrentState, DatabaseState, Dependency, Owned, Provider};
use crate::name::Name;
use crate::plan::NewDatabase;

/// Changes the owner of a database.
///
/// # Errors
/// Returns a [`RejectedChange`] if the database or the role does not exist.
pub(super) fn change_owner(
    state: &mut CurrentState,
    name: &Name,
    owner: &Name,
) -> Result<(), RejectedChange> {
    role_exists(state, owner)?;
    database(state, name)?.owned.give_to(owner);
    Ok(())
}

/// Changes the default tablespace of a database.
///
/// # Errors
/// Returns a [`RejectedChange`] if the database or the tablespace does not exist.
pub(super) fn move_to(
    state: &mut CurrentState,
    name: &Name,
    tablespace: &Name,
) -> Result<(), RejectedChange> {
    if !state.tablespaces.contains_key(tablespace) {
        return rejected(format!("there is no tablespace {tablespace}"));
    }
    database(state, name)?.tablespace = tablespace.clone();
    Ok(())
}

/// Sets the options of a database that are not `None`.
///
/// # Errors
/// Returns a [`RejectedChange`] if the database does not exist.
pub(super) fn set_options(
    state: &mut CurrentState,
    name: &Name,
    connection_limit: Option<i32>,
    allow_connections: Option<bool>,
    is_template: Option<bool>,
) -> Result<(), RejectedChange> {
    let found = database(state, name)?;
    found.connection_limit = connection_limit.unwrap_or(found.connection_limit);
    found.allow_connections = allow_connections.unwrap_or(found.allow_connections);
    found.is_template = is_template.unwrap_or(found.is_template);
    Ok(())
}

/// Removes a database with its settings, and the dependencies on roles that it has.
///
/// # Errors
/// Returns a [`RejectedChange`] if it does not exist, is a template, or is the session's own.
pub(super) fn drop_database(state: &mut CurrentState, name: &Name) -> Result<(), RejectedChange> {
    let found = database(state, name)?;
    if found.is_template {
        return rejected(format!("the database {name} is a template"));
    }
    if *name == state.session.database {
        return rejected(format!("the session is in the database {name}"));
    }
    state.databases.remove(name);
    state.settings.retain(|key, _| key.database.as_ref() != Some(name));
    for found in state.dependencies.values_mut() {
        found.remove(&Dependency::Database(name.clone()));
        found.remove(&Dependency::Inside(name.clone()));
    }
    Ok(())
}

/// Creates a database with the encoding, locale, tablespace and contents of its template, `template1` by default,
/// unless they are given. The owner is by default the session's user; the ACL is the default.
///
/// # Errors
/// Returns a [`RejectedChange`] if a database of this name exists, or the owner, the template or the tablespace does
/// not.
pub(super) fn create(state: &mut CurrentState, new: &NewDatabase) -> Result<(), RejectedChange> {
    if state.databases.contains_key(&new.name) {
        return rejected(format!("there is a database {} already", new.name));
    }
    let owner = new.owner.as_ref().unwrap_or(&state.session.user).clone();
    role_exists(state, &owner)?;
    let template = new.template.as_ref().map_or("template1", |name| name.as_str());
    let Some(template) = state.databases.get(template) else {
        return rejected(format!("there is no database {template} to make one from"));
    };
    if let Some(tablespace) = &new.tablespace
        && !state.tablespaces.contains_key(tablespace)
    {
        return rejected(format!("there is no tablespace {tablespace}"));
    }
    let provider = new.provider.unwrap_or(template.provider);
    let locale = match (provider, &new.locale) {
        (Provider::Libc, _) => None,
        (_, Some(locale)) => Some(locale.clone()),
        (_, None) => template.locale.clone(),
    };
    let libc = new.locale.as_ref().filter(|_| provider == Provider::Libc);
    let contents = template.contents.clone();
    let contents = contents.unwrap_or_else(|| Contents::fresh(&state.session.bootstrap, state.version));
    let made = DatabaseState {
        owned: Owned::new(ObjectKind::Database, &owner, state.version),
        encoding: new.encoding.clone().unwrap_or_else(|| template.encoding.clone()),
        provider,
        collate: new.collate.as_ref().or(libc).unwrap_or(&template.collate).clone(),
        ctype: new.ctype.as_ref().or(libc).unwrap_or(&template.ctype).clone(),
        locale,
        icu_rules: new.icu_rules.clone(),
        tablespace: new.tablespace.clone().unwrap_or_else(|| template.tablespace.clone()),
        connection_limit: new.connection_limit.unwrap_or(-1),
        allow_connections: new.allow_connections.unwrap_or(true),
        is_template: new.is_template.unwrap_or(false),
        comment: None,
        collation_mismatch: None,
        contents: Some(contents),
        closed: None,
    };
    state.databases.insert(new.name.clone(), made);
    Ok(())
}
