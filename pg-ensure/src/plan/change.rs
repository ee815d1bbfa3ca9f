//! Changes of a cluster, as values.

use super::{Attributes, Commented, NewDatabase, Options, Risk};
use crate::acl::{Grantee, Privileges};
use crate::current::DefaultKey;
use crate::inside::InsideChange;
use crate::name::{Name, Text};
use crate::object::{Object, Setting};

/// A change of a cluster. [`Change::sql`] returns its SQL; [`crate::model::change`] applies it to a modelled state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A `CREATE ROLE` statement.
    CreateRole {
        /// The role's name.
        name: Name,
        /// Attributes that differ from the defaults of `CREATE ROLE`.
        attributes: Attributes,
    },
    /// An `ALTER ROLE` statement.
    AlterRole {
        /// The role's name.
        name: Name,
        /// Attributes to change.
        attributes: Attributes,
    },
    /// `ALTER ROLE … PASSWORD`. The verifier is not part of the change.
    SetPassword {
        /// The role's name.
        name: Name,
    },
    /// `ALTER ROLE … PASSWORD NULL`.
    ClearPassword {
        /// The role's name.
        name: Name,
    },
    /// A `DROP ROLE` statement.
    DropRole {
        /// The role's name.
        name: Name,
    },
    /// `GRANT role TO member`, or a change of its options.
    GrantRole {
        /// Name of the role.
        role: Name,
        /// The member's name.
        member: Name,
        /// Options to set.
        options: Options,
        /// Grantor (`GRANTED BY`, from PostgreSQL 16). `None` for the server's choice.
        grantor: Option<Name>,
    },
    /// `REVOKE ADMIN OPTION FOR role FROM member`.
    RevokeAdmin {
        /// Name of the role.
        role: Name,
        /// The member's name.
        member: Name,
        /// Grantor (`GRANTED BY`, from PostgreSQL 16). `None` for the server's choice.
        grantor: Option<Name>,
        /// `true` to revoke dependent grants too (CASCADE).
        cascade: bool,
    },
    /// `REVOKE role FROM member`.
    RevokeRole {
        /// Name of the role.
        role: Name,
        /// The member's name.
        member: Name,
        /// Grantor (`GRANTED BY`, from PostgreSQL 16). `None` for the server's choice.
        grantor: Option<Name>,
        /// `true` to revoke dependent grants too (CASCADE).
        cascade: bool,
    },
    /// A `COMMENT ON` statement.
    Comment {
        /// Object of the comment.
        on: Commented,
        /// New comment. `None` removes the comment.
        text: Option<Text>,
    },
    /// `ALTER ROLE … SET`, `ALTER DATABASE … SET`, or `RESET`.
    Set {
        /// Name of the role. `None` for all roles.
        role: Option<Name>,
        /// Name of the database. `None` for all databases.
        database: Option<Name>,
        /// The parameter's name.
        setting: Setting,
        /// New value. `None` resets the setting.
        value: Option<Text>,
    },
    /// A `CREATE DATABASE` statement.
    CreateDatabase(Box<NewDatabase>),
    /// `ALTER DATABASE … OWNER TO`.
    DatabaseOwner {
        /// The database's name.
        name: Name,
        /// The new owner.
        owner: Name,
    },
    /// `ALTER DATABASE … SET TABLESPACE`.
    DatabaseTablespace {
        /// The database's name.
        name: Name,
        /// The target tablespace.
        tablespace: Name,
    },
    /// `ALTER DATABASE … WITH`.
    DatabaseOptions {
        /// The database's name.
        name: Name,
        /// Maximum number of concurrent connections; -1 for no limit. `None` leaves it.
        connection_limit: Option<i32>,
        /// The ALLOW_CONNECTIONS option. `None` leaves it.
        allow_connections: Option<bool>,
        /// The IS_TEMPLATE option. `None` leaves it.
        is_template: Option<bool>,
    },
    /// A `DROP DATABASE` statement.
    DropDatabase {
        /// The database's name.
        name: Name,
    },
    /// A change of an object inside a database.
    Inside {
        /// Name of the database.
        database: Name,
        /// The change of the object.
        change: InsideChange,
    },
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
    /// `ALTER DEFAULT PRIVILEGES … GRANT`.
    GrantDefault {
        /// Name of the database.
        database: Name,
        /// Identifies the set of default privileges.
        key: DefaultKey,
        /// Grantee of the privileges.
        to: Grantee,
        /// Privileges to grant.
        privileges: Privileges,
        /// `true` to grant the privileges WITH GRANT OPTION.
        grantable: bool,
    },
    /// `ALTER DEFAULT PRIVILEGES … REVOKE`.
    RevokeDefault {
        /// Name of the database.
        database: Name,
        /// Identifies the set of default privileges.
        key: DefaultKey,
        /// Grantee whose privileges are revoked.
        from: Grantee,
        /// Privileges to revoke.
        privileges: Privileges,
        /// `true` to revoke only the grant option.
        option_only: bool,
    },
    /// Execution of a script, which is recorded in a setting of the database so that it runs only once.
    InitialSql {
        /// Name of the database.
        database: Name,
        /// The script's text.
        script: Text,
    },
    /// A `REASSIGN OWNED` statement.
    ReassignOwned {
        /// Database in which the statement is executed. Shared objects are reassigned too.
        database: Name,
        /// Role that owns the objects.
        from: Name,
        /// New owner of the objects.
        to: Name,
    },
    /// `DROP OWNED`, which drops the objects of a role in a database and revokes its privileges there and on shared
    /// objects.
    DropOwned {
        /// Database in which the statement is executed.
        database: Name,
        /// Role whose privileges are revoked, and whose remaining objects are dropped.
        role: Name,
    },
}

/// Connection and transaction in which a change is executed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExecutionScope {
    /// In a transaction, in any database.
    Cluster,
    /// Outside of a transaction.
    Alone,
    /// In a transaction, in this database.
    In(Name),
}

impl Change {
    /// Returns the connection and transaction that the change needs.
    #[must_use]
    pub fn scope(&self) -> ExecutionScope {
        match self {
            Self::CreateDatabase(_) | Self::DropDatabase { .. } | Self::DatabaseTablespace { .. } => {
                ExecutionScope::Alone
            }
            Self::Inside { database, .. }
            | Self::GrantDefault { database, .. }
            | Self::RevokeDefault { database, .. }
            | Self::InitialSql { database, .. }
            | Self::ReassignOwned { database, .. }
            | Self::DropOwned { database, .. } => ExecutionScope::In(database.clone()),
            Self::Grant { on, .. } | Self::Revoke { on, .. } => {
                on.database().map_or(ExecutionScope::Cluster, |database| ExecutionScope::In(database.clone()))
            }
            Self::Comment { .. }
            | Self::CreateRole { .. }
            | Self::AlterRole { .. }
            | Self::SetPassword { .. }
            | Self::ClearPassword { .. }
            | Self::DropRole { .. }
            | Self::GrantRole { .. }
            | Self::RevokeAdmin { .. }
            | Self::RevokeRole { .. }
            | Self::Set { .. }
            | Self::DatabaseOwner { .. }
            | Self::DatabaseOptions { .. } => ExecutionScope::Cluster,
        }
    }

    /// Returns the risk of the change.
    #[must_use]
    pub fn risk(&self) -> Risk {
        match self {
            Self::Inside { change, .. } => change.risk(),
            Self::DropRole { .. } | Self::DropDatabase { .. } | Self::DropOwned { .. } => Risk::Destroys,
            Self::ClearPassword { .. }
            | Self::Revoke { .. }
            | Self::RevokeRole { .. }
            | Self::RevokeAdmin { .. }
            | Self::RevokeDefault { .. }
            | Self::ReassignOwned { .. }
            | Self::DatabaseOwner { .. } => Risk::TakesAway,
            Self::AlterRole { attributes, .. } => {
                let fewer = [
                    attributes.superuser,
                    attributes.createdb,
                    attributes.createrole,
                    attributes.inherit,
                    attributes.login,
                    attributes.replication,
                    attributes.bypassrls,
                ];
                if fewer.contains(&Some(false))
                    || attributes.connection_limit.is_some()
                    || attributes.valid_until.is_some()
                {
                    Risk::TakesAway
                } else {
                    Risk::Changes
                }
            }
            Self::GrantRole { options, .. }
                if [options.admin, options.inherit, options.set].contains(&Some(false)) =>
            {
                Risk::Changes
            }
            Self::DatabaseTablespace { .. } => Risk::Disturbs,
            Self::SetPassword { .. }
            | Self::DatabaseOptions { .. }
            | Self::Comment { .. }
            | Self::Set { .. } => Risk::Changes,
            Self::CreateRole { .. }
            | Self::GrantRole { .. }
            | Self::CreateDatabase(_)
            | Self::InitialSql { .. }
            | Self::Grant { .. }
            | Self::GrantDefault { .. } => Risk::Adds,
        }
    }
}
