//! Changes of memberships: SQL, risk, required rights, and effect.

use super::{MembershipKey, MembershipOptions};
use crate::current::CurrentState;
use crate::model::{RejectedChange, lookup, rejected};
use crate::name::Name;
use crate::plan::{ExecutionScope, Risk};
use crate::rights::Rights;
use crate::version::Version;

/// A change of a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MembershipChange {
    /// `GRANT role TO member`, or a change of its options.
    Grant {
        /// Name of the role.
        role: Name,
        /// The member's name.
        member: Name,
        /// Options to set.
        options: Options,
        /// Grantor (`GRANTED BY`, from PostgreSQL 16). `None` for that of the session: the bootstrap superuser for a
        /// superuser, otherwise its own role.
        grantor: Option<Name>,
    },
    /// `REVOKE ADMIN OPTION FOR role FROM member`.
    RevokeAdmin {
        /// Name of the role.
        role: Name,
        /// The member's name.
        member: Name,
        /// Grantor (`GRANTED BY`, from PostgreSQL 16). `None` for that of the session: the bootstrap superuser for a
        /// superuser, otherwise its own role.
        grantor: Option<Name>,
        /// `true` to revoke dependent grants too (CASCADE).
        cascade: bool,
    },
    /// `REVOKE role FROM member`.
    Revoke {
        /// Name of the role.
        role: Name,
        /// The member's name.
        member: Name,
        /// Grantor (`GRANTED BY`, from PostgreSQL 16). `None` for that of the session: the bootstrap superuser for a
        /// superuser, otherwise its own role.
        grantor: Option<Name>,
        /// `true` to revoke dependent grants too (CASCADE).
        cascade: bool,
    },
}

/// Options of a membership to be set. `None` for no change of an existing membership, and for the server's default in a
/// new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// ADMIN: `true` if the member may grant the role to others.
    pub admin: Option<bool>,
    /// INHERIT: `true` if the member has the role's privileges without SET ROLE.
    pub inherit: Option<bool>,
    /// SET: `true` if the member may SET ROLE to the role.
    pub set: Option<bool>,
}

impl MembershipChange {
    /// Returns the statement of the change for a version of the server.
    pub(crate) fn sql(&self, version: Version) -> String {
        match self {
            Self::Grant { role, member, options, grantor } => {
                let with = with(*options, version);
                let by = by(grantor.as_ref());
                format!("GRANT {} TO {}{with}{by}", role.quoted(), member.quoted())
            }
            Self::RevokeAdmin { role, member, grantor, cascade } => {
                let (by, cascade) = (by(grantor.as_ref()), tail(*cascade));
                format!("REVOKE ADMIN OPTION FOR {} FROM {}{by}{cascade}", role.quoted(), member.quoted())
            }
            Self::Revoke { role, member, grantor, cascade } => {
                let (by, cascade) = (by(grantor.as_ref()), tail(*cascade));
                format!("REVOKE {} FROM {}{by}{cascade}", role.quoted(), member.quoted())
            }
        }
    }

    /// Returns the connection and transaction that the change needs.
    pub(crate) fn scope(&self) -> ExecutionScope {
        ExecutionScope::Cluster
    }

    /// Returns the risk of the change.
    pub(crate) fn risk(&self) -> Risk {
        match self {
            Self::Grant { options, .. }
                if [options.admin, options.inherit, options.set].contains(&Some(false)) =>
            {
                Risk::Changes
            }
            Self::Grant { .. } => Risk::Adds,
            Self::RevokeAdmin { .. } | Self::Revoke { .. } => Risk::Restricts,
        }
    }

    /// Checks that the session may make the change. The error names the missing permission.
    pub(crate) fn permitted(&self, rights: &Rights<'_>) -> Result<(), String> {
        match self {
            Self::Grant { role, grantor, .. }
            | Self::RevokeAdmin { role, grantor, .. }
            | Self::Revoke { role, grantor, .. } => rights.grants_role(role, grantor.as_ref()),
        }
    }

    /// Applies the change to the modelled state, with the memberships that depend on it.
    ///
    /// # Errors
    /// Returns a [`RejectedChange`] if the server would reject the change.
    pub(crate) fn make(&self, state: &mut CurrentState) -> Result<(), RejectedChange> {
        match self {
            Self::Grant { role, member, options, grantor } => {
                grant(state, role, member, *options, grantor.as_ref())
            }
            Self::RevokeAdmin { role, member, grantor, cascade: _ } => {
                revoke_admin(state, role, member, grantor.as_ref())
            }
            Self::Revoke { role, member, grantor, cascade: _ } => {
                revoke(state, role, member, grantor.as_ref())
            }
        }
    }
}

/// Returns the clause GRANTED BY. Empty without a grantor.
fn by(grantor: Option<&Name>) -> String {
    grantor.map(|grantor| format!(" GRANTED BY {}", grantor.quoted())).unwrap_or_default()
}

/// Returns the keyword CASCADE. Empty without it.
fn tail(cascade: bool) -> &'static str {
    if cascade { " CASCADE" } else { "" }
}

/// Returns the clause WITH of a GRANT of membership, with the options that are given. Before PostgreSQL 16 there is
/// only ADMIN OPTION. Empty without an option.
fn with(options: Options, version: Version) -> String {
    if !version.membership_options() {
        return if options.admin == Some(true) { " WITH ADMIN OPTION".to_owned() } else { String::new() };
    }
    let said: Vec<String> = [("ADMIN", options.admin), ("INHERIT", options.inherit), ("SET", options.set)]
        .into_iter()
        .filter_map(|(word, value)| {
            value.map(|value| format!("{word} {}", if value { "TRUE" } else { "FALSE" }))
        })
        .collect();
    if said.is_empty() { String::new() } else { format!(" WITH {}", said.join(", ")) }
}

/// Revokes the ADMIN option of a membership, and removes memberships that depend on it. `grantor` is the grantor named
/// in the statement, `None` for the default.
///
/// # Errors
/// Returns a [`RejectedChange`] if the membership does not exist.
fn revoke_admin(
    state: &mut CurrentState,
    role: &Name,
    member: &Name,
    grantor: Option<&Name>,
) -> Result<(), RejectedChange> {
    let key = key(state, role, member, grantor);
    let Some(found) = state.memberships.get_mut(&key) else {
        return rejected(format!("{member} is not a member of {role}"));
    };
    found.admin = false;
    orphans(state, role, member);
    Ok(())
}

/// Removes a membership, and memberships that depend on it. `grantor` is the grantor named in the statement, `None` for
/// the default.
///
/// # Errors
/// Returns a [`RejectedChange`] if the membership does not exist.
fn revoke(
    state: &mut CurrentState,
    role: &Name,
    member: &Name,
    grantor: Option<&Name>,
) -> Result<(), RejectedChange> {
    let key = key(state, role, member, grantor);
    if state.memberships.remove(&key).is_none() {
        return rejected(format!("{member} is not a member of {role}"));
    }
    orphans(state, role, member);
    Ok(())
}

/// Returns the key of a membership. Before PostgreSQL 16 there is one membership per role and member, whatever the
/// grantor.
fn key(state: &CurrentState, role: &Name, member: &Name, grantor: Option<&Name>) -> MembershipKey {
    let grantor = if state.version.membership_options() {
        grantor.cloned().unwrap_or_else(|| default_grantor(state, role))
    } else {
        let found =
            state.members(role).find(|(key, _)| key.member == *member).map(|(key, _)| key.grantor.clone());
        found.unwrap_or_else(|| state.session.bootstrap.clone())
    };
    MembershipKey { role: role.clone(), member: member.clone(), grantor }
}

/// Returns the grantor of a statement that names none, like `select_best_admin()`: the bootstrap superuser for a
/// superuser, else the session's role.
fn default_grantor(state: &CurrentState, _role: &Name) -> Name {
    if state.superuser() { state.session.bootstrap.clone() } else { state.session.user.clone() }
}

/// Grants a membership, or changes those of its options that are given. `grantor` is the grantor named in the
/// statement, `None` for the default. A new membership has the options of the server: no ADMIN, SET, and INHERIT as the
/// member's attribute (before PostgreSQL 16 always).
///
/// # Errors
/// Returns a [`RejectedChange`] if a role does not exist, or the membership would be circular.
fn grant(
    state: &mut CurrentState,
    role: &Name,
    member: &Name,
    options: Options,
    grantor: Option<&Name>,
) -> Result<(), RejectedChange> {
    lookup::role_exists(state, role)?;
    lookup::role_exists(state, member)?;
    if state.is_member(role, member) {
        return rejected(format!("{role} is a member of {member}"));
    }
    let inherits = state.roles.get(member).is_none_or(|member| member.inherit);
    let key = key(state, role, member, grantor);
    let fresh = if state.version.membership_options() {
        MembershipOptions { admin: false, inherit: inherits, set: true }
    } else {
        MembershipOptions { admin: false, inherit: true, set: true }
    };
    let found = state.memberships.entry(key).or_insert(fresh);
    found.admin = options.admin.unwrap_or(found.admin);
    found.inherit = options.inherit.unwrap_or(found.inherit);
    found.set = options.set.unwrap_or(found.set);
    Ok(())
}

/// Removes the memberships in a role that `grantor` granted, if that role no longer has ADMIN, and in turn those
/// granted by their members. No effect before PostgreSQL 16.
fn orphans(state: &mut CurrentState, role: &Name, grantor: &Name) {
    if !state.version.membership_options() || state.is_admin_of(grantor, role) {
        return;
    }
    let lost: Vec<MembershipKey> =
        state.members(role).filter(|(key, _)| key.grantor == *grantor).map(|(key, _)| key.clone()).collect();
    for key in lost {
        state.memberships.remove(&key);
        orphans(state, role, &key.member);
    }
}
