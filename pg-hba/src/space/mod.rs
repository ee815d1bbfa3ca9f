//! The space of all connections, divided into cells that no rule distinguishes.
//!
//! The dimensions are transport, replication, address, the facts behind `samehost`, `samenet` and host names, database,
//! user, and memberships of roles. They are divided one after another; each division keeps only the rules that still
//! apply, and stops as soon as the remaining combination has been visited. The work thus depends on the rules, not on
//! the product of the dimensions.

mod addresses;
mod names;

use crate::attempt::{Attempt, Replication, StaticEnvironment, Transport};
use crate::decide::host_matches;
use crate::rule::{Address, Database, Rule, User};
use names::NameClasses;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::ControlFlow;
use thiserror::Error;

/// Reason why a question about all connections cannot be answered.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undecidable {
    /// A regular expression has back references or lookaround, for which there is no finite automaton. Contains its
    /// text without the slash.
    #[error("the regular expression {0:?} has back references or lookaround, which cannot be reasoned about")]
    Pattern(String),
    /// The number of combinations exceeds the limit: 5,000,000 cells, 2,000,000 nodes of addresses, or 25,000,000 steps
    /// of automata.
    #[error("the rules can be combined in too many ways")]
    TooComplex,
}

/// A visitor of the cells of some lists of rules.
pub(crate) trait Visitor {
    /// Returns the class of a rule. The visitor does not distinguish rules of the same class and the same names.
    fn key(&self, rule: usize) -> u32;
    /// Returns `true` if cells that are decided by these rules alone need not be visited.
    fn skip(&self, lists: &[Vec<usize>]) -> bool;
    /// Visits one cell. `firsts` has, for each list, the index of the first rule that matches, `None` without one;
    /// `cell` is a connection of the cell. Returns [`ControlFlow::Break`] to end the walk.
    fn visit(&mut self, firsts: &[Option<usize>], cell: &Cell) -> ControlFlow<()>;
}

/// A connection, and the facts under which it is in its cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) attempt: Attempt,
    pub(crate) environment: StaticEnvironment,
}

/// Maximum number of steps of enumerating memberships, thus of cells that are visited.
const MAX_CELLS: usize = 5_000_000;

/// Visits the cells of `lists` until the visitor ends the walk. Each list contains positions in `rules`, in ascending
/// order. Combinations that the visitor skips, or that have been visited for the same rules, are left out.
///
/// # Errors
/// Returns [`Undecidable`] if there are too many cells, or a pattern cannot be analysed.
pub(crate) fn walk(
    rules: &[&Rule],
    lists: &[Vec<usize>],
    visitor: &mut dyn Visitor,
) -> Result<(), Undecidable> {
    let universe = NameClasses::of(rules)?;
    let mut specs: HashMap<(&[Database], &[User]), u32> = HashMap::new();
    let spec = rules
        .iter()
        .map(|rule| {
            let next = u32::try_from(specs.len()).unwrap_or(u32::MAX);
            *specs.entry((&rule.databases, &rule.users)).or_insert(next)
        })
        .collect();
    let mut walk = CellEnumerator { rules, universe, spec, visitor, seen: HashSet::new(), cells: 0 };
    match walk.transports(lists) {
        Err(EnumerationEnd::Undecided(why)) => Err(why),
        Ok(()) | Err(EnumerationEnd::Done) => Ok(()),
    }
}

/// Reason for ending the enumeration before its end: by the visitor, or since a limit is exceeded.
enum EnumerationEnd {
    Done,
    Undecided(Undecidable),
}

/// Result of enumerating cells. [`EnumerationEnd::Done`] is not an error of the walk.
type EnumerationResult = Result<(), EnumerationEnd>;
/// Positions of rules that may still match, for each list.
type Lists = Vec<Vec<usize>>;
/// A list of rules, each by the class of its databases and users, and by the visitor's [`key`](Visitor::key).
type Keys = Vec<(u32, u32)>;

/// State of the walk. `spec` has the class of databases and users of each rule; `seen` the combinations of physical
/// replication and keys that have been visited.
struct CellEnumerator<'w> {
    rules: &'w [&'w Rule],
    universe: NameClasses,
    spec: Vec<u32>,
    visitor: &'w mut dyn Visitor,
    seen: HashSet<(bool, Vec<Keys>)>,
    cells: usize,
}

/// Memberships that a rule needs once the names are known: one role of each of these lists. Empty if it matches.
type Clauses = Vec<Vec<String>>;

impl CellEnumerator<'_> {
    /// Divides by transport and by physical replication, and keeps the rules that may match.
    fn transports(&mut self, lists: &[Vec<usize>]) -> EnumerationResult {
        for transport in [Transport::Socket, Transport::Tls, Transport::Plain, Transport::Gss] {
            for replication in [Replication::None, Replication::Physical] {
                let physical = replication == Replication::Physical;
                let lists = filter(lists, |rule| {
                    let rule = self.rules[rule];
                    let database = |database: &Database| (*database == Database::Replication) == physical;
                    rule.possible && rule.connection.admits(transport) && rule.databases.iter().any(database)
                });
                let attempt = Attempt { transport, replication, ..Attempt::local("", "") };
                let cell = Cell { attempt, environment: StaticEnvironment::default() };
                if transport == Transport::Socket {
                    self.names(&lists, &cell)?;
                } else {
                    self.addresses(&lists, &cell)?;
                }
            }
        }
        Ok(())
    }

    /// Divides the cell by the client address, according to the address fields of the rules in `lists`. No effect if no
    /// list has a rule.
    fn addresses(&mut self, lists: &Lists, cell: &Cell) -> EnumerationResult {
        if lists.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let networks: Vec<_> = lists
            .iter()
            .flatten()
            .filter_map(|&rule| match &self.rules[rule].address {
                Address::Network(network) => Some(*network),
                _ => None,
            })
            .collect();
        let split: Vec<NetworkPartition> = lists.iter().map(|list| self.by_address(list, cell)).collect();
        for leaf in addresses::sample_addresses(&networks).map_err(EnumerationEnd::Undecided)? {
            let lists: Lists = split.iter().map(|list| list.at(&leaf.inside)).collect();
            let mut cell = cell.clone();
            cell.attempt.address = Some(leaf.address);
            self.own_networks(&lists, &cell, leaf.address)?;
        }
        Ok(())
    }

    /// Groups rules by their networks, without those that are hidden by an earlier rule for every address.
    fn by_address(&self, list: &[usize], cell: &Cell) -> NetworkPartition {
        let physical = cell.attempt.replication == Replication::Physical;
        let mut out = NetworkPartition { elsewhere: Vec::new(), networks: HashMap::new() };
        let mut seen = HashSet::new();
        for &rule in list {
            match &self.rules[rule].address {
                Address::Network(network) => {
                    if !seen.contains(&self.spec[rule]) {
                        out.networks.entry(addresses::side(network)).or_default().push(rule);
                    }
                }
                Address::All => {
                    if seen.insert(self.spec[rule]) {
                        out.elsewhere.push(rule);
                        if is_for_everybody(self.rules[rule], physical) {
                            break;
                        }
                    }
                }
                Address::Host(_) | Address::SameHost | Address::SameNet => out.elsewhere.push(rule),
            }
        }
        out
    }

    /// Divides by whether the client's address is in a subnet of the server or is one of its addresses, if a rule
    /// depends on it.
    fn own_networks(&mut self, lists: &Lists, cell: &Cell, client: IpAddr) -> EnumerationResult {
        let mentions = |address: &Address| matches!(address, Address::SameHost | Address::SameNet);
        if !lists.iter().flatten().any(|&rule| mentions(&self.rules[rule].address)) {
            return self.host_names(lists, cell, client);
        }
        for (host, net) in [(false, false), (false, true), (true, true)] {
            let lists = filter(lists, |rule| match &self.rules[rule].address {
                Address::SameHost => host,
                Address::SameNet => net,
                _ => true,
            });
            let mut cell = cell.clone();
            if host {
                cell.environment.interfaces.push(client.into());
            } else if net {
                cell.environment.interfaces.extend(addresses::neighbour(client));
            }
            self.host_names(&lists, &cell, client)?;
        }
        Ok(())
    }

    /// Divides by the host name of the client: none, each name in a rule, and another name for each suffix.
    fn host_names(&mut self, lists: &Lists, cell: &Cell, client: IpAddr) -> EnumerationResult {
        let patterns: BTreeSet<String> = lists
            .iter()
            .flatten()
            .filter_map(|&rule| match &self.rules[rule].address {
                Address::Host(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        let mut names: Vec<Option<String>> = vec![None];
        for pattern in &patterns {
            names.push(Some(pattern.clone()));
            if pattern.starts_with('.') {
                let inside =
                    (0..).map(|n| format!("host-{n}{pattern}")).find(|name| !patterns.contains(name));
                names.push(inside);
            }
        }
        for name in names {
            let lists = filter(lists, |rule| match &self.rules[rule].address {
                Address::Host(pattern) => name.as_deref().is_some_and(|name| host_matches(pattern, name)),
                _ => true,
            });
            let mut cell = cell.clone();
            if let Some(name) = name {
                cell.environment.host_names.insert(client, name);
            }
            self.names(&lists, &cell)?;
        }
        Ok(())
    }

    /// Removes rules that an earlier rule of the same list hides: those with the same databases and users, and all
    /// after a rule for all of them.
    fn reduce(&self, lists: &Lists, physical: bool) -> Lists {
        let reduce = |list: &Vec<usize>| {
            let mut seen = HashSet::new();
            let mut out = Vec::new();
            for &rule in list {
                if seen.insert(self.spec[rule]) {
                    out.push(rule);
                    if is_for_everybody(self.rules[rule], physical) {
                        break;
                    }
                }
            }
            out
        };
        lists.iter().map(reduce).collect()
    }

    /// Divides the cell by the database, unless this combination of rules has been visited or the visitor skips it.
    fn names(&mut self, lists: &Lists, cell: &Cell) -> EnumerationResult {
        let physical = cell.attempt.replication == Replication::Physical;
        let lists = self.reduce(lists, physical);
        let key = |rule: &usize| (self.spec[*rule], self.visitor.key(*rule));
        let keys = lists.iter().map(|list| list.iter().map(key).collect()).collect();
        if self.visitor.skip(&lists) || !self.seen.insert((physical, keys)) {
            return Ok(());
        }
        if physical {
            return self.users(&lists, cell, None);
        }
        let mut databases: BTreeSet<usize> = self.universe.others.iter().copied().collect();
        let mut linked = false;
        for rule in lists.iter().flatten().map(|&rule| self.rules[rule]) {
            for database in &rule.databases {
                match database {
                    Database::Name(name) => databases.extend(self.universe.literal(name)),
                    Database::SameRole | Database::SameUser => linked = true,
                    _ => {}
                }
            }
        }
        if linked {
            self.mentioned_users(&lists, &mut databases);
        }
        self.universe.stand_ins(&mut databases);
        let split: Vec<NamePartition> = lists.iter().map(|list| self.by_database(list)).collect();
        for database in databases {
            let fits = |rule: usize| {
                self.rules[rule].databases.iter().any(|wanted| match wanted {
                    Database::All | Database::SameRole | Database::SameUser => true,
                    Database::Name(name) => self.universe.literal(name) == Some(database),
                    Database::Pattern(pattern) => self.universe.matches(database, pattern),
                    Database::Replication => false,
                })
            };
            let lists: Lists = split.iter().map(|list| list.at(database, fits)).collect();
            self.users(&lists, cell, Some(database))?;
        }
        Ok(())
    }

    /// Groups rules by the databases that they name. Those with other values are for any database.
    fn by_database(&self, list: &[usize]) -> NamePartition {
        let mut out = NamePartition::default();
        for &rule in list {
            let mut named = true;
            for database in &self.rules[rule].databases {
                match database {
                    Database::Name(name) => out.add(self.universe.literal(name), rule),
                    Database::Replication => {}
                    _ => named = false,
                }
            }
            if !named {
                out.others.push(rule);
            }
        }
        out
    }

    /// Groups rules by the roles that they name. Those with other values are for any role.
    fn by_user(&self, list: &[usize]) -> NamePartition {
        let mut out = NamePartition::default();
        for &rule in list {
            let mut named = true;
            for user in &self.rules[rule].users {
                match user {
                    User::Name(name) => out.add(self.universe.literal(name), rule),
                    _ => named = false,
                }
            }
            if !named {
                out.others.push(rule);
            }
        }
        out
    }

    /// Adds the classes of all roles that the rules name or whose members they accept.
    fn mentioned_users(&self, lists: &Lists, into: &mut BTreeSet<usize>) {
        for user in lists.iter().flatten().flat_map(|&rule| &self.rules[rule].users) {
            if let User::Name(name) | User::Member(name) = user {
                into.extend(self.universe.literal(name));
            }
        }
    }

    /// Divides by the role. `database` is the class of the database, `None` for physical replication.
    fn users(&mut self, lists: &Lists, cell: &Cell, database: Option<usize>) -> EnumerationResult {
        if self.visitor.skip(lists) {
            return Ok(());
        }
        let mut users: BTreeSet<usize> = self.universe.others.iter().copied().collect();
        self.mentioned_users(lists, &mut users);
        users.extend(database);
        self.universe.stand_ins(&mut users);
        let split: Vec<NamePartition> = lists.iter().map(|list| self.by_user(list)).collect();
        for user in users {
            let lists: Lists = split.iter().map(|list| list.at(user, |_| true)).collect();
            let class = &self.universe.classes[user];
            let (first, second) = (class.name.clone(), class.second.clone());
            let mut pairs =
                vec![(database.map(|database| self.universe.classes[database].name.clone()), first)];
            if let (true, Some(second)) = (database == Some(user), second) {
                pairs.push((pairs[0].0.clone(), second));
            }
            for (name, user_name) in pairs {
                let mut cell = cell.clone();
                cell.attempt.database = name.unwrap_or_default();
                cell.attempt.user = user_name;
                self.enumerate_conditions(&lists, cell, user)?;
            }
        }
        Ok(())
    }

    /// Enumerates the cells of one combination of names, addresses and types, in which only memberships are open.
    /// `user` is the class of the role.
    fn enumerate_conditions(&mut self, lists: &Lists, mut cell: Cell, user: usize) -> EnumerationResult {
        let conditions: Vec<Vec<(usize, Clauses)>> = lists
            .iter()
            .map(|list| {
                let mut open = Vec::new();
                for &rule in list {
                    if let Some(clauses) = self.condition(self.rules[rule], &cell.attempt, user) {
                        let certain = clauses.is_empty();
                        open.push((rule, clauses));
                        if certain {
                            break;
                        }
                    }
                }
                open
            })
            .collect();
        let remaining: Lists =
            conditions.iter().map(|list| list.iter().map(|(rule, _)| *rule).collect()).collect();
        if self.visitor.skip(&remaining) {
            return Ok(());
        }
        self.enumerate_memberships(&conditions, &mut cell)
    }

    /// Assumes each open membership to be absent, then present, until the first rule of each list is certain, and
    /// visits those cells.
    ///
    /// # Errors
    /// Returns [`EnumerationEnd::Undecided`] above [`MAX_CELLS`], and [`EnumerationEnd::Done`] if the visitor ends the
    /// walk.
    fn enumerate_memberships(
        &mut self,
        conditions: &[Vec<(usize, Clauses)>],
        cell: &mut Cell,
    ) -> EnumerationResult {
        self.cells += 1;
        if self.cells > MAX_CELLS {
            return Err(EnumerationEnd::Undecided(Undecidable::TooComplex));
        }
        let open = conditions.iter().filter_map(|list| list.first()).find(|(_, clauses)| !clauses.is_empty());
        let Some((_, clauses)) = open else {
            let firsts: Vec<Option<usize>> =
                conditions.iter().map(|list| list.first().map(|(rule, _)| *rule)).collect();
            return match self.visitor.visit(&firsts, cell) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(EnumerationEnd::Done),
            };
        };
        let role = clauses[0][0].clone();
        for member in [false, true] {
            let next: Vec<Vec<(usize, Clauses)>> = conditions
                .iter()
                .map(|list| list.iter().filter_map(|rule| assume(rule, &role, member)).collect())
                .collect();
            let pair = (cell.attempt.user.clone(), role.clone());
            if member {
                cell.environment.memberships.insert(pair.clone());
            }
            let outcome = self.enumerate_memberships(&next, cell);
            cell.environment.memberships.remove(&pair);
            outcome?;
        }
        Ok(())
    }

    /// Returns the memberships that a rule still needs. `None` if it cannot match these names.
    fn condition(&self, rule: &Rule, attempt: &Attempt, user: usize) -> Option<Clauses> {
        let mut clauses = Clauses::new();
        let mut groups = Vec::new();
        if attempt.replication != Replication::Physical {
            let database = rule.databases.iter().any(|wanted| match wanted {
                Database::All => true,
                Database::Name(name) => *name == attempt.database,
                Database::Pattern(pattern) => pattern.is_match(&attempt.database),
                Database::Replication => false,
                Database::SameRole if attempt.database == attempt.user => true,
                Database::SameRole => {
                    groups.push(attempt.database.clone());
                    false
                }
                Database::SameUser => attempt.database == attempt.user,
            });
            if !database {
                if groups.is_empty() {
                    return None;
                }
                clauses.push(groups);
            }
        }
        let mut groups = Vec::new();
        let user = rule.users.iter().any(|wanted| match wanted {
            User::All => true,
            User::Member(role) if *role == attempt.user => true,
            User::Member(role) => {
                groups.push(role.clone());
                false
            }
            User::Name(name) => *name == attempt.user,
            User::Pattern(pattern) => self.universe.matches(user, pattern),
        });
        if !user {
            if groups.is_empty() {
                return None;
            }
            clauses.push(groups);
        }
        Some(clauses)
    }
}

/// Returns the condition of a rule if it is known whether the role is a member of `role`. `None` if the rule then
/// cannot match.
fn assume((rule, clauses): &(usize, Clauses), role: &str, member: bool) -> Option<(usize, Clauses)> {
    let mut left = Clauses::new();
    for clause in clauses {
        if !clause.iter().any(|group| group == role) {
            left.push(clause.clone());
        } else if !member {
            let others: Vec<String> = clause.iter().filter(|group| *group != role).cloned().collect();
            if others.is_empty() {
                return None;
            }
            left.push(others);
        }
    }
    Some((*rule, left))
}

/// Returns the lists with only those rules for which `keep` is `true`.
fn filter(lists: &[Vec<usize>], keep: impl Fn(usize) -> bool) -> Lists {
    lists.iter().map(|list| list.iter().copied().filter(|&rule| keep(rule)).collect()).collect()
}

/// Returns `true` if a rule is for every database, or any if `physical`, and for every role.
fn is_for_everybody(rule: &Rule, physical: bool) -> bool {
    (physical || rule.databases.contains(&Database::All)) && rule.users.contains(&User::All)
}

/// Rules of a list by their networks, and those that are not restricted to a network.
struct NetworkPartition {
    elsewhere: Vec<usize>,
    networks: HashMap<addresses::NetworkKey, Vec<usize>>,
}

impl NetworkPartition {
    /// Returns the rules that may match at an address inside exactly these networks, ascending.
    fn at(&self, inside: &[addresses::NetworkKey]) -> Vec<usize> {
        let mut found = self.elsewhere.clone();
        let last = found.last().copied();
        for side in inside {
            found.extend(self.networks.get(side).into_iter().flatten());
        }
        if found.last().copied() != last {
            found.sort_unstable();
        }
        found
    }
}

/// Rules of a list by the names in one of their fields, and those that may match other names too.
#[derive(Default)]
struct NamePartition {
    others: Vec<usize>,
    named: HashMap<usize, Vec<usize>>,
}

impl NamePartition {
    /// Appends a rule to those of a class, once. Without a class, the rule is dropped.
    fn add(&mut self, class: Option<usize>, rule: usize) {
        if let Some(class) = class {
            let rules = self.named.entry(class).or_default();
            if rules.last() != Some(&rule) {
                rules.push(rule);
            }
        }
    }

    /// Returns the rules that fit a class of names, ascending: those that name it, and of the others those for which
    /// `fits` is `true`.
    fn at(&self, class: usize, fits: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut found: Vec<usize> = self.others.iter().copied().filter(|&rule| fits(rule)).collect();
        if let Some(named) = self.named.get(&class) {
            found.extend(named);
            found.sort_unstable();
            found.dedup();
        }
        found
    }
}
