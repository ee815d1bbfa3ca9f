//! The manifest as it is written.

use super::word::no;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::Spanned;

pub use super::database::{DatabaseDto, ProviderDto};
pub use super::word::{AbsentDto, SettingValue, Settings, Word};
pub use crate::inside::extension::ExtensionDto;
pub use crate::inside::schema::SchemaDto;

/// A manifest as written. Unknown keys are refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    /// Roles that exist without being managed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<Word>,
    /// A role that logs in, and a database of the same name that it owns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ensure: Vec<EnsureDto>,
    /// Roles by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub role: Vec<RoleDto>,
    /// Memberships of roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub membership: Vec<MembershipDto>,
    /// Databases by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub database: Vec<DatabaseDto>,
    /// Privileges on objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grant: Vec<GrantDto>,
    /// Privileges on future objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_privileges: Vec<DefaultDto>,
    /// Settings of all roles in all databases.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: Settings,
}

/// The shortest form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnsureDto {
    /// The name of the role and, unless `database` says another, of the database.
    pub name: Word,
    /// The database, if it has another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Word>,
    /// A reference to the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Word>,
    /// A file that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "passwordFile")]
    pub password_file: Option<Word>,
    /// Several databases, instead of `database`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<Word>,
    /// Extensions of each of its databases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Word>,
    /// The role's connection limit.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "connectionLimit")]
    pub connection_limit: Option<Spanned<i32>>,
    /// Settings of each of its databases.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: Settings,
    /// True to hand the objects of a former owner of its databases over to the role.
    #[serde(default, skip_serializing_if = "no", alias = "reassignOwned")]
    pub reassign_owned: bool,
}

/// The written form of [`crate::Role`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is that of crate::Role")]
pub struct RoleDto {
    pub name: Word,
    #[serde(default, skip_serializing_if = "no")]
    pub absent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassign_to: Option<Word>,
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
    /// RFC 3339, a date, or `infinity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Word>,
    /// A reference to the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Word>,
    /// A file that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<Word>,
    /// That it is to have none.
    #[serde(default, skip_serializing_if = "no")]
    pub no_password: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Word>,
    /// Roles that it is a member of, with nothing said of options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub member_of: Vec<Word>,
    /// Its settings in every database.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: Settings,
    /// Its settings in one database each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings_in: BTreeMap<Word, Settings>,
}

/// The written form of [`crate::desired::Membership`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is that of crate::desired::Membership")]
pub struct MembershipDto {
    pub role: Word,
    pub member: Word,
    #[serde(default, skip_serializing_if = "no")]
    pub absent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherit: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<bool>,
}

/// The written form of [`crate::desired::Grant`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantDto {
    /// A role, or `public`.
    pub to: Word,
    /// The kind: `database`, `tablespace`, `parameter`, `schema`, `table`, `column`, `sequence`, `routine`, `type`,
    /// `language`, `foreign-data-wrapper`, `foreign-server` or `large-object`.
    pub on: Spanned<KindDto>,
    /// The name of the object; `*` for all of a schema. Of a large object, its number.
    pub name: Word,
    /// The database that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Word>,
    /// The schema that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Word>,
    /// The table of a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Word>,
    /// The argument types of a routine, as `regprocedure` writes them: `integer, text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Word>,
    /// The privileges, or `all`; nothing takes everything away.
    #[serde(default)]
    pub privileges: Vec<Word>,
    /// True if they may be granted on.
    #[serde(default, skip_serializing_if = "no")]
    pub grantable: bool,
    /// That the grantee is to hold nothing.
    #[serde(default, skip_serializing_if = "no")]
    pub absent: bool,
}

/// The written form of [`crate::ObjectKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is that of crate::ObjectKind")]
pub enum KindDto {
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

/// The written form of [`crate::desired::DefaultGrant`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultDto {
    /// The database's name.
    pub database: Word,
    /// The role whose newly created objects get these privileges (`FOR ROLE`).
    pub creator: Word,
    /// In which schema; without one, everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Word>,
    /// `tables`, `sequences`, `routines`, `types`, `schemas` or `large-objects`.
    pub on: DefaultKindDto,
    /// A role, or `public`.
    pub to: Word,
    /// The privileges, or `all`; nothing takes everything away.
    #[serde(default)]
    pub privileges: Vec<Word>,
    /// True if they may be granted on.
    #[serde(default, skip_serializing_if = "no")]
    pub grantable: bool,
    /// True if what exists already in the schema gets the same, which default privileges by themselves do not do.
    #[serde(default, skip_serializing_if = "no")]
    pub existing: bool,
}

/// The written form of [`crate::current::DefaultKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is that of crate::current::DefaultKind")]
pub enum DefaultKindDto {
    Tables,
    Sequences,
    Routines,
    Types,
    Schemas,
    LargeObjects,
}
