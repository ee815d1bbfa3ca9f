//! Ends of the matches of parts of a regular expression, by sets of positions. Names have at most 63 bytes, so that
//! ordinary patterns never reach the limit of steps.

use super::nfa::{PrecedingChar, holds, kind};
use super::parse::Node;
use super::tree::{Kind, Plain, Tree};
use std::collections::HashMap;
use std::rc::Rc;

/// Maximum number of steps of a search. A search that exceeds it finds nothing.
const MAX_STEPS: usize = 20_000_000;

/// Positions at which a match may end, one entry for each position in the name.
type Ends = Rc<[bool]>;

/// A name, with the ends that are known already.
pub(super) struct Subject<'p> {
    name: Vec<u32>,
    /// Content of each group.
    groups: Vec<Option<&'p Node>>,
    known: HashMap<Key, Ends>,
    steps: usize,
}

/// A part, a position, and `true` if the part is the content of a back reference, in which constraints do not count.
type Key = (usize, usize, bool);

impl<'p> Subject<'p> {
    /// Creates the subject of a search for a pattern with a number of groups.
    pub(super) fn new(name: Vec<u32>, node: &'p Node, groups: usize) -> Self {
        let mut subject = Self { name, groups: vec![None; groups], known: HashMap::new(), steps: 0 };
        subject.collect(node);
        subject
    }

    /// Collects the contents of the groups in a node.
    fn collect(&mut self, node: &'p Node) {
        match node {
            Node::Assert(_) | Node::Reference(..) | Node::Set(_) => {}
            Node::Look { node, .. } | Node::Repeat { node, .. } => self.collect(node),
            Node::Group(number, node) => {
                self.groups[*number] = Some(node);
                self.collect(node);
            }
            Node::Alternatives(nodes) | Node::Sequence(nodes) => {
                nodes.iter().for_each(|node| self.collect(node));
            }
        }
    }

    /// Returns the length of the name.
    pub(super) fn len(&self) -> usize {
        self.name.len()
    }

    /// Counts steps. Returns `false` once the limit is exceeded.
    pub(super) fn spend(&mut self, steps: usize) -> bool {
        self.steps = self.steps.saturating_add(steps);
        self.steps <= MAX_STEPS
    }

    /// Returns `true` if the bytes from `one` and from `other` are the same, without regard to case if `fold` is `true`.
    pub(super) fn same(&self, one: usize, other: usize, len: usize, fold: bool) -> bool {
        let lower = |code: u32| match u8::try_from(code) {
            Ok(byte) if fold => byte.to_ascii_lowercase().into(),
            _ => code,
        };
        (0..len).all(|at| lower(self.name[one + at]) == lower(self.name[other + at]))
    }

    /// Returns the longest match of a subexpression from `begin` that ends at `stop` or before. A back reference
    /// stands for any text that its group could match. `None` if there is no match.
    pub(super) fn longest(&mut self, tree: &Tree<'_>, begin: usize, stop: usize) -> Option<usize> {
        let ends = self.of_tree(tree, begin);
        (begin..=stop).rev().find(|&at| ends[at])
    }

    /// Returns the shortest match of a subexpression from `begin` that ends at `min` or later, and at `stop` or before.
    /// `None` if there is no match.
    pub(super) fn shortest(
        &mut self,
        tree: &Tree<'_>,
        begin: usize,
        min: usize,
        stop: usize,
    ) -> Option<usize> {
        let ends = self.of_tree(tree, begin);
        (min..=stop).find(|&at| ends[at])
    }

    /// Returns the set with no position.
    fn none(&self) -> Vec<bool> {
        vec![false; self.name.len() + 1]
    }

    /// Returns the set of one position.
    fn only(&self, at: usize) -> Vec<bool> {
        let mut ends = self.none();
        ends[at] = true;
        ends
    }

    /// Returns the ends for a key, computed once.
    fn once(&mut self, key: Key, compute: impl FnOnce(&mut Self) -> Vec<bool>) -> Ends {
        if let Some(ends) = self.known.get(&key) {
            return ends.clone();
        }
        let ends: Ends = compute(self).into();
        self.known.insert(key, ends.clone());
        ends
    }

    /// Returns the ends after each of the positions in `from`.
    fn after(&mut self, from: &[bool], mut ends: impl FnMut(&mut Self, usize) -> Ends) -> Vec<bool> {
        let mut all = self.none();
        for at in (0..from.len()).filter(|&at| from[at]) {
            if !self.spend(all.len()) {
                return self.none();
            }
            let ends = ends(self, at);
            all.iter_mut().zip(&*ends).for_each(|(one, end)| *one |= end);
        }
        all
    }

    fn of_tree(&mut self, tree: &Tree<'_>, at: usize) -> Ends {
        let key = (std::ptr::from_ref(tree).addr(), at, false);
        self.once(key, |this| match &tree.kind {
            Kind::Plain(parts) => {
                let start = this.only(at);
                parts.iter().fold(start, |from, part| this.after(&from, |this, at| this.of_plain(part, at)))
            }
            Kind::Wrapper(child) => this.of_tree(child, at).to_vec(),
            Kind::Concatenation(both) => {
                let first = this.of_tree(&both.0, at);
                this.after(&first, |this, at| this.of_tree(&both.1, at))
            }
            Kind::Alternatives(trees) => {
                let mut all = this.none();
                for tree in trees {
                    let ends = this.of_tree(tree, at);
                    all.iter_mut().zip(&*ends).for_each(|(one, end)| *one |= end);
                }
                all
            }
            Kind::Iteration { child, min, max } => {
                this.repeated(at, *min, *max, |this, at| this.of_tree(child, at))
            }
            Kind::Reference { number, min, max, .. } => {
                this.repeated(at, *min, *max, |this, at| this.of_reference(*number, at))
            }
        })
    }

    /// Returns the ends of what a back reference may match, by the content of its group.
    fn of_reference(&mut self, number: usize, at: usize) -> Ends {
        match self.groups[number - 1] {
            Some(node) => self.of_node(node, at, true),
            None => self.none().into(),
        }
    }

    fn of_plain(&mut self, part: &Plain<'_>, at: usize) -> Ends {
        let key = (std::ptr::from_ref(part).addr(), at, false);
        self.once(key, |this| match part {
            Plain::Sequence(nodes) => {
                let start = this.only(at);
                nodes
                    .iter()
                    .fold(start, |from, node| this.after(&from, |this, at| this.of_node(node, at, false)))
            }
            Plain::Repeat(node, min, max) => {
                this.repeated(at, *min, *max, |this, at| this.of_node(node, at, false))
            }
        })
    }

    /// Returns the ends of a node. `free` is whether constraints do not count.
    fn of_node(&mut self, node: &Node, at: usize, free: bool) -> Ends {
        let key = (std::ptr::from_ref(node).addr(), at, free);
        self.once(key, |this| match node {
            Node::Set(set) => match this.name.get(at) {
                Some(&code) if set.contains(code) => this.only(at + 1),
                _ => this.none(),
            },
            Node::Assert(_) | Node::Look { .. } if free => this.only(at),
            Node::Assert(assertion) => {
                let before = if at == 0 { PrecedingChar::Nothing } else { kind(this.name[at - 1]) };
                let after = this.name.get(at).map(|&code| kind(code));
                if holds(*assertion, before, after) { this.only(at) } else { this.none() }
            }
            Node::Group(_, node) => this.of_node(node, at, free).to_vec(),
            Node::Sequence(parts) => {
                let start = this.only(at);
                parts
                    .iter()
                    .fold(start, |from, part| this.after(&from, |this, at| this.of_node(part, at, free)))
            }
            Node::Alternatives(branches) => {
                let mut all = this.none();
                for branch in branches {
                    let ends = this.of_node(branch, at, free);
                    all.iter_mut().zip(&*ends).for_each(|(one, end)| *one |= end);
                }
                all
            }
            Node::Repeat { node, min, max, .. } => {
                this.repeated(at, *min, *max, |this, at| this.of_node(node, at, free))
            }
            Node::Look { ahead, positive, node } => {
                let found = if *ahead {
                    this.of_node(node, at, free).contains(&true)
                } else {
                    (0..=at).any(|from| this.of_node(node, from, free)[at])
                };
                if found == *positive { this.only(at) } else { this.none() }
            }
            Node::Reference(number, _) => this.of_reference(*number, at).to_vec(),
        })
    }

    /// Returns the ends of repetitions from `at`.
    fn repeated(
        &mut self,
        at: usize,
        min: u32,
        max: Option<u32>,
        mut ends: impl FnMut(&mut Self, usize) -> Ends,
    ) -> Vec<bool> {
        let (mut all, mut from, mut rounds) = (self.none(), self.only(at), 0);
        loop {
            if rounds >= min {
                // A position that was reached before leads to nothing new.
                from.iter_mut().zip(&mut all).for_each(|(new, all)| {
                    *new &= !*all;
                    *all |= *new;
                });
            }
            if !from.contains(&true) || max.is_some_and(|max| rounds >= max) {
                return all;
            }
            from = self.after(&from, &mut ends);
            rounds += 1;
        }
    }
}
