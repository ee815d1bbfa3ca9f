//! Rendering of rules as a file.

use crate::rule::{Address, Database, Rule, User, rule_text};
use crate::server::Version;
use thiserror::Error;

/// First line of every file that [`render`] produces, without the line feed.
pub const MANAGED: &str =
    "# Managed by pg-hba. Edits are overwritten: change the policy and render it again.";

/// Error of a rule that cannot be written in the grammar of a version.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RenderError {
    /// A field of the rule has no value, or an empty name.
    #[error("rule {rule}: {field} is empty: give a name, or all")]
    Empty {
        /// Position of the rule, from 1.
        rule: usize,
        /// Name of the field: `databases`, `users` or `address`.
        field: &'static str,
    },
    /// A name, regular expression or value contains a line feed or a NUL byte, or ends in a carriage return.
    #[error("rule {rule}: {name:?} has a line end or a NUL, which no line of pg_hba.conf can hold")]
    LineEnd {
        /// Position of the rule, from 1.
        rule: usize,
        /// The text that cannot be written.
        name: String,
    },
    /// A name begins with a slash, which version 16 and later read as a regular expression, or a regular expression is
    /// used before version 16.
    #[error("rule {rule}: PostgreSQL {version} cannot tell {name:?} from a {other}")]
    Slash {
        /// Position of the rule, from 1.
        rule: usize,
        /// The name, or the regular expression without its slash.
        name: String,
        /// Version for which the rules are rendered.
        version: Version,
        /// Kind as which the server would read it: `name` or `regular expression`.
        other: &'static str,
    },
}

/// Renders rules as a file: the line [`MANAGED`], then one line with padded columns for each rule. Comments are not
/// kept. [`crate::Document::parse`] reads the same rules from it, or the errors of rules that the server
/// rejects, such as `peer` over TCP, which are rendered all the same.
///
/// # Errors
/// Returns a [`RenderError`] for the first rule that cannot be written in the grammar of the version.
pub fn render(rules: &[Rule], version: Version) -> Result<String, RenderError> {
    let mut text = format!("{MANAGED}\n");
    for (index, rule) in rules.iter().enumerate() {
        representable(rule, index + 1, version)?;
        text.push_str(&rule_text(rule));
        text.push('\n');
    }
    Ok(text)
}

/// Checks that a rule can be written in the grammar of a version. `position` is that of the rule, from 1.
///
/// # Errors
/// Returns a [`RenderError`] with the first reason.
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
    let empty = |field| RenderError::Empty { rule: position, field };
    let no_database = |database: &Database| matches!(database, Database::Name(name) if name.is_empty());
    if rule.databases.is_empty() || rule.databases.iter().any(no_database) {
        return Err(empty("databases"));
    }
    let no_user = |user: &User| matches!(user, User::Name(name) | User::Member(name) if name.is_empty());
    if rule.users.is_empty() || rule.users.iter().any(no_user) {
        return Err(empty("users"));
    }
    if matches!(&rule.address, Address::Host(name) if name.is_empty()) {
        return Err(empty("address"));
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
