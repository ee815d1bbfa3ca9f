//! Changes of default privileges: SQL, risk, required rights, and effect.

use super::DefaultKey;
use crate::acl::{Acl, Grantee, Privileges};
use crate::current::CurrentState;
use crate::model::{RejectedChange, lookup, rejected};
use crate::name::Name;
use crate::plan::{ExecutionScope, Risk};
use crate::rights::Rights;
use crate::version::Version;

/// A change of default privileges.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefaultPrivilegeChange {
    /// `ALTER DEFAULT PRIVILEGES … GRANT`.
    Grant {
        /// Name of the database in which the statement is executed.
        database: Name,
        /// Creator, schema and kind of the objects that get the privileges.
        key: DefaultKey,
        /// Grantee of the privileges.
        to: Grantee,
        /// Privileges to grant.
        privileges: Privileges,
        /// `true` to grant the privileges WITH GRANT OPTION.
        grantable: bool,
    },
    /// `ALTER DEFAULT PRIVILEGES … REVOKE`.
    Revoke {
        /// Name of the database in which the statement is executed.
        database: Name,
        /// Creator, schema and kind of the objects that get the privileges.
        key: DefaultKey,
        /// Grantee whose privileges are revoked.
        from: Grantee,
        /// Privileges to revoke.
        privileges: Privileges,
        /// `true` to revoke only the grant option.
        option_only: bool,
    },
}

impl DefaultPrivilegeChange {
    /// Returns the statement of the change.
    pub(crate) fn sql(&self, _: Version) -> String {
        match self {
            Self::Grant { key, to, privileges, grantable, .. } => {
                let with = if *grantable { " WITH GRANT OPTION" } else { "" };
                let (head, kind) = (defaults(key), key.kind.sql());
                format!("{head} GRANT {} ON {kind} TO {}{with}", privileges.sql(), to.sql())
            }
            Self::Revoke { key, from, privileges, option_only, .. } => {
                let option = if *option_only { "GRANT OPTION FOR " } else { "" };
                let (head, kind) = (defaults(key), key.kind.sql());
                format!("{head} REVOKE {option}{} ON {kind} FROM {}", privileges.sql(), from.sql())
            }
        }
    }

    /// Returns the connection and transaction that the change needs.
    pub(crate) fn scope(&self) -> ExecutionScope {
        match self {
            Self::Grant { database, .. } | Self::Revoke { database, .. } => {
                ExecutionScope::In(database.clone())
            }
        }
    }

    /// Returns the risk of the change.
    pub(crate) fn risk(&self) -> Risk {
        match self {
            Self::Grant { .. } => Risk::Adds,
            Self::Revoke { .. } => Risk::Restricts,
        }
    }

    /// Checks that the session may make the change. The error names the missing permission.
    pub(crate) fn permitted(&self, rights: &Rights<'_>) -> Result<(), String> {
        match self {
            Self::Grant { key, .. } | Self::Revoke { key, .. } => rights.has(&key.creator),
        }
    }

    /// Applies the change to the modelled state.
    ///
    /// # Errors
    /// Returns a [`RejectedChange`] if a role, the schema or the database does not exist.
    pub(crate) fn make(&self, state: &mut CurrentState) -> Result<(), RejectedChange> {
        match self {
            Self::Grant { database, key, to, privileges, grantable } => {
                if let Some(role) = to.role() {
                    lookup::role_exists(state, role)?;
                }
                lookup::role_exists(state, &key.creator)?;
                let options = if *grantable { *privileges } else { Privileges::NONE };
                edit(state, database, key, |acl| acl.grant(to, &key.creator, *privileges, options))
            }
            Self::Revoke { database, key, from, privileges, option_only } => {
                edit(state, database, key, |acl| {
                    if *option_only {
                        acl.revoke_option(from, &key.creator, *privileges, &key.creator);
                    } else {
                        acl.revoke(from, &key.creator, *privileges, &key.creator);
                    }
                })
            }
        }
    }
}

/// Returns the beginning of an ALTER DEFAULT PRIVILEGES statement.
fn defaults(key: &DefaultKey) -> String {
    let schema = key.schema.as_ref().map(|schema| format!(" IN SCHEMA {}", schema.quoted()));
    format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}{}", key.creator.quoted(), schema.unwrap_or_default())
}

/// Changes the default privileges of a key, and removes the entry if it equals the built-in default.
///
/// # Errors
/// Returns a [`RejectedChange`] if the schema or the database does not exist.
fn edit(
    state: &mut CurrentState,
    database: &Name,
    key: &DefaultKey,
    change: impl FnOnce(&mut Acl),
) -> Result<(), RejectedChange> {
    let base = key.base(state.version);
    let contents = lookup::contents_of(state, database)?;
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
