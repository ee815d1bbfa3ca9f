//! Effects of changes on default privileges. Each function returns the reason if the server would reject the change.

use super::{RejectedChange, contents_of, rejected, role_exists};
use crate::acl::{Grantee, Privileges};
use crate::current::{CurrentState, DefaultKey};
use crate::name::Name;

/// Grants default privileges, with the grant option if `grantable`.
///
/// # Errors
/// Returns a [`RejectedChange`] if a role, the schema or the database does not exist.
pub(super) fn grant(
    state: &mut CurrentState,
    database: &Name,
    key: &DefaultKey,
    to: &Grantee,
    privileges: Privileges,
    grantable: bool,
) -> Result<(), RejectedChange> {
    if let Some(role) = to.role() {
        role_exists(state, role)?;
    }
    role_exists(state, &key.creator)?;
    let options = if grantable { privileges } else { Privileges::NONE };
    edit(state, database, key, |acl| acl.grant(to, &key.creator, privileges, options))
}

/// Revokes default privileges, or with `option_only` their grant option.
///
/// # Errors
/// Returns a [`RejectedChange`] if the schema or the database does not exist.
pub(super) fn revoke(
    state: &mut CurrentState,
    database: &Name,
    key: &DefaultKey,
    from: &Grantee,
    privileges: Privileges,
    option_only: bool,
) -> Result<(), RejectedChange> {
    edit(state, database, key, |acl| {
        if option_only {
            acl.revoke_option(from, &key.creator, privileges, &key.creator);
        } else {
            acl.revoke(from, &key.creator, privileges, &key.creator);
        }
    })
}

/// Changes the default privileges of a key, and removes the entry if it equals the built-in default.
///
/// # Errors
/// Returns a [`RejectedChange`] if the schema or the database does not exist.
fn edit(
    state: &mut CurrentState,
    database: &Name,
    key: &DefaultKey,
    change: impl FnOnce(&mut crate::acl::Acl),
) -> Result<(), RejectedChange> {
    let base = key.base(state.version);
    let contents = contents_of(state, database)?;
    if let Some(schema) = &key.schema
        && !contents.schemas.contains_key(schema)
    {
        return rejected(format!("there is no schema {schema}"));
    }
    let acl = contents.defaults.entry(key.clone()).or_insert_with(|| base.clone());
    change(acl);
    if *acl == base {
        contents.defaults.remove(key);
    }
    Ok(())
}
