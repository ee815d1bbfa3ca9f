//! Text from rules.

use crate::rule::{Address, ConnectionType, Database, Rule, User};
use crate::server::Version;
use crate::token::quote;
use thiserror::Error;

/// The first line of a file that this crate wrote.
pub const MANAGED: &str =
    "# Managed by pg-hba. Edits are overwritten: change the policy and render it again.";

/// Why a rule cannot be written for a version.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RenderError {
    /// A line cannot hold a line end, nor C a NUL.
    #[error("rule {rule}: {name:?} has a line end or a NUL, which no line of pg_hba.conf can hold")]
    LineEnd {
        /// The position of the rule, from 1.
        rule: usize,
        /// The name.
        name: String,
    },
    /// Patterns are names before version 16, and names that start with a slash are patterns since.
    #[error("rule {rule}: PostgreSQL {version} cannot tell {name:?} from a {other}")]
    Slash {
        /// The position of the rule, from 1.
        rule: usize,
        /// The name or pattern.
        name: String,
        /// The version.
        version: Version,
        /// What it would be read as.
        other: &'static str,
    },
}

/// Renders rules as a file that opens with [`MANAGED`].
///
/// # Errors
/// When a rule cannot be said in the grammar of that version.
pub fn render(rules: &[Rule], version: Version) -> Result<String, RenderError> {
    let mut text = format!("{MANAGED}\n");
    for (index, rule) in rules.iter().enumerate() {
        representable(rule, index + 1, version)?;
        text.push_str(&rule_text(rule));
        text.push('\n');
    }
    Ok(text)
}

fn representable(rule: &Rule, position: usize, version: Version) -> Result<(), RenderError> {
    let (mut names, mut patterns) = (Vec::new(), Vec::new());
    for database in &rule.databases {
        match database {
            Database::Name(name) => names.push(name.as_str()),
            Database::Pattern(pattern) => patterns.push(pattern.as_str()),
            _ => {}
        }
    }
    let mut members = Vec::new();
    for user in &rule.users {
        match user {
            User::Name(name) => names.push(name),
            User::Member(name) => members.push(name.as_str()),
            User::Pattern(pattern) => patterns.push(pattern.as_str()),
            User::All => {}
        }
    }
    let slash =
        |name: &str, other| RenderError::Slash { rule: position, name: name.to_owned(), version, other };
    if let Some(name) = patterns.iter().find(|_| !version.has_patterns()) {
        return Err(slash(name, "name"));
    }
    if let Some(name) = names.iter().find(|name| version.has_patterns() && name.starts_with('/')) {
        return Err(slash(name, "regular expression"));
    }
    let values = rule.settings.iter().map(crate::method::Setting::value);
    let host = match &rule.address {
        Address::Host(name) => Some(name.as_str()),
        _ => None,
    };
    let mut all = names.into_iter().chain(members).chain(patterns).chain(values).chain(host);
    match all.find(|text| text.contains(['\n', '\0']) || text.ends_with('\r')) {
        Some(name) => Err(RenderError::LineEnd { rule: position, name: name.to_owned() }),
        None => Ok(()),
    }
}

/// One line, columns padded for people.
pub(crate) fn rule_text(rule: &Rule) -> String {
    let databases: Vec<String> = rule.databases.iter().map(database_text).collect();
    let users: Vec<String> = rule.users.iter().map(user_text).collect();
    let mut text = format!("{:<12} {:<15} {:<15} ", rule.connection, databases.join(","), users.join(","));
    if rule.connection != ConnectionType::Local {
        text.push_str(&format!("{:<22} ", address_text(&rule.address)));
    }
    text.push_str(rule.method.as_str());
    for setting in &rule.settings {
        text.push(' ');
        text.push_str(&quote(&format!("{}={}", setting.name, setting.value), true));
    }
    text
}

pub(crate) fn database_text(database: &Database) -> String {
    match database {
        Database::All => "all".to_owned(),
        Database::Name(name) => {
            quote(name, !matches!(&**name, "all" | "sameuser" | "samerole" | "samegroup" | "replication"))
        }
        Database::Pattern(pattern) => format!("\"/{}\"", pattern.as_str().replace('"', "\"\"")),
        Database::Replication => "replication".to_owned(),
        Database::SameRole => "samerole".to_owned(),
        Database::SameUser => "sameuser".to_owned(),
    }
}

pub(crate) fn user_text(user: &User) -> String {
    match user {
        User::All => "all".to_owned(),
        // A quote at the start would make the plus a part of the name, so it comes after.
        User::Member(role) => format!("+\"{}\"", role.replace('"', "\"\"")),
        User::Name(name) => quote(name, name != "all"),
        User::Pattern(pattern) => format!("\"/{}\"", pattern.as_str().replace('"', "\"\"")),
    }
}

pub(crate) fn address_text(address: &Address) -> String {
    match address {
        Address::All => "all".to_owned(),
        Address::Host(name) => quote(name, !matches!(&**name, "all" | "samehost" | "samenet")),
        Address::Network(network) => network.to_string(),
        Address::SameHost => "samehost".to_owned(),
        Address::SameNet => "samenet".to_owned(),
    }
}
