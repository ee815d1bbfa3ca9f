//! What changes are made of: what is commented, attributes, options of a membership, a new database.

use crate::current::Provider;
use crate::name::{Name, Text};
use crate::time::ValidUntil;

/// What is commented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commented {
    /// A role.
    Role(Name),
    /// A database.
    Database(Name),
    /// A schema of a database.
    Schema(Name, Name),
}

/// Attributes of a role that are said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// SUPERUSER.
    pub superuser: Option<bool>,
    /// CREATEDB.
    pub createdb: Option<bool>,
    /// CREATEROLE.
    pub createrole: Option<bool>,
    /// INHERIT.
    pub inherit: Option<bool>,
    /// LOGIN.
    pub login: Option<bool>,
    /// REPLICATION.
    pub replication: Option<bool>,
    /// BYPASSRLS.
    pub bypassrls: Option<bool>,
    /// CONNECTION LIMIT.
    pub connection_limit: Option<i32>,
    /// VALID UNTIL.
    pub valid_until: Option<ValidUntil>,
}

impl Attributes {
    /// Whether nothing is said.
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
    /// WITH ADMIN.
    pub admin: Option<bool>,
    /// WITH INHERIT.
    pub inherit: Option<bool>,
    /// WITH SET.
    pub set: Option<bool>,
}

/// What a database is created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDatabase {
    /// Its name.
    pub name: Name,
    /// Its owner; `None` for the session's role.
    pub owner: Option<Name>,
    /// What it is made from; `None` for template1.
    pub template: Option<Name>,
    /// The encoding.
    pub encoding: Option<Text>,
    /// The locale provider.
    pub provider: Option<Provider>,
    /// LC_COLLATE.
    pub collate: Option<Text>,
    /// LC_CTYPE.
    pub ctype: Option<Text>,
    /// The locale of ICU or the builtin provider.
    pub locale: Option<Text>,
    /// ICU's rules.
    pub icu_rules: Option<Text>,
    /// The tablespace.
    pub tablespace: Option<Name>,
    /// CONNECTION LIMIT.
    pub connection_limit: Option<i32>,
    /// ALLOW_CONNECTIONS.
    pub allow_connections: Option<bool>,
    /// IS_TEMPLATE.
    pub is_template: Option<bool>,
}
