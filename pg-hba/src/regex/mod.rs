//! PostgreSQL's regular expressions, as far as `pg_hba.conf` and `pg_ident.conf` use them.
//!
//! A name that starts with `/` is an "advanced regular expression" of Henry Spencer's library, compiled under the C
//! collation (`regcomp_auth_token` in hba.c), so classes such as `\w` and case folding know ASCII only. Before a login
//! has a database its encoding is SQL_ASCII, in which every byte is a character: `^.$` does not match `é`, and `^..$`
//! does. It is searched for, not anchored. See <https://www.postgresql.org/docs/18/functions-matching.html>.

mod charset;
mod dissect;
mod ends;
mod error;
mod nfa;
mod parse;
mod tree;

pub use error::PatternError;

pub(crate) use nfa::{Automaton, State};

use crate::encoding::encode_file;
use dissect::Groups;
use parse::Node;
use std::fmt;
use std::sync::Arc;

/// Maximum depth of the tree of a pattern, over which the search for groups and back references recurses: enough for 500
/// groups in a row. The server accepts some thousands.
const MAX_TREE_DEPTH: usize = 1_010;

/// A compiled regular expression with PostgreSQL's syntax and semantics.
///
/// Two patterns are equal when their text is.
///
/// ```
/// use pg_hba::Pattern;
/// let pattern = Pattern::new(r"^app_\d+$")?;
/// assert!(pattern.is_match("app_42") && !pattern.is_match("app_x"));
/// assert_eq!(Pattern::new("a(b").unwrap_err().to_string(), "parentheses () not balanced");
/// # Ok::<(), pg_hba::PatternError>(())
/// ```
#[derive(Clone)]
pub struct Pattern {
    text: String,
    compiled: Arc<Compiled>,
}

/// Syntax tree of a pattern, with its automaton.
struct Compiled {
    node: Node,
    groups: usize,
    /// `None` if the pattern has back references or lookaround.
    automaton: Option<Automaton>,
}

impl Pattern {
    /// Compiles a regular expression, the text after the slash.
    ///
    /// # Errors
    /// Returns a [`PatternError`] for whatever `pg_regcomp` rejects, with the same message, for basic regular
    /// expressions (`(?b)`), which this implementation does not support, and for expressions that are too complex.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let (node, groups) = parse::parse(text)?;
        if tree::depth(&node) > MAX_TREE_DEPTH {
            return Err(PatternError::TooComplex);
        }
        let automaton = Automaton::build(&node)?;
        Ok(Self { text: text.to_owned(), compiled: Arc::new(Compiled { node, groups, automaton }) })
    }

    /// Returns the text of the regular expression, without the slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns `true` if some part of `name` matches. The search is not anchored. A pattern with back references or
    /// lookaround whose search exceeds 20,000,000 steps does not match.
    #[must_use]
    pub fn is_match(&self, name: &str) -> bool {
        match &self.compiled.automaton {
            Some(automaton) => automaton.is_match(name),
            None => self.find(name).is_some(),
        }
    }

    /// Returns the text of the first capture group, to which `\1` in a user name map refers, in the match that the server
    /// finds: the leftmost one, and of those at the same start the longest, or the shortest if the pattern prefers that,
    /// as `^(.*?)@` does. Each part in turn takes as much or as little as it prefers; the order of alternatives does not
    /// count. `None` without a match, and if the search exceeds 20,000,000 steps; `Some(None)` if the pattern has no
    /// group, or the group did not match or cuts a character in two.
    #[must_use]
    pub fn first_group<'n>(&self, name: &'n str) -> Option<Option<&'n str>> {
        let group = self.first_span(name)?;
        // A character of the text is one or more bytes of the name.
        let index = |position: usize| {
            let mut starts = name.char_indices().scan(0, |bytes, (index, c)| {
                let start = *bytes;
                *bytes += encode_file(c.encode_utf8(&mut [0; 4])).len();
                Some((start, index))
            });
            starts
                .find(|(start, _)| *start >= position)
                .map_or(Some(name.len()), |(start, index)| (start == position).then_some(index))
        };
        Some(group.and_then(|(from, to)| name.get(index(from)?..index(to)?)))
    }

    /// Returns the bytes of the first capture group, as [`first_group`](Self::first_group) does its text. `None`
    /// without a match.
    pub(crate) fn first_group_bytes(&self, name: &str) -> Option<Option<Vec<u8>>> {
        let group = self.first_span(name)?;
        Some(group.map(|(from, to)| encode_file(name)[from..to].to_vec()))
    }

    /// Returns the position of the first capture group in the bytes of a name. `None` without a match.
    fn first_span(&self, name: &str) -> Option<Option<(usize, usize)>> {
        if !self.is_match(name) {
            return None;
        }
        Some(self.find(name)?.first().copied().flatten())
    }

    /// Returns `true` if the regular expression has neither back references nor lookaround. Only such patterns can be
    /// analysed by [`crate::diff`] and [`crate::shadowed_rules`].
    #[must_use]
    pub fn is_regular(&self) -> bool {
        self.compiled.automaton.is_some()
    }

    /// Returns the automaton. `None` if the pattern is not regular.
    pub(crate) fn automaton(&self) -> Option<&Automaton> {
        self.compiled.automaton.as_ref()
    }

    /// Returns the groups of the match that the server finds in `name`. `None` without a match.
    fn find(&self, name: &str) -> Option<Groups> {
        dissect::find(&self.compiled.node, self.compiled.groups, name)
    }
}

impl PartialEq for Pattern {
    /// Compares the texts.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl std::hash::Hash for Pattern {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Pattern({:?})", self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).expect(pattern).is_match(name)
    }

    fn refused(pattern: &str) -> String {
        Pattern::new(pattern).expect_err(pattern).to_string()
    }

    #[test]
    fn it_searches_rather_than_anchors() {
        assert!(matches("b", "abc"));
        assert!(!matches("^b", "abc"));
        assert!(matches("", "abc"));
        assert!(matches("(|x)y", "y"));
    }

    /// As PostgreSQL 15, 18 and 19 decide: the number of optional parts in a row counts by its square.
    #[test]
    fn the_size_of_a_pattern_is_limited() {
        for pattern in [
            "((a){255}){170}",
            "((a?){100}){10}",
            "(.{1,255}){100}",
            "(a{1,255}){170}",
            "((a|b){1,255}){56}",
            "((ab){1,255}){85}",
            "((a|bc){255}){40}",
            "((abcdefgh){255}){21}",
        ] {
            assert!(Pattern::new(pattern).is_ok(), "{pattern}");
        }
        for pattern in [
            "((a?){255}){39}",
            "((a?){100}){18}",
            "((a*){255}){39}",
            "((a?b?){255}){20}",
            "(((a?)?){255}){20}",
            "((a){255}){172}",
            "(.{1,255}){172}",
            "((a|b){1,255}){60}",
            "((ab){1,255}){87}",
            "((abcdefgh){255}){22}",
        ] {
            assert!(refused(pattern).contains("too complex"), "{pattern}");
        }
    }

    /// On the stack of a thread, 2 MiB.
    #[test]
    fn deep_patterns_are_searched_or_refused() {
        // Each group refers to the one before.
        let chain: String = (1..400).map(|number| format!("(\\{number})")).collect();
        for (pattern, name, group) in [
            ("(a?)".repeat(500), "aaa", Some("a")),
            (format!("{}\\1", "(a?)".repeat(499)), "aaaa", Some("a")),
            ("a*b*?".repeat(240), "ab", None),
            (format!("(?:(a){chain})?\\400"), "aaa", None),
            (format!("{}a{}", "(".repeat(199), ")".repeat(199)), "a", Some("a")),
            (format!("{}a{}", "(?:b*(".repeat(99), "))*".repeat(99)), "a", Some("a")),
            (format!("^({})$", ["ab|"; 5_000].concat()), "ab", Some("ab")),
            ("a".repeat(43_000), "a", None),
        ] {
            let compiled = Pattern::new(&pattern).expect("it compiles");
            assert_eq!(compiled.first_group(name).flatten(), group, "{}", &pattern[..20]);
        }
        for pattern in ["(a)".repeat(600), "()".repeat(1_000_000), "a*b*?".repeat(600)] {
            assert!(refused(&pattern).contains("too complex"), "{}", &pattern[..20]);
        }
    }

    /// As PostgreSQL 18 decides.
    #[test]
    fn repetitions_of_nothing_count() {
        assert!(matches("^((){255}){20}$", ""));
        for pattern in [
            "^((((((){255}){255}){255}){255}){255})$",
            "^(((a{0}){255}){255}){255}b$",
            "((((a?){255}){255}){255}){255}",
        ] {
            assert!(refused(pattern).contains("too complex"), "{pattern}");
        }
    }

    #[test]
    fn quantifiers_and_classes() {
        assert!(matches(r"^a{1,2}$", "aa") && !matches(r"^a{1,2}$", "aaa"));
        assert!(matches(r"^[[:alpha:]_]+\d*?$", "ab_9"));
        assert!(matches(r"^[^-a]$", "b") && !matches(r"^[^-a]$", "-"));
        assert!(matches(r"^[]a]+$", "]a"));
        assert!(!matches(r"^\w$", "é"), "the C collation knows ASCII letters only");
        assert!(matches(r"(?i)^ALICE$", "alice"));
        assert!(matches(r"a{", "a{"), "a brace before no digit is itself");
        assert!(matches(r"***=a.b", "xa.by") && !matches("***=a.b", "axb"));
        assert!(matches("(?x) a b # comment", "ab"));
        assert!(matches("(?x)^a{ 1 , 2 # two\n }$", "aa") && matches("a(?#x){2}", "aa"));
        assert!(matches("a{(?#x)2}", "a{2}") && matches("(?x)a{(?#x)2}", "a{2}"), "a brace before no digit");
        assert!(matches(r"^\x61\u0062$", "ab"));
    }

    #[test]
    fn a_character_is_a_byte() {
        assert!(!matches("^.$", "é") && matches("^..$", "é") && !matches("^[é]$", "é"));
        assert!(matches("^é$", "é") && matches("^[^a-z]{2}$", "é") && matches(r"^\xc3\xa9$", "é"));
        assert_eq!(Pattern::new("^(.*)x$").expect("compiles").first_group("éx"), Some(Some("é")));
        assert_eq!(Pattern::new("^(.)").expect("compiles").first_group("éx"), Some(None));
        let raw = crate::decode_file(b"\xe9");
        let named = format!("{raw}ab");
        assert_eq!(Pattern::new("^.(.)").expect("compiles").first_group(&named), Some(Some("a")));
        assert!(matches("^.$", &raw) && matches(&format!("^{raw}$"), &raw) && !matches("^é$", &raw));
    }

    #[test]
    fn word_boundaries_look_both_ways() {
        assert!(matches(r"\mbob\M", "x bob y") && !matches(r"\mbob\M", "xbob"));
        assert!(matches(r"[[:<:]]bob[[:>:]]", "bob"));
        assert!(matches(r"\Yob", "bob") && !matches(r"\yob", "bob"));
    }

    #[test]
    fn what_automata_cannot_do_is_done_by_a_search() {
        assert!(matches(r"^(a+)b\1$", "aabaa") && !matches(r"^(a+)b\1$", "aaba"));
        assert!(matches(r"^(?!root).*$", "alice") && !matches(r"^(?!root).*$", "root"));
        assert!(matches(r"(?<=x)y", "xy") && !matches(r"(?<=x)y", "zy"));
        assert!(!Pattern::new(r"(a)\1").expect("compiles").is_regular());
    }

    #[test]
    fn groups_are_found_longest_first() {
        let pattern = Pattern::new(r"^(.*)@example\.com$").expect("compiles");
        assert_eq!(pattern.first_group("bob@example.com"), Some(Some("bob")));
        assert_eq!(pattern.first_group("bob@example.org"), None);
        assert_eq!(Pattern::new("b").expect("compiles").first_group("abc"), Some(None));
    }

    /// As PostgreSQL 18 finds them.
    #[test]
    fn groups_take_what_their_part_prefers() {
        for (pattern, name, group) in [
            ("^(.*?)@", "a@b@c", Some("a")),
            ("^(.*)@", "a@b@c", Some("a@b")),
            ("^(.*?)@.*$", "a@b@c", Some("a")),
            ("^(a|ab)(c|bcd)(d*)$", "abcd", Some("ab")),
            ("(a|ab)(c|bcd)(d*)", "abcd", Some("ab")),
            ("(.*?)", "abc", Some("")),
            ("(a*?)(b*)", "aabb", Some("")),
            ("x(a|b)*", "xab", Some("b")),
            ("(a|b){2}", "ab", Some("b")),
            ("(a)|b", "b", None),
            ("((a)|b)*", "ab", Some("b")),
            (r"^(a+?)(\1)+$", "aaaa", Some("a")),
        ] {
            let found = Pattern::new(pattern).expect(pattern).first_group(name);
            assert_eq!(found, Some(group), "{pattern} {name}");
        }
    }

    #[test]
    fn errors_are_the_servers() {
        for (pattern, message) in [
            ("a(b", "parentheses () not balanced"),
            ("a)b", "parentheses () not balanced"),
            ("[a", "brackets [] not balanced"),
            ("[[:foo:]]", "invalid character class"),
            ("[[.foo.]]", "invalid collating element"),
            ("[b-a]", "invalid character range"),
            ("*a", "quantifier operand invalid"),
            ("a**", "quantifier operand invalid"),
            ("^*", "quantifier operand invalid"),
            ("a{1", "braces {} not balanced"),
            ("a{2,1}", "invalid repetition count(s)"),
            ("a{256}", "invalid repetition count(s)"),
            ("a{1(?#one)}", "invalid repetition count(s)"),
            ("a{1,(?#two)2}", "invalid repetition count(s)"),
            ("(?x)a{1 (?#one)}", "invalid repetition count(s)"),
            ("(?x)a{1 # one", "braces {} not balanced"),
            ("a\\", "invalid escape \\ sequence"),
            (r"\j", "invalid escape \\ sequence"),
            (r"\1", "invalid backreference number"),
            ("(?z)a", "invalid embedded option"),
            ("***?", "invalid regexp (reg version 0.8)"),
        ] {
            assert_eq!(refused(pattern), message, "{pattern}");
        }
    }
}
