//! The SQL of a change.

use super::{Change, Commented, NewDatabase, Options};
use crate::acl::Privileges;
use crate::comment;
use crate::current::{DefaultKey, Provider};
use crate::name::{Name, Text};
use crate::object::{Local, Object};
use crate::version::Version;

/// Placeholder for a verifier in displayed SQL.
pub(crate) const HIDDEN: &str = "'SCRAM-SHA-256$…'";

impl Change {
    /// Returns the SQL of the change for a version of the server, without a trailing semicolon: one statement, or
    /// several for [`InitialSql`](Self::InitialSql). A verifier is replaced by a placeholder, so that the SQL of
    /// [`SetPassword`](Self::SetPassword) must not be executed.
    #[must_use]
    pub fn sql(&self, version: Version) -> String {
        match self {
            Self::CreateRole { name, attributes } => {
                let words = attributes.words();
                let with = if words.is_empty() { String::new() } else { format!(" {}", words.join(" ")) };
                format!("CREATE ROLE {}{with}", name.quoted())
            }
            Self::AlterRole { name, attributes } => {
                format!("ALTER ROLE {} {}", name.quoted(), attributes.words().join(" "))
            }
            Self::SetPassword { name } => format!("ALTER ROLE {} PASSWORD {HIDDEN}", name.quoted()),
            Self::ClearPassword { name } => format!("ALTER ROLE {} PASSWORD NULL", name.quoted()),
            Self::DropRole { name } => format!("DROP ROLE {}", name.quoted()),
            Self::GrantRole { role, member, options, grantor } => {
                let with = membership(*options, version);
                let by = by(grantor.as_ref());
                format!("GRANT {} TO {}{with}{by}", role.quoted(), member.quoted())
            }
            Self::RevokeAdmin { role, member, grantor, cascade } => {
                let (by, cascade) = (by(grantor.as_ref()), tail(*cascade));
                format!("REVOKE ADMIN OPTION FOR {} FROM {}{by}{cascade}", role.quoted(), member.quoted())
            }
            Self::RevokeRole { role, member, grantor, cascade } => {
                let (by, cascade) = (by(grantor.as_ref()), tail(*cascade));
                format!("REVOKE {} FROM {}{by}{cascade}", role.quoted(), member.quoted())
            }
            Self::Comment { on, text } => {
                let on = match on {
                    Commented::Role(name) => format!("ROLE {}", name.quoted()),
                    Commented::Database(name) => format!("DATABASE {}", name.quoted()),
                };
                comment::sql(&on, text.as_ref())
            }
            Self::Set { role, database, setting, value } => {
                let whose = match (role, database) {
                    (Some(role), Some(database)) => {
                        format!("ROLE {} IN DATABASE {}", role.quoted(), database.quoted())
                    }
                    (Some(role), None) => format!("ROLE {}", role.quoted()),
                    (None, Some(database)) => format!("DATABASE {}", database.quoted()),
                    (None, None) => "ROLE ALL".to_owned(),
                };
                match value {
                    Some(value) => {
                        format!("ALTER {whose} SET {} TO {}", setting.sql(), setting.value_sql(value))
                    }
                    None => format!("ALTER {whose} RESET {}", setting.sql()),
                }
            }
            Self::CreateDatabase(new) => create_database(new, version),
            Self::DatabaseOwner { name, owner } => {
                format!("ALTER DATABASE {} OWNER TO {}", name.quoted(), owner.quoted())
            }
            Self::DatabaseTablespace { name, tablespace } => {
                format!("ALTER DATABASE {} SET TABLESPACE {}", name.quoted(), tablespace.quoted())
            }
            Self::DatabaseOptions { name, connection_limit, allow_connections, is_template } => {
                let words = database_options(*connection_limit, *allow_connections, *is_template);
                format!("ALTER DATABASE {} WITH {}", name.quoted(), words.join(" "))
            }
            Self::DropDatabase { name } => format!("DROP DATABASE {}", name.quoted()),
            Self::Inside { change, .. } => change.sql(version),
            Self::Grant { on, to, privileges, grantable } => {
                let what = privilege_list(*privileges, on);
                let with = if *grantable { " WITH GRANT OPTION" } else { "" };
                format!("GRANT {what} ON {} TO {}{with}", on.sql(), to.sql())
            }
            Self::Revoke { on, from, privileges, option_only, cascade, .. } => {
                let what = privilege_list(*privileges, on);
                let option = if *option_only { "GRANT OPTION FOR " } else { "" };
                format!("REVOKE {option}{what} ON {} FROM {}{}", on.sql(), from.sql(), tail(*cascade))
            }
            Self::GrantDefault { key, to, privileges, grantable, .. } => {
                let with = if *grantable { " WITH GRANT OPTION" } else { "" };
                let (head, kind) = (defaults(key), key.kind.sql());
                format!("{head} GRANT {} ON {kind} TO {}{with}", privileges.sql(), to.sql())
            }
            Self::RevokeDefault { key, from, privileges, option_only, .. } => {
                let option = if *option_only { "GRANT OPTION FOR " } else { "" };
                let (head, kind) = (defaults(key), key.kind.sql());
                format!("{head} REVOKE {option}{} ON {kind} FROM {}", privileges.sql(), from.sql())
            }
            Self::InitialSql { database, script } => initial_sql(database, script),
            Self::ReassignOwned { from, to, .. } => {
                format!("REASSIGN OWNED BY {} TO {}", from.quoted(), to.quoted())
            }
            Self::DropOwned { role, .. } => format!("DROP OWNED BY {}", role.quoted()),
        }
    }

    /// Returns the role as which the statement has to be executed. `None` for the session's role.
    #[must_use]
    pub fn acts_as(&self) -> Option<&Name> {
        match self {
            Self::Revoke { grantor, .. } => grantor.as_ref(),
            _ => None,
        }
    }
}

/// Returns the clause GRANTED BY. Empty without a grantor.
fn by(grantor: Option<&Name>) -> String {
    grantor.map(|grantor| format!(" GRANTED BY {}", grantor.quoted())).unwrap_or_default()
}

/// Returns the keyword CASCADE. Empty without it.
fn tail(cascade: bool) -> &'static str {
    if cascade { " CASCADE" } else { "" }
}

/// Returns the clause WITH of a GRANT of membership, with the options that are given. Before PostgreSQL 16 there is
/// only ADMIN OPTION. Empty without an option.
fn membership(options: Options, version: Version) -> String {
    if !version.membership_options() {
        return if options.admin == Some(true) { " WITH ADMIN OPTION".to_owned() } else { String::new() };
    }
    let said: Vec<String> = [("ADMIN", options.admin), ("INHERIT", options.inherit), ("SET", options.set)]
        .into_iter()
        .filter_map(|(word, value)| {
            value.map(|value| format!("{word} {}", if value { "TRUE" } else { "FALSE" }))
        })
        .collect();
    if said.is_empty() { String::new() } else { format!(" WITH {}", said.join(", ")) }
}

/// Returns the privileges of a GRANT or REVOKE, each followed by the column if the object is one.
fn privilege_list(privileges: Privileges, on: &Object) -> String {
    let Object::Inside(_, Local::Column(_, _, column)) = on else { return privileges.sql() };
    let each = privileges.iter().map(|privilege| format!("{} ({})", privilege.sql(), column.quoted()));
    each.collect::<Vec<_>>().join(", ")
}

/// Returns the beginning of an ALTER DEFAULT PRIVILEGES statement.
fn defaults(key: &DefaultKey) -> String {
    let schema = key.schema.as_ref().map(|schema| format!(" IN SCHEMA {}", schema.quoted()));
    format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}{}", key.creator.quoted(), schema.unwrap_or_default())
}

/// Returns the options of ALTER DATABASE and CREATE DATABASE that are given, each as SQL: ALLOW_CONNECTIONS, CONNECTION
/// LIMIT and IS_TEMPLATE.
fn database_options(limit: Option<i32>, allow: Option<bool>, template: Option<bool>) -> Vec<String> {
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
    words.extend(database_options(new.connection_limit, new.allow_connections, new.is_template));
    let with = if words.is_empty() { String::new() } else { format!(" WITH {}", words.join(" ")) };
    format!("CREATE DATABASE {}{with}", new.name.quoted())
}

/// Name of the database setting that records that the initial script was executed.
pub(crate) const INITIALIZED: &str = "pg_ensure.initial_sql";

/// Returns the script under the default search path, followed by the statement that records its execution; all of it is
/// for one transaction.
fn initial_sql(database: &Name, script: &Text) -> String {
    let script = script.as_str().trim().trim_end_matches(';');
    format!(
        "SET LOCAL search_path TO DEFAULT;\n{script}\n;\nSET LOCAL search_path TO pg_catalog;\n\
         ALTER DATABASE {} SET {INITIALIZED} TO 'done'",
        database.quoted()
    )
}
