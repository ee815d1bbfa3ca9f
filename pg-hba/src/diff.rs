//! Semantic comparison of rule lists: whether they decide every connection alike.

use crate::attempt::{Attempt, StaticEnvironment};
use crate::decide::decide;
use crate::rule::{Outcome, Rule};
use crate::space::{Cell, Undecidable, Visitor, walk};
use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;

/// Result of a comparison of two rule lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diff {
    /// Every connection is decided alike.
    Equal,
    /// Some connection is decided differently. Contains an example.
    Different(Box<CounterExample>),
    /// The comparison could not be completed, and no difference was found until then. Contains the reason.
    Undecided(Undecidable),
}

/// A connection that two rule lists decide differently. Displayed as a sentence with both outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterExample {
    /// The connection attempt. Names that the rules do not mention are invented.
    pub attempt: Attempt,
    /// Facts under which the decisions differ: memberships, interfaces and host names. Empty if they differ without
    /// any.
    pub environment: StaticEnvironment,
    /// The matching rule of the old list with its zero-based position. `None` if no rule matches.
    pub old: Option<(usize, Rule)>,
    /// The matching rule of the new list with its zero-based position. `None` if no rule matches.
    pub new: Option<(usize, Rule)>,
}

impl CounterExample {
    /// Returns the outcome of the old list: method and effective options.
    #[must_use]
    pub fn old_outcome(&self) -> Outcome {
        outcome(self.old.as_ref())
    }

    /// Returns the outcome of the new list: method and effective options.
    #[must_use]
    pub fn new_outcome(&self) -> Outcome {
        outcome(self.new.as_ref())
    }
}

/// Returns the outcome of a rule. Without one, [`Method::Reject`](crate::Method::Reject).
fn outcome(rule: Option<&(usize, Rule)>) -> Outcome {
    rule.map_or_else(Outcome::denied, |(_, rule)| rule.outcome())
}

impl fmt::Display for CounterExample {
    /// Formats the attempt, the assumed facts, and the outcome of each list (`… before, … after`).
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.attempt)?;
        for (member, role) in &self.environment.memberships {
            write!(out, ", {member:?} being a member of {role:?}")?;
        }
        for name in self.environment.host_names.values() {
            write!(out, ", its name being {name:?}")?;
        }
        for interface in &self.environment.interfaces {
            write!(out, ", the server having {interface}")?;
        }
        write!(out, ": {} before, {} after", self.old_outcome(), self.new_outcome())
    }
}

/// Compares two rule lists over all connections: transport, physical replication, address, database, role, memberships,
/// host names and the server's interfaces. Two decisions are equal if their [`Outcome`]s are, so that a matching
/// `reject` and the absence of a matching rule count as equal. Roles are assumed to exist.
///
/// ```
/// use pg_hba::{Diff, Document, Server, Version, diff};
/// let server = Server::new(Version::V18);
/// let rules = |text: &str| Document::parse(text, &server).rules();
/// let old = rules("host all all 10.0.0.0/8 scram-sha-256\n")?;
/// let halves = rules("host all all 10.0.0.0/9 scram-sha-256\nhost all all 10.128.0.0/9 scram-sha-256\n")?;
/// assert_eq!(diff(&old, &halves), Diff::Equal);
/// let open = rules("host all all 10.7.0.0/16 trust\nhost all all 10.0.0.0/8 scram-sha-256\n")?;
/// let Diff::Different(example) = diff(&old, &open) else { panic!() };
/// assert_eq!(example.attempt.address, Some("10.7.0.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn diff(old: &[Rule], new: &[Rule]) -> Diff {
    let rules: Vec<&Rule> = old.iter().chain(new).collect();
    let mut known: HashMap<Outcome, u32> = HashMap::from([(Outcome::denied(), 0)]);
    let outcomes = rules
        .iter()
        .map(|rule| {
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            *known.entry(rule.outcome()).or_insert(next)
        })
        .collect();
    let mut finder = Finder { rules: &rules, outcomes, found: None };
    let lists = [(0..old.len()).collect(), (old.len()..rules.len()).collect()];
    let walked = walk(&rules, &lists, &mut finder);
    match (finder.found, walked) {
        (Some(cell), _) => {
            let at = |rules: &[Rule]| {
                decide(rules, &cell.attempt, &cell.environment)
                    .rule
                    .map(|(index, rule)| (index, rule.clone()))
            };
            let (old, new) = (at(old), at(new));
            Diff::Different(Box::new(CounterExample {
                attempt: cell.attempt,
                environment: cell.environment,
                old,
                new,
            }))
        }
        (None, Ok(())) => Diff::Equal,
        (None, Err(why)) => Diff::Undecided(why),
    }
}

/// Visitor that searches for a cell in which the first rules of two lists have different outcomes.
struct Finder<'f> {
    rules: &'f [&'f Rule],
    outcomes: Vec<u32>,
    found: Option<Cell>,
}

impl Finder<'_> {
    /// Returns `true` if two rules, by index, have the same outcome, databases and users.
    fn same(&self, one: usize, other: usize) -> bool {
        let (a, b) = (self.rules[one], self.rules[other]);
        self.outcomes[one] == self.outcomes[other] && a.databases == b.databases && a.users == b.users
    }
}

impl Visitor for Finder<'_> {
    fn key(&self, rule: usize) -> u32 {
        self.outcomes[rule]
    }

    fn skip(&self, lists: &[Vec<usize>]) -> bool {
        let [old, new] = lists else { return false };
        // One outcome everywhere, or the same rules in the same order, cannot differ.
        let only = |list: &Vec<usize>| list.iter().all(|&rule| self.outcomes[rule] == 0);
        (only(old) && only(new))
            || (old.len() == new.len() && old.iter().zip(new).all(|(&one, &other)| self.same(one, other)))
    }

    fn visit(&mut self, firsts: &[Option<usize>], cell: &Cell) -> ControlFlow<()> {
        let outcome = |first: Option<usize>| first.map_or(0, |rule| self.outcomes[rule]);
        if outcome(firsts[0]) == outcome(firsts[1]) {
            return ControlFlow::Continue(());
        }
        self.found = Some(cell.clone());
        ControlFlow::Break(())
    }
}
