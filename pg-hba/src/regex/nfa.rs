//! Non-deterministic finite automaton of a regular pattern: matching in linear time, and steps to explore sets of
//! names.

use super::charset::{CharSet, is_word};
use super::error::PatternError;
use super::parse::{Assertion, Node};
use crate::encoding::encode_file;

/// Maximum number of instructions of an automaton that the server has a state for, as it has for each character and each
/// branch but the first, but not for each repetition that may be left out. Repetitions of empty groups are added. The
/// server recurses over its states: with the usual `max_stack_depth` it accepts 170 times 255 characters, and somewhat
/// more branches than this.
const MAX_STATES: usize = 170 * 255;

/// Maximum number of all instructions.
const MAX_STEPS: usize = 4 * MAX_STATES;

/// Maximum number of transitions by a character, once those without one are removed. The server removes them, too, and
/// rejects a pattern whose transitions exceed its memory limit (`REG_MAX_COMPILE_SPACE` in regguts.h): 1,000 optional
/// parts in a row are accepted, 1,800 are not.
const MAX_TRANSITIONS: usize = 1_300_000;

/// An instruction. The numbers of [`Step::Fork`] and the last number of the others are positions of the next
/// instructions; the first one of [`Step::Take`] is that of a character set.
#[derive(Debug)]
enum Step {
    Assert(Assertion, usize),
    Fork(usize, usize),
    Match,
    Take(usize, usize),
}

/// A pattern as a non-deterministic automaton; its sets of states are the states of the deterministic one.
#[derive(Debug)]
pub(crate) struct Automaton {
    steps: Vec<Step>,
    sets: Vec<CharSet>,
    start: usize,
    /// Number of states that the server has: see [`MAX_STATES`].
    states: usize,
}

/// A state of the deterministic automaton, which determines how the rest of a name is matched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// A match has been found, whatever follows.
    Matched,
    /// Positions at which instructions continue, ascending, and the kind of the last character.
    Open(Vec<u32>, PrecedingChar),
}

/// Kind of the character before a position, as far as assertions distinguish characters. `Nothing` at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PrecedingChar {
    Nothing,
    Newline,
    Word,
    Other,
}

impl PrecedingChar {
    /// Returns the kind of a code point.
    fn of(code: u32) -> Self {
        match code {
            10 => Self::Newline,
            _ if is_word(code) => Self::Word,
            _ => Self::Other,
        }
    }
}

impl Automaton {
    /// Builds the automaton of a pattern. `None` for a pattern with lookaround or back references.
    ///
    /// # Errors
    /// Returns [`PatternError::TooComplex`] above [`MAX_STATES`], [`MAX_STEPS`] and [`MAX_TRANSITIONS`].
    pub(super) fn build(node: &Node) -> Result<Option<Self>, PatternError> {
        if !is_regular(node) {
            return Ok(None);
        }
        let mut automaton = Self { steps: vec![Step::Match], sets: Vec::new(), start: 0, states: 0 };
        automaton.start = automaton.add(node, 0)?;
        automaton.check_transitions()?;
        Ok(Some(automaton))
    }

    /// Checks the number of transitions by a character between instructions.
    ///
    /// # Errors
    /// Returns [`PatternError::TooComplex`] above [`MAX_TRANSITIONS`].
    fn check_transitions(&self) -> Result<(), PatternError> {
        let after = |step: &Step| match step {
            Step::Take(_, then) => Some(*then),
            _ => None,
        };
        let mut sources: Vec<usize> = self.steps.iter().filter_map(after).chain([self.start]).collect();
        sources.sort_unstable();
        sources.dedup();
        let (mut seen_from, mut transitions) = (vec![usize::MAX; self.steps.len()], 0);
        for source in sources {
            let mut pending = vec![source];
            while let Some(position) = pending.pop() {
                if std::mem::replace(&mut seen_from[position], source) == source {
                    continue;
                }
                match self.steps[position] {
                    Step::Match => {}
                    Step::Fork(one, other) => pending.extend([one, other]),
                    Step::Assert(_, then) => pending.push(then),
                    Step::Take(..) => transitions += 1,
                }
            }
            if transitions > MAX_TRANSITIONS {
                return Err(PatternError::TooComplex);
            }
        }
        Ok(())
    }

    /// Returns the number of instructions, at most 173,400.
    pub(crate) fn size(&self) -> usize {
        self.steps.len()
    }

    /// Returns `true` if some part of `name` matches.
    pub(super) fn is_match(&self, name: &str) -> bool {
        let mut state = self.initial();
        for byte in encode_file(name) {
            state = self.step(&state, byte.into());
            if state == State::Matched {
                return true;
            }
        }
        self.finish(&state)
    }

    /// Returns the state before the first character.
    pub(crate) fn initial(&self) -> State {
        State::Open(Vec::new(), PrecedingChar::Nothing)
    }

    /// Returns the state after one more character. [`State::Matched`] never changes.
    pub(crate) fn step(&self, state: &State, code: u32) -> State {
        let State::Open(positions, before) = state else { return State::Matched };
        let Some(reached) = self.closure(positions, *before, Some(PrecedingChar::of(code))) else {
            return State::Matched;
        };
        let mut next: Vec<u32> = reached
            .into_iter()
            .filter_map(|position| match self.steps[position] {
                Step::Take(set, then) if self.sets[set].contains(code) => u32::try_from(then).ok(),
                _ => None,
            })
            .collect();
        next.sort_unstable();
        next.dedup();
        State::Open(next, PrecedingChar::of(code))
    }

    /// Returns `true` if a name that ends in this state matches.
    pub(crate) fn finish(&self, state: &State) -> bool {
        match state {
            State::Matched => true,
            State::Open(positions, before) => self.closure(positions, *before, None).is_none(),
        }
    }

    /// Appends every code point at which a range of the automaton's character sets begins, or after which one ends.
    pub(crate) fn boundaries(&self, into: &mut Vec<u32>) {
        for (from, to) in self.sets.iter().flat_map(CharSet::ranges) {
            into.extend([*from, to.saturating_add(1)]);
        }
    }

    /// Returns the positions of character instructions that are reachable from `positions`, or from the start, without
    /// a character. `after` is the next character, `None` at the end. `None` if a match is among them.
    fn closure(
        &self,
        positions: &[u32],
        before: PrecedingChar,
        after: Option<PrecedingChar>,
    ) -> Option<Vec<usize>> {
        let mut seen = vec![false; self.steps.len()];
        let mut reached = Vec::new();
        let mut pending: Vec<usize> = positions.iter().map(|&position| position as usize).collect();
        pending.push(self.start);
        while let Some(position) = pending.pop() {
            if std::mem::replace(&mut seen[position], true) {
                continue;
            }
            match self.steps[position] {
                Step::Match => return None,
                Step::Fork(one, other) => pending.extend([one, other]),
                Step::Assert(assertion, then) => {
                    if holds(assertion, before, after) {
                        pending.push(then);
                    }
                }
                Step::Take(..) => reached.push(position),
            }
        }
        Some(reached)
    }

    /// Appends the instructions of a node that continues at the instruction `then`. Returns the position of its first
    /// one.
    ///
    /// # Errors
    /// Returns [`PatternError::TooComplex`] if there are too many instructions.
    fn add(&mut self, node: &Node, then: usize) -> Result<usize, PatternError> {
        match node {
            Node::Set(set) => {
                self.sets.push(set.clone());
                self.count()?;
                self.push(Step::Take(self.sets.len() - 1, then))
            }
            Node::Assert(assertion) => {
                self.count()?;
                self.push(Step::Assert(*assertion, then))
            }
            Node::Group(_, node) => self.add(node, then),
            Node::Sequence(parts) => parts.iter().rev().try_fold(then, |then, part| self.add(part, then)),
            Node::Alternatives(branches) => {
                let mut from = self.add(&branches[0], then)?;
                for branch in &branches[1..] {
                    let other = self.add(branch, then)?;
                    from = self.push(Step::Fork(from, other))?;
                    self.count()?;
                }
                Ok(from)
            }
            Node::Repeat { node, min, max, .. } => {
                let mut from = then;
                if let Some(max) = max {
                    for _ in *min..*max {
                        let once = self.add(node, from)?;
                        from = self.push(Step::Fork(once, then))?;
                    }
                } else {
                    let fork = self.push(Step::Fork(then, then))?;
                    let once = self.add(node, fork)?;
                    self.steps[fork] = Step::Fork(once, then);
                    from = fork;
                }
                for _ in 0..*min {
                    let once = self.add(node, from)?;
                    if once == from {
                        // The server limits repetitions of an empty group, too.
                        self.count()?;
                    }
                    from = once;
                }
                Ok(from)
            }
            Node::Look { .. } | Node::Reference(..) => Err(PatternError::TooComplex),
        }
    }

    /// Appends an instruction, and returns its position.
    ///
    /// # Errors
    /// Returns [`PatternError::TooComplex`] above [`MAX_STEPS`].
    fn push(&mut self, step: Step) -> Result<usize, PatternError> {
        if self.steps.len() >= MAX_STEPS {
            return Err(PatternError::TooComplex);
        }
        self.steps.push(step);
        Ok(self.steps.len() - 1)
    }

    /// Counts a state that the server has.
    ///
    /// # Errors
    /// Returns [`PatternError::TooComplex`] above [`MAX_STATES`].
    fn count(&mut self) -> Result<(), PatternError> {
        self.states += 1;
        if self.states > MAX_STATES { Err(PatternError::TooComplex) } else { Ok(()) }
    }
}

/// Returns `true` if a node contains neither back references nor lookaround.
fn is_regular(node: &Node) -> bool {
    match node {
        Node::Assert(_) | Node::Set(_) => true,
        Node::Look { .. } | Node::Reference(..) => false,
        Node::Group(_, node) | Node::Repeat { node, .. } => is_regular(node),
        Node::Alternatives(nodes) | Node::Sequence(nodes) => nodes.iter().all(is_regular),
    }
}

/// Returns `true` if an assertion holds between two characters. `before` is [`PrecedingChar::Nothing`] at the start,
/// `after` is `None` at the end.
pub(super) fn holds(assertion: Assertion, before: PrecedingChar, after: Option<PrecedingChar>) -> bool {
    let word_before = before == PrecedingChar::Word;
    let word_after = after == Some(PrecedingChar::Word);
    match assertion {
        Assertion::Start => before == PrecedingChar::Nothing,
        Assertion::End => after.is_none(),
        Assertion::LineStart => matches!(before, PrecedingChar::Nothing | PrecedingChar::Newline),
        Assertion::LineEnd => matches!(after, None | Some(PrecedingChar::Newline)),
        Assertion::WordStart => !word_before && word_after,
        Assertion::WordEnd => word_before && !word_after,
        Assertion::Boundary => word_before != word_after,
        Assertion::NotBoundary => word_before == word_after,
    }
}

/// Returns the kind of a code point, as [`holds`] compares it.
pub(super) fn kind(code: u32) -> PrecedingChar {
    PrecedingChar::of(code)
}
