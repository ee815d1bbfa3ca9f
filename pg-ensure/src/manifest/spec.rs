//! The serialized form of a manifest.

use super::spanned::no;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::Spanned;

pub use super::database::{DatabaseSpec, ProviderSpec};
pub use super::spanned::{AbsentSpec, SettingValue, Settings, SpannedString};
pub use crate::inside::extension::ExtensionSpec;
pub use crate::inside::schema::SchemaSpec;

/// A manifest in its serialized form. Unknown keys are errors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    /// Roles that exist but are not managed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<SpannedString>,
    /// Roles with LOGIN, each with databases that it owns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ensure: Vec<EnsureSpec>,
    /// Roles of the cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub role: Vec<RoleSpec>,
    /// Declared memberships of roles in roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub membership: Vec<MembershipSpec>,
    /// Databases of the cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub database: Vec<DatabaseSpec>,
    /// Declared privileges on objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grant: Vec<GrantSpec>,
    /// Declared default privileges, which apply to objects created later.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_privileges: Vec<DefaultGrantSpec>,
    /// Settings of all roles in all databases.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: Settings,
}

/// A role with LOGIN and the databases that it owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnsureSpec {
    /// Name of the role and, unless `database` or `databases` is given, of its database.
    pub name: SpannedString,
    /// Name of the database, if it differs from that of the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<SpannedString>,
    /// Reference to the password, such as `credential:NAME`, for the [`Resolver`](super::Resolver).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SpannedString>,
    /// Path of a file that contains the password, which stands for the reference `file:PATH`, instead of `password`.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "passwordFile")]
    pub password_file: Option<SpannedString>,
    /// Names of several databases, instead of `database`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<SpannedString>,
    /// Names of extensions for each of the databases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<SpannedString>,
    /// Maximum number of concurrent connections of the role; -1 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "connectionLimit")]
    pub connection_limit: Option<Spanned<i32>>,
    /// Settings of each of the databases.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: Settings,
    /// `true` to reassign the objects of a former owner of the databases to the role.
    #[serde(default, skip_serializing_if = "no", alias = "reassignOwned")]
    pub reassign_owned: bool,
}

/// Serialized form of [`crate::Role`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is that of crate::Role")]
pub struct RoleSpec {
    pub name: SpannedString,
    #[serde(default, skip_serializing_if = "no")]
    pub absent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassign_to: Option<SpannedString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superuser: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub createdb: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub createrole: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherit: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bypassrls: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<Spanned<i32>>,
    /// Time in RFC 3339 format, a date, or `infinity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<SpannedString>,
    /// Reference to the password, such as `credential:NAME`, for the [`Resolver`](super::Resolver).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SpannedString>,
    /// Path of a file that contains the password, which stands for the reference `file:PATH`, instead of `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<SpannedString>,
    /// `true` to remove a stored password.
    #[serde(default, skip_serializing_if = "no")]
    pub no_password: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<SpannedString>,
    /// Names of roles of which the role is a member, with unmanaged options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub member_of: Vec<SpannedString>,
    /// Settings of the role in every database.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: Settings,
    /// Settings of the role in one database, by the database's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings_in: BTreeMap<SpannedString, Settings>,
}

/// Serialized form of [`crate::desired::Membership`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is that of crate::desired::Membership")]
pub struct MembershipSpec {
    pub role: SpannedString,
    pub member: SpannedString,
    #[serde(default, skip_serializing_if = "no")]
    pub absent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherit: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<bool>,
}

/// Serialized form of [`crate::desired::Grant`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantSpec {
    /// Grantee: the name of a role, or `public`.
    pub to: SpannedString,
    /// Kind of object: `database`, `tablespace`, `parameter`, `schema`, `table`, `column`, `sequence`, `routine`,
    /// `type`, `language`, `foreign-data-wrapper`, `foreign-server` or `large-object`.
    pub on: Spanned<ObjectKindSpec>,
    /// Name of the object; `*` for all tables, sequences, routines or types of the schema. The OID of a large object.
    pub name: SpannedString,
    /// Database that contains the object. Required, except for databases, tablespaces and parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<SpannedString>,
    /// Schema that contains the object. Required for tables, columns, sequences, routines and types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SpannedString>,
    /// Table that contains the column. Required for columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<SpannedString>,
    /// Argument types of the routine, as `regprocedure` writes them: `integer, text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<SpannedString>,
    /// Names of the privileges, or `all`. Must be empty with `absent`, and only then.
    #[serde(default)]
    pub privileges: Vec<SpannedString>,
    /// `true` to grant the privileges WITH GRANT OPTION.
    #[serde(default, skip_serializing_if = "no")]
    pub grantable: bool,
    /// `true` to revoke all privileges of the grantee on the object.
    #[serde(default, skip_serializing_if = "no")]
    pub absent: bool,
}

/// Serialized form of [`crate::ObjectKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is that of crate::ObjectKind")]
pub enum ObjectKindSpec {
    Database,
    Tablespace,
    Parameter,
    Schema,
    Table,
    Column,
    Sequence,
    Routine,
    Type,
    Language,
    ForeignDataWrapper,
    ForeignServer,
    LargeObject,
}

/// Serialized form of [`crate::desired::DefaultGrant`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultGrantSpec {
    /// Name of the database.
    pub database: SpannedString,
    /// The role whose newly created objects get these privileges (`FOR ROLE`).
    pub creator: SpannedString,
    /// Schema to which they apply (`IN SCHEMA`). Absent for the whole database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SpannedString>,
    /// `tables`, `sequences`, `routines`, `types`, `schemas` or `large-objects`.
    pub on: DefaultKindSpec,
    /// Grantee: the name of a role, or `public`.
    pub to: SpannedString,
    /// Names of exactly the privileges that the grantee gets, or `all`; others are revoked. Empty or absent revokes
    /// all.
    #[serde(default)]
    pub privileges: Vec<SpannedString>,
    /// `true` to grant the privileges WITH GRANT OPTION.
    #[serde(default, skip_serializing_if = "no")]
    pub grantable: bool,
    /// `true` to grant the same privileges on existing objects of the schema, which default privileges do not affect.
    /// Requires `schema`.
    #[serde(default, skip_serializing_if = "no")]
    pub existing: bool,
}

/// Serialized form of [`crate::current::DefaultKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is that of crate::current::DefaultKind")]
pub enum DefaultKindSpec {
    Tables,
    Sequences,
    Routines,
    Types,
    Schemas,
    LargeObjects,
}
