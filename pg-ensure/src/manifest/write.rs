//! Conversion of a desired state to a manifest.

use super::Format;
use super::database::{DatabaseSpec, database};
use super::spanned::{AbsentSpec, SettingValue, Settings, SpannedString, absent, maybe, name, text, word};
use super::spec::{
    DefaultGrantSpec, DefaultKindSpec, Document, GrantSpec, MembershipSpec, ObjectKindSpec, RoleSpec,
};
use crate::acl::{Grantee, ObjectKind, Privilege};
use crate::current::DefaultKind;
use crate::desired::{
    Database, DefaultGrant, DesiredState, Grant, GrantTarget, Password, PrivilegeSet, Role,
};
use crate::name::{Name, Text};
use crate::object::{Local, Object, Setting};
use std::collections::BTreeMap;
use thiserror::Error;
use toml::Spanned;

/// Error of writing a desired state as a manifest.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A role has a password, which a manifest cannot contain, since passwords in it are references; the role's name.
    #[error("the role {0:?} has a password, and a manifest holds no secrets")]
    Secret(String),
    /// The TOML serializer failed.
    #[error("it cannot be written as TOML")]
    Toml(#[source] toml::ser::Error),
    /// The JSON serializer failed.
    #[error("it cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// Converts a desired state to the text of a manifest. Parsing and resolving the manifest yields the same desired
/// state, apart from empty declarations of the roles and databases of which only settings are declared.
///
/// # Errors
/// Returns [`WriteError::Secret`] if a role has a password, and other errors if serialization fails.
pub fn write(desired: &DesiredState, format: Format) -> Result<String, WriteError> {
    let document = document(desired)?;
    match format {
        Format::Toml => toml::to_string(&document).map_err(WriteError::Toml),
        Format::Json => serde_json::to_string_pretty(&document).map_err(WriteError::Json),
    }
}

/// Converts a desired state to the serialized form. Roles and databases of which only settings are declared get an
/// entry with nothing else.
///
/// # Errors
/// Returns [`WriteError::Secret`] if a role has a password.
fn document(desired: &DesiredState) -> Result<Document, WriteError> {
    let roles: Result<Vec<RoleSpec>, WriteError> =
        desired.roles.iter().map(|(name, wanted)| role(desired, name, wanted)).collect();
    let memberships = desired.memberships.iter().map(|((role, member), wanted)| MembershipSpec {
        role: name(role),
        member: name(member),
        absent: absent(wanted.presence),
        admin: wanted.admin,
        inherit: wanted.inherit,
        set: wanted.set,
    });
    let mut document = Document {
        external: desired.external.iter().map(name).collect(),
        ensure: Vec::new(),
        role: roles?,
        membership: memberships.collect(),
        database: desired.databases.iter().map(|(name, wanted)| in_place(desired, name, wanted)).collect(),
        grant: desired.grants.iter().map(grant).collect(),
        default_privileges: desired.defaults.iter().map(default_grant).collect(),
        settings: settings(desired, None, None),
    };
    // Roles and databases of which only settings are declared get an entry without other keys.
    for key in desired.settings.keys() {
        match (&key.role, &key.database) {
            (Some(of), _) if !document.role.iter().any(|known| known.name.as_ref() == of.as_str()) => {
                document.role.push(role(desired, of, &Role::new())?);
            }
            (None, Some(of)) if !desired.databases.contains_key(of) => {
                document.database.push(in_place(desired, of, &Database::new()));
            }
            _ => {}
        }
    }
    Ok(document)
}

/// Converts a database with its settings to the serialized form.
fn in_place(desired: &DesiredState, of: &Name, wanted: &Database) -> DatabaseSpec {
    database(of, wanted, settings(desired, None, Some(of)))
}

/// Returns the settings with exactly this scope in the serialized form.
fn settings(desired: &DesiredState, role: Option<&Name>, place: Option<&Name>) -> Settings {
    let key = crate::current::SettingKey { role: role.cloned(), database: place.cloned() };
    let found = desired.settings.get(&key).into_iter().flatten();
    found
        .map(|(setting, value)| {
            (word(setting.as_str()), Spanned::new(0..0, value_of(setting, value.as_ref())))
        })
        .collect()
}

/// Returns the value of a setting in the serialized form. `None` resets the setting.
fn value_of(_: &Setting, value: Option<&Text>) -> SettingValue {
    value.map_or(SettingValue::Absent(AbsentSpec { absent: true }), |value| {
        SettingValue::Text(value.to_string())
    })
}

/// Converts a role with its settings to the serialized form.
///
/// # Errors
/// Returns [`WriteError::Secret`] if a password is set.
fn role(desired: &DesiredState, of: &Name, wanted: &Role) -> Result<RoleSpec, WriteError> {
    let no_password = match &wanted.password {
        None => false,
        Some(Password::None) => true,
        Some(_) => return Err(WriteError::Secret(of.to_string())),
    };
    let places = desired.settings.keys().filter(|key| key.role.as_ref() == Some(of));
    let settings_in: BTreeMap<SpannedString, Settings> = places
        .filter_map(|key| key.database.as_ref())
        .map(|place| (name(place), settings(desired, Some(of), Some(place))))
        .collect();
    Ok(RoleSpec {
        name: name(of),
        absent: absent(wanted.presence),
        reassign_to: maybe(wanted.reassign_to.as_ref()),
        login: wanted.login,
        superuser: wanted.superuser,
        createdb: wanted.createdb,
        createrole: wanted.createrole,
        inherit: wanted.inherit,
        replication: wanted.replication,
        bypassrls: wanted.bypassrls,
        connection_limit: wanted.connection_limit.map(|limit| Spanned::new(0..0, limit)),
        valid_until: wanted.valid_until.map(|until| word(until.to_string())),
        password: None,
        password_file: None,
        no_password,
        comment: text(wanted.comment.as_ref()),
        member_of: Vec::new(),
        settings: settings(desired, Some(of), None),
        settings_in,
    })
}

/// Returns a grantee in the serialized form.
fn grantee(to: &Grantee) -> SpannedString {
    word(to.to_string())
}

/// Returns a set of privileges in the serialized form. Empty for the empty set.
fn privileges(set: PrivilegeSet) -> Vec<SpannedString> {
    match set {
        PrivilegeSet::All => vec![word("all")],
        PrivilegeSet::Only(privileges) => {
            let words = privileges.iter().map(Privilege::sql);
            words.map(|sql| word(sql.to_ascii_lowercase().replace(' ', "_"))).collect()
        }
    }
}

/// Converts a grant to the serialized form.
fn grant(grant: &Grant) -> GrantSpec {
    let kind = match grant.on.kind() {
        ObjectKind::Database => ObjectKindSpec::Database,
        ObjectKind::Tablespace => ObjectKindSpec::Tablespace,
        ObjectKind::Parameter => ObjectKindSpec::Parameter,
        ObjectKind::Schema => ObjectKindSpec::Schema,
        ObjectKind::Table => ObjectKindSpec::Table,
        ObjectKind::Column => ObjectKindSpec::Column,
        ObjectKind::Sequence => ObjectKindSpec::Sequence,
        ObjectKind::Routine => ObjectKindSpec::Routine,
        ObjectKind::Type => ObjectKindSpec::Type,
        ObjectKind::Language => ObjectKindSpec::Language,
        ObjectKind::ForeignDataWrapper => ObjectKindSpec::ForeignDataWrapper,
        ObjectKind::ForeignServer => ObjectKindSpec::ForeignServer,
        ObjectKind::LargeObject => ObjectKindSpec::LargeObject,
    };
    let privileges = privileges(grant.privileges);
    let mut spec = GrantSpec {
        to: grantee(&grant.to),
        on: Spanned::new(0..0, kind),
        name: word("*"),
        database: maybe(grant.on.database()),
        schema: None,
        table: None,
        arguments: None,
        absent: privileges.is_empty(),
        privileges,
        grantable: grant.grantable,
    };
    match &grant.on {
        GrantTarget::AllIn { schema, .. } => spec.schema = Some(name(schema)),
        GrantTarget::One(Object::Database(of) | Object::Tablespace(of)) => spec.name = name(of),
        GrantTarget::One(Object::Parameter(setting)) => spec.name = word(setting.as_str()),
        GrantTarget::One(Object::Inside(_, local)) => {
            spec.schema = maybe(local.schema());
            spec.name = match local {
                Local::Schema(of)
                | Local::Language(of)
                | Local::ForeignDataWrapper(of)
                | Local::ForeignServer(of)
                | Local::Table(_, of)
                | Local::Sequence(_, of)
                | Local::Type(_, of) => name(of),
                Local::Column(_, table, column) => {
                    spec.table = Some(name(table));
                    name(column)
                }
                Local::Routine(_, of, arguments) => {
                    spec.arguments = Some(word(arguments.as_str()));
                    name(of)
                }
                Local::LargeObject(oid) => word(oid.to_string()),
            };
        }
    }
    spec
}

/// Converts default privileges to the serialized form.
fn default_grant(grant: &DefaultGrant) -> DefaultGrantSpec {
    DefaultGrantSpec {
        database: name(&grant.database),
        creator: name(&grant.creator),
        schema: maybe(grant.schema.as_ref()),
        on: match grant.kind {
            DefaultKind::Tables => DefaultKindSpec::Tables,
            DefaultKind::Sequences => DefaultKindSpec::Sequences,
            DefaultKind::Routines => DefaultKindSpec::Routines,
            DefaultKind::Types => DefaultKindSpec::Types,
            DefaultKind::Schemas => DefaultKindSpec::Schemas,
            DefaultKind::LargeObjects => DefaultKindSpec::LargeObjects,
        },
        to: grantee(&grant.to),
        privileges: privileges(grant.privileges),
        grantable: grant.grantable,
        existing: false,
    }
}
