//! Conversion of the JSON of a snapshot to values.

use super::snapshot::{List, Names, SnapshotError, Str, maybe_text, owned, text};
use crate::acl::{Acl, ObjectKind};
use crate::current::{
    AvailableExtension, Contents, CurrentState, DatabaseState, DefaultKey, DefaultKind, Dependency,
    MembershipKey, MembershipOptions, Provider, RoleState, Session, SettingKey, StoredPassword,
};
use crate::inside::snapshot::Rows;
use crate::name::Name;
use crate::object::{Local, Setting};
use crate::scram::DEFAULT_ITERATIONS;
use crate::time::ValidUntil;
use crate::version::Version;
use secrecy::SecretString;
use serde::Deserialize;

/// The session: role, bootstrap superuser, database, `createrole_self_grant` and `scram_iterations`.
type SessionRow<'a> = (Str<'a>, Str<'a>, Str<'a>, Option<Str<'a>>, Option<Str<'a>>);
/// An available version of an extension: name, version, trusted flag, schema, and default version of the extension.
type AvailableRow<'a> = (Str<'a>, Str<'a>, bool, Option<Str<'a>>, Option<Str<'a>>);
/// An object inside a database: kind, schema, name, further identification (column or argument types), owner, ACL
/// items.
type ObjectRow<'a> = (Str<'a>, Option<Str<'a>>, Str<'a>, Option<Str<'a>>, Str<'a>, List<'a>);

/// The JSON object of the cluster query, with its columns in the order of the query.
#[derive(Deserialize)]
struct ClusterRows<'a> {
    #[serde(borrow)]
    session: SessionRow<'a>,
    #[serde(borrow)]
    roles: Vec<RoleRow<'a>>,
    #[serde(borrow)]
    memberships: Vec<(Str<'a>, Str<'a>, Str<'a>, bool, bool, bool)>,
    #[serde(borrow)]
    databases: Vec<DatabaseRow<'a>>,
    #[serde(borrow)]
    tablespaces: Vec<(Str<'a>, Str<'a>, List<'a>)>,
    #[serde(borrow)]
    parameters: Vec<(Str<'a>, List<'a>)>,
    #[serde(borrow)]
    subscriptions: Vec<(Str<'a>, Str<'a>, Str<'a>)>,
    #[serde(borrow)]
    settings: Vec<(Option<Str<'a>>, Option<Str<'a>>, Vec<Str<'a>>)>,
    #[serde(borrow)]
    privileged: Vec<Str<'a>>,
    #[serde(borrow)]
    dependencies: Vec<(Str<'a>, bool, Option<Str<'a>>)>,
    #[serde(borrow)]
    available: Vec<AvailableRow<'a>>,
}

/// Columns of a role, in the order of the query.
#[derive(Deserialize)]
struct RoleRow<'a>(
    #[serde(borrow)] Str<'a>,
    bool,
    bool,
    bool,
    bool,
    bool,
    bool,
    bool,
    i32,
    #[serde(borrow)] Option<Str<'a>>,
    Option<SecretRow>,
    #[serde(borrow)] Option<Str<'a>>,
);

/// A stored password, deserialized as an owned string.
#[derive(Deserialize)]
#[serde(transparent)]
struct SecretRow(String);

/// Columns of a database, in the order of the query.
#[derive(Deserialize)]
struct DatabaseRow<'a>(
    #[serde(borrow)] Str<'a>,
    #[serde(borrow)] Str<'a>,
    #[serde(borrow)] List<'a>,
    #[serde(borrow)] Str<'a>,
    #[serde(borrow)] Str<'a>,
    #[serde(borrow)] Str<'a>,
    #[serde(borrow)] Str<'a>,
    #[serde(borrow)] Option<Str<'a>>,
    #[serde(borrow)] Option<Str<'a>>,
    #[serde(borrow)] Str<'a>,
    i32,
    bool,
    bool,
    #[serde(borrow)] Option<Str<'a>>,
    #[serde(borrow)] Option<Str<'a>>,
    #[serde(borrow)] Option<Str<'a>>,
);

/// The JSON object of the contents query.
#[derive(Deserialize)]
struct ContentsRows<'a> {
    #[serde(borrow)]
    declared: Rows<'a>,
    #[serde(borrow)]
    objects: Vec<ObjectRow<'a>>,
    #[serde(borrow)]
    others: Vec<(Str<'a>, Option<Str<'a>>)>,
    #[serde(borrow)]
    defaults: Vec<(Str<'a>, Option<Str<'a>>, Str<'a>, List<'a>)>,
}

/// Result of the preflight query. `reads_passwords` is `true` if the session can read `pg_authid`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preflight {
    pub(super) version: Version,
    pub(super) in_recovery: bool,
    pub(super) reads_passwords: bool,
}

/// Converts the JSON of the cluster query to a current state, without database contents.
///
/// # Errors
/// Returns a [`SnapshotError`] if the JSON or a value is not as expected.
pub(super) fn cluster(json: &str, before: Preflight) -> Result<CurrentState, SnapshotError> {
    let rows: ClusterRows<'_> = serde_json::from_str(json).map_err(SnapshotError::Shape)?;
    let names = &mut Names::default();
    let mut current = session(&rows.session, before, names)?;
    current.privileged_settings = rows.privileged.iter().map(|name| Setting::stored(name)).collect();
    for row in rows.roles {
        let name = names.get(&row.0)?;
        current.roles.insert(name, role(row, before)?);
    }
    for (role, member, grantor, admin, inherit, set) in rows.memberships {
        let key = MembershipKey {
            role: names.get(&role)?,
            member: names.get(&member)?,
            grantor: names.get(&grantor)?,
        };
        current.memberships.insert(key, MembershipOptions { admin, inherit, set });
    }
    for row in rows.databases {
        let name = names.get(&row.0)?;
        current.databases.insert(name, database(&row, before.version, names)?);
    }
    for (name, owner, acl) in rows.tablespaces {
        let owned = owned(ObjectKind::Tablespace, names.get(&owner)?, &acl, before.version)?;
        current.tablespaces.insert(names.get(&name)?, owned);
    }
    for (name, acl) in rows.parameters {
        current.parameters.insert(Setting::stored(&name), Acl::parse(&acl.unwrap_or_default())?);
    }
    for (database, name, owner) in rows.subscriptions {
        let key = (names.get(&database)?, names.get(&name)?);
        current.subscriptions.insert(key, names.get(&owner)?);
    }
    for (role, database, list) in rows.settings {
        let key = SettingKey { role: names.maybe(role.as_ref())?, database: names.maybe(database.as_ref())? };
        let settings = current.settings.entry(key).or_default();
        for item in list {
            let (name, value) = item.split_once('=').ok_or_else(|| SnapshotError::Value(item.to_string()))?;
            settings.insert(Setting::stored(name), text(value)?);
        }
    }
    for (role, inside, database) in rows.dependencies {
        let dependency = match (inside, names.maybe(database.as_ref())?) {
            (true, Some(database)) => Dependency::Inside(database),
            (false, Some(database)) => Dependency::Database(database),
            (_, None) => Dependency::Shared,
        };
        current.dependencies.entry(names.get(&role)?).or_default().insert(dependency);
    }
    for row in rows.available {
        available(&mut current, &row, names)?;
    }
    Ok(current)
}

/// Converts the row of the session to a current state without objects.
///
/// # Errors
/// Returns a [`SnapshotError`] if a name is not valid.
fn session(
    (user, bootstrap, database, self_grant, iterations): &SessionRow<'_>,
    before: Preflight,
    names: &mut Names,
) -> Result<CurrentState, SnapshotError> {
    let has = |word: &str| self_grant.as_deref().unwrap_or("").split(',').any(|part| part.trim() == word);
    let session = Session {
        user: names.get(user)?,
        bootstrap: names.get(bootstrap)?,
        database: names.get(database)?,
        in_recovery: before.in_recovery,
        reads_passwords: before.reads_passwords,
        self_grant: (has("set"), has("inherit")),
    };
    let iterations = iterations.as_deref().and_then(|count| count.parse().ok()).unwrap_or(DEFAULT_ITERATIONS);
    Ok(CurrentState::new(before.version, session, iterations))
}

/// Converts the row of a role. Its password is unknown if the session cannot read stored ones.
///
/// # Errors
/// Returns a [`SnapshotError`] if the expiry time or the comment is not valid.
fn role(row: RoleRow<'_>, before: Preflight) -> Result<RoleState, SnapshotError> {
    Ok(RoleState {
        superuser: row.1,
        createdb: row.2,
        createrole: row.3,
        inherit: row.4,
        login: row.5,
        replication: row.6,
        bypassrls: row.7,
        connection_limit: row.8,
        valid_until: until(row.9.as_deref())?,
        password: if before.reads_passwords {
            StoredPassword::parse(row.10.map(|secret| SecretString::from(secret.0)).as_ref())
        } else {
            StoredPassword::Unknown
        },
        comment: maybe_text(row.11.as_ref())?,
    })
}

/// Converts the row of a database, without its contents.
///
/// # Errors
/// Returns a [`SnapshotError`] if a value is not as expected.
fn database(
    row: &DatabaseRow<'_>,
    version: Version,
    names: &mut Names,
) -> Result<DatabaseState, SnapshotError> {
    let provider = match &*row.4 {
        "c" => Provider::Libc,
        "i" => Provider::Icu,
        "b" => Provider::Builtin,
        other => return Err(SnapshotError::Value(other.to_owned())),
    };
    let collation_mismatch = match (&row.14, &row.15) {
        (Some(recorded), Some(actual)) if recorded != actual => Some((text(recorded)?, text(actual)?)),
        _ => None,
    };
    Ok(DatabaseState {
        owned: owned(ObjectKind::Database, names.get(&row.1)?, &row.2, version)?,
        encoding: text(&row.3)?,
        provider,
        collate: text(&row.5)?,
        ctype: text(&row.6)?,
        locale: maybe_text(row.7.as_ref())?,
        icu_rules: maybe_text(row.8.as_ref())?,
        tablespace: names.get(&row.9)?,
        connection_limit: row.10,
        allow_connections: row.11,
        is_template: row.12,
        comment: maybe_text(row.13.as_ref())?,
        collation_mismatch,
        contents: None,
        refusal: None,
    })
}

/// Adds an available version of an extension to the current state. The row of the default version has the properties of
/// the extension.
///
/// # Errors
/// Returns a [`SnapshotError`] if a name or a version is not valid.
fn available(
    current: &mut CurrentState,
    (name, version, trusted, schema, default): &AvailableRow<'_>,
    names: &mut Names,
) -> Result<(), SnapshotError> {
    let found: &mut AvailableExtension = current.available.entry(names.get(name)?).or_default();
    found.versions.insert(text(version)?);
    if default.as_ref() == Some(version) {
        found.default = Some(text(version)?);
        found.trusted = *trusted;
        found.schema = names.maybe(schema.as_ref())?;
    }
    Ok(())
}

/// Converts an expiry time: NULL and `infinity` never expire, `-infinity` has always expired, and other values are
/// microseconds since 1970.
///
/// # Errors
/// Returns [`SnapshotError::Value`] if it is not a number.
fn until(value: Option<&str>) -> Result<ValidUntil, SnapshotError> {
    Ok(match value {
        None | Some("infinity") => ValidUntil::Forever,
        Some("-infinity") => ValidUntil::Never,
        Some(micros) => ValidUntil::At(micros.parse().map_err(|_| SnapshotError::Value(micros.to_owned()))?),
    })
}

/// Converts the JSON result of the contents query to the contents of a database. Adds what is declared, all objects
/// with their owners and privileges, the owners of objects of the other kinds, and default privileges.
///
/// # Errors
/// Returns a [`SnapshotError`] if the JSON or a value is not as expected.
pub(super) fn contents(json: &str, version: Version) -> Result<Contents, SnapshotError> {
    let rows: ContentsRows<'_> = serde_json::from_str(json).map_err(SnapshotError::Shape)?;
    let mut names = Names::default();
    let mut contents = Contents::default();
    rows.declared.read(&mut names, version, &mut contents)?;
    for (kind, space, name, extra, owner, acl) in rows.objects {
        let wrong = || SnapshotError::Value(format!("{kind} {name}"));
        let mut schema = || -> Result<Name, SnapshotError> { names.maybe(space.as_ref())?.ok_or_else(wrong) };
        let local = match &*kind {
            "table" => Local::Table(schema()?, Name::new(&name)?),
            "sequence" => Local::Sequence(schema()?, Name::new(&name)?),
            "column" => {
                let column = extra.as_deref().ok_or_else(wrong)?;
                Local::Column(schema()?, Name::new(&name)?, Name::new(column)?)
            }
            "routine" => {
                Local::Routine(schema()?, Name::new(&name)?, text(extra.as_deref().unwrap_or_default())?)
            }
            "type" => Local::Type(schema()?, Name::new(&name)?),
            "language" => Local::Language(Name::new(&name)?),
            "wrapper" => Local::ForeignDataWrapper(Name::new(&name)?),
            "server" => Local::ForeignServer(Name::new(&name)?),
            "large" => Local::LargeObject(name.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        };
        let owned = owned(local.kind(), names.get(&owner)?, &acl, version)?;
        contents.objects.insert(local, owned);
    }
    for (owner, schema) in rows.others {
        contents.other_owners.insert((names.get(&owner)?, names.maybe(schema.as_ref())?));
    }
    for (creator, schema, kind, acl) in rows.defaults {
        let kind = match &*kind {
            "r" => DefaultKind::Tables,
            "S" => DefaultKind::Sequences,
            "f" => DefaultKind::Routines,
            "T" => DefaultKind::Types,
            "n" => DefaultKind::Schemas,
            "L" => DefaultKind::LargeObjects,
            other => return Err(SnapshotError::Value(other.to_owned())),
        };
        let key = DefaultKey { creator: names.get(&creator)?, schema: names.maybe(schema.as_ref())?, kind };
        contents.defaults.insert(key, Acl::parse(&acl.unwrap_or_default())?);
    }
    Ok(contents)
}
