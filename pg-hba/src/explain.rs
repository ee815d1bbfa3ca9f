//! Decisions with incomplete knowledge: the rules that could decide a connection, and the facts on which each depends.

use crate::address::Network;
use crate::attempt::{Attempt, Environment};
use crate::decide::Mismatch;
use crate::rule::{Address, Outcome, Rule};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Facts about a server and a client, each of which may be unknown. By default, all are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// All roles of which the connecting role is a direct or indirect member. `None` if unknown; every role is a member
    /// of itself.
    pub member_of: Option<BTreeSet<String>>,
    /// Addresses of the server's interfaces with their netmasks. `None` if unknown. Loopback always counts as one of
    /// them.
    pub interfaces: Option<Vec<Network>>,
    /// Confirmed host name of the client's address. `None` if unknown, `Some(None)` if the address has no name.
    pub client_name: Option<Option<String>>,
}

/// An unknown fact on which a rule depends. Displayed as a phrase in English.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dependency {
    /// The client's host name matches this pattern, a name or a suffix with a leading dot.
    ClientName(String),
    /// The connecting role is a direct or indirect member of this role.
    Membership(String),
    /// The client's address is one of the server's own (`samehost`).
    OwnAddress,
    /// The client's address is in a subnet of the server (`samenet`).
    OwnNetwork,
}

impl fmt::Display for Dependency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientName(name) => write!(out, "the client's name is {name}"),
            Self::Membership(role) => write!(out, "the user is a member of {role}"),
            Self::OwnAddress => out.write_str("the client's address is the server's own"),
            Self::OwnNetwork => out.write_str("the client's address is in a network of the server"),
        }
    }
}

/// A rule that may decide a connection, or the rejection after the last one. A rule that different facts make match,
/// such as `+a,+b`, is listed for each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Possibility<'r> {
    /// The rule with its zero-based position. `None` stands for no matching rule.
    pub rule: Option<(usize, &'r Rule)>,
    /// Unknown facts that must all hold for the rule to match. Empty for the last possibility, which needs none.
    pub if_all: Vec<Dependency>,
}

impl Possibility<'_> {
    /// Returns the outcome if this rule decides. Without a rule, [`Method::Reject`](crate::Method::Reject).
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.rule.map_or_else(Outcome::denied, |(_, rule)| rule.outcome())
    }
}

/// The rules that may decide a connection attempt, depending on unknown facts, and the rules that cannot match it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'r> {
    /// Rules that may decide, in order; never empty. The first one whose facts hold decides. The last one always
    /// applies.
    pub possible: Vec<Possibility<'r>>,
    /// Zero-based positions of the rules that cannot match, each with its mismatch. Rules after the last possibility
    /// are not examined.
    pub passed_over: Vec<(usize, Mismatch)>,
}

impl Explanation<'_> {
    /// Returns the outcome if it is the same for all possibilities. `None` if it depends on unknown facts.
    #[must_use]
    pub fn certain(&self) -> Option<Outcome> {
        let first = self.possible.first()?.outcome();
        self.possible.iter().all(|possibility| possibility.outcome() == first).then_some(first)
    }

    /// Returns the unknown facts on which the outcome depends, sorted. Empty if the outcome is certain.
    #[must_use]
    pub fn depends_on(&self) -> BTreeSet<&Dependency> {
        if self.certain().is_some() {
            return BTreeSet::new();
        }
        self.possible.iter().flat_map(|possibility| &possibility.if_all).collect()
    }
}

/// Determines the rules that may decide a connection attempt. If a rule depends on an unknown fact, both cases are
/// considered.
///
/// ```
/// use pg_hba::{Attempt, Document, Knowledge, Server, Version, explain};
/// let text = "host all all .example.com trust\nhost all all all scram-sha-256\n";
/// let rules = Document::parse(text, &Server::new(Version::V18)).rules()?;
/// let attempt = Attempt::tcp("app", "app", "192.0.2.7".parse()?);
/// let unknown = explain(&rules, &attempt, &Knowledge::default());
/// assert_eq!((unknown.possible.len(), unknown.certain()), (2, None));
/// let named = Knowledge { client_name: Some(Some("db.example.com".to_owned())), ..Knowledge::default() };
/// assert_eq!(explain(&rules, &attempt, &named).possible.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn explain<'r>(rules: &'r [Rule], attempt: &Attempt, knowledge: &Knowledge) -> Explanation<'r> {
    let mut out = Explanation { possible: Vec::new(), passed_over: Vec::new() };
    for (at, rule) in rules.iter().enumerate() {
        let assume =
            |holds| AssumedEnvironment { knowledge, attempt, rule, holds, asked: RefCell::default() };
        // A fact that holds can only make more rules match, so the two extremes suffice.
        let best = assume(true);
        if let Some(mismatch) = rule.mismatch(attempt, &best) {
            out.passed_over.push((at, mismatch));
            continue;
        }
        if rule.mismatch(attempt, &assume(false)).is_none() {
            out.possible.push(Possibility { rule: Some((at, rule)), if_all: Vec::new() });
            return out;
        }
        let address = facts(best, |world| rule.covers_client(attempt, world)).unwrap_or_default();
        let ask = |matches: &dyn Fn(&AssumedEnvironment<'_>) -> bool| facts(assume(true), matches);
        let databases =
            alternatives(rule.databases.iter().filter_map(|one| ask(&|world| one.matches(attempt, world))));
        let users =
            alternatives(rule.users.iter().filter_map(|one| ask(&|world| one.matches(&attempt.user, world))));
        let mut seen = BTreeSet::new();
        for database in &databases {
            for user in &users {
                let if_all: Vec<Dependency> = {
                    let facts: BTreeSet<&Dependency> = address.iter().chain(database).chain(user).collect();
                    facts.into_iter().cloned().collect()
                };
                if seen.insert(if_all.clone()) {
                    out.possible.push(Possibility { rule: Some((at, rule)), if_all });
                }
            }
        }
    }
    out.possible.push(Possibility { rule: None, if_all: Vec::new() });
    out
}

/// Returns the unknown facts that `matches` queries in `world`, in which all of them hold. `None` if `matches` is
/// `false` even so.
fn facts(
    world: AssumedEnvironment<'_>,
    matches: impl Fn(&AssumedEnvironment<'_>) -> bool,
) -> Option<BTreeSet<Dependency>> {
    world.asked.borrow_mut().clear();
    matches(&world).then(|| world.asked.into_inner())
}

/// Returns the different sets of facts by which some value of a field matches. If a value matches without any fact,
/// returns only the empty set.
fn alternatives(values: impl Iterator<Item = BTreeSet<Dependency>>) -> BTreeSet<BTreeSet<Dependency>> {
    let mut found = BTreeSet::new();
    for facts in values {
        if facts.is_empty() {
            return BTreeSet::from([facts]);
        }
        found.insert(facts);
    }
    found
}

/// An [`Environment`] for one rule in which every unknown fact holds, or none does, and which records the queried
/// unknown facts.
struct AssumedEnvironment<'a> {
    knowledge: &'a Knowledge,
    attempt: &'a Attempt,
    rule: &'a Rule,
    holds: bool,
    asked: RefCell<BTreeSet<Dependency>>,
}

impl AssumedEnvironment<'_> {
    /// Records an unknown fact, and returns the assumption about it.
    fn unknown(&self, fact: Dependency) -> bool {
        self.asked.borrow_mut().insert(fact);
        self.holds
    }
}

impl Environment for AssumedEnvironment<'_> {
    fn is_member(&self, user: &str, role: &str) -> bool {
        user == role
            || match &self.knowledge.member_of {
                Some(roles) => user == self.attempt.user && roles.contains(role),
                None => self.unknown(Dependency::Membership(role.to_owned())),
            }
    }

    fn is_own_address(&self, address: IpAddr) -> bool {
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        loopback.contains(&address)
            || match &self.knowledge.interfaces {
                Some(interfaces) => interfaces.iter().any(|interface| interface.address() == address),
                None => self.unknown(Dependency::OwnAddress),
            }
    }

    fn is_own_network(&self, address: IpAddr) -> bool {
        address.is_loopback()
            || match &self.knowledge.interfaces {
                Some(interfaces) => interfaces.iter().any(|interface| interface.contains(address)),
                None => self.unknown(Dependency::OwnNetwork),
            }
    }

    /// Returns the known name, or, if the name is unknown and assumed, one that matches the rule's pattern.
    fn host_name(&self, _: IpAddr) -> Option<String> {
        match (&self.knowledge.client_name, &self.rule.address) {
            (Some(name), _) => name.clone(),
            (None, Address::Host(pattern)) => {
                let fits = if pattern.starts_with('.') { format!("host{pattern}") } else { pattern.clone() };
                self.unknown(Dependency::ClientName(pattern.clone())).then_some(fits)
            }
            (None, _) => None,
        }
    }
}
