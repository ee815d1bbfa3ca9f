//! Tree of subexpressions, by which the server decides what each group of a match holds (`parseqatom()` in regcomp.c).
//!
//! What has neither groups nor back references, and does not mix greedy with other repetitions, is one plain part. All
//! else is divided into concatenations, alternatives and iterations, each of which prefers a longer or a shorter match.

use super::parse::Node;

/// Preferences of a subexpression, and what it contains: the flags of `struct subre`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    const LONGER: Self = Self(1);
    const SHORTER: Self = Self(2);
    const MIXED: Self = Self(4);
    const GROUP: Self = Self(8);
    const REFERENCE: Self = Self(16);
    const PREFERENCES: Self = Self(3);

    /// Returns the flags of a quantifier.
    fn of(greedy: Option<bool>) -> Self {
        greedy.map_or(Self::default(), |greedy| if greedy { Self::LONGER } else { Self::SHORTER })
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn of_these(self, these: Self) -> Self {
        Self(self.0 & these.0)
    }

    fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }

    /// Returns the flags as they count for what contains the part: preferences do not, but their mixture (`UP`).
    fn up(self) -> Self {
        let both = self.of_these(Self::PREFERENCES) == Self::PREFERENCES;
        Self(self.0 & !Self::PREFERENCES.0 | if both { Self::MIXED.0 } else { 0 })
    }

    /// Returns the flags of a part made of two, of which the first has precedence (`COMBINE`).
    fn combined(self, other: Self) -> Self {
        let own = self.of_these(Self::PREFERENCES);
        let preference = if own == Self::default() { other.of_these(Self::PREFERENCES) } else { own };
        self.with(other).up().with(preference)
    }

    /// Returns `true` for a part that has to be divided (`MESSY`).
    fn is_divided(self) -> bool {
        self.has(Self::MIXED.with(Self::GROUP).with(Self::REFERENCE))
    }

    /// Returns `true` if the shortest match is preferred.
    pub(super) fn prefers_shorter(self) -> bool {
        self.has(Self::SHORTER)
    }

    /// Returns `true` if the part contains a back reference.
    pub(super) fn has_references(self) -> bool {
        self.has(Self::REFERENCE)
    }
}

/// A part of a regular expression that is matched as a whole.
#[derive(Clone, Debug)]
pub(super) enum Plain<'p> {
    /// Nodes one after another.
    Sequence(Vec<&'p Node>),
    /// Repetitions of a node. `None` is no maximum.
    Repeat(&'p Node, u32, Option<u32>),
}

/// Kind of a subexpression.
#[derive(Debug)]
pub(super) enum Kind<'p> {
    Alternatives(Vec<Tree<'p>>),
    Concatenation(Box<(Tree<'p>, Tree<'p>)>),
    Iteration { child: Box<Tree<'p>>, min: u32, max: Option<u32> },
    Plain(Vec<Plain<'p>>),
    Reference { number: usize, fold: bool, min: u32, max: Option<u32> },
    Wrapper(Box<Tree<'p>>),
}

/// A subexpression. `group` is the number of the group that it is the content of, from 0.
#[derive(Debug)]
pub(super) struct Tree<'p> {
    pub(super) kind: Kind<'p>,
    pub(super) flags: Flags,
    pub(super) group: Option<usize>,
}

/// Returns the depth that the tree of a regular expression has at most: the search recurses over it.
pub(super) fn depth(node: &Node) -> usize {
    measure(node, has_lazy(node)).0
}

/// Returns whether a node has a quantifier that prefers a shorter match.
fn has_lazy(node: &Node) -> bool {
    match node {
        Node::Assert(_) | Node::Look { .. } | Node::Reference(..) | Node::Set(_) => false,
        Node::Repeat { node, greedy, .. } => *greedy == Some(false) || has_lazy(node),
        Node::Group(_, node) => has_lazy(node),
        Node::Alternatives(nodes) | Node::Sequence(nodes) => nodes.iter().any(has_lazy),
    }
}

/// Returns the depth of a node's tree, and whether it may be divided. `mixes` is whether preferences may be mixed.
fn measure(node: &Node, mixes: bool) -> (usize, bool) {
    match node {
        Node::Assert(_) | Node::Look { .. } | Node::Set(_) => (0, false),
        Node::Reference(..) => (1, true),
        Node::Group(_, node) => (measure(node, mixes).0 + 1, true),
        Node::Repeat { node, .. } => {
            let (depth, is_divided) = measure(node, mixes);
            (depth + 1, is_divided || mixes)
        }
        Node::Alternatives(nodes) | Node::Sequence(nodes) => {
            let (mut deepest, mut divided) = (0, 0);
            for node in nodes {
                let (depth, is_divided) = measure(node, mixes);
                deepest = deepest.max(depth);
                divided += usize::from(is_divided);
            }
            // The parts of a sequence are each below the one before.
            let own = if matches!(node, Node::Sequence(_)) { 2 * divided } else { 1 };
            (deepest + own, divided > 0)
        }
    }
}

impl<'p> Tree<'p> {
    /// Returns the tree of a regular expression or of the content of a group.
    pub(super) fn of(node: &'p Node) -> Self {
        match node {
            Node::Alternatives(branches) => {
                let trees: Vec<Self> = branches.iter().map(Self::of).collect();
                let flags =
                    trees.iter().fold(Flags::LONGER, |flags, tree| flags.with(flags.with(tree.flags).up()));
                if flags.is_divided() {
                    Self::new(Kind::Alternatives(trees), flags)
                } else {
                    Self::plain(vec![Plain::Sequence(vec![node])], flags)
                }
            }
            Node::Sequence(parts) => Self::branch(parts),
            _ => Self::branch(std::slice::from_ref(node)),
        }
    }

    fn new(kind: Kind<'p>, flags: Flags) -> Self {
        Self { kind, flags, group: None }
    }

    fn plain(parts: Vec<Plain<'p>>, flags: Flags) -> Self {
        Self::new(Kind::Plain(parts), flags)
    }

    fn concatenation(first: Self, second: Self, flags: Flags) -> Self {
        Self::new(Kind::Concatenation(Box::new((first, second))), flags)
    }

    /// Returns the tree of nodes one after another.
    fn branch(parts: &'p [Node]) -> Self {
        let (mut flags, mut prefix) = (Flags::default(), Vec::new());
        for (index, part) in parts.iter().enumerate() {
            let (node, min, max, greedy) = match part {
                Node::Repeat { node, min, max, greedy } => (&**node, *min, *max, *greedy),
                node => (node, 1, Some(1), None),
            };
            let preference = Flags::of(greedy);
            let atom = match node {
                _ if max == Some(0) => {
                    prefix.push(part);
                    continue;
                }
                Node::Assert(_) | Node::Look { .. } => {
                    prefix.push(part);
                    continue;
                }
                Node::Set(_) | Node::Repeat { .. } => None,
                Node::Alternatives(_) | Node::Sequence(_) => Some(Self::of(node)),
                Node::Group(number, content) => Some(Self::group(*number, content)),
                Node::Reference(number, fold) => {
                    let kind = Kind::Reference { number: *number, fold: *fold, min, max };
                    Some(Self::new(kind, Flags::REFERENCE))
                }
            };
            let inner = atom.as_ref().map_or(Flags::default(), |atom| atom.flags);
            let all = flags.with(preference).with(inner);
            if !matches!(node, Node::Group(..) | Node::Reference(..)) && !all.up().is_divided() {
                prefix.push(part);
                flags = all;
                continue;
            }
            let atom = atom.unwrap_or_else(|| Self::plain(vec![Plain::Sequence(vec![node])], inner));
            let atom = Self::quantified(atom, node, min, max, preference);
            return Self::divided(prefix, flags, atom, preference.combined(inner), &parts[index + 1..]);
        }
        Self::plain(vec![Plain::Sequence(prefix)], flags)
    }

    /// Returns the tree of a group.
    fn group(number: usize, content: &'p Node) -> Self {
        let mut tree = Self::of(content);
        if tree.group.is_some() {
            let flags = tree.flags;
            tree = Self::new(Kind::Wrapper(Box::new(tree)), flags);
        }
        tree.group = Some(number);
        tree.flags = tree.flags.with(Flags::GROUP);
        tree
    }

    /// Returns the tree of a prefix, an atom that has to stand alone, and the rest of the branch. `rest_flags` are those
    /// of the atom and the rest before the rest is known.
    fn divided(prefix: Vec<&'p Node>, flags: Flags, atom: Self, rest_flags: Flags, rest: &'p [Node]) -> Self {
        let first = prefix.is_empty();
        let before = Self::plain(vec![Plain::Sequence(prefix)], flags);
        if rest.is_empty() {
            if first {
                return atom;
            }
            let all = flags.with(flags.combined(atom.flags));
            return Self::concatenation(before, atom, all);
        }
        let rest = Self::branch(rest);
        let rest_flags = rest_flags.with(rest_flags.combined(rest.flags));
        let all = flags.with(flags.combined(rest_flags));
        if first {
            return Self::concatenation(atom, rest, all);
        }
        let after = match (atom, rest) {
            (
                Self { kind: Kind::Plain(mut one), flags, group: None },
                Self { kind: Kind::Plain(other), flags: others, group: None },
            ) if !flags.with(others).up().is_divided() => {
                one.extend(other);
                Self::plain(one, flags.combined(others))
            }
            (atom, rest) => Self::concatenation(atom, rest, rest_flags),
        };
        Self::concatenation(before, after, all)
    }

    /// Returns the tree of an atom with its quantifier.
    fn quantified(mut atom: Self, node: &'p Node, min: u32, max: Option<u32>, preference: Flags) -> Self {
        let flags = preference.combined(atom.flags);
        if matches!(node, Node::Reference(..)) {
            // It has the bounds itself.
            atom.flags = atom.flags.with(flags);
            return atom;
        }
        let own = atom.flags.of_these(Flags::PREFERENCES.with(Flags::MIXED));
        let vacuous = preference == Flags::default() || own == Flags::default() || own == preference;
        if (min, max) == (1, Some(1)) && vacuous {
            return atom;
        }
        if !atom.flags.has(Flags::GROUP.with(Flags::REFERENCE)) {
            return Self::plain(vec![Plain::Repeat(node, min, max)], flags);
        }
        if min > 0 && !atom.flags.has_references() {
            // Only the last repetition has groups.
            let fewer = Plain::Repeat(node, min - 1, max.map(|max| max - 1));
            let before = Self::plain(vec![fewer], flags.of_these(Flags::PREFERENCES));
            return Self::concatenation(before, atom, flags);
        }
        Self::new(Kind::Iteration { child: Box::new(atom), min, max }, flags)
    }
}
