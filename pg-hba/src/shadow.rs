//! Shadowed rules: those that never decide a connection.

use crate::connection::ConnectionType;
use crate::rule::{Address, Database, Rule, User};
use crate::space::{Cell, Undecidable, Visitor, walk};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// A rule that never decides a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowedRule {
    /// Zero-based position of the rule.
    pub rule: usize,
    /// Zero-based positions of earlier rules that together decide all connections that the rule matches, ascending.
    /// Empty if the rule cannot match at all.
    pub by: Vec<usize>,
}

/// Returns exactly the rules that are not the first match of any connection, in order, each with the rules that shadow
/// it.
///
/// # Errors
/// Returns [`Undecidable`] if the rules have too many combinations or contain a pattern that cannot be analysed.
pub fn shadowed_rules(rules: &[Rule]) -> Result<Vec<ShadowedRule>, Undecidable> {
    let all: Vec<&Rule> = rules.iter().collect();
    let mut reached = ReachableRules { reached: vec![false; rules.len()] };
    walk(&all, &[(0..rules.len()).collect()], &mut reached)?;
    let dead = reached.reached.iter().enumerate().filter(|(_, reached)| !**reached).map(|(rule, _)| rule);
    dead.map(|rule| Ok(ShadowedRule { rule, by: shadowing_rules(&all, rule)? })).collect()
}

/// Returns the positions of earlier rules that decide the connections of the rule `dead`, ascending. Only the first
/// rule that may match one of them, if it evidently matches all. Empty if no earlier rule may.
///
/// # Errors
/// Returns [`Undecidable`] if these rules cannot be analysed.
fn shadowing_rules(all: &[&Rule], dead: usize) -> Result<Vec<usize>, Undecidable> {
    // Only rules that may share a connection with it matter. If the first of them covers it, that rule decides
    // everything.
    let mut meeting = (0..dead).filter(|&rule| may_meet(all[rule], all[dead]));
    let Some(first) = meeting.next() else { return Ok(Vec::new()) };
    if covers(all[first], all[dead]) {
        return Ok(vec![first]);
    }
    let near: Vec<usize> = [first].into_iter().chain(meeting).chain([dead]).collect();
    let rules: Vec<&Rule> = near.iter().map(|&rule| all[rule]).collect();
    let last = rules.len() - 1;
    let mut shadowing = ShadowingRules { last, found: BTreeSet::new() };
    walk(&rules, &[(0..last).collect(), vec![last]], &mut shadowing)?;
    Ok(shadowing.found.into_iter().map(|rule| near[rule]).collect())
}

/// Returns `true` if `one` evidently matches every connection that `other` matches. May be `false` for a rule that
/// does.
fn covers(one: &Rule, other: &Rule) -> bool {
    let connections = one.connection == other.connection
        || (one.connection == ConnectionType::Host && other.connection != ConnectionType::Local);
    let addresses = match (&one.address, &other.address) {
        (Address::All, _) => true,
        (Address::Network(a), Address::Network(b)) => a.covers(b),
        (a, b) => a == b,
    };
    let replicates = other.databases.contains(&Database::Replication);
    let databases = (one.databases.contains(&Database::All) && !replicates)
        || other.databases.iter().all(|database| one.databases.contains(database));
    let users = one.users.contains(&User::All) || other.users.iter().all(|user| one.users.contains(user));
    one.possible && connections && addresses && databases && users
}

/// Returns `true` if two rules may match the same connection. May be `true` for rules that do not.
fn may_meet(one: &Rule, other: &Rule) -> bool {
    let local = |rule: &Rule| rule.connection == ConnectionType::Local;
    let networks = match (&one.address, &other.address) {
        (Address::Network(a), Address::Network(b)) => a.may_meet(b),
        _ => true,
    };
    let databases = match (&one.databases[..], &other.databases[..]) {
        ([Database::Name(a)], [Database::Name(b)]) => a == b,
        _ => true,
    };
    let users = match (&one.users[..], &other.users[..]) {
        ([User::Name(a)], [User::Name(b)]) => a == b,
        _ => true,
    };
    one.possible && local(one) == local(other) && networks && databases && users
}

/// Visitor that records the rules that decide some cell.
struct ReachableRules {
    reached: Vec<bool>,
}

/// Returns the class of a rule, which differs from that of every other rule.
fn number(rule: usize) -> u32 {
    u32::try_from(rule).unwrap_or(u32::MAX)
}

impl Visitor for ReachableRules {
    fn key(&self, rule: usize) -> u32 {
        number(rule)
    }

    fn skip(&self, lists: &[Vec<usize>]) -> bool {
        lists[0].iter().all(|&rule| self.reached[rule])
    }

    fn visit(&mut self, firsts: &[Option<usize>], _: &Cell) -> ControlFlow<()> {
        if let Some(rule) = firsts[0] {
            self.reached[rule] = true;
        }
        ControlFlow::Continue(())
    }
}

/// Visitor that records the rules that precede the rule `last` in some cell that it matches.
struct ShadowingRules {
    last: usize,
    found: BTreeSet<usize>,
}

impl Visitor for ShadowingRules {
    fn key(&self, rule: usize) -> u32 {
        number(rule)
    }

    fn skip(&self, lists: &[Vec<usize>]) -> bool {
        !lists[1].contains(&self.last) || lists[0].iter().all(|rule| self.found.contains(rule))
    }

    fn visit(&mut self, firsts: &[Option<usize>], _: &Cell) -> ControlFlow<()> {
        if let [Some(first), Some(_)] = firsts {
            self.found.insert(*first);
        }
        ControlFlow::Continue(())
    }
}
