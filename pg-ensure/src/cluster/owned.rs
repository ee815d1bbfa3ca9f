//! Changes of everything that a role owns: SQL, risk, required rights, and effect.

use crate::current::{CurrentState, Dependency};
use crate::model::{RejectedChange, lookup, rejected};
use crate::name::Name;
use crate::plan::{ExecutionScope, Risk};
use crate::rights::Rights;
use crate::version::Version;

/// A change of the objects that a role owns in a database, and of its privileges there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnedChange {
    /// A `REASSIGN OWNED` statement.
    Reassign {
        /// Database in which the statement is executed. Shared objects are reassigned too.
        database: Name,
        /// Role that owns the objects.
        from: Name,
        /// New owner of the objects.
        to: Name,
    },
    /// `DROP OWNED`, which drops the objects of a role in a database and revokes its privileges there and on shared
    /// objects.
    Drop {
        /// Database in which the statement is executed.
        database: Name,
        /// Role whose privileges are revoked, and whose remaining objects are dropped.
        role: Name,
    },
}

impl OwnedChange {
    /// Returns the statement of the change.
    pub(crate) fn sql(&self, _: Version) -> String {
        match self {
            Self::Reassign { from, to, .. } => {
                format!("REASSIGN OWNED BY {} TO {}", from.quoted(), to.quoted())
            }
            Self::Drop { role, .. } => format!("DROP OWNED BY {}", role.quoted()),
        }
    }

    /// Returns the connection and transaction that the change needs.
    pub(crate) fn scope(&self) -> ExecutionScope {
        match self {
            Self::Reassign { database, .. } | Self::Drop { database, .. } => {
                ExecutionScope::In(database.clone())
            }
        }
    }

    /// Returns the risk of the change.
    pub(crate) fn risk(&self) -> Risk {
        match self {
            Self::Reassign { .. } => Risk::Restricts,
            Self::Drop { .. } => Risk::Destroys,
        }
    }

    /// Checks that the session may make the change: it needs the privileges of the role, and for REASSIGN OWNED those
    /// of the new owner too, and what [`Rights::reassigns`] checks for each object.
    ///
    /// # Errors
    /// Returns a description of the missing permission.
    pub(crate) fn permitted(&self, rights: &Rights<'_>) -> Result<(), String> {
        match self {
            Self::Reassign { database, from, to } => {
                rights.has(from)?;
                rights.has(to)?;
                rights.reassigns(database, from, to)
            }
            Self::Drop { role, .. } => rights.has(role),
        }
    }

    /// Applies the change to the modelled state.
    ///
    /// # Errors
    /// Returns a [`RejectedChange`] if the server would reject the change.
    pub(crate) fn make(&self, state: &mut CurrentState) -> Result<(), RejectedChange> {
        match self {
            Self::Reassign { database, from, to } => reassign(state, database, from, to),
            Self::Drop { database, role } => {
                drop_owned(state, database, role);
                Ok(())
            }
        }
    }
}

/// Returns an object of `from` that REASSIGN OWNED in a database would give to `to`, which cannot own it, as part of a
/// message: an object that only a superuser can own, before PostgreSQL 16 also a subscription of any database. `None`
/// if there is none, `to` is a superuser, or the contents are unknown.
pub(crate) fn not_for(state: &CurrentState, place: &Name, from: &Name, to: &Name) -> Option<String> {
    if state.roles.get(to).is_some_and(|role| role.superuser) {
        return None;
    }
    let mut subscriptions = state.subscriptions.iter().filter(|_| !state.version.membership_options());
    if let Some(((database, name), _)) = subscriptions.find(|(_, owner)| *owner == from) {
        return Some(format!("subscription {name} in database {database}"));
    }
    let contents = state.databases.get(place)?.contents.as_ref()?;
    contents.superusers_object(from)
}

/// Reassigns the databases and subscriptions of a role, and its objects in one database, to another role.
///
/// # Errors
/// Returns a [`RejectedChange`] if the role `to` or the database does not exist, or `to` is not a superuser and an
/// object must have one as its owner.
fn reassign(state: &mut CurrentState, place: &Name, from: &Name, to: &Name) -> Result<(), RejectedChange> {
    lookup::role_exists(state, to)?;
    if let Some(what) = not_for(state, place, from, to) {
        return rejected(format!("{to} is not a superuser, as the owner of {what} must be"));
    }
    for database in state.databases.values_mut() {
        if database.owned.owner == *from {
            database.owned.give_to(to);
        }
    }
    // Subscriptions are shared objects, as databases are.
    state.subscriptions.values_mut().filter(|owner| *owner == from).for_each(|owner| *owner = to.clone());
    if let Some(contents) = lookup::database(state, place)?.contents.as_mut() {
        contents.reassign(from, to);
    }
    Ok(())
}

/// Removes the privileges that a role has or has granted on shared objects and in one database and, from PostgreSQL 16
/// on, the memberships that it granted. Objects that it owns are left.
fn drop_owned(state: &mut CurrentState, place: &Name, role: &Name) {
    for database in state.databases.values_mut() {
        database.owned.acl.forget(role);
    }
    for tablespace in state.tablespaces.values_mut() {
        tablespace.acl.forget(role);
    }
    if state.version.membership_options() {
        state.memberships.retain(|key, _| key.grantor != *role);
    }
    state.parameters.values_mut().for_each(|acl| acl.forget(role));
    state.parameters.retain(|_, acl| !acl.is_empty());
    if let Some(contents) = state.databases.get_mut(place).and_then(|found| found.contents.as_mut()) {
        contents.forget(role);
    }
    if let Some(found) = state.dependencies.get_mut(role) {
        // DROP OWNED also revokes privileges on databases and other shared objects; owned objects were reassigned
        // before.
        found.remove(&Dependency::Inside(place.clone()));
        found.retain(|dependency| matches!(dependency, Dependency::Inside(_)));
    }
}
