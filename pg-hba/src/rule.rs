//! Rules: the records of a file, by their meaning.

use crate::address::Network;
use crate::connection::ConnectionType;
use crate::method::{Method, Setting};
use crate::regex::Pattern;
use crate::token::quote;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// A value of the database field. A field matches if one of its values does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Database {
    /// `all`: every database, but not physical replication.
    All,
    /// A database by its exact name.
    Name(String),
    /// `/regex`: databases whose names match a regular expression (from version 16).
    Pattern(Pattern),
    /// `replication`: physical replication, which names no database.
    Replication,
    /// `samerole` or `samegroup`: the role is a member of the role that has the database's name.
    SameRole,
    /// `sameuser`: the role has the database's name.
    SameUser,
}

/// A value of the user field. A field matches if one of its values does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum User {
    /// `all`: every role.
    All,
    /// `+role`: the role itself, and its direct and indirect members. The attribute SUPERUSER does not count.
    Member(String),
    /// A role by its exact name.
    Name(String),
    /// `/regex`: roles whose names match a regular expression (from version 16).
    Pattern(Pattern),
}

/// The client addresses for which a rule matches: the address field of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `all`: every IPv4 and IPv6 address.
    All,
    /// A host name or, with a leading dot, a suffix of host names. Compared without regard to ASCII case.
    Host(String),
    /// An IP address with a mask.
    Network(Network),
    /// `samehost`: the addresses of the server's interfaces.
    SameHost,
    /// `samenet`: the subnets of the server's interfaces.
    SameNet,
}

/// Position in a file from which a record was parsed. The default value stands for a rule made in code, which has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Path of the included file that contains the record, resolved against the folder of the including file. `None` for
    /// the parsed file itself, and for a rule made in code.
    pub file: Option<String>,
    /// Number of the first physical line, from 1. 0 for a rule made in code.
    pub line: u32,
}

/// One rule (a record of `pg_hba.conf`). Equality ignores the position in the file. Displayed as a line with padded
/// columns.
#[derive(Clone, Debug, Eq)]
pub struct Rule {
    /// Connection type of the rule.
    pub connection: ConnectionType,
    /// Databases, any of which matches.
    pub databases: Vec<Database>,
    /// Roles, any of which matches.
    pub users: Vec<User>,
    /// Client addresses. [`Address::All`] in `local` records, which have none.
    pub address: Address,
    /// Authentication method of the rule.
    pub method: Method,
    /// Options of the method, in the order of the line; repeated ones included.
    pub settings: Vec<Setting>,
    /// Whether the rule can match on the server for which it was read: `hostssl` requires TLS to be on, `hostgssenc` a
    /// build with GSSAPI. `true` for a rule made in code.
    pub possible: bool,
    /// Position in the file, which equality ignores.
    pub origin: Origin,
}

impl PartialEq for Rule {
    /// Compares all fields except the position.
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
    /// Creates a rule for the Unix-domain socket, with one database, one role and no options.
    #[must_use]
    pub fn local(database: Database, user: User, method: Method) -> Self {
        Self::new(ConnectionType::Local, database, user, Address::All, method)
    }

    /// Creates a rule for TCP connections, encrypted or not, with one database, one role and no options.
    #[must_use]
    pub fn host(database: Database, user: User, address: Address, method: Method) -> Self {
        Self::new(ConnectionType::Host, database, user, address, method)
    }

    /// Creates a rule of any connection type, with one database, one role and no options. Combinations that the server
    /// rejects are not detected.
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

    /// Returns the outcome for a matching connection: the method with its effective options, independent of their
    /// order; of a repeated option, the last value counts. Implied options are added (`clientcert=verify-full` for
    /// `cert`, `include_realm=1` for `gss` and `sspi`, `compat_realm=1` for `sspi`) and defaults removed. Options of
    /// `reject` have no effect.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let mut settings = BTreeMap::new();
        for setting in &self.settings {
            settings.insert(setting.name.clone(), setting.meaning());
        }
        if self.method == Method::Cert {
            settings.insert("clientcert".into(), "verify-full".to_owned());
        }
        if matches!(self.method, Method::Gss | Method::Sspi) {
            settings.entry("include_realm".into()).or_insert_with(|| "1".to_owned());
        }
        if self.method == Method::Sspi {
            settings.entry("compat_realm".into()).or_insert_with(|| "1".to_owned());
        }
        settings.retain(|name, value| !is_default(name, value));
        if self.method == Method::Reject {
            settings.clear();
        }
        Outcome { method: self.method, settings }
    }
}

/// Returns `true` if an option has its default value: `clientcert` `off`, `clientname` `CN`, and `pam_use_hostname`,
/// `ldaptls`, `upn_username` and `delegate_ident_mapping` `0`. `false` for all other options.
fn is_default(name: &str, value: &str) -> bool {
    matches!(
        (name, value),
        ("clientcert", "off")
            | ("clientname", "CN")
            | ("pam_use_hostname" | "ldaptls" | "upn_username" | "delegate_ident_mapping", "0")
    )
}

impl fmt::Display for Rule {
    /// Formats as a line of the file, without a line feed.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&rule_text(self))
    }
}

/// Outcome for a connection: the method and the effective options. With equal outcomes the server authenticates alike;
/// with different ones it may, since `ldapurl` is not replaced by the options that it stands for. Displayed as in the
/// file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outcome {
    /// Authentication method. [`Method::Reject`] also if no rule matches.
    pub method: Method,
    /// Effective options by name, as [`Rule::outcome`] returns them: with those that the method implies, without those
    /// that have their default value. Empty for `reject`.
    pub settings: BTreeMap<Cow<'static, str>, String>,
}

impl Outcome {
    /// Returns the outcome of a connection that no rule matches, which equals that of `reject`.
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

/// Returns the rule as a line with padded columns, without a line feed. Values are quoted where necessary.
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

/// Returns a value of the database field as written in the file. A name that is a keyword is quoted.
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

/// Returns a value of the user field as written in the file. The name `all` is quoted.
pub(crate) fn user_text(user: &User) -> String {
    match user {
        User::All => "all".to_owned(),
        // A quote before the plus would make it a part of the name, so it follows the plus.
        User::Member(role) => format!("+\"{}\"", role.replace('"', "\"\"")),
        User::Name(name) => quote(name, name != "all"),
        User::Pattern(pattern) => format!("\"/{}\"", pattern.as_str().replace('"', "\"\"")),
    }
}

/// Returns the address field as written in the file.
pub(crate) fn address_text(address: &Address) -> String {
    match address {
        Address::All => "all".to_owned(),
        Address::Host(name) => quote(name, !matches!(&**name, "all" | "samehost" | "samenet")),
        Address::Network(network) => network.to_string(),
        Address::SameHost => "samehost".to_owned(),
        Address::SameNet => "samenet".to_owned(),
    }
}
