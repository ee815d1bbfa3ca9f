//! The server's decision: the first matching rule, as `check_hba` in hba.c finds it.

use crate::attempt::{Attempt, Environment, Replication, Transport};
use crate::connection::ConnectionType;
use crate::method::Method;
use crate::rule::{Address, Database, Outcome, Rule, User};
use std::fmt;

/// The server's decision about a connection attempt: the first matching rule and the method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'r> {
    /// Authentication method of the rule. [`Method::Reject`] if no rule matches.
    pub method: Method,
    /// The matching rule with its zero-based position. `None` if no rule matches.
    pub rule: Option<(usize, &'r Rule)>,
    /// Reason for the decision, with the rules that were passed over.
    pub why: DecisionReason,
}

impl Decision<'_> {
    /// Returns the method with its effective options. A missing rule gives [`Method::Reject`] without options.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.rule.map_or_else(Outcome::denied, |(_, rule)| rule.outcome())
    }
}

/// The reason why a connection is accepted or rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecisionReason {
    /// A rule matches. Contains the mismatch of each earlier rule, in order, so that its length is the position of the
    /// rule.
    Matched(Vec<Mismatch>),
    /// No rule matches, so that the connection is rejected. Contains the mismatch of each rule, in order.
    NoRule(Vec<Mismatch>),
}

impl DecisionReason {
    /// Returns the mismatch of each rule that was passed over, in order.
    #[must_use]
    pub fn passed_over(&self) -> &[Mismatch] {
        match self {
            Self::Matched(passed) | Self::NoRule(passed) => passed,
        }
    }
}

/// The first field of a rule that an attempt does not match, in the order in which the server compares them. Displayed
/// as a phrase in English.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mismatch {
    /// The rule cannot match on this server, as `hostssl` with TLS off.
    Impossible,
    /// The connection type requires another transport or another encryption.
    ConnectionType,
    /// The client's address or host name does not match, or an attempt over TCP has no address.
    Address,
    /// No value of the database field matches.
    Database,
    /// No value of the user field matches.
    User,
}

impl fmt::Display for Mismatch {
    /// Formats as a phrase such as `the database is another`. Honours width and alignment.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Impossible => "it cannot match on this server",
            Self::ConnectionType => "its connection type differs",
            Self::Address => "the address is outside",
            Self::Database => "the database is another",
            Self::User => "the user is another",
        })
    }
}

/// Decides a connection attempt by the first matching rule. Without one, the method is [`Method::Reject`].
///
/// ```
/// use pg_hba::{Attempt, Document, Method, EmptyEnvironment, Server, Version, decide};
/// let text = "local all postgres peer\nhost all all 100.64.0.0/10 trust\n";
/// let rules = Document::parse(text, &Server::new(Version::V18)).rules()?;
/// let attempt = Attempt::tcp("app", "app", "100.64.3.4".parse()?);
/// let decision = decide(&rules, &attempt, &EmptyEnvironment);
/// assert_eq!((decision.method, decision.rule.map(|(at, _)| at)), (Method::Trust, Some(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn decide<'r>(rules: &'r [Rule], attempt: &Attempt, environment: &dyn Environment) -> Decision<'r> {
    let mut passed = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        match rule.mismatch(attempt, environment) {
            None => {
                return Decision {
                    method: rule.method,
                    rule: Some((index, rule)),
                    why: DecisionReason::Matched(passed),
                };
            }
            Some(mismatch) => passed.push(mismatch),
        }
    }
    Decision { method: Method::Reject, rule: None, why: DecisionReason::NoRule(passed) }
}

impl Rule {
    /// Returns the first field of the rule that an attempt does not match, in the order of [`Mismatch`]. `None` if the
    /// rule matches.
    #[must_use]
    pub fn mismatch(&self, attempt: &Attempt, environment: &dyn Environment) -> Option<Mismatch> {
        if !self.possible {
            return Some(Mismatch::Impossible);
        }
        if !self.connection.admits(attempt.transport) {
            return Some(Mismatch::ConnectionType);
        }
        if !self.covers_client(attempt, environment) {
            return Some(Mismatch::Address);
        }
        if !self.databases.iter().any(|database| database.matches(attempt, environment)) {
            return Some(Mismatch::Database);
        }
        if !self.users.iter().any(|user| user.matches(&attempt.user, environment)) {
            return Some(Mismatch::User);
        }
        None
    }

    /// Returns `true` if the rule is for the Unix-domain socket, or if its address field matches the client's address
    /// or, for a host name, the name that `environment` gives for it. `false` for a TCP rule if the attempt has no
    /// address.
    pub(crate) fn covers_client(&self, attempt: &Attempt, environment: &dyn Environment) -> bool {
        if self.connection == ConnectionType::Local {
            return true;
        }
        let Some(client) = attempt.address else { return false };
        match &self.address {
            Address::All => true,
            Address::Network(network) => network.contains(client),
            Address::Host(name) => {
                environment.host_name(client).is_some_and(|found| host_matches(name, &found))
            }
            Address::SameHost => environment.is_own_address(client),
            Address::SameNet => environment.is_own_network(client),
        }
    }
}

impl ConnectionType {
    /// Returns `true` if records of this type match connections over a transport.
    pub(crate) fn admits(self, transport: Transport) -> bool {
        match self {
            Self::Local => transport == Transport::Socket,
            Self::Host => transport != Transport::Socket,
            Self::HostSsl => transport == Transport::Tls,
            Self::HostNoSsl => matches!(transport, Transport::Plain | Transport::Gss),
            Self::HostGssEnc => transport == Transport::Gss,
            Self::HostNoGssEnc => matches!(transport, Transport::Plain | Transport::Tls),
        }
    }
}

impl Database {
    /// Returns `true` if this value matches the database of an attempt. Physical replication matches `replication`
    /// only, which matches nothing else.
    pub(crate) fn matches(&self, attempt: &Attempt, environment: &dyn Environment) -> bool {
        if attempt.replication == Replication::Physical {
            return *self == Self::Replication;
        }
        match self {
            Self::All => true,
            Self::Name(name) => *name == attempt.database,
            Self::Pattern(pattern) => pattern.is_match(&attempt.database),
            Self::Replication => false,
            Self::SameRole => environment.is_member(&attempt.user, &attempt.database),
            Self::SameUser => attempt.user == attempt.database,
        }
    }
}

impl User {
    /// Returns `true` if this value matches a role.
    pub(crate) fn matches(&self, user: &str, environment: &dyn Environment) -> bool {
        match self {
            Self::All => true,
            Self::Member(role) => environment.is_member(user, role),
            Self::Name(name) => name == user,
            Self::Pattern(pattern) => pattern.is_match(user),
        }
    }
}

/// Returns `true` if the name of a client matches the host name of a rule, as `hostname_match` compares them: a pattern
/// with a leading dot matches every name that ends in it, any other pattern the equal name. ASCII case is ignored.
pub(crate) fn host_matches(pattern: &str, name: &str) -> bool {
    if pattern.starts_with('.') {
        let from = name.len().checked_sub(pattern.len());
        return from.is_some_and(|from| name.as_bytes()[from..].eq_ignore_ascii_case(pattern.as_bytes()));
    }
    pattern.eq_ignore_ascii_case(name)
}
