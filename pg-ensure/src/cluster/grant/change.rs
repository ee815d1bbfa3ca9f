//! Changes of privileges on objects: SQL, risk, required rights, and effect.

use crate::acl::{Grantee, Privileges};
use crate::current::CurrentState;
use crate::model::{RejectedChange, lookup, rejected};
use crate::name::Name;
use crate::object::{Local, Object};
use crate::plan::{ExecutionScope, Risk};
use crate::rights::Rights;
use crate::version::Version;

/// A change of privileges on an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrantChange {
    /// `GRANT … ON`.
    Grant {
        /// Object of the privileges.
        on: Object,
        /// Grantee of the privileges.
        to: Grantee,
        /// Privileges to grant.
        privileges: Privileges,
        /// `true` to grant the privileges WITH GRANT OPTION.
        grantable: bool,
    },
    /// `REVOKE … ON`, or `REVOKE GRANT OPTION FOR … ON`.
    Revoke {
        /// Object of the privileges.
        on: Object,
        /// Grantee whose privileges are revoked.
        from: Grantee,
        /// Privileges to revoke.
        privileges: Privileges,
        /// `true` to revoke only the grant option.
        option_only: bool,
        /// Grantor, if it is not the owner. The statement is then executed as that role. `None` for the owner.
        grantor: Option<Name>,
        /// `true` to revoke dependent grants too (CASCADE).
        cascade: bool,
    },
}

impl GrantChange {
    /// Returns the statement of the change.
    pub(crate) fn sql(&self, _: Version) -> String {
        match self {
            Self::Grant { on, to, privileges, grantable } => {
                let what = privilege_list(*privileges, on);
                let with = if *grantable { " WITH GRANT OPTION" } else { "" };
                format!("GRANT {what} ON {} TO {}{with}", on.sql(), to.sql())
            }
            Self::Revoke { on, from, privileges, option_only, cascade, .. } => {
                let what = privilege_list(*privileges, on);
                let option = if *option_only { "GRANT OPTION FOR " } else { "" };
                let cascade = if *cascade { " CASCADE" } else { "" };
                format!("REVOKE {option}{what} ON {} FROM {}{cascade}", on.sql(), from.sql())
            }
        }
    }

    /// Returns the role as which the statement has to be executed. `None` for the session's role.
    pub(crate) fn acts_as(&self) -> Option<&Name> {
        match self {
            Self::Grant { .. } => None,
            Self::Revoke { grantor, .. } => grantor.as_ref(),
        }
    }

    /// Returns the connection and transaction that the change needs.
    pub(crate) fn scope(&self) -> ExecutionScope {
        match self {
            Self::Grant { on, .. } | Self::Revoke { on, .. } => {
                on.database().map_or(ExecutionScope::Cluster, |database| ExecutionScope::In(database.clone()))
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

    /// Checks that the session may make the change. A grant needs the privileges of the object's owner or the grant
    /// options. REVOKE needs the privileges of the owner or, for a grant by another role, SET ROLE to that role.
    ///
    /// # Errors
    /// Returns a description of the missing permission.
    pub(crate) fn permitted(&self, rights: &Rights<'_>) -> Result<(), String> {
        match self {
            Self::Grant { on, privileges, .. } => rights.grants(on, *privileges),
            Self::Revoke { on, grantor: None, .. } => rights.owns(on),
            Self::Revoke { grantor: Some(grantor), .. } => rights.becomes(grantor),
        }
    }

    /// Applies the change to the modelled state.
    ///
    /// # Errors
    /// Returns a [`RejectedChange`] if the server would reject the change.
    pub(crate) fn make(&self, state: &mut CurrentState) -> Result<(), RejectedChange> {
        match self {
            Self::Grant { on, to, privileges, grantable } => {
                if let Some(role) = to.role() {
                    lookup::role_exists(state, role)?;
                }
                let Some(grantor) = lookup::grantor(state, on, *privileges)? else { return Ok(()) };
                let Some((_, acl)) = lookup::acl(state, on)? else { return Ok(()) };
                let options = if *grantable { *privileges } else { Privileges::NONE };
                acl.grant(to, &grantor, *privileges, options);
                Ok(())
            }
            Self::Revoke { on, from, privileges, option_only, grantor, cascade } => {
                let Some((owner, acl)) = lookup::acl(state, on)? else { return Ok(()) };
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
                    for column in lookup::columns(lookup::contents_of(state, database)?, schema, table) {
                        if *option_only {
                            column.acl.revoke_option(from, &grantor, *privileges, &owner);
                        } else {
                            column.acl.revoke(from, &grantor, *privileges, &owner);
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

/// Returns the privileges of a GRANT or REVOKE, each followed by the column if the object is one.
fn privilege_list(privileges: Privileges, on: &Object) -> String {
    let Object::Inside(_, Local::Column(_, _, column)) = on else { return privileges.sql() };
    let each = privileges.iter().map(|privilege| format!("{} ({})", privilege.sql(), column.quoted()));
    each.collect::<Vec<_>>().join(", ")
}
