//! Matching by search, for capture groups, back references and lookaround.
//!
//! Names have at most 63 bytes, so that ordinary patterns never reach the limit of steps; a pattern that reaches it
//! does not match.

use super::nfa::{PrecedingChar, holds, kind};
use super::parse::Node;
use crate::encoding::encode_file;

/// Maximum number of steps of a search over all start positions. A search that exceeds it does not match.
const MAX_STEPS: usize = 2_000_000;

/// The match of each group as start and end, in bytes. `None` for a group that did not match.
pub(super) type Groups = Vec<Option<(usize, usize)>>;

/// A search for one pattern in one name.
pub(super) struct Matcher<'p> {
    node: &'p Node,
    groups: usize,
    name: Vec<u32>,
}

/// State of a search.
struct Search<'m> {
    name: &'m [u32],
    groups: Groups,
    steps: usize,
}

/// Continuation of a match, called with the position after it. Returns `true` to end the search.
type Next<'a, 'm> = &'a mut dyn FnMut(&mut Search<'m>, usize) -> bool;

impl<'p> Matcher<'p> {
    /// Creates a search. `groups` is the number of capture groups of the pattern.
    pub(super) fn new(node: &'p Node, groups: usize, name: &str) -> Self {
        Self { node, groups, name: encode_file(name).into_iter().map(u32::from).collect() }
    }

    /// Returns the groups of the leftmost match, and of those at the same start the longest. `None` without a match, or
    /// if the limit of steps is exceeded before one is found.
    pub(super) fn find(&self) -> Option<Groups> {
        let mut search = Search { name: &self.name, groups: Vec::new(), steps: 0 };
        for from in 0..=self.name.len() {
            let mut longest: Option<usize> = None;
            search.groups = vec![None; self.groups];
            search.run(self.node, from, &mut |_, to| {
                longest = longest.max(Some(to));
                to == self.name.len()
            });
            let Some(longest) = longest else { continue };
            search.groups = vec![None; self.groups];
            let mut found = None;
            search.run(self.node, from, &mut |search, to| {
                if to == longest {
                    found = Some(search.groups.clone());
                }
                found.is_some()
            });
            return found;
        }
        None
    }
}

impl<'m> Search<'m> {
    /// Matches `node` at the byte position `at`, then calls `next` with the end of the match. Returns `true` once
    /// `next` does, and `false` if no way to match remains or the limit of steps is exceeded.
    fn run(&mut self, node: &Node, at: usize, next: Next<'_, 'm>) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return false;
        }
        match node {
            Node::Set(set) => self.name.get(at).is_some_and(|&code| set.contains(code)) && next(self, at + 1),
            Node::Assert(assertion) => {
                let before = if at == 0 { PrecedingChar::Nothing } else { kind(self.name[at - 1]) };
                let after = self.name.get(at).map(|&code| kind(code));
                holds(*assertion, before, after) && next(self, at)
            }
            Node::Sequence(parts) => self.sequence(parts, at, next),
            Node::Alternatives(branches) => branches.iter().any(|branch| self.run(branch, at, next)),
            Node::Group(number, node) => {
                let old = self.groups[*number];
                let matched = self.run(node, at, &mut |search, to| {
                    let inner = search.groups[*number].replace((at, to));
                    if next(search, to) {
                        return true;
                    }
                    search.groups[*number] = inner;
                    false
                });
                if !matched {
                    self.groups[*number] = old;
                }
                matched
            }
            Node::Reference(number, fold) => {
                let Some((from, to)) = self.groups[number - 1] else { return false };
                let lower = |code: u32| match u8::try_from(code) {
                    Ok(byte) if *fold => byte.to_ascii_lowercase().into(),
                    _ => code,
                };
                let len = to - from;
                let same = at + len <= self.name.len()
                    && (0..len).all(|i| lower(self.name[from + i]) == lower(self.name[at + i]));
                same && next(self, at + len)
            }
            Node::Look { ahead, positive, node } => {
                let found = if *ahead {
                    self.run(node, at, &mut |_, _| true)
                } else {
                    (0..=at).any(|from| self.run(node, from, &mut |_, to| to == at))
                };
                found == *positive && next(self, at)
            }
            Node::Repeat { node, min, max, greedy } => self.repeat(node, *min, *max, *greedy, at, next),
        }
    }

    /// Matches nodes one after another from the byte position `at`, then calls `next`. Returns as [`Search::run`] does.
    fn sequence(&mut self, parts: &[Node], at: usize, next: Next<'_, 'm>) -> bool {
        match parts {
            [] => next(self, at),
            [first, rest @ ..] => self.run(first, at, &mut |search, to| search.sequence(rest, to, next)),
        }
    }

    /// Matches `node` at least `min` and at most `max` times, then calls `next`. A greedy repetition tries more rounds
    /// first, any other fewer. `None` is no maximum. Returns as [`Search::run`] does.
    fn repeat(
        &mut self,
        node: &Node,
        min: u32,
        max: Option<u32>,
        greedy: bool,
        at: usize,
        next: Next<'_, 'm>,
    ) -> bool {
        if max == Some(0) {
            return next(self, at);
        }
        if min == 0 && !greedy && next(self, at) {
            return true;
        }
        let fewer = max.map(|max| max - 1);
        let more = self.run(node, at, &mut |search, to| {
            // An empty repetition could be repeated without end, and changes nothing.
            if to == at && min == 0 {
                return false;
            }
            search.repeat(node, min.saturating_sub(1), fewer, greedy, to, next)
        });
        more || (min == 0 && greedy && next(self, at))
    }
}
