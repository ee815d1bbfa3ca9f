//! Analysis of regular expressions that consist of fixed texts, prefixes and alternatives.

/// The largest number of alternatives into which a regular expression is expanded.
const MAX_ALTERNATIVES: usize = 64;

/// A part of an alternative of a regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Exactly these characters.
    Text(String),
    /// Any characters, or none (`.*`).
    Any,
    /// At least one character (`.+`).
    AtLeastOne,
    /// A part that the analysis does not represent, such as a character class.
    Hole,
    /// The end of the text (`$`).
    End,
}

/// An alternative of a regular expression, reduced to its fixed characters at the beginning and the kind of text that
/// follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// True if the alternative matches only at the beginning of the text; false if anywhere in it.
    pub(crate) anchored: bool,
    /// The fixed characters with which the match begins. May be empty.
    pub(crate) literal: String,
    /// The text that may follow `literal`.
    pub(crate) rest: PatternSuffix,
}

/// The text that may follow the fixed characters of an alternative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatternSuffix {
    /// Any text, or none.
    Anything,
    /// Any text of at least one character.
    AtLeastOne,
    /// No text: the subject ends after the fixed characters.
    Nothing,
    /// Texts that the analysis does not represent, so that only the beginning of a match is known.
    Some,
}

/// The paths that a regular expression matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathSet {
    /// The alternatives of the expression. A path matches if one of them matches.
    pub(super) shapes: Vec<Shape>,
    /// True if letter case does not count.
    pub(super) ignore_case: bool,
}

impl PathSet {
    /// Analyses a regular expression. Case is ignored if `ignore_case` is true or the expression begins with `(?i)`.
    /// `None` where [`shapes`] returns `None`.
    pub(super) fn of(expression: &str, ignore_case: bool) -> Option<Self> {
        let ignore_case = ignore_case || expression.starts_with(IGNORE_CASE);
        Some(Self { shapes: shapes(expression)?, ignore_case })
    }

    /// Returns the set that contains exactly one path, compared by case.
    pub(super) fn exact(path: String) -> Self {
        let shape = Shape { anchored: true, literal: path, rest: PatternSuffix::Nothing };
        Self { shapes: vec![shape], ignore_case: false }
    }
}

/// The flag of an expression in which letter case does not count.
pub(super) const IGNORE_CASE: &str = "(?i)";

impl Shape {
    /// Returns whether a text matches, compared by case. `None` if the text has the fixed characters, but what may
    /// follow them is not represented ([`PatternSuffix::Some`]).
    pub(super) fn is_match(&self, text: &str) -> Option<bool> {
        let literal = self.literal.as_str();
        Some(match (self.anchored, self.rest) {
            (true, PatternSuffix::Anything) => text.starts_with(literal),
            (true, PatternSuffix::AtLeastOne) => text.starts_with(literal) && text != literal,
            (true, PatternSuffix::Nothing) => text == literal,
            (true, PatternSuffix::Some) if text.starts_with(literal) => return None,
            (true, PatternSuffix::Some) => false,
            (false, PatternSuffix::Anything) => text.contains(literal),
            (false, PatternSuffix::AtLeastOne) => {
                text.find(literal).is_some_and(|at| at + literal.len() < text.len())
            }
            (false, PatternSuffix::Nothing) => text.ends_with(literal),
            (false, PatternSuffix::Some) if text.contains(literal) => return None,
            (false, PatternSuffix::Some) => false,
        })
    }
}

/// Returns the alternatives of a regular expression, without those that can never match; a leading `(?i)` is skipped.
/// `None` if the expression is not valid, uses constructs other than literals, classes, groups, alternatives,
/// quantifiers and anchors, has `^` elsewhere than at the beginning of an alternative, or has more than 64
/// alternatives.
pub(crate) fn shapes(expression: &str) -> Option<Vec<Shape>> {
    let alternatives = parse(expression)?;
    Some(alternatives.into_iter().map(|(anchored, pieces)| shape(anchored, pieces)).collect())
}

/// Returns the host names that a regular expression matches, in lower case: exact ones, and `*.NAME` for all names with
/// an ending. `None` if it matches other names too, or [`shapes`] would return `None`.
pub(super) fn names(expression: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for (anchored, mut pieces) in parse(expression)? {
        let ends = pieces.last() == Some(&Piece::End);
        pieces.retain(|piece| *piece != Piece::End);
        match pieces.as_slice() {
            [Piece::Text(name)] if anchored && ends => names.push(name.to_ascii_lowercase()),
            [Piece::Any | Piece::AtLeastOne, Piece::Text(name)] | [Piece::Text(name)]
                if ends && name.starts_with('.') && (!anchored || pieces.len() == 2) =>
            {
                names.push(format!("*{}", name.to_ascii_lowercase()));
            }
            _ => return None,
        }
    }
    Some(names)
}

/// Reduces an alternative to its [`Shape`]: the text of its first part, or an empty one, and the kind of the parts
/// after it.
fn shape(anchored: bool, pieces: Vec<Piece>) -> Shape {
    let mut pieces = pieces.into_iter().peekable();
    let literal = match pieces.peek() {
        Some(Piece::Text(text)) => {
            let text = text.clone();
            pieces.next();
            text
        }
        _ => String::new(),
    };
    let rest: Vec<Piece> = pieces.collect();
    let rest = match rest.as_slice() {
        [] | [Piece::Any] | [Piece::Any, Piece::End] => PatternSuffix::Anything,
        [Piece::AtLeastOne] | [Piece::AtLeastOne, Piece::End] => PatternSuffix::AtLeastOne,
        [Piece::End] => PatternSuffix::Nothing,
        _ => PatternSuffix::Some,
    };
    Shape { anchored, literal, rest }
}

/// An alternative of a regular expression: true if it is anchored at the beginning, and its parts without the anchor.
type Alternative = (bool, Vec<Piece>);

/// Parses a regular expression into its alternatives, with adjacent texts joined. `None` where [`shapes`] returns
/// `None`. A leading `(?i)` is skipped. Alternatives with text after `$`, which never match, are left out.
fn parse(expression: &str) -> Option<Vec<Alternative>> {
    let expression = expression.strip_prefix(IGNORE_CASE).unwrap_or(expression);
    let letters: Vec<char> = expression.chars().collect();
    let mut parser = PatternParser { letters: &letters, at: 0 };
    let found = parser.alternatives(0)?;
    if parser.at != letters.len() {
        return None;
    }
    let mut all = Vec::new();
    for pieces in found {
        let anchored = matches!(pieces.first(), Some(Atom::Begin));
        let mut joined: Vec<Piece> = Vec::new();
        for (i, atom) in pieces.into_iter().enumerate() {
            match atom {
                Atom::Begin if i == 0 => {}
                // An anchor within the expression.
                Atom::Begin => return None,
                Atom::Piece(Piece::Text(text)) => match joined.last_mut() {
                    Some(Piece::Text(before)) => before.push_str(&text),
                    _ => joined.push(Piece::Text(text)),
                },
                Atom::Piece(Piece::Any) if matches!(joined.last(), Some(Piece::Any | Piece::AtLeastOne)) => {}
                Atom::Piece(Piece::AtLeastOne) if joined.last() == Some(&Piece::Any) => {
                    joined.pop();
                    joined.push(Piece::AtLeastOne);
                }
                Atom::Piece(piece) => joined.push(piece),
            }
        }
        // Text after the end never matches.
        let end = joined.iter().position(|piece| *piece == Piece::End);
        if end.is_some_and(|end| {
            joined[end + 1..].iter().any(|piece| !matches!(piece, Piece::End | Piece::Any))
        }) {
            continue;
        }
        if let Some(end) = end {
            joined.truncate(end + 1);
        }
        all.push((anchored, joined));
    }
    Some(all)
}

/// A parsed element of a regular expression.
#[derive(Clone, Debug)]
enum Atom {
    /// The anchor `^`.
    Begin,
    /// A part of the text.
    Piece(Piece),
}

/// A parser for regular expressions (PCRE).
struct PatternParser<'p> {
    /// The characters of the expression.
    letters: &'p [char],
    /// The index of the next character.
    at: usize,
}

impl PatternParser<'_> {
    /// Returns the next character without consuming it. `None` at the end.
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    /// Parses alternatives up to a closing parenthesis, which is not consumed, or the end. `None` if one is not
    /// supported, there are more than [`MAX_ALTERNATIVES`], or `depth`, the nesting of groups, exceeds 8.
    fn alternatives(&mut self, depth: u8) -> Option<Vec<Vec<Atom>>> {
        if depth > 8 {
            return None;
        }
        let mut all = Vec::new();
        loop {
            all.extend(self.sequence(depth)?);
            if all.len() > MAX_ALTERNATIVES {
                return None;
            }
            if self.peek() != Some('|') {
                return Some(all);
            }
            self.at += 1;
        }
    }

    /// Parses the items of one alternative, up to `|`, a closing parenthesis or the end, which are not consumed, and
    /// returns every combination of their alternatives. `None` as for [`alternatives`](Self::alternatives).
    fn sequence(&mut self, depth: u8) -> Option<Vec<Vec<Atom>>> {
        let mut all: Vec<Vec<Atom>> = vec![Vec::new()];
        while let Some(letter) = self.peek() {
            if matches!(letter, '|' | ')') {
                break;
            }
            let one = self.item(depth)?;
            let mut next = Vec::new();
            for begin in &all {
                for end in &one {
                    next.push(begin.iter().chain(end).cloned().collect());
                }
            }
            if next.len() > MAX_ALTERNATIVES {
                return None;
            }
            all = next;
        }
        Some(all)
    }

    /// Parses an item with its quantifier, and returns its alternatives: an empty one too if it may be absent. Of an
    /// item that may be repeated, the first occurrence is followed by a [`Piece::Hole`]. `None` at the end of the
    /// expression or if the item is not supported.
    fn item(&mut self, depth: u8) -> Option<Vec<Vec<Atom>>> {
        let letter = self.peek()?;
        self.at += 1;
        let text = |letter: char| vec![vec![Atom::Piece(Piece::Text(letter.to_string()))]];
        let hole = || vec![vec![Atom::Piece(Piece::Hole)]];
        let mut any = false;
        let found = match letter {
            '^' => return Some(vec![vec![Atom::Begin]]),
            '$' => return Some(vec![vec![Atom::Piece(Piece::End)]]),
            '.' => {
                any = true;
                hole()
            }
            '(' => {
                self.group()?;
                let inner = self.alternatives(depth + 1)?;
                (self.peek() == Some(')')).then_some(())?;
                self.at += 1;
                inner
            }
            '[' => match self.class()? {
                Some(letter) => text(letter),
                None => hole(),
            },
            '\\' => {
                let escaped = self.peek()?;
                self.at += 1;
                match escaped {
                    'd' | 'D' | 'w' | 'W' | 's' | 'S' => hole(),
                    escaped if escaped.is_ascii_alphanumeric() => return None,
                    escaped => text(escaped),
                }
            }
            '*' | '+' | '?' | '{' | ')' => return None,
            letter => text(letter),
        };
        let Some((least, most)) = self.quantifier()? else { return Some(found) };
        if most == Some(0) {
            return Some(vec![Vec::new()]);
        }
        let repeated: Vec<Vec<Atom>> = match (any, least, most) {
            (true, 0, None) => return Some(vec![vec![Atom::Piece(Piece::Any)]]),
            (true, 1, None) => return Some(vec![vec![Atom::Piece(Piece::AtLeastOne)]]),
            (_, 0 | 1, Some(1)) => found,
            // The first is known; more of them are not modelled.
            _ => found
                .into_iter()
                .map(|mut one| {
                    if !matches!(one.last(), Some(Atom::Piece(Piece::End))) {
                        one.push(Atom::Piece(Piece::Hole));
                    }
                    one
                })
                .collect(),
        };
        Some(if least == 0 { repeated.into_iter().chain([Vec::new()]).collect() } else { repeated })
    }

    /// Parses a quantifier as its least and most repetitions, the most being `None` if unbounded. A lazy quantifier
    /// counts as a greedy one. `Some(None)` if there is no quantifier, and `None` for a possessive one, or for `{` that
    /// does not begin a valid `{N}`, `{N,}` or `{N,M}`.
    fn quantifier(&mut self) -> Option<Option<(u32, Option<u32>)>> {
        let bounds = match self.peek() {
            Some('?') => (0, Some(1)),
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('{') => {
                let end = self.letters[self.at..].iter().position(|letter| *letter == '}')?;
                let inner: String = self.letters[self.at + 1..self.at + end].iter().collect();
                self.at += end;
                let (least, most) = match inner.split_once(',') {
                    None => (inner.parse().ok()?, Some(inner.parse().ok()?)),
                    Some((least, "")) => (least.parse().ok()?, None),
                    Some((least, most)) => (least.parse().ok()?, Some(most.parse().ok()?)),
                };
                (least, most)
            }
            _ => return Some(None),
        };
        self.at += 1;
        match self.peek() {
            // A lazy quantifier matches the same texts.
            Some('?') => self.at += 1,
            // A possessive one may match fewer.
            Some('+') => return None,
            _ => {}
        }
        Some(Some(bounds))
    }

    /// Skips the beginning of a group after its parenthesis: nothing, `?:`, or a name as `?<NAME>` or `?P<NAME>`.
    /// `None` for every other beginning, such as look-arounds and flags.
    fn group(&mut self) -> Option<()> {
        if self.peek() != Some('?') {
            return Some(());
        }
        self.at += 1;
        match self.peek()? {
            ':' => {
                self.at += 1;
                return Some(());
            }
            'P' => self.at += 1,
            _ => {}
        }
        (self.peek()? == '<').then_some(())?;
        self.at += 1;
        if matches!(self.peek()?, '=' | '!') {
            return None;
        }
        while self.peek()? != '>' {
            self.at += 1;
        }
        self.at += 1;
        Some(())
    }

    /// Parses a character class after its bracket. Returns `Some(Some(_))` if it consists of a single character,
    /// possibly escaped, `Some(None)` for any other class, and `None` if it is not closed.
    fn class(&mut self) -> Option<Option<char>> {
        let begin = self.at;
        if self.peek()? == '^' {
            self.at += 1;
        }
        if self.peek()? == ']' {
            self.at += 1;
        }
        while self.peek()? != ']' {
            self.at += if self.peek()? == '\\' { 2 } else { 1 };
        }
        let inner = &self.letters[begin..self.at];
        self.at += 1;
        Some(match inner {
            [letter] => Some(*letter),
            ['\\', letter] if !letter.is_ascii_alphanumeric() => Some(*letter),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_of_prefixes() {
        let of = |text: &str| {
            shapes(text).map(|all| {
                all.iter().map(|one| (one.anchored, one.literal.clone(), one.rest)).collect::<Vec<_>>()
            })
        };
        let one = |anchored, text: &str, rest| Some(vec![(anchored, text.to_owned(), rest)]);
        assert_eq!(of("^/admin"), one(true, "/admin", PatternSuffix::Anything));
        assert_eq!(of("^/admin/.*$"), one(true, "/admin/", PatternSuffix::Anything));
        assert_eq!(of("^/admin$"), one(true, "/admin", PatternSuffix::Nothing));
        assert_eq!(of(r"\.php$"), one(false, ".php", PatternSuffix::Nothing));
        assert_eq!(of("^/a/[0-9]+/b"), one(true, "/a/", PatternSuffix::Some));
        assert_eq!(of("^/.*/secret"), one(true, "/", PatternSuffix::Some));
        assert_eq!(
            of("^/(a|b)/"),
            Some(vec![
                (true, "/a/".into(), PatternSuffix::Anything),
                (true, "/b/".into(), PatternSuffix::Anything)
            ])
        );
        assert_eq!(
            of("(/app)?/api"),
            Some(vec![
                (false, "/app/api".into(), PatternSuffix::Anything),
                (false, "/api".into(), PatternSuffix::Anything)
            ])
        );
        assert_eq!(
            of("^/a(/|$)"),
            Some(vec![
                (true, "/a/".into(), PatternSuffix::Anything),
                (true, "/a".into(), PatternSuffix::Nothing)
            ])
        );
        for unbounded in [r"/\.(?!well-known)", "a(?=b)", r"\bx", "(", "a**b(", "a{b}", "a{,2}", "a++b"] {
            assert_eq!(of(unbounded), None, "{unbounded}");
        }
        // Least repetitions: none, one, or a number of them.
        let guarded = |text: &str, path: &str| {
            let all = shapes(text).expect("alternatives");
            all.iter().any(|shape| shape.is_match(path) != Some(false))
        };
        for optional in ["^/admin(/x){0,3}$", "^/admin(/x){0,}$", "^/admin(/x){0}$", "^/admi(n){0,1}"] {
            assert!(
                guarded(optional, if optional.contains("(n)") { "/admi" } else { "/admin" }),
                "{optional}"
            );
        }
        assert_eq!(of("^/a(bc){0,1}$").map(|all| all.len()), Some(2));
        assert_eq!(of("^/ab{1}$"), one(true, "/ab", PatternSuffix::Nothing));
        assert_eq!(of("^/ab{2}$"), one(true, "/ab", PatternSuffix::Some));
        assert!(guarded("^/admin(/|$)+", "/admin"));
        for at_least_one in ["^/a/.+", "^/a/(.+)$", "^/a/.+.*", "^/a/.*.+", "^/a/.{1,}"] {
            assert_eq!(of(at_least_one), one(true, "/a/", PatternSuffix::AtLeastOne), "{at_least_one}");
        }
        assert!(!guarded("^/a/.+", "/a/") && guarded("^/a/.+", "/a/b"));
        assert!(!guarded("b.+", "/ab") && guarded("b.+", "/abc"));
        assert_eq!(of("^/a/.{0,}"), one(true, "/a/", PatternSuffix::Anything));
        assert_eq!(of("^/a/.+.+"), one(true, "/a/", PatternSuffix::Some));
    }

    #[test]
    fn names_of_servers() {
        let of = |text: &str| names(text);
        assert_eq!(of(r"^(www\.)?example\.org$"), Some(vec!["www.example.org".into(), "example.org".into()]));
        assert_eq!(of(r"^(?<sub>.+)\.example\.org$"), Some(vec!["*.example.org".into()]));
        assert_eq!(of(r"\.example\.org$"), Some(vec!["*.example.org".into()]));
        for other in [r"^[^.]+\.example\.org$", "^www", r"example\.org$", "^(.*)$"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
