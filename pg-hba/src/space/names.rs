//! Names that rules can distinguish: each literal name, and for the rest one class for each set of patterns that match.

use super::Undecidable;
use crate::encoding::{decode_file, encode_file};
use crate::regex::{Automaton, Pattern, State};
use crate::rule::{Database, Rule, User};
use std::collections::{BTreeSet, HashMap};

/// A class of names that no rule distinguishes: one literal name, or all other names that the same patterns match.
pub(crate) struct NameClass {
    /// One of the names.
    pub(crate) name: String,
    /// Another name of the class. `None` for a literal name, or if none is known.
    pub(crate) second: Option<String>,
    matched: Vec<bool>,
}

/// The classes of names that some rules distinguish.
pub(crate) struct NameClasses {
    pub(crate) classes: Vec<NameClass>,
    literals: HashMap<String, usize>,
    patterns: HashMap<Pattern, usize>,
    /// Indexes of the classes that are not a literal name. Practically never empty.
    pub(crate) others: Vec<usize>,
    /// Indexes of the classes of literal names, grouped by the patterns that match them.
    alike: Vec<Vec<usize>>,
}

/// Maximum work of the search for names, in steps of automata: well under a second in an optimised build.
const MAX_WORK: usize = 25_000_000;

impl NameClasses {
    /// Creates the classes of the names that these rules distinguish. Databases and roles share the classes.
    ///
    /// # Errors
    /// Returns [`Undecidable::TooComplex`] if the search exceeds [`MAX_WORK`], and [`Undecidable::Pattern`] if a
    /// pattern is not regular.
    pub(crate) fn of(rules: &[&Rule]) -> Result<Self, Undecidable> {
        let mut names: Vec<String> = Vec::new();
        let mut patterns: HashMap<Pattern, usize> = HashMap::new();
        let mut listed: Vec<Pattern> = Vec::new();
        let mut pattern = |found: &Pattern| {
            patterns.entry(found.clone()).or_insert_with(|| {
                listed.push(found.clone());
                listed.len() - 1
            });
        };
        for rule in rules {
            for database in &rule.databases {
                match database {
                    Database::Name(name) => names.push(name.clone()),
                    Database::Pattern(found) => pattern(found),
                    _ => {}
                }
            }
            for user in &rule.users {
                match user {
                    User::Name(name) | User::Member(name) => names.push(name.clone()),
                    User::Pattern(found) => pattern(found),
                    User::All => {}
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        // The server truncates longer names before it compares them with the rules, and rejects an empty one.
        names.retain(|name| !name.is_empty() && encode_file(name).len() <= 63);
        if let Some(odd) = listed.iter().find(|pattern| !pattern.is_regular()) {
            return Err(Undecidable::Pattern(odd.as_str().to_owned()));
        }
        let mut classes: Vec<NameClass> = names
            .iter()
            .map(|name| NameClass {
                name: name.clone(),
                second: None,
                matched: listed.iter().map(|pattern| pattern.is_match(name)).collect(),
            })
            .collect();
        let literals: HashMap<String, usize> = names.into_iter().zip(0..).collect();
        let first_other = classes.len();
        classes.extend(others(&literals, &listed)?);
        let others = (first_other..classes.len()).collect();
        let mut alike: HashMap<&[bool], Vec<usize>> = HashMap::new();
        for (at, class) in classes.iter().enumerate().take(literals.len()) {
            alike.entry(&class.matched).or_default().push(at);
        }
        let alike = alike.into_values().collect();
        Ok(Self { classes, literals, patterns, others, alike })
    }

    /// Returns the index of the class of a literal name. `None` if no rule names it, or it is longer than 63 bytes.
    pub(crate) fn literal(&self, name: &str) -> Option<usize> {
        self.literals.get(name).copied()
    }

    /// Adds the classes of literal names that `mentioned` does not contain, up to two for each set of patterns that
    /// match them, since some sets contain no other names. No effect without patterns.
    pub(crate) fn stand_ins(&self, mentioned: &mut BTreeSet<usize>) {
        if self.patterns.is_empty() {
            return;
        }
        for alike in &self.alike {
            let others: Vec<usize> =
                alike.iter().copied().filter(|class| !mentioned.contains(class)).take(2).collect();
            mentioned.extend(others);
        }
    }

    /// Returns `true` if a pattern matches the names of a class.
    pub(crate) fn matches(&self, class: usize, pattern: &Pattern) -> bool {
        self.patterns.get(pattern).is_some_and(|&index| self.classes[class].matched[index])
    }
}

/// Readable names, tried before the search.
const READABLE: [&str; 6] = ["somebody", "another", "stranger", "visitor", "unnamed_1", "unnamed_2"];

/// Returns the classes of names that are not literals, by the set of patterns that match them, each with up to two
/// names of at most 63 bytes.
///
/// # Errors
/// Returns [`Undecidable::TooComplex`] if the search exceeds [`MAX_WORK`].
fn others(literals: &HashMap<String, usize>, patterns: &[Pattern]) -> Result<Vec<NameClass>, Undecidable> {
    let mut found: HashMap<Vec<bool>, NameClass> = HashMap::new();
    let mut add = |name: &str| {
        let matched: Vec<bool> = patterns.iter().map(|pattern| pattern.is_match(name)).collect();
        match found.get_mut(&matched) {
            None => {
                let class = NameClass { name: name.to_owned(), second: None, matched: matched.clone() };
                found.insert(matched, class);
            }
            Some(class) if class.second.is_none() && class.name != name => {
                class.second = Some(name.to_owned());
            }
            Some(_) => {}
        }
    };
    READABLE.iter().filter(|name| !literals.contains_key(**name)).for_each(|name| add(name));
    if patterns.is_empty() {
        (0..)
            .map(|n| format!("name_{n}"))
            .filter(|name| !literals.contains_key(name))
            .take(2)
            .for_each(|n| add(&n));
        return Ok(found.into_values().collect());
    }
    let automata: Vec<&Automaton> = patterns.iter().filter_map(Pattern::automaton).collect();
    let alphabet = alphabet(literals, &automata);
    // Breadth first by bytes. Each state is entered with two names, so that each class is found with two.
    let mut entered: HashMap<(Vec<State>, Option<Vec<u8>>), u8> = HashMap::new();
    let mut sorted: Vec<Vec<u8>> = literals.keys().map(|name| encode_file(name)).collect();
    sorted.sort_unstable();
    // Only names that are prefixes of literal names have to be distinguished.
    let prefix = |name: &[u8]| {
        let next = sorted.partition_point(|literal| literal.as_slice() < name);
        sorted.get(next).is_some_and(|literal| literal.starts_with(name)).then(|| name.to_owned())
    };
    let step: usize = automata.iter().map(|automaton| automaton.size() + 20).sum();
    let mut work = 0;
    let mut names: Vec<(Vec<u8>, Vec<State>)> =
        vec![(Vec::new(), automata.iter().map(|automaton| automaton.initial()).collect())];
    for _ in 0..63 {
        for (name, states) in std::mem::take(&mut names) {
            for &byte in &alphabet {
                work += step;
                if work > MAX_WORK {
                    return Err(Undecidable::TooComplex);
                }
                let mut longer = name.clone();
                longer.push(byte);
                let next: Vec<State> = automata
                    .iter()
                    .zip(&states)
                    .map(|(automaton, state)| automaton.step(state, byte.into()))
                    .collect();
                let times = entered.entry((next.clone(), prefix(&longer))).or_default();
                if *times == 2 {
                    continue;
                }
                *times += 1;
                let text = decode_file(&longer);
                if !literals.contains_key(&text) {
                    add(&text);
                }
                names.push((longer, next));
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Returns up to two bytes of each set of bytes that neither the literals nor the automata distinguish.
fn alphabet(literals: &HashMap<String, usize>, automata: &[&Automaton]) -> Vec<u8> {
    let mut edges: Vec<u32> = vec![1, 10, 11, 0x30, 0x3a, 0x41, 0x5b, 0x5f, 0x60, 0x61, 0x7b, 0x7f, 0x80];
    automata.iter().for_each(|automaton| automaton.boundaries(&mut edges));
    for byte in literals.keys().flat_map(|name| encode_file(name)) {
        edges.extend([u32::from(byte), u32::from(byte) + 1]);
    }
    edges.retain(|&edge| edge > 0 && edge <= 0xff);
    edges.sort_unstable();
    edges.dedup();
    let mut bytes = Vec::new();
    for (index, &edge) in edges.iter().enumerate() {
        let end = edges.get(index + 1).copied().unwrap_or(0x100);
        bytes.extend((edge..end).filter_map(|byte| u8::try_from(byte).ok()).take(2));
    }
    bytes
}
