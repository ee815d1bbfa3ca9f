//! The effect of changes on default privileges.

use super::{Impossible, contents_of, impossible, role_exists};
use crate::acl::{Grantee, Privileges};
use crate::current::{Current, DefaultKey};
use crate::name::Name;

pub(super) fn grant(
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
    edit(state, database, key, |acl| acl.grant(to, &key.creator, privileges, options))
}

pub(super) fn revoke(
    state: &mut Current,
    database: &Name,
    key: &DefaultKey,
    from: &Grantee,
    privileges: Privileges,
    option_only: bool,
) -> Result<(), Impossible> {
    edit(state, database, key, |acl| {
        if option_only {
            acl.revoke_option(from, &key.creator, privileges, &key.creator);
        } else {
            acl.revoke(from, &key.creator, privileges, &key.creator);
        }
    })
}

fn edit(
    state: &mut Current,
    database: &Name,
    key: &DefaultKey,
    change: impl FnOnce(&mut crate::acl::Acl),
) -> Result<(), Impossible> {
    let base = key.base(state.version);
    let contents = contents_of(state, database)?;
    if let Some(schema) = &key.schema
        && !contents.schemas.contains_key(schema)
    {
        return impossible(format!("there is no schema {schema}"));
    }
    let acl = contents.defaults.entry(key.clone()).or_insert_with(|| base.clone());
    change(acl);
    if *acl == base {
        contents.defaults.remove(key);
    }
    Ok(())
}
