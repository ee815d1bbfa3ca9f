//! The parts of changes: comment targets, role attributes, membership options, a new database.

use crate::current::Provider;
use crate::name::{Name, Text};
use crate::time::ValidUntil;

/// An object that can have a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commented {
    /// A role by name.
    Role(Name),
    /// A database object.
    Database(Name),
}

/// Attributes of a role that are said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The SUPERUSER attribute.
    pub superuser: Option<bool>,
    /// The CREATEDB attribute.
    pub createdb: Option<bool>,
    /// The CREATEROLE attribute.
    pub createrole: Option<bool>,
    /// The INHERIT attribute.
    pub inherit: Option<bool>,
    /// The LOGIN attribute.
    pub login: Option<bool>,
    /// The REPLICATION attribute.
    pub replication: Option<bool>,
    /// The BYPASSRLS attribute.
    pub bypassrls: Option<bool>,
    /// The CONNECTION LIMIT; -1 for none.
    pub connection_limit: Option<i32>,
    /// The VALID UNTIL time.
    pub valid_until: Option<ValidUntil>,
}

impl Attributes {
    /// Returns true if no attribute is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each as its words in SQL.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (value, word) in [
            (self.superuser, "SUPERUSER"),
            (self.createdb, "CREATEDB"),
            (self.createrole, "CREATEROLE"),
            (self.inherit, "INHERIT"),
            (self.login, "LOGIN"),
            (self.replication, "REPLICATION"),
            (self.bypassrls, "BYPASSRLS"),
        ] {
            if let Some(value) = value {
                words.push(if value { word.to_owned() } else { format!("NO{word}") });
            }
        }
        words.extend(self.connection_limit.map(|limit| format!("CONNECTION LIMIT {limit}")));
        words.extend(self.valid_until.map(|until| format!("VALID UNTIL {}", until.sql())));
        words
    }
}

/// Options of a membership that are said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The ADMIN option.
    pub admin: Option<bool>,
    /// The INHERIT option.
    pub inherit: Option<bool>,
    /// The SET option.
    pub set: Option<bool>,
}

/// The options of `CREATE DATABASE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDatabase {
    /// The object's name.
    pub name: Name,
    /// Its owner; `None` for the session's role.
    pub owner: Option<Name>,
    /// The template database; `None` for template1.
    pub template: Option<Name>,
    /// The character encoding.
    pub encoding: Option<Text>,
    /// The locale provider.
    pub provider: Option<Provider>,
    /// The LC_COLLATE locale.
    pub collate: Option<Text>,
    /// The LC_CTYPE locale.
    pub ctype: Option<Text>,
    /// The locale of ICU or the builtin provider.
    pub locale: Option<Text>,
    /// The ICU collation rules.
    pub icu_rules: Option<Text>,
    /// The tablespace's name.
    pub tablespace: Option<Name>,
    /// The CONNECTION LIMIT; -1 for none.
    pub connection_limit: Option<i32>,
    /// The ALLOW_CONNECTIONS option.
    pub allow_connections: Option<bool>,
    /// The IS_TEMPLATE option.
    pub is_template: Option<bool>,
}
