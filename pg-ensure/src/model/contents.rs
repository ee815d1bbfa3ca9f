//! The effect of changes on the contents of a database: schemas, extensions, default privileges.

use super::{Impossible, contents_of, impossible, role_exists};
use crate::acl::{Grantee, ObjectKind, Privileges};
use crate::current::{Contents, Current, DefaultKey, InstalledExtension, Owned, SchemaState};
use crate::name::{Name, Text};

pub(super) fn create_schema(
    state: &mut Current,
    database: &Name,
    name: &Name,
    owner: Option<&Name>,
) -> Result<(), Impossible> {
    let owner = owner.unwrap_or(&state.session.user).clone();
    role_exists(state, &owner)?;
    let owned = Owned::new(ObjectKind::Schema, &owner, state.version);
    let contents = contents_of(state, database)?;
    if contents.schemas.contains_key(name) {
        return impossible(format!("there is a schema {name} already"));
    }
    contents.schemas.insert(name.clone(), SchemaState { owned, comment: None });
    Ok(())
}

pub(super) fn change_schema_owner(
    state: &mut Current,
    database: &Name,
    name: &Name,
    owner: &Name,
) -> Result<(), Impossible> {
    role_exists(state, owner)?;
    let Some(found) = contents_of(state, database)?.schemas.get_mut(name) else {
        return impossible(format!("there is no schema {name}"));
    };
    found.owned.acl = found.owned.acl.with_owner(&found.owned.owner, owner);
    found.owned.owner = owner.clone();
    Ok(())
}

pub(super) fn drop_schema(
    state: &mut Current,
    database: &Name,
    name: &Name,
    cascade: bool,
) -> Result<(), Impossible> {
    let contents = contents_of(state, database)?;
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

pub(super) fn update_extension(
    state: &mut Current,
    database: &Name,
    name: &Name,
    version: &Text,
) -> Result<(), Impossible> {
    extension(state, database, name)?.version = version.clone();
    Ok(())
}

pub(super) fn move_extension(
    state: &mut Current,
    database: &Name,
    name: &Name,
    schema: &Name,
) -> Result<(), Impossible> {
    extension(state, database, name)?.schema = schema.clone();
    Ok(())
}

pub(super) fn drop_extension(state: &mut Current, database: &Name, name: &Name) -> Result<(), Impossible> {
    if contents_of(state, database)?.extensions.remove(name).is_none() {
        return impossible(format!("there is no extension {name}"));
    }
    Ok(())
}

pub(super) fn grant_default(
    state: &mut Current,
    database: &Name,
    key: &DefaultKey,
    to: &Grantee,
    privileges: Privileges,
    grantable: bool,
) -> Result<(), Impossible> {
    if let Some(role) = to.role() {
        role_exists(state, role)?;
    }
    role_exists(state, &key.creator)?;
    let options = if grantable { privileges } else { Privileges::NONE };
    defaults(state, database, key, |acl| acl.grant(to, &key.creator, privileges, options))
}

pub(super) fn revoke_default(
    state: &mut Current,
    database: &Name,
    key: &DefaultKey,
    from: &Grantee,
    privileges: Privileges,
    option_only: bool,
) -> Result<(), Impossible> {
    defaults(state, database, key, |acl| {
        if option_only {
            acl.revoke_option(from, &key.creator, privileges, &key.creator);
        } else {
            acl.revoke(from, &key.creator, privileges, &key.creator);
        }
    })
}

pub(super) fn create_extension(
    state: &mut Current,
    database: &Name,
    name: &Name,
    version: Option<&Text>,
    schema: Option<&Name>,
) -> Result<(), Impossible> {
    let owner = state.session.user.clone();
    let found = state.available.get(name).cloned().unwrap_or_default();
    let Contents { schemas, extensions, .. } = contents_of(state, database)?;
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
    extensions.insert(name.clone(), InstalledExtension { version, schema, owner });
    Ok(())
}

fn system(schema: &Name) -> bool {
    *schema == "pg_catalog"
}

fn extension<'a>(
    state: &'a mut Current,
    database: &Name,
    name: &Name,
) -> Result<&'a mut InstalledExtension, Impossible> {
    let found = contents_of(state, database)?.extensions.get_mut(name);
    found.ok_or_else(|| Impossible(format!("there is no extension {name}")))
}

fn defaults(
    state: &mut Current,
    database: &Name,
    key: &DefaultKey,
    edit: impl FnOnce(&mut crate::acl::Acl),
) -> Result<(), Impossible> {
    let base = key.base(state.version);
    let contents = contents_of(state, database)?;
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
