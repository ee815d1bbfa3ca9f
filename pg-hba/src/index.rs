//! Compiled form of rules, for decisions over many rules in well under a microsecond.
//!
//! Each dimension has, for each of its values, the set of rules that accept it as bits; a decision finds the first bit
//! that is set in all of them. Values that need more than a lookup (patterns, memberships, host names) count as
//! accepted, and the rule itself is then compared with the attempt.

use crate::address::Network;
use crate::attempt::{Attempt, Environment, Replication, Transport};
use crate::method::Method;
use crate::rule::{Address, Database, Rule, User};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;

/// Rules with an index by connection type, database, user and address, for decisions over many rules. The decisions are
/// those of [`decide`](crate::decide).
///
/// ```
/// use pg_hba::{Attempt, Index, Method, EmptyEnvironment, Policy};
/// let index = Index::new(Policy::new().service("forgejo", "forgejo").compile());
/// assert_eq!(index.decide(&Attempt::local("forgejo", "forgejo"), &EmptyEnvironment).0, Method::Trust);
/// ```
#[derive(Clone, Debug)]
pub struct Index {
    rules: Vec<Rule>,
    connections: [Vec<u64>; 4],
    databases: NameIndex,
    physical: Vec<u64>,
    users: NameIndex,
    any_address: Vec<u64>,
    networks: HashMap<(bool, u8, u128), Sparse, BuildHasherDefault<NetworkHasher>>,
    lengths: [Vec<u8>; 2],
    holed: Vec<(Network, Sparse)>,
    inexact: Vec<u64>,
}

/// Words of a bit set that are not zero, in ascending order, each with its index.
type Sparse = Vec<(u32, u64)>;

/// Rules by the names in one of their fields: those that may accept any name, and those of each literal name.
#[derive(Clone, Debug, Default)]
struct NameIndex {
    any: Vec<u64>,
    named: HashMap<String, Sparse>,
}

impl Index {
    /// Builds the index. The order of the rules is kept. Time and space grow with the number of rules.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        let words = rules.len().div_ceil(64);
        let empty = || vec![0_u64; words];
        let mut index = Self {
            connections: [empty(), empty(), empty(), empty()],
            databases: NameIndex { any: empty(), ..NameIndex::default() },
            physical: empty(),
            users: NameIndex { any: empty(), ..NameIndex::default() },
            any_address: empty(),
            networks: HashMap::default(),
            lengths: [Vec::new(), Vec::new()],
            holed: Vec::new(),
            inexact: empty(),
            rules,
        };
        for at in 0..index.rules.len() {
            index.add(at);
        }
        for (v4, len, _) in index.networks.keys() {
            index.lengths[usize::from(*v4)].push(*len);
        }
        for lengths in &mut index.lengths {
            lengths.sort_unstable();
            lengths.dedup();
        }
        index
    }

    /// Returns the rules of the index, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Decides an attempt exactly as [`crate::decide`] does. Returns the method, and the zero-based position of the
    /// matching rule. Without one, returns [`Method::Reject`] and `None`.
    #[must_use]
    pub fn decide(&self, attempt: &Attempt, environment: &dyn Environment) -> (Method, Option<usize>) {
        let connection = &self.connections[attempt.transport as usize];
        let physical = attempt.replication == Replication::Physical;
        let mut database = Cursor::new(self.databases.named.get(&attempt.database).filter(|_| !physical));
        let mut user = Cursor::new(self.users.named.get(&attempt.user));
        let any_database = if physical { &self.physical } else { &self.databases.any };
        let mut inside: Vec<Cursor<'_>> = Vec::new();
        if let Some(client) = attempt.address.filter(|_| attempt.transport != Transport::Socket) {
            self.networks_of(client, &mut inside);
        }
        let socket = attempt.transport == Transport::Socket;
        let dense = connection.iter().zip(any_database).zip(&self.users.any).enumerate();
        for (word, ((connection, any_database), any_user)) in dense {
            let mut bits = connection & (any_database | database.at(word)) & (any_user | user.at(word));
            if bits != 0 && !socket {
                let addresses =
                    inside.iter_mut().fold(self.any_address[word], |found, net| found | net.at(word));
                bits &= addresses;
            }
            while bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                let at = word * 64 + bit;
                let rule = &self.rules[at];
                if self.inexact[word] & (1 << bit) == 0 || rule.mismatch(attempt, environment).is_none() {
                    return (rule.method, Some(at));
                }
                bits &= bits - 1;
            }
        }
        (Method::Reject, None)
    }

    /// Adds the rule at a position to the sets of its values. A rule that cannot match is left out.
    fn add(&mut self, at: usize) {
        let (word, bit) = (at / 64, 1_u64 << (at % 64));
        let rule = &self.rules[at];
        if !rule.possible {
            return;
        }
        for transport in [Transport::Socket, Transport::Plain, Transport::Tls, Transport::Gss] {
            if rule.connection.admits(transport) {
                self.connections[transport as usize][word] |= bit;
            }
        }
        for database in &rule.databases {
            match database {
                Database::All => self.databases.any[word] |= bit,
                Database::Name(name) => set(self.databases.named.entry(name.clone()).or_default(), word, bit),
                Database::Replication => self.physical[word] |= bit,
                Database::Pattern(_) | Database::SameRole | Database::SameUser => {
                    self.databases.any[word] |= bit;
                    self.inexact[word] |= bit;
                }
            }
        }
        for user in &rule.users {
            match user {
                User::All => self.users.any[word] |= bit,
                User::Name(name) => set(self.users.named.entry(name.clone()).or_default(), word, bit),
                User::Member(_) | User::Pattern(_) => {
                    self.users.any[word] |= bit;
                    self.inexact[word] |= bit;
                }
            }
        }
        match &rule.address {
            Address::All => self.any_address[word] |= bit,
            Address::Network(network) => match network.prefix_len() {
                Some(len) => {
                    let (base, mask) = network.left();
                    set(self.networks.entry((network.is_v4(), len, base & mask)).or_default(), word, bit);
                }
                None => match self.holed.iter_mut().find(|(known, _)| known == network) {
                    Some((_, found)) => set(found, word, bit),
                    None => self.holed.push((*network, vec![(u32::try_from(word).unwrap_or(u32::MAX), bit)])),
                },
            },
            Address::Host(_) | Address::SameHost | Address::SameNet => {
                self.any_address[word] |= bit;
                self.inexact[word] |= bit;
            }
        }
    }

    /// Appends the sets of rules for each indexed network that contains a client address.
    fn networks_of<'i>(&'i self, client: IpAddr, into: &mut Vec<Cursor<'i>>) {
        let v4 = client.is_ipv4();
        let (bits, _) = Network::from(client).left();
        for &len in &self.lengths[usize::from(v4)] {
            let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            if let Some(found) = self.networks.get(&(v4, len, bits & mask)) {
                into.push(Cursor::new(Some(found)));
            }
        }
        into.extend(
            self.holed
                .iter()
                .filter(|(net, _)| net.contains(client))
                .map(|(_, found)| Cursor::new(Some(found))),
        );
    }
}

/// Sets a bit of the set. `word` must not be lower than in the previous call.
fn set(sparse: &mut Sparse, word: usize, bit: u64) {
    let word = u32::try_from(word).unwrap_or(u32::MAX);
    match sparse.last_mut() {
        Some((last, bits)) if *last == word => *bits |= bit,
        _ => sparse.push((word, bit)),
    }
}

/// Reader of a sparse set in ascending order of words.
struct Cursor<'i> {
    rest: &'i [(u32, u64)],
    /// Index of the first word of `rest`, so that most lookups are one comparison. `usize::MAX` at the end.
    next: usize,
}

impl<'i> Cursor<'i> {
    /// Creates a reader. `None` stands for the empty set.
    fn new(sparse: Option<&'i Sparse>) -> Self {
        let rest = sparse.map_or(&[][..], Vec::as_slice);
        Self { rest, next: first(rest) }
    }

    /// Returns the bits of a word. `word` must not be lower than in the previous call.
    #[inline]
    fn at(&mut self, word: usize) -> u64 {
        if word < self.next { 0 } else { self.advance(word) }
    }

    /// Skips the words before `word`, and returns its bits.
    fn advance(&mut self, word: usize) -> u64 {
        if self.next < word {
            let before = self.rest.partition_point(|(at, _)| (*at as usize) < word);
            self.rest = &self.rest[before..];
            self.next = first(self.rest);
        }
        match self.rest.first() {
            Some((_, bits)) if self.next == word => *bits,
            _ => 0,
        }
    }
}

/// Returns the index of the first word, or `usize::MAX` for an empty set.
fn first(rest: &[(u32, u64)]) -> usize {
    rest.first().map_or(usize::MAX, |(word, _)| *word as usize)
}

/// Hasher of networks. They come from the rules and never from a client, so that clients cannot provoke collisions.
#[derive(Clone, Copy, Debug, Default)]
struct NetworkHasher(u64);

impl Hasher for NetworkHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u128(&mut self, value: u128) {
        let bytes = value.to_le_bytes();
        for half in bytes.chunks_exact(8) {
            self.write_u64(u64::from_le_bytes(half.try_into().unwrap_or_default()));
        }
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}
