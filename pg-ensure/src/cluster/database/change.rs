//! Changes of databases: SQL, risk, required rights, and effect.

use super::{DatabaseState, Provider};
use crate::acl::ObjectKind;
use crate::cluster::is_limit;
use crate::comment;
use crate::current::{Contents, CurrentState, Dependency, Owned, SettingKey};
use crate::model::{RejectedChange, lookup, rejected};
use crate::name::{Name, Text};
use crate::object::Setting;
use crate::plan::{ExecutionScope, Risk};
use crate::rights::Rights;
use crate::version::Version;

/// A change of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatabaseChange {
    /// A `CREATE DATABASE` statement.
    Create(Box<NewDatabase>),
    /// `ALTER DATABASE … OWNER TO`.
    Owner {
        /// The database's name.
        name: Name,
        /// The new owner.
        owner: Name,
    },
    /// `ALTER DATABASE … SET TABLESPACE`.
    Tablespace {
        /// The database's name.
        name: Name,
        /// The target tablespace.
        tablespace: Name,
    },
    /// `ALTER DATABASE … WITH`.
    Options {
        /// The database's name.
        name: Name,
        /// Maximum number of concurrent connections; -1 for no limit. `None` for no change.
        connection_limit: Option<i32>,
        /// The ALLOW_CONNECTIONS option. `None` for no change.
        allow_connections: Option<bool>,
        /// The IS_TEMPLATE option. `None` for no change.
        is_template: Option<bool>,
    },
    /// `COMMENT ON DATABASE`.
    Comment {
        /// The database's name.
        name: Name,
        /// New comment. `None` removes the comment.
        text: Option<Text>,
    },
    /// Execution of [`Database::initial_sql`](crate::desired::Database::initial_sql), and its record in the setting
    /// `pg_ensure.initial_sql` of the database, in one transaction.
    InitialSql {
        /// The database's name.
        name: Name,
        /// The script's text.
        script: Text,
    },
    /// A `DROP DATABASE` statement.
    Drop {
        /// The database's name.
        name: Name,
    },
}

/// The options of `CREATE DATABASE`. `None` stands for the default of the template or the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDatabase {
    /// Name of the database.
    pub name: Name,
    /// Name of the owner. `None` for the session's role.
    pub owner: Option<Name>,
    /// Template database. `None` for template1.
    pub template: Option<Name>,
    /// The character encoding.
    pub encoding: Option<Text>,
    /// The locale provider.
    pub provider: Option<Provider>,
    /// Value of LC_COLLATE.
    pub collate: Option<Text>,
    /// Value of LC_CTYPE.
    pub ctype: Option<Text>,
    /// Locale of the ICU or builtin provider.
    pub locale: Option<Text>,
    /// The ICU collation rules.
    pub icu_rules: Option<Text>,
    /// Name of the default tablespace.
    pub tablespace: Option<Name>,
    /// Maximum number of concurrent connections; -1 for no limit.
    pub connection_limit: Option<i32>,
    /// ALLOW_CONNECTIONS: `true` to permit connections.
    pub allow_connections: Option<bool>,
    /// IS_TEMPLATE: `true` to let roles with CREATEDB clone the database.
    pub is_template: Option<bool>,
}

impl DatabaseChange {
    /// Returns the statement of the change for a version of the server; for the initial script several.
    pub(crate) fn sql(&self, version: Version) -> String {
        match self {
            Self::Create(new) => create_database(new, version),
            Self::Owner { name, owner } => {
                format!("ALTER DATABASE {} OWNER TO {}", name.quoted(), owner.quoted())
            }
            Self::Tablespace { name, tablespace } => {
                format!("ALTER DATABASE {} SET TABLESPACE {}", name.quoted(), tablespace.quoted())
            }
            Self::Options { name, connection_limit, allow_connections, is_template } => {
                let words = options(*connection_limit, *allow_connections, *is_template);
                format!("ALTER DATABASE {} WITH {}", name.quoted(), words.join(" "))
            }
            Self::Comment { name, text } => {
                comment::sql(&format!("DATABASE {}", name.quoted()), text.as_ref())
            }
            Self::InitialSql { name, script } => initial_sql(name, script),
            Self::Drop { name } => format!("DROP DATABASE {}", name.quoted()),
        }
    }

    /// Returns the connection and transaction that the change needs.
    pub(crate) fn scope(&self) -> ExecutionScope {
        match self {
            Self::Create(_) | Self::Tablespace { .. } | Self::Drop { .. } => ExecutionScope::Alone,
            Self::Owner { .. } | Self::Options { .. } | Self::Comment { .. } => ExecutionScope::Cluster,
            Self::InitialSql { name, .. } => ExecutionScope::In(name.clone()),
        }
    }

    /// Returns the risk of the change.
    pub(crate) fn risk(&self) -> Risk {
        match self {
            Self::Create(_) | Self::InitialSql { .. } => Risk::Adds,
            Self::Options { connection_limit, allow_connections, is_template, .. }
                if connection_limit.is_some_and(is_limit)
                    || [*allow_connections, *is_template].contains(&Some(false)) =>
            {
                Risk::Restricts
            }
            Self::Options { .. } | Self::Comment { .. } => Risk::Changes,
            Self::Tablespace { .. } => Risk::Disturbs,
            Self::Owner { .. } => Risk::Restricts,
            Self::Drop { .. } => Risk::Destroys,
        }
    }

    /// Checks that the session may make the change. A new database needs CREATEDB, SET ROLE to its owner, a template
    /// that is marked as one or the session's own, and CREATE on its tablespace. Changes and the removal need the
    /// privileges of the database's owner; a new owner also CREATEDB and SET ROLE, another tablespace CREATE on it.
    ///
    /// # Errors
    /// Returns a description of the missing permission.
    pub(crate) fn permitted(&self, rights: &Rights<'_>) -> Result<(), String> {
        match self {
            Self::Create(new) => may_create(new, rights),
            Self::Owner { name, owner } => {
                rights.owns_database(name)?;
                rights.createdb()?;
                rights.becomes(owner)
            }
            Self::Tablespace { name, tablespace } => {
                rights.owns_database(name)?;
                rights.creates_in_tablespace(tablespace)
            }
            Self::Options { name, .. }
            | Self::Comment { name, .. }
            | Self::InitialSql { name, .. }
            | Self::Drop { name } => rights.owns_database(name),
        }
    }

    /// Applies the change to the modelled state.
    ///
    /// # Errors
    /// Returns a [`RejectedChange`] if the server would reject the change.
    pub(crate) fn make(&self, state: &mut CurrentState) -> Result<(), RejectedChange> {
        match self {
            Self::Create(new) => return create(state, new),
            Self::Owner { name, owner } => {
                lookup::role_exists(state, owner)?;
                lookup::database(state, name)?.owned.give_to(owner);
            }
            Self::Tablespace { name, tablespace } => {
                if !state.tablespaces.contains_key(tablespace) {
                    return rejected(format!("there is no tablespace {tablespace}"));
                }
                lookup::database(state, name)?.tablespace = tablespace.clone();
            }
            Self::Options { name, connection_limit, allow_connections, is_template } => {
                let found = lookup::database(state, name)?;
                found.connection_limit = connection_limit.unwrap_or(found.connection_limit);
                found.allow_connections = allow_connections.unwrap_or(found.allow_connections);
                found.is_template = is_template.unwrap_or(found.is_template);
            }
            Self::Comment { name, text } => {
                lookup::database(state, name)?.comment = comment::stored(text.as_ref());
            }
            Self::InitialSql { name, .. } => {
                lookup::database(state, name)?;
                let key = SettingKey { role: None, database: Some(name.clone()) };
                let (Ok(setting), Ok(done)) = (Setting::new(INITIALIZED), Text::new("done")) else {
                    return rejected("the record of the script has no name".to_owned());
                };
                state.settings.entry(key).or_default().insert(setting, done);
            }
            Self::Drop { name } => return drop_database(state, name),
        }
        Ok(())
    }
}

/// Checks that the session may create a database: CREATEDB, the owner, the template and the tablespace.
///
/// # Errors
/// Returns a description of the first missing right.
fn may_create(new: &NewDatabase, rights: &Rights<'_>) -> Result<(), String> {
    rights.createdb()?;
    if let Some(owner) = &new.owner {
        rights.becomes(owner)?;
    }
    if let Some(template) = new.template.as_ref().and_then(|name| rights.now().databases.get(name))
        && !template.is_template
        && !rights.now().has_privileges_of(rights.user(), &template.owned.owner)
    {
        return Err("its template is neither marked as one nor the session's own".to_owned());
    }
    new.tablespace.as_ref().map_or(Ok(()), |tablespace| rights.creates_in_tablespace(tablespace))
}

/// Returns the options of ALTER DATABASE and CREATE DATABASE that are given, each as SQL: ALLOW_CONNECTIONS, CONNECTION
/// LIMIT and IS_TEMPLATE.
fn options(limit: Option<i32>, allow: Option<bool>, template: Option<bool>) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(allow.map(|allow| format!("ALLOW_CONNECTIONS {allow}")));
    words.extend(limit.map(|limit| format!("CONNECTION LIMIT {limit}")));
    words.extend(template.map(|template| format!("IS_TEMPLATE {template}")));
    words
}

/// Returns a CREATE DATABASE statement with the options that are given. The keyword of the locale depends on the
/// provider and the version of the server.
fn create_database(new: &NewDatabase, version: Version) -> String {
    let mut words = Vec::new();
    words.extend(new.owner.as_ref().map(|owner| format!("OWNER {}", owner.quoted())));
    words.extend(new.template.as_ref().map(|template| format!("TEMPLATE {}", template.quoted())));
    words.extend(new.encoding.as_ref().map(|encoding| format!("ENCODING {}", encoding.quoted())));
    words.extend(new.provider.map(|provider| format!("LOCALE_PROVIDER {}", provider.as_str())));
    words.extend(new.collate.as_ref().map(|collate| format!("LC_COLLATE {}", collate.quoted())));
    words.extend(new.ctype.as_ref().map(|ctype| format!("LC_CTYPE {}", ctype.quoted())));
    words.extend(new.locale.as_ref().map(|locale| {
        let word = match new.provider {
            Some(Provider::Icu) => "ICU_LOCALE",
            Some(Provider::Builtin) if version.maintain() => "BUILTIN_LOCALE",
            Some(Provider::Builtin | Provider::Libc) | None => "LOCALE",
        };
        format!("{word} {}", locale.quoted())
    }));
    words.extend(new.icu_rules.as_ref().map(|rules| format!("ICU_RULES {}", rules.quoted())));
    words.extend(new.tablespace.as_ref().map(|tablespace| format!("TABLESPACE {}", tablespace.quoted())));
    words.extend(options(new.connection_limit, new.allow_connections, new.is_template));
    let with = if words.is_empty() { String::new() } else { format!(" WITH {}", words.join(" ")) };
    format!("CREATE DATABASE {}{with}", new.name.quoted())
}

/// Name of the database setting that records that the initial script was executed.
pub(crate) const INITIALIZED: &str = "pg_ensure.initial_sql";

/// Returns the script under the default search path, followed by the statement that records its execution, as the role
/// that connected, whatever role the script has set; all of it is for one transaction.
fn initial_sql(database: &Name, script: &Text) -> String {
    let script = script.as_str().trim().trim_end_matches(';');
    format!(
        "SET LOCAL search_path TO DEFAULT;\n{script}\n;\nRESET SESSION AUTHORIZATION;\nRESET ROLE;\nSET LOCAL search_path TO pg_catalog;\n\
         ALTER DATABASE {} SET {INITIALIZED} TO 'done'",
        database.quoted()
    )
}

/// Removes a database with its settings, and the dependencies on roles that it has.
///
/// # Errors
/// Returns a [`RejectedChange`] if it does not exist, is a template, has a subscription, or is the session's own.
fn drop_database(state: &mut CurrentState, name: &Name) -> Result<(), RejectedChange> {
    let found = lookup::database(state, name)?;
    if found.is_template {
        return rejected(format!("the database {name} is a template"));
    }
    if *name == state.session.database {
        return rejected(format!("the session is in the database {name}"));
    }
    if let Some((_, subscription)) = state.subscriptions.keys().find(|(place, _)| place == name) {
        return rejected(format!("the database {name} has the subscription {subscription}: drop that first"));
    }
    state.databases.remove(name);
    state.settings.retain(|key, _| key.database.as_ref() != Some(name));
    for found in state.dependencies.values_mut() {
        found.remove(&Dependency::Database(name.clone()));
        found.remove(&Dependency::Inside(name.clone()));
    }
    Ok(())
}

/// Creates a database with the encoding, locale, tablespace and contents of its template, `template1` by default,
/// unless they are given. The owner is by default the session's user; the ACL is the default.
///
/// # Errors
/// Returns a [`RejectedChange`] if a database of this name exists, or the owner, the template or the tablespace does
/// not.
fn create(state: &mut CurrentState, new: &NewDatabase) -> Result<(), RejectedChange> {
    if state.databases.contains_key(&new.name) {
        return rejected(format!("there is a database {} already", new.name));
    }
    let owner = new.owner.as_ref().unwrap_or(&state.session.user).clone();
    lookup::role_exists(state, &owner)?;
    let template = new.template.as_ref().map_or("template1", |name| name.as_str());
    let Some(template) = state.databases.get(template) else {
        return rejected(format!("there is no database {template} to make one from"));
    };
    if let Some(tablespace) = &new.tablespace
        && !state.tablespaces.contains_key(tablespace)
    {
        return rejected(format!("there is no tablespace {tablespace}"));
    }
    let provider = new.provider.unwrap_or(template.provider);
    let locale = match (provider, &new.locale) {
        (Provider::Libc, _) => None,
        (_, Some(locale)) => Some(locale.clone()),
        (_, None) if provider == template.provider => template.locale.clone(),
        (_, None) => {
            return rejected(format!("the provider {} needs a locale", provider.as_str()));
        }
    };
    let inherited = template.icu_rules.clone().filter(|_| provider == Provider::Icu);
    let libc = new.locale.as_ref().filter(|_| provider == Provider::Libc);
    let contents = template.contents.clone();
    let contents = contents.unwrap_or_else(|| Contents::fresh(&state.session.bootstrap, state.version));
    let made = DatabaseState {
        owned: Owned::new(ObjectKind::Database, &owner, state.version),
        encoding: new.encoding.clone().unwrap_or_else(|| template.encoding.clone()),
        provider,
        collate: new.collate.as_ref().or(libc).unwrap_or(&template.collate).clone(),
        ctype: new.ctype.as_ref().or(libc).unwrap_or(&template.ctype).clone(),
        locale,
        icu_rules: new.icu_rules.clone().or(inherited),
        tablespace: new.tablespace.clone().unwrap_or_else(|| template.tablespace.clone()),
        connection_limit: new.connection_limit.unwrap_or(-1),
        allow_connections: new.allow_connections.unwrap_or(true),
        is_template: new.is_template.unwrap_or(false),
        comment: None,
        collation_mismatch: None,
        contents: Some(contents),
        refusal: None,
    };
    state.databases.insert(new.name.clone(), made);
    Ok(())
}
