//! Changes of a cluster, as values.

use super::{ExecutionScope, Risk};
use crate::cluster::database::change::DatabaseChange;
use crate::cluster::default_privilege::change::DefaultPrivilegeChange;
use crate::cluster::grant::change::GrantChange;
use crate::cluster::membership::change::MembershipChange;
use crate::cluster::owned::OwnedChange;
use crate::cluster::role::change::RoleChange;
use crate::cluster::setting::change::SettingChange;
use crate::current::CurrentState;
use crate::inside::InsideChange;
use crate::model::{RejectedChange, lookup};
use crate::name::Name;
use crate::rights::Rights;
use crate::version::Version;

macro_rules! changes {
    ($($(#[$doc:meta])* $kind:ident($change:ty),)*) => {
        /// A change of a cluster. [`Change::sql`] returns its SQL; [`crate::model::change`] applies it to a modelled
        /// state.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Change {
            $($(#[$doc])* $kind($change),)*
            /// A change of an object inside a database.
            Inside {
                /// Name of the database.
                database: Name,
                /// The change of the object.
                change: InsideChange,
            },
        }

        impl Change {
            /// Returns the SQL of the change for a version of the server, without a trailing semicolon: one statement,
            /// or several for [`DatabaseChange::InitialSql`]. A verifier is replaced by a placeholder, so that the SQL
            /// of [`RoleChange::SetPassword`] must not be executed.
            #[must_use]
            pub fn sql(&self, version: Version) -> String {
                match self {
                    $(Self::$kind(change) => change.sql(version),)*
                    Self::Inside { change, .. } => change.sql(version),
                }
            }

            /// Returns the connection and transaction that the change needs.
            #[must_use]
            pub fn scope(&self) -> ExecutionScope {
                match self {
                    $(Self::$kind(change) => change.scope(),)*
                    Self::Inside { database, .. } => ExecutionScope::In(database.clone()),
                }
            }

            /// Returns the class of risk of the change.
            #[must_use]
            pub fn risk(&self) -> Risk {
                match self {
                    $(Self::$kind(change) => change.risk(),)*
                    Self::Inside { change, .. } => change.risk(),
                }
            }

            /// Checks that the session of a state has the rights for the change. The error is a description of what is
            /// missing.
            pub(crate) fn permitted(&self, now: &CurrentState) -> Result<(), String> {
                if now.superuser() {
                    return Ok(());
                }
                let rights = Rights::of(now);
                match self {
                    $(Self::$kind(change) => change.permitted(&rights),)*
                    Self::Inside { database, change } => change.permitted(&rights.inside(database)),
                }
            }

            /// Applies the change to a modelled state.
            ///
            /// # Errors
            /// Returns a [`RejectedChange`] if the server would reject the change.
            pub(crate) fn make(&self, state: &mut CurrentState) -> Result<(), RejectedChange> {
                match self {
                    $(Self::$kind(change) => change.make(state),)*
                    Self::Inside { database, change } => {
                        lookup::in_database(state, database, |contents, around| change.make(contents, around))
                    }
                }
            }
        }

        $(impl From<$change> for Change {
            fn from(change: $change) -> Self {
                Self::$kind(change)
            }
        })*
    };
}

changes! {
    /// A change of a role.
    Role(RoleChange),
    /// A change of a membership.
    Membership(MembershipChange),
    /// A change of a setting.
    Setting(SettingChange),
    /// A change of a database.
    Database(DatabaseChange),
    /// A change of privileges on an object.
    Grant(GrantChange),
    /// A change of default privileges.
    DefaultPrivilege(DefaultPrivilegeChange),
    /// A change of all objects of a role in a database.
    Owned(OwnedChange),
}

impl Change {
    /// Returns the role to which the session has to change by SET ROLE for the statement: the grantor of a privilege
    /// that is revoked, if it is not the object's owner. `None` for the session's own role.
    #[must_use]
    pub fn acts_as(&self) -> Option<&Name> {
        match self {
            Self::Grant(change) => change.acts_as(),
            Self::Role(_)
            | Self::Membership(_)
            | Self::Setting(_)
            | Self::Database(_)
            | Self::DefaultPrivilege(_)
            | Self::Owned(_)
            | Self::Inside { .. } => None,
        }
    }
}
