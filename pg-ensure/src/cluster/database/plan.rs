//! Planning of databases, apart from their owners and contents.

use super::change::{DatabaseChange, INITIALIZED, NewDatabase};
use super::locale::{same_icu_locale, same_icu_locale_in_16, same_locale};
use super::{Database, DatabaseState, Provider, owner};
use crate::comment;
use crate::current::SettingKey;
use crate::desired::Presence;
use crate::diff::planner::Planner;
use crate::name::{Name, Text};
use crate::plan::{DestructibleObject, Obstacle};
use crate::version::Version;
use std::collections::BTreeSet;

/// Plans the creation of the declared databases that are missing. A template comes before the databases created
/// from it.
pub(crate) fn plan_creation(planner: &mut Planner<'_>) {
    let desired = planner.desired();
    let mut done: BTreeSet<&Name> = BTreeSet::new();
    for name in desired.databases.keys() {
        // A template is created before the databases that are created from it.
        let mut chain = vec![name];
        while let Some(template) =
            desired.databases.get(chain[chain.len() - 1]).and_then(|d| d.template.as_ref())
        {
            let Some((template, _)) = desired.databases.get_key_value(template) else { break };
            if chain.contains(&template) {
                break;
            }
            chain.push(template);
        }
        for name in chain.into_iter().rev() {
            if done.insert(name) {
                create_database(planner, name, &desired.databases[name]);
            }
        }
    }
}

/// Plans the creation of a database, unless it exists or is declared absent. Without a declared template, it is
/// created from `template0` if encoding or locale are declared, else from `template1`. It is reported as blocked if
/// the version lacks a feature, or the template has a collation mismatch, or another encoding or locale than declared.
fn create_database(planner: &mut Planner<'_>, name: &Name, wanted: &Database) {
    if wanted.presence == Presence::Absent || planner.now().databases.contains_key(name) {
        return;
    }
    let version = planner.now().version;
    let what = || format!("CREATE DATABASE {}", name.quoted());
    if wanted.provider.is_some_and(|provider| provider != Provider::Libc) && !version.database_providers() {
        return planner.unsupported(what(), "locale providers came with PostgreSQL 15");
    }
    if wanted.provider == Some(Provider::Builtin) && !version.maintain() {
        return planner.unsupported(what(), "the builtin locale provider came with PostgreSQL 17");
    }
    if wanted.icu_rules.is_some() && !version.membership_options() {
        return planner.unsupported(what(), "ICU rules came with PostgreSQL 16");
    }
    // A database whose encoding or locale differs from template1 can only be created from template0.
    let special = wanted.encoding.is_some()
        || wanted.provider.is_some()
        || wanted.locale.is_some()
        || wanted.collate.is_some()
        || wanted.ctype.is_some()
        || wanted.icu_rules.is_some();
    let template0 = || Name::new("template0").ok().filter(|_| special);
    let template = wanted.template.clone().or_else(template0);
    let source = template.as_ref().map_or("template1", |name| name.as_str());
    if let Some((recorded, actual)) =
        planner.now().databases.get(source).and_then(|source| source.collation_mismatch.clone())
    {
        let why = format!(
            "the collation version of the template {source} is {recorded}, and the system has {actual}; \
             reindex it, then ALTER DATABASE {source} REFRESH COLLATION VERSION"
        );
        return planner.block(what(), Obstacle::InUse(why));
    }
    // Any other template is copied as it is.
    let copied = planner.now().databases.get(source).filter(|_| source != "template0");
    if let Some((property, is, wanted)) =
        copied.and_then(|copied| immutable(copied, wanted, version).into_iter().next())
    {
        let why = format!(
            "{property} of the template {source} is {is:?}, and {wanted:?} is wanted: only template0 can be copied with \
             another one"
        );
        return planner.block(what(), Obstacle::Immutable(why));
    }
    // A locale without a provider is for that of the template.
    let inherited = planner.now().databases.get(source).map(|found| found.provider);
    let inherited = inherited.filter(|provider| wanted.locale.is_some() && *provider != Provider::Libc);
    let provider = wanted.provider.or(inherited);
    let libc = provider.unwrap_or_default() == Provider::Libc;
    // The server compares names of locales with those of the copied template letter by letter.
    let spelled = |wanted: Option<Text>, own: fn(&DatabaseState) -> Option<Text>| {
        copied.filter(|_| wanted.is_some()).and_then(own).or(wanted)
    };
    let collate = wanted.collate.clone().or_else(|| wanted.locale.clone().filter(|_| libc));
    let ctype = wanted.ctype.clone().or_else(|| wanted.locale.clone().filter(|_| libc));
    let new = NewDatabase {
        name: name.clone(),
        owner: wanted.owner.clone(),
        template,
        encoding: wanted.encoding.clone(),
        provider: provider.filter(|_| version.database_providers()),
        collate: spelled(collate, |found| Some(found.collate.clone())),
        ctype: spelled(ctype, |found| Some(found.ctype.clone())),
        locale: spelled(wanted.locale.clone().filter(|_| !libc), |found| found.locale.clone()),
        icu_rules: wanted.icu_rules.clone(),
        tablespace: wanted.tablespace.clone(),
        connection_limit: wanted.connection_limit,
        allow_connections: wanted.allow_connections,
        is_template: wanted.is_template,
    };
    let owner: Vec<&Name> = wanted.owner.iter().collect();
    planner.emit_as(&owner, DatabaseChange::Create(Box::new(new)), "there is no such database");
}

/// Plans the changes of existing databases, their owners first.
pub(crate) fn plan(planner: &mut Planner<'_>) {
    let desired = planner.desired();
    owner::plan(planner);
    for (name, wanted) in &desired.databases {
        if wanted.presence == Presence::Present && planner.now().databases.contains_key(name) {
            database(planner, name, wanted);
        }
    }
}

/// Plans the changes of one existing database: tablespace, options and comment. An invalid database, and
/// differences in properties that cannot be changed, are reported as blocked, a collation mismatch as a note.
fn database(planner: &mut Planner<'_>, name: &Name, wanted: &Database) {
    let Some(now) = planner.now().databases.get(name).cloned() else { return };
    let now = &now;
    if now.is_invalid() {
        let why =
            "a DROP DATABASE was interrupted, and left it invalid: drop it, and the next run makes it anew";
        return planner.block(format!("database {name}"), Obstacle::InUse(why.to_owned()));
    }
    let version = planner.now().version;
    for (what, is, wanted) in immutable(now, wanted, version) {
        planner.block(
            format!("{what} of database {name}"),
            Obstacle::Immutable(format!("it is {is:?}, and {wanted:?} is wanted; make a new database")),
        );
    }
    if let Some(tablespace) = wanted.tablespace.as_ref().filter(|wanted| **wanted != now.tablespace) {
        let reason = format!("it is in {}", now.tablespace);
        let change = DatabaseChange::Tablespace { name: name.clone(), tablespace: tablespace.clone() };
        planner.emit(change, reason);
    }
    let connection_limit = wanted.connection_limit.filter(|limit| *limit != now.connection_limit);
    let allow_connections = wanted.allow_connections.filter(|allow| *allow != now.allow_connections);
    let is_template = wanted.is_template.filter(|template| *template != now.is_template);
    if connection_limit.is_some() || allow_connections.is_some() || is_template.is_some() {
        let change =
            DatabaseChange::Options { name: name.clone(), connection_limit, allow_connections, is_template };
        planner.emit(change, "its options differ");
    }
    if let Some(text) = comment::changed(now.comment.as_ref(), wanted.comment.as_ref()) {
        planner.emit(DatabaseChange::Comment { name: name.clone(), text }, "the comment differs");
    }
    if let Some((recorded, actual)) = &now.collation_mismatch {
        planner.note(format!(
            "database {name}: its collation version is {recorded}, and the system has {actual}: indexes on text \
             may be wrong; REINDEX first, then ALTER DATABASE {} REFRESH COLLATION VERSION",
            name.quoted()
        ));
    }
}

/// Plans the removal of databases that are declared absent, as far as the operator consents to it. A template is
/// made an ordinary database before.
pub(crate) fn plan_removals(planner: &mut Planner<'_>) {
    let desired = planner.desired();
    for (name, wanted) in &desired.databases {
        let Some(found) = planner.now().databases.get(name) else { continue };
        let template = found.is_template;
        let what = format!("DROP DATABASE {}", name.quoted());
        if wanted.presence == Presence::Present
            || !planner.may_destroy(&what, DestructibleObject::Database(name.clone()))
        {
            continue;
        }
        let subscription = planner.now().subscriptions.keys().find(|(place, _)| place == name);
        if let Some(why) =
            subscription.map(|(_, found)| format!("it has the subscription {found}: drop that first"))
        {
            planner.block(what, Obstacle::InUse(why));
            continue;
        }
        if template {
            let change = DatabaseChange::Options {
                name: name.clone(),
                connection_limit: None,
                allow_connections: None,
                is_template: Some(false),
            };
            planner.emit(change, "a template cannot be dropped");
        }
        planner.emit(DatabaseChange::Drop { name: name.clone() }, "declared absent and listed in --destroy");
    }
}

/// Plans the initial script of a database, if this plan creates the database or it is empty. The script is left out
/// if the database has a record of it; if the database has contents but no record, a note is added.
pub(crate) fn plan_initial_sql(planner: &mut Planner<'_>, database: &Name, script: &Text) {
    let key = SettingKey { role: None, database: Some(database.clone()) };
    let settings = planner.now().settings.get(&key);
    if settings.is_some_and(|all| all.keys().any(|setting| setting.as_str() == INITIALIZED)) {
        return;
    }
    let made = planner.creates_database(database);
    let used = planner.inside(database).is_some_and(|inside| {
        !inside.occupied.is_empty() || inside.objects.keys().any(|object| object.schema().is_some())
    });
    if used && !made {
        planner.note(format!(
            "database {database} has contents and no record of initial_sql, so it is not run; ALTER DATABASE {} SET \
             {INITIALIZED} TO 'done' says that it is not needed",
            database.quoted()
        ));
        return;
    }
    let change = DatabaseChange::InitialSql { name: database.clone(), script: script.clone() };
    planner.emit(change, "nothing is in the database yet");
}

/// Returns the properties that can only be set at creation and differ from the desired ones, each as name, current
/// value and desired value.
fn immutable(
    found: &DatabaseState,
    wanted: &Database,
    version: Version,
) -> Vec<(&'static str, String, String)> {
    let mut differences = Vec::new();
    let mut compare = |what, is: &str, wanted: Option<&str>, same: fn(&str, &str) -> bool| {
        if let Some(wanted) = wanted.filter(|wanted| !same(is, wanted)) {
            differences.push((what, is.to_owned(), wanted.to_owned()));
        }
    };
    let text = |text: &Option<Text>| text.as_ref().map(|text| text.as_str().to_owned());
    compare("encoding", found.encoding.as_str(), text(&wanted.encoding).as_deref(), same_encoding);
    compare("locale provider", found.provider.as_str(), wanted.provider.map(Provider::as_str), |a, b| a == b);
    let own = found.provider != Provider::Libc;
    let libc_locale = || text(&wanted.locale).filter(|_| !own);
    let collate = text(&wanted.collate).or_else(libc_locale);
    let ctype = text(&wanted.ctype).or_else(libc_locale);
    compare("LC_COLLATE", found.collate.as_str(), collate.as_deref(), same_locale);
    compare("LC_CTYPE", found.ctype.as_str(), ctype.as_deref(), same_locale);
    if own {
        let locale = found.locale.as_ref().map_or("", Text::as_str);
        let same = match found.provider {
            Provider::Icu if version.major() == 16 => same_icu_locale_in_16,
            Provider::Icu => same_icu_locale,
            _ => same_locale,
        };
        compare("locale", locale, text(&wanted.locale).as_deref(), same);
    }
    let rules = found.icu_rules.as_ref().map_or("", Text::as_str);
    compare("ICU rules", rules, text(&wanted.icu_rules).as_deref(), |a, b| a == b);
    differences
}

/// Returns `true` for two names of the same encoding. Letters and digits are compared without regard to case, as the
/// server does, and the server's aliases are known.
fn same_encoding(one: &str, other: &str) -> bool {
    let plain = |text: &str| -> String {
        let plain: String =
            text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        match plain.as_str() {
            "unicode" => "utf8".to_owned(),
            "iso88591" => "latin1".to_owned(),
            "iso88592" => "latin2".to_owned(),
            "iso885915" => "latin9".to_owned(),
            "win" => "win1251".to_owned(),
            _ => plain,
        }
    };
    plain(one) == plain(other)
}
