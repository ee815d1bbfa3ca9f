//! One change of a cluster, as a value.

use super::{Attributes, Commented, NewDatabase, Options, Risk};
use crate::acl::{Grantee, Privileges};
use crate::current::DefaultKey;
use crate::inside::InsideChange;
use crate::name::{Name, Text};
use crate::object::{Object, Setting};

/// One change. Its SQL is [`Change::sql`]; what it does is [`crate::model::change`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A `CREATE ROLE` statement.
    CreateRole {
        /// The role's name.
        name: Name,
        /// The attributes that differ from the defaults of `CREATE ROLE`.
        attributes: Attributes,
    },
    /// A `ALTER ROLE` statement.
    AlterRole {
        /// The role's name.
        name: Name,
        /// The attributes that change.
        attributes: Attributes,
    },
    /// `ALTER ROLE … PASSWORD`, with a verifier that is no part of the change.
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
        /// The role's name.
        role: Name,
        /// The member's name.
        member: Name,
        /// The options that are said.
        options: Options,
        /// On whose behalf (PostgreSQL 16); `None` for the session's own choice.
        grantor: Option<Name>,
    },
    /// `REVOKE ADMIN OPTION FOR role FROM member`.
    RevokeAdmin {
        /// The role's name.
        role: Name,
        /// The member's name.
        member: Name,
        /// On whose behalf (PostgreSQL 16).
        grantor: Option<Name>,
        /// Revokes dependent grants too if true.
        cascade: bool,
    },
    /// `REVOKE role FROM member`.
    RevokeRole {
        /// The role's name.
        role: Name,
        /// The member's name.
        member: Name,
        /// On whose behalf (PostgreSQL 16).
        grantor: Option<Name>,
        /// Revokes dependent grants too if true.
        cascade: bool,
    },
    /// A `COMMENT ON` statement.
    Comment {
        /// The object concerned.
        on: Commented,
        /// The text; `None` for none.
        text: Option<Text>,
    },
    /// `ALTER ROLE … SET`, `ALTER DATABASE … SET`, or `RESET`.
    Set {
        /// The role; `None` for all.
        role: Option<Name>,
        /// The database; `None` for all.
        database: Option<Name>,
        /// The parameter's name.
        setting: Setting,
        /// The value; `None` takes it away.
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
        /// The CONNECTION LIMIT; -1 for none.
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
        /// The database's name.
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
        /// Grants with the grant option if true.
        grantable: bool,
    },
    /// `REVOKE … ON`, or the grant option of it.
    Revoke {
        /// The object concerned.
        on: Object,
        /// The grantee's name.
        from: Grantee,
        /// The privileges concerned.
        privileges: Privileges,
        /// Revokes only the grant option if true.
        option_only: bool,
        /// The grantor, if that is not the owner: the privilege is revoked as that role.
        grantor: Option<Name>,
        /// Revokes dependent grants too if true.
        cascade: bool,
    },
    /// `ALTER DEFAULT PRIVILEGES … GRANT`.
    GrantDefault {
        /// The database's name.
        database: Name,
        /// The default privileges' key.
        key: DefaultKey,
        /// The grantee's name.
        to: Grantee,
        /// The privileges concerned.
        privileges: Privileges,
        /// Grants with the grant option if true.
        grantable: bool,
    },
    /// `ALTER DEFAULT PRIVILEGES … REVOKE`.
    RevokeDefault {
        /// The database's name.
        database: Name,
        /// The default privileges' key.
        key: DefaultKey,
        /// The grantee's name.
        from: Grantee,
        /// The privileges concerned.
        privileges: Privileges,
        /// Revokes only the grant option if true.
        option_only: bool,
    },
    /// A script that is run once, and the record of it: a setting of the database.
    InitialSql {
        /// The database's name.
        database: Name,
        /// The script's text.
        script: Text,
    },
    /// A `REASSIGN OWNED` statement.
    ReassignOwned {
        /// The database's name.
        database: Name,
        /// The role concerned.
        from: Name,
        /// The grantee's name.
        to: Name,
    },
    /// `DROP OWNED`, after which a role has no privileges in a database.
    DropOwned {
        /// The database's name.
        database: Name,
        /// The role concerned.
        role: Name,
    },
}

/// The connection and transaction that a change needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In a transaction of any database.
    Cluster,
    /// In no transaction.
    Alone,
    /// In a transaction of this database.
    In(Name),
}

impl Change {
    /// Returns the connection and transaction that the change needs.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::CreateDatabase(_) | Self::DropDatabase { .. } | Self::DatabaseTablespace { .. } => {
                Place::Alone
            }
            Self::Inside { database, .. }
            | Self::GrantDefault { database, .. }
            | Self::RevokeDefault { database, .. }
            | Self::InitialSql { database, .. }
            | Self::ReassignOwned { database, .. }
            | Self::DropOwned { database, .. } => Place::In(database.clone()),
            Self::Grant { on, .. } | Self::Revoke { on, .. } => {
                on.database().map_or(Place::Cluster, |database| Place::In(database.clone()))
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
            | Self::DatabaseOptions { .. } => Place::Cluster,
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
