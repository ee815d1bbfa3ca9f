//! One change of a cluster, as a value.

use super::{Attributes, Commented, NewDatabase, Options, Risk};
use crate::acl::{Grantee, Privileges};
use crate::current::DefaultKey;
use crate::name::{Name, Text};
use crate::object::{Object, Setting};

/// One change. Its SQL is [`Change::sql`]; what it does is [`crate::model::change`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// `CREATE ROLE`.
    CreateRole {
        /// The role.
        name: Name,
        /// What is not as `CREATE ROLE` makes it by itself.
        attributes: Attributes,
    },
    /// `ALTER ROLE`.
    AlterRole {
        /// The role.
        name: Name,
        /// What changes.
        attributes: Attributes,
    },
    /// `ALTER ROLE … PASSWORD`, with a verifier that is no part of the change.
    SetPassword {
        /// The role.
        name: Name,
    },
    /// `ALTER ROLE … PASSWORD NULL`.
    ClearPassword {
        /// The role.
        name: Name,
    },
    /// `DROP ROLE`.
    DropRole {
        /// The role.
        name: Name,
    },
    /// `GRANT role TO member`, or a change of its options.
    GrantRole {
        /// The role.
        role: Name,
        /// The member.
        member: Name,
        /// The options that are said.
        options: Options,
        /// On whose behalf (PostgreSQL 16); `None` for the session's own choice.
        grantor: Option<Name>,
    },
    /// `REVOKE ADMIN OPTION FOR role FROM member`.
    RevokeAdmin {
        /// The role.
        role: Name,
        /// The member.
        member: Name,
        /// On whose behalf (PostgreSQL 16).
        grantor: Option<Name>,
        /// Whether what depends on it goes too.
        cascade: bool,
    },
    /// `REVOKE role FROM member`.
    RevokeRole {
        /// The role.
        role: Name,
        /// The member.
        member: Name,
        /// On whose behalf (PostgreSQL 16).
        grantor: Option<Name>,
        /// Whether what depends on it goes too.
        cascade: bool,
    },
    /// `COMMENT ON`.
    Comment {
        /// On what.
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
        /// The setting.
        setting: Setting,
        /// The value; `None` takes it away.
        value: Option<Text>,
    },
    /// `CREATE DATABASE`.
    CreateDatabase(Box<NewDatabase>),
    /// `ALTER DATABASE … OWNER TO`.
    DatabaseOwner {
        /// The database.
        name: Name,
        /// The new owner.
        owner: Name,
    },
    /// `ALTER DATABASE … SET TABLESPACE`.
    DatabaseTablespace {
        /// The database.
        name: Name,
        /// Where to.
        tablespace: Name,
    },
    /// `ALTER DATABASE … WITH`.
    DatabaseOptions {
        /// The database.
        name: Name,
        /// CONNECTION LIMIT.
        connection_limit: Option<i32>,
        /// ALLOW_CONNECTIONS.
        allow_connections: Option<bool>,
        /// IS_TEMPLATE.
        is_template: Option<bool>,
    },
    /// `DROP DATABASE`.
    DropDatabase {
        /// The database.
        name: Name,
    },
    /// `CREATE SCHEMA`.
    CreateSchema {
        /// The database.
        database: Name,
        /// The schema.
        name: Name,
        /// The owner; `None` for the session's role.
        owner: Option<Name>,
    },
    /// `ALTER SCHEMA … OWNER TO`.
    SchemaOwner {
        /// The database.
        database: Name,
        /// The schema.
        name: Name,
        /// The new owner.
        owner: Name,
    },
    /// `DROP SCHEMA`, with what is in it if `cascade`.
    DropSchema {
        /// The database.
        database: Name,
        /// The schema.
        name: Name,
        /// Whether what is in it goes too.
        cascade: bool,
    },
    /// `CREATE EXTENSION`.
    CreateExtension {
        /// The database.
        database: Name,
        /// The extension.
        name: Name,
        /// The version; `None` for the default one.
        version: Option<Text>,
        /// The schema; `None` for the default one.
        schema: Option<Name>,
    },
    /// `ALTER EXTENSION … UPDATE TO`.
    UpdateExtension {
        /// The database.
        database: Name,
        /// The extension.
        name: Name,
        /// The version.
        version: Text,
    },
    /// `ALTER EXTENSION … SET SCHEMA`.
    ExtensionSchema {
        /// The database.
        database: Name,
        /// The extension.
        name: Name,
        /// The schema.
        schema: Name,
    },
    /// `DROP EXTENSION`.
    DropExtension {
        /// The database.
        database: Name,
        /// The extension.
        name: Name,
    },
    /// `GRANT … ON`.
    Grant {
        /// On what.
        on: Object,
        /// To whom.
        to: Grantee,
        /// What.
        privileges: Privileges,
        /// Whether with the grant option.
        grantable: bool,
    },
    /// `REVOKE … ON`, or the grant option of it.
    Revoke {
        /// On what.
        on: Object,
        /// From whom.
        from: Grantee,
        /// What.
        privileges: Privileges,
        /// Whether the grant option alone.
        option_only: bool,
        /// Who granted it, if that is not the owner: it is revoked as that role.
        grantor: Option<Name>,
        /// Whether what was granted on by it goes too.
        cascade: bool,
    },
    /// `ALTER DEFAULT PRIVILEGES … GRANT`.
    GrantDefault {
        /// The database.
        database: Name,
        /// For what.
        key: DefaultKey,
        /// To whom.
        to: Grantee,
        /// What.
        privileges: Privileges,
        /// Whether with the grant option.
        grantable: bool,
    },
    /// `ALTER DEFAULT PRIVILEGES … REVOKE`.
    RevokeDefault {
        /// The database.
        database: Name,
        /// For what.
        key: DefaultKey,
        /// From whom.
        from: Grantee,
        /// What.
        privileges: Privileges,
        /// Whether the grant option alone.
        option_only: bool,
    },
    /// `REASSIGN OWNED`.
    ReassignOwned {
        /// The database.
        database: Name,
        /// Whose.
        from: Name,
        /// To whom.
        to: Name,
    },
    /// `DROP OWNED`, after which a role has no privileges in a database.
    DropOwned {
        /// The database.
        database: Name,
        /// Whose.
        role: Name,
    },
}

/// Where a change is made.
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
    /// Where it is made.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::CreateDatabase(_) | Self::DropDatabase { .. } | Self::DatabaseTablespace { .. } => {
                Place::Alone
            }
            Self::Comment { on: Commented::Schema(database, _), .. }
            | Self::CreateSchema { database, .. }
            | Self::SchemaOwner { database, .. }
            | Self::DropSchema { database, .. }
            | Self::CreateExtension { database, .. }
            | Self::UpdateExtension { database, .. }
            | Self::ExtensionSchema { database, .. }
            | Self::DropExtension { database, .. }
            | Self::GrantDefault { database, .. }
            | Self::RevokeDefault { database, .. }
            | Self::ReassignOwned { database, .. }
            | Self::DropOwned { database, .. } => Place::In(database.clone()),
            Self::Grant { on, .. } | Self::Revoke { on, .. } => {
                on.database().map_or(Place::Cluster, |database| Place::In(database.clone()))
            }
            _ => Place::Cluster,
        }
    }

    /// How much it can break.
    #[must_use]
    pub fn risk(&self) -> Risk {
        match self {
            Self::DropRole { .. }
            | Self::DropDatabase { .. }
            | Self::DropSchema { .. }
            | Self::DropExtension { .. }
            | Self::DropOwned { .. } => Risk::Destroys,
            Self::ClearPassword { .. }
            | Self::Revoke { .. }
            | Self::RevokeRole { .. }
            | Self::RevokeAdmin { .. }
            | Self::RevokeDefault { .. }
            | Self::ReassignOwned { .. }
            | Self::DatabaseOwner { .. }
            | Self::SchemaOwner { .. } => Risk::TakesAway,
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
            Self::DatabaseTablespace { .. } | Self::UpdateExtension { .. } => Risk::Disturbs,
            Self::SetPassword { .. }
            | Self::DatabaseOptions { .. }
            | Self::ExtensionSchema { .. }
            | Self::Comment { .. }
            | Self::Set { .. } => Risk::Changes,
            _ => Risk::Adds,
        }
    }
}
