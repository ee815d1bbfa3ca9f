//! Search for a match and its groups, as the server dissects it (regexec.c): of the possible matches of each part the
//! longest or the shortest, earlier parts first. Only what contains a back reference is tried again.

use super::ends::Subject;
use super::parse::Node;
use super::tree::{Kind, Tree};
use crate::encoding::encode_file;

/// The match of each group as start and end, in bytes. `None` for a group that did not match.
pub(super) type Groups = Vec<Option<(usize, usize)>>;

/// State of a search.
struct Search<'p> {
    subject: Subject<'p>,
    groups: Groups,
}

/// Returns the groups of the match that the server finds in `name`. `groups` is the number of groups of the pattern.
/// `None` without a match, or if the limit of steps is exceeded before it is found.
pub(super) fn find(node: &Node, groups: usize, name: &str) -> Option<Groups> {
    let tree = Tree::of(node);
    let name = encode_file(name).into_iter().map(u32::from).collect();
    let mut search = Search { subject: Subject::new(name, node, groups), groups: vec![None; groups] };
    let len = search.subject.len();
    let mut first = 0;
    loop {
        // The earliest end of what may be a match; matches that start before it come first.
        let ends = (first..=len).filter_map(|begin| search.subject.shortest(&tree, begin, begin, len));
        let close = ends.min()?;
        if (first..=close).any(|begin| search.starts(&tree, begin)) {
            return search.subject.spend(0).then_some(search.groups);
        }
        // As the server, which then no longer looks for a match of nothing at the end.
        first = close + 1;
        if first >= len {
            return None;
        }
    }
}

impl Search<'_> {
    /// Searches for a match from `begin`. Returns `true` if there is one.
    fn starts(&mut self, tree: &Tree<'_>, begin: usize) -> bool {
        let shorter = tree.flags.prefers_shorter();
        let (mut from, mut to) = (begin, self.subject.len());
        while from <= to {
            let end = if shorter {
                self.subject.shortest(tree, begin, from, to)
            } else {
                self.subject.longest(tree, begin, to)
            };
            let Some(end) = end else { return false };
            self.groups.fill(None);
            if self.dissect(tree, begin, end) {
                return true;
            }
            // Another match from the same start.
            if shorter {
                from = end + 1;
            } else if end > begin {
                to = end - 1;
            } else {
                return false;
            }
        }
        false
    }

    /// Determines the groups of a part that matches from `begin` to `end`. Returns `false` if a back reference in it
    /// does not match, or the limit of steps is exceeded.
    fn dissect(&mut self, tree: &Tree<'_>, begin: usize, end: usize) -> bool {
        if !self.subject.spend(1) {
            return false;
        }
        let matches = match &tree.kind {
            Kind::Plain(_) => true,
            Kind::Wrapper(child) => self.dissect(child, begin, end),
            Kind::Reference { number, fold, min, max } => {
                self.reference(*number, *fold, (*min, *max), begin, end)
            }
            Kind::Concatenation(both) => self.concatenation(&both.0, &both.1, begin, end),
            Kind::Alternatives(trees) => trees.iter().any(|tree| {
                self.subject.longest(tree, begin, end) == Some(end) && self.dissect(tree, begin, end)
            }),
            Kind::Iteration { child, min, max } => self.iteration(child, *min, *max, begin, end),
        };
        if matches && let Some(group) = tree.group {
            self.groups[group] = Some((begin, end));
        }
        matches
    }

    /// Dissects two parts: the first is as long or as short as possible.
    fn concatenation(&mut self, first: &Tree<'_>, second: &Tree<'_>, begin: usize, end: usize) -> bool {
        let shorter = first.flags.prefers_shorter();
        let (mut from, mut to) = (begin, end);
        loop {
            let middle = if shorter {
                self.subject.shortest(first, begin, from, to)
            } else {
                self.subject.longest(first, begin, to)
            };
            let Some(middle) = middle else { return false };
            if self.subject.longest(second, middle, end) == Some(end) && self.dissect(first, begin, middle) {
                if self.dissect(second, middle, end) {
                    return true;
                }
                self.clear(first);
            }
            if shorter && middle < end {
                from = middle + 1;
            } else if !shorter && middle > begin {
                to = middle - 1;
            } else {
                return false;
            }
        }
    }

    /// Returns `true` if a text is an allowed number of repetitions of a group.
    fn reference(
        &self,
        number: usize,
        fold: bool,
        (min, max): (u32, Option<u32>),
        begin: usize,
        end: usize,
    ) -> bool {
        let Some((from, to)) = self.groups[number - 1] else { return false };
        let (len, text) = (to - from, end - begin);
        if len == 0 {
            return text == 0;
        }
        let times = u32::try_from(text / len).unwrap_or(u32::MAX);
        text.is_multiple_of(len)
            && times >= min
            && max.is_none_or(|max| times <= max)
            && (begin..end).step_by(len).all(|at| self.subject.same(from, at, len, fold))
    }

    /// Dissects repetitions, of which the first ones are as long or as short as possible. The groups are those of the
    /// last one.
    fn iteration(&mut self, child: &Tree<'_>, min: u32, max: Option<u32>, begin: usize, end: usize) -> bool {
        let shorter = child.flags.prefers_shorter();
        if shorter && min == 0 && begin == end {
            return true;
        }
        let least = usize::try_from(min.max(1)).unwrap_or(usize::MAX);
        let most = max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let most = (end - begin).min(most).max(least);
        // The end of each repetition, after the start of the first.
        let mut ends = vec![begin];
        let mut verified = 0;
        let mut limit = if shorter { begin } else { end };
        loop {
            if !self.subject.spend(1) {
                return false;
            }
            let (number, start) = (ends.len(), ends[ends.len() - 1]);
            let found = if shorter {
                // A repetition of nothing is for the minimum alone, and the last one reaches to the end.
                if limit == start && limit != end && (number >= least || least - number < end - limit) {
                    limit += 1;
                }
                self.subject.shortest(child, start, if number >= most { end } else { limit }, end)
            } else {
                self.subject.longest(child, start, limit)
            };
            let mut back = false;
            if let Some(found) = found {
                ends.push(found);
                verified = verified.min(number - 1);
                if found != end {
                    let needless =
                        !shorter && found == start && (number >= least || least - number < end - found);
                    if number >= most {
                        ends.pop();
                        back = true;
                    } else if needless {
                        back = true;
                    } else {
                        limit = if shorter { found } else { end };
                    }
                } else if number < least {
                    back = true;
                } else {
                    let wrong = (verified + 1..=number).find(|&at| {
                        self.clear(child);
                        !self.dissect(child, ends[at - 1], ends[at])
                    });
                    let Some(wrong) = wrong else { return true };
                    verified = wrong - 1;
                    ends.truncate(wrong + 1);
                    back = true;
                }
            } else {
                back = true;
            }
            if back && !Self::step_back(&mut ends, &mut limit, least, end, shorter) {
                return !shorter && min == 0 && begin == end;
            }
        }
    }

    /// Removes the end of the last repetition that may have another one, and those after it, and sets the limit of that
    /// other one. Returns `false` if there is none.
    fn step_back(ends: &mut Vec<usize>, limit: &mut usize, least: usize, end: usize, shorter: bool) -> bool {
        while ends.len() > 1 {
            let number = ends.len() - 1;
            let (last, start) = (ends[number], ends[number - 1]);
            ends.pop();
            if shorter {
                if last < end {
                    *limit = last + 1;
                    return true;
                }
            } else if last > start {
                *limit = last - 1;
                if *limit > start || (number < least && least - number >= end - start) {
                    return true;
                }
            }
        }
        false
    }

    /// Forgets the groups in a part. Counts a step for each part in it.
    fn clear(&mut self, tree: &Tree<'_>) {
        self.subject.spend(1);
        if let Some(group) = tree.group {
            self.groups[group] = None;
        }
        match &tree.kind {
            Kind::Plain(_) | Kind::Reference { .. } => {}
            Kind::Wrapper(child) | Kind::Iteration { child, .. } => self.clear(child),
            Kind::Concatenation(both) => {
                self.clear(&both.0);
                self.clear(&both.1);
            }
            Kind::Alternatives(trees) => trees.iter().for_each(|tree| self.clear(tree)),
        }
    }
}
