//! Databases and what is inside.

use super::{Impossible, contents, database, impossible, role_exists};
use crate::acl::ObjectKind;
use crate::current::{Contents, Current, Database, DefaultKey, Extension, Owned, Provider, Schema};
use crate::name::{Name, Text};
use crate::plan::{Change, NewDatabase};

pub(super) fn change(state: &mut Current, change: &Change) -> Result<(), Impossible> {
    let version = state.version;
    match change {
        Change::CreateDatabase(new) => create(state, new),
        Change::DatabaseOwner { name, owner } => {
            role_exists(state, owner)?;
            let owned = &mut database(state, name)?.owned;
            owned.acl = owned.acl.with_owner(&owned.owner, owner);
            owned.owner = owner.clone();
            Ok(())
        }
        Change::DatabaseTablespace { name, tablespace } => {
            if !state.tablespaces.contains_key(tablespace) {
                return impossible(format!("there is no tablespace {tablespace}"));
            }
            database(state, name)?.tablespace = tablespace.clone();
            Ok(())
        }
        Change::DatabaseOptions { name, connection_limit, allow_connections, is_template } => {
            let found = database(state, name)?;
            found.connection_limit = connection_limit.unwrap_or(found.connection_limit);
            found.allow_connections = allow_connections.unwrap_or(found.allow_connections);
            found.is_template = is_template.unwrap_or(found.is_template);
            Ok(())
        }
        Change::DropDatabase { name } => {
            let found = database(state, name)?;
            if found.is_template {
                return impossible(format!("the database {name} is a template"));
            }
            if *name == state.session.database {
                return impossible(format!("the session is in the database {name}"));
            }
            state.databases.remove(name);
            state.settings.retain(|key, _| key.database.as_ref() != Some(name));
            for found in state.dependencies.values_mut() {
                found.remove(&Some(name.clone()));
            }
            Ok(())
        }
        Change::CreateSchema { database, name, owner } => {
            let owner = owner.as_ref().unwrap_or(&state.session.user).clone();
            role_exists(state, &owner)?;
            let owned = Owned::new(ObjectKind::Schema, &owner, version);
            let contents = contents(state, database)?;
            if contents.schemas.contains_key(name) {
                return impossible(format!("there is a schema {name} already"));
            }
            contents.schemas.insert(name.clone(), Schema { owned, comment: None });
            Ok(())
        }
        Change::SchemaOwner { database, name, owner } => {
            role_exists(state, owner)?;
            let Some(found) = contents(state, database)?.schemas.get_mut(name) else {
                return impossible(format!("there is no schema {name}"));
            };
            found.owned.acl = found.owned.acl.with_owner(&found.owned.owner, owner);
            found.owned.owner = owner.clone();
            Ok(())
        }
        Change::DropSchema { database, name, cascade } => {
            let contents = contents(state, database)?;
            if !cascade && contents.occupied.contains(name) {
                return impossible(format!("the schema {name} is not empty"));
            }
            if contents.schemas.remove(name).is_none() {
                return impossible(format!("there is no schema {name}"));
            }
            contents.occupied.remove(name);
            contents.objects.retain(|local, _| local.schema() != Some(name));
            contents.extensions.retain(|_, extension| extension.schema != *name);
            contents.defaults.retain(|key, _| key.schema.as_ref() != Some(name));
            Ok(())
        }
        Change::CreateExtension { database, name, version, schema } => {
            create_extension(state, database, name, version.as_ref(), schema.as_ref())
        }
        Change::UpdateExtension { database, name, version } => {
            extension(state, database, name)?.version = version.clone();
            Ok(())
        }
        Change::ExtensionSchema { database, name, schema } => {
            extension(state, database, name)?.schema = schema.clone();
            Ok(())
        }
        Change::DropExtension { database, name } => {
            if contents(state, database)?.extensions.remove(name).is_none() {
                return impossible(format!("there is no extension {name}"));
            }
            Ok(())
        }
        Change::GrantDefault { database, key, to, privileges, grantable } => {
            if let Some(role) = to.role() {
                role_exists(state, role)?;
            }
            role_exists(state, &key.creator)?;
            let options = if *grantable { *privileges } else { crate::acl::Privileges::NONE };
            defaults(state, database, key, |acl| acl.grant(to, &key.creator, *privileges, options))
        }
        Change::RevokeDefault { database, key, from, privileges, option_only } => {
            defaults(state, database, key, |acl| {
                if *option_only {
                    acl.revoke_option(from, &key.creator, *privileges, &key.creator);
                } else {
                    acl.revoke(from, &key.creator, *privileges, &key.creator);
                }
            })
        }
        _ => Ok(()),
    }
}

fn create(state: &mut Current, new: &NewDatabase) -> Result<(), Impossible> {
    if state.databases.contains_key(&new.name) {
        return impossible(format!("there is a database {} already", new.name));
    }
    let owner = new.owner.as_ref().unwrap_or(&state.session.user).clone();
    role_exists(state, &owner)?;
    let template = new.template.as_ref().map_or("template1", |name| name.as_str());
    let Some(template) = state.databases.get(template) else {
        return impossible(format!("there is no database {template} to make one from"));
    };
    if let Some(tablespace) = &new.tablespace
        && !state.tablespaces.contains_key(tablespace)
    {
        return impossible(format!("there is no tablespace {tablespace}"));
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
    let made = Database {
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
    };
    state.databases.insert(new.name.clone(), made);
    Ok(())
}

fn create_extension(
    state: &mut Current,
    database: &Name,
    name: &Name,
    version: Option<&Text>,
    schema: Option<&Name>,
) -> Result<(), Impossible> {
    let owner = state.session.user.clone();
    let found = state.available.get(name).cloned().unwrap_or_default();
    let Contents { schemas, extensions, .. } = contents(state, database)?;
    if extensions.contains_key(name) {
        return impossible(format!("there is an extension {name} already"));
    }
    let insisted = found.schema.as_ref();
    let schema = schema.or(insisted).cloned().unwrap_or_else(|| Name::new("public").expect("a name"));
    if !schemas.contains_key(&schema) && insisted != Some(&schema) && !system(&schema) {
        return impossible(format!("there is no schema {schema}"));
    }
    let version = version.cloned().or(found.default);
    let version = version.unwrap_or_else(|| Text::new("").expect("a text"));
    extensions.insert(name.clone(), Extension { version, schema, owner });
    Ok(())
}

fn system(schema: &Name) -> bool {
    *schema == "pg_catalog"
}

fn extension<'a>(
    state: &'a mut Current,
    database: &Name,
    name: &Name,
) -> Result<&'a mut Extension, Impossible> {
    let found = contents(state, database)?.extensions.get_mut(name);
    found.ok_or_else(|| Impossible(format!("there is no extension {name}")))
}

fn defaults(
    state: &mut Current,
    database: &Name,
    key: &DefaultKey,
    edit: impl FnOnce(&mut crate::acl::Acl),
) -> Result<(), Impossible> {
    let base = key.base(state.version);
    let contents = contents(state, database)?;
    if let Some(schema) = &key.schema
        && !contents.schemas.contains_key(schema)
    {
        return impossible(format!("there is no schema {schema}"));
    }
    let acl = contents.defaults.entry(key.clone()).or_insert_with(|| base.clone());
    edit(acl);
    if *acl == base {
        contents.defaults.remove(key);
    }
    Ok(())
}
