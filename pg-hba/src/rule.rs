//! A rule: one record of the file, as it is meant.

use crate::address::Network;
use crate::connection::ConnectionType;
use crate::method::{Method, Setting};
use crate::regex::Pattern;
use crate::token::quote;
use std::collections::BTreeMap;
use std::fmt;

/// One value of the database field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Database {
    /// `all`: every database; not physical replication.
    All,
    /// A database by its name.
    Name(String),
    /// `/regex`, from version 16.
    Pattern(Pattern),
    /// `replication`: physical replication, which names no database.
    Replication,
    /// `samerole` or `samegroup`: the user is a member of the role named as the database.
    SameRole,
    /// `sameuser`: the database has the user's name.
    SameUser,
}

/// One value of the user field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum User {
    /// `all`: every user.
    All,
    /// `+role`: members of a role, directly or not; being superuser does not count.
    Member(String),
    /// A role by its name.
    Name(String),
    /// `/regex`, from version 16.
    Pattern(Pattern),
}

/// The address field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `all`: both families.
    All,
    /// A host name, or with a leading dot a suffix of host names. Case does not matter.
    Host(String),
    /// An address with a mask.
    Network(Network),
    /// `samehost`: the server's own addresses.
    SameHost,
    /// `samenet`: the networks the server is in.
    SameNet,
}

/// The position at which a rule was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The included file, or `None` for the one that was given.
    pub file: Option<String>,
    /// The first line, from 1; 0 for a rule that was not read.
    pub line: u32,
}

/// One rule (a record of `pg_hba.conf`). Equality ignores the place in the file.
#[derive(Clone, Debug, Eq)]
pub struct Rule {
    /// The type of connection.
    pub connection: ConnectionType,
    /// The databases, any of which matches.
    pub databases: Vec<Database>,
    /// The users, any of whom matches.
    pub users: Vec<User>,
    /// From where. [`Address::All`] for local connections.
    pub address: Address,
    /// The authentication method.
    pub method: Method,
    /// The options after the method, in order.
    pub settings: Vec<Setting>,
    /// The rule can match on this server: `hostssl` needs TLS to be on, `hostgssenc` a build with GSSAPI.
    pub possible: bool,
    /// The position in the file.
    pub origin: Origin,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.connection == other.connection
            && self.databases == other.databases
            && self.users == other.users
            && self.address == other.address
            && self.method == other.method
            && self.settings == other.settings
            && self.possible == other.possible
    }
}

impl Rule {
    /// A rule for local connections.
    #[must_use]
    pub fn local(database: Database, user: User, method: Method) -> Self {
        Self::new(ConnectionType::Local, database, user, Address::All, method)
    }

    /// A rule for TCP connections, with TLS or without.
    #[must_use]
    pub fn host(database: Database, user: User, address: Address, method: Method) -> Self {
        Self::new(ConnectionType::Host, database, user, address, method)
    }

    /// A rule of any type.
    #[must_use]
    pub fn new(
        connection: ConnectionType,
        database: Database,
        user: User,
        address: Address,
        method: Method,
    ) -> Self {
        Self {
            connection,
            databases: vec![database],
            users: vec![user],
            address,
            method,
            settings: Vec::new(),
            possible: true,
            origin: Origin::default(),
        }
    }

    /// Returns the outcome for a connection that matches, without the order and the repetition of options.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let mut settings = BTreeMap::new();
        for setting in &self.settings {
            settings.insert(setting.name, setting.meaning());
        }
        if self.method == Method::Cert {
            settings.insert("clientcert", "verify-full".to_owned());
        }
        if matches!(self.method, Method::Gss | Method::Sspi) {
            settings.entry("include_realm").or_insert_with(|| "1".to_owned());
        }
        if self.method == Method::Sspi {
            settings.entry("compat_realm").or_insert_with(|| "1".to_owned());
        }
        settings.retain(|name, value| !is_default(name, value));
        if self.method == Method::Reject {
            settings.clear();
        }
        Outcome { method: self.method, settings }
    }
}

fn is_default(name: &str, value: &str) -> bool {
    matches!(
        (name, value),
        ("clientcert", "off")
            | ("clientname", "CN")
            | ("pam_use_hostname" | "ldaptls" | "upn_username" | "delegate_ident_mapping", "0")
    )
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&rule_text(self))
    }
}

/// The outcome for a connection: a method and the options that count.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outcome {
    /// The method; [`Method::Reject`] also where no rule matches.
    pub method: Method,
    /// Options that differ from their defaults.
    pub settings: BTreeMap<&'static str, String>,
}

impl Outcome {
    pub(crate) fn denied() -> Self {
        Self { method: Method::Reject, settings: BTreeMap::new() }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.method)?;
        self.settings.iter().try_for_each(|(name, value)| write!(out, " {name}={value}"))
    }
}

/// Returns the rule as a line, with padded columns.
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
