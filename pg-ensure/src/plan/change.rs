//! One change of a cluster, as a value.

use super::{Attributes, Commented, NewDatabase, Options, Risk};
use crate::acl::{Grantee, Privileges};
use crate::current::DefaultKey;
use crate::inside::InsideChange;
use crate::name::{Name, Text};
use crate::object::{Object, Setting};

/// A change of a cluster. [`Change::sql`] returns its SQL, [`crate::model::change`] applies it to a modelled state.
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
    /// A `ALTER ROLE` statement.
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
        /// Options that are set.
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
        /// CASCADE: whether dependent grants are revoked too.
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
        /// CASCADE: whether dependent grants are revoked too.
        cascade: bool,
    },
    /// A `COMMENT ON` statement.
    Comment {
        /// The object concerned.
        on: Commented,
        /// Comment. `None` removes it.
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
        /// Value of the setting. `None` resets it.
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
        /// The ALLOW_CONNECTIONS option.
        allow_connections: Option<bool>,
        /// The IS_TEMPLATE option.
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
        /// The object concerned.
        on: Object,
        /// The grantee's name.
        to: Grantee,
        /// The privileges concerned.
        privileges: Privileges,
        /// Whether the privileges are granted WITH GRANT OPTION.
        grantable: bool,
    },
    /// `REVOKE … ON`, or `REVOKE GRANT OPTION FOR … ON`.
    Revoke {
        /// The object concerned.
        on: Object,
        /// The grantee's name.
        from: Grantee,
        /// The privileges concerned.
        privileges: Privileges,
        /// Whether only the grant option is revoked.
        option_only: bool,
        /// Grantor, if it is not the owner. The statement is then executed as that role.
        grantor: Option<Name>,
        /// CASCADE: whether dependent grants are revoked too.
        cascade: bool,
    },
    /// `ALTER DEFAULT PRIVILEGES … GRANT`.
    GrantDefault {
        /// Name of the database.
        database: Name,
        /// Identifies the default privileges.
        key: DefaultKey,
        /// The grantee's name.
        to: Grantee,
        /// The privileges concerned.
        privileges: Privileges,
        /// Whether the privileges are granted WITH GRANT OPTION.
        grantable: bool,
    },
    /// `ALTER DEFAULT PRIVILEGES … REVOKE`.
    RevokeDefault {
        /// Name of the database.
        database: Name,
        /// Identifies the default privileges.
        key: DefaultKey,
        /// The grantee's name.
        from: Grantee,
        /// The privileges concerned.
        privileges: Privileges,
        /// Whether only the grant option is revoked.
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
        /// Name of the database.
        database: Name,
        /// Role that owns the objects.
        from: Name,
        /// New owner of the objects.
        to: Name,
    },
    /// `DROP OWNED`, which also revokes the privileges of a role in a database.
    DropOwned {
        /// Name of the database.
        database: Name,
        /// Role whose objects and privileges are dropped.
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
