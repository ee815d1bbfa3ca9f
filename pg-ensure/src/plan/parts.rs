//! The parts of changes: comment targets, role attributes, membership options, a new database.

use crate::current::Provider;
use crate::name::{Name, Text};
use crate::time::ValidUntil;

/// An object that can have a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commented {
    /// A role by name.
    Role(Name),
    /// A database by name.
    Database(Name),
}

/// Attributes of a role to be set. `None` leaves an attribute.
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
    /// Maximum number of concurrent connections; -1 for no limit.
    pub connection_limit: Option<i32>,
    /// Time at which the password expires (VALID UNTIL).
    pub valid_until: Option<ValidUntil>,
}

impl Attributes {
    /// Returns `true` if no attribute is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the SQL of each attribute that is set, such as `NOLOGIN` or `CONNECTION LIMIT 5`.
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

/// Options of a membership to be set. `None` leaves an option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// ADMIN: `true` if the member may grant the role to others.
    pub admin: Option<bool>,
    /// INHERIT: `true` if the member has the role's privileges without SET ROLE.
    pub inherit: Option<bool>,
    /// SET: `true` if the member may SET ROLE to the role.
    pub set: Option<bool>,
}

/// The options of `CREATE DATABASE`. `None` leaves the default of the template or the server.
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
