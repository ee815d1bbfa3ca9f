//! Parser of regular expressions, following regc_lex.c and regcomp.c.

mod bounds;
mod bracket;
mod escape;

use super::charset::CharSet;
use super::error::PatternError;
use crate::encoding::encode_file;
use escape::Escape;

/// Syntax tree of a regular expression. Groups are numbered from 0, references from 1; the boolean of a reference is
/// whether it ignores case. A repetition is greedy or not, or, as `{2}`, has the preference of its node (`None`).
#[derive(Clone, Debug)]
pub(super) enum Node {
    Alternatives(Vec<Self>),
    Assert(Assertion),
    Group(usize, Box<Self>),
    Look { ahead: bool, positive: bool, node: Box<Self> },
    Reference(usize, bool),
    Repeat { node: Box<Self>, min: u32, max: Option<u32>, greedy: Option<bool> },
    Sequence(Vec<Self>),
    Set(CharSet),
}

/// A condition between two characters, which consumes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Assertion {
    Start,
    End,
    LineStart,
    LineEnd,
    WordStart,
    WordEnd,
    Boundary,
    NotBoundary,
}

/// Parses a pattern. Returns its syntax tree, and the number of its capture groups.
///
/// # Errors
/// Returns the [`PatternError`] of the server.
pub(super) fn parse(text: &str) -> Result<(Node, usize), PatternError> {
    let mut parser = Parser::new(text);
    parser.prefixes()?;
    if parser.flags.literal {
        let fold = parser.flags.fold;
        let rest = parser.chars[parser.at..].iter().map(|&c| literal(c, fold)).collect();
        return Ok((Node::Sequence(rest), 0));
    }
    let node = parser.alternatives(false, false)?;
    // `alternatives` stops only at an unmatched parenthesis, which in an advanced expression is an error, or at the
    // end.
    if parser.at < parser.chars.len() {
        return Err(PatternError::Parentheses);
    }
    Ok((node, parser.groups))
}

/// Nesting depth above which the expression is too complex, as by the server's stack check. The expression itself has
/// depth 1, a group in it depth 2.
const MAX_DEPTH: usize = 200;

/// Options of the syntax, as set by a director and by embedded options.
#[derive(Clone, Copy)]
struct SyntaxOptions {
    advanced: bool,
    expanded: bool,
    fold: bool,
    literal: bool,
    newline_anchors: bool,
    newline_stops: bool,
}

/// State of the parser. `closed` tells for each capture group whether its parenthesis is closed.
struct Parser {
    chars: Vec<u32>,
    at: usize,
    flags: SyntaxOptions,
    groups: usize,
    closed: Vec<bool>,
    depth: usize,
}

impl Parser {
    /// Creates a parser of an advanced regular expression without options.
    fn new(text: &str) -> Self {
        let flags = SyntaxOptions {
            advanced: true,
            expanded: false,
            fold: false,
            literal: false,
            newline_anchors: false,
            newline_stops: false,
        };
        Self {
            chars: encode_file(text).into_iter().map(u32::from).collect(),
            at: 0,
            flags,
            groups: 0,
            closed: vec![],
            depth: 0,
        }
    }

    /// Returns the current character. `None` at the end.
    fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    /// Returns the character `ahead` of the current one. `None` after the end.
    fn peek_at(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).and_then(|&code| char::from_u32(code))
    }

    /// Skips the current character if it is `wanted`. Returns `true` if it was.
    fn eat(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    /// Returns `true` if the rest begins with `text`.
    fn looking_at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, c)| self.peek_at(ahead) == Some(c))
    }

    /// Parses a director (`***=`, `***:`) and embedded options (`(?letters)`) at the start, and sets the flags. After
    /// `***=`, which makes the rest literal, no options are read.
    ///
    /// # Errors
    /// Returns [`PatternError::Version`] for `***?`, [`PatternError::BadRepeat`] for `***` before another character,
    /// [`PatternError::Basic`] for the option `b`, and [`PatternError::Option`] for an unknown option or another
    /// character in place of `)`.
    fn prefixes(&mut self) -> Result<(), PatternError> {
        if self.looking_at("***") && self.peek_at(3).is_some() {
            match self.peek_at(3) {
                Some('?') => return Err(PatternError::Version),
                Some('=') => {
                    self.flags.literal = true;
                    self.at += 4;
                    return Ok(());
                }
                Some(':') => self.at += 4,
                _ => return Err(PatternError::BadRepeat),
            }
        }
        if !(self.looking_at("(?") && self.peek_at(2).is_some_and(|c| c.is_ascii_alphabetic())) {
            return Ok(());
        }
        self.at += 2;
        while let Some(letter) = self.peek().filter(char::is_ascii_alphabetic) {
            self.at += 1;
            match letter {
                'b' => return Err(PatternError::Basic),
                'c' => self.flags.fold = false,
                'e' => {
                    self.flags.advanced = false;
                    self.flags.literal = false;
                }
                'i' => self.flags.fold = true,
                'm' | 'n' => (self.flags.newline_anchors, self.flags.newline_stops) = (true, true),
                'p' => (self.flags.newline_anchors, self.flags.newline_stops) = (false, true),
                'q' => self.flags.literal = true,
                's' => (self.flags.newline_anchors, self.flags.newline_stops) = (false, false),
                't' => self.flags.expanded = false,
                'w' => (self.flags.newline_anchors, self.flags.newline_stops) = (true, false),
                'x' => self.flags.expanded = true,
                _ => return Err(PatternError::Option),
            }
        }
        if self.eat(')') { Ok(()) } else { Err(PatternError::Option) }
    }

    /// Skips white space and `#` comments of the expanded syntax, as `skip()` in regc_lex.c.
    fn skip_expanded(&mut self) {
        while self.flags.expanded {
            while self.peek().is_some_and(|c| matches!(c, ' ' | '\t'..='\r')) {
                self.at += 1;
            }
            if self.peek() != Some('#') {
                return;
            }
            while self.peek().is_some_and(|c| c != '\n') {
                self.at += 1;
            }
        }
    }

    /// Skips comments `(?#…)` and, in the expanded syntax, white space and `#` comments.
    fn skip_blanks(&mut self) {
        loop {
            let before = self.at;
            self.skip_expanded();
            if self.flags.advanced && self.looking_at("(?#") {
                while self.peek().is_some_and(|c| c != ')') {
                    self.at += 1;
                }
                self.eat(')');
            }
            if self.at == before {
                return;
            }
        }
    }

    /// Parses branches separated by `|`, up to a parenthesis or the end. `nested` is whether a group is open, `look`
    /// whether a lookaround constraint is.
    ///
    /// # Errors
    /// Returns [`PatternError::TooComplex`] above [`MAX_DEPTH`], or the error of a branch.
    fn alternatives(&mut self, nested: bool, look: bool) -> Result<Node, PatternError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(PatternError::TooComplex);
        }
        let mut branches = vec![self.branch(nested, look)?];
        while self.eat('|') {
            branches.push(self.branch(nested, look)?);
        }
        self.depth -= 1;
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Alternatives(branches) })
    }

    /// Parses quantified atoms up to `|`, a closing parenthesis or the end. In an extended expression (`(?e)`) a
    /// closing parenthesis outside a group is a character. `nested` is whether a group is open, `look` whether a
    /// lookaround constraint is.
    ///
    /// # Errors
    /// Returns the error of an atom.
    fn branch(&mut self, nested: bool, look: bool) -> Result<Node, PatternError> {
        let mut parts = Vec::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some('|') => break,
                // An extended regular expression reads an unmatched parenthesis as a character.
                Some(')') if nested || self.flags.advanced => break,
                _ => parts.push(self.parse_quantified(look)?),
            }
        }
        Ok(Node::Sequence(parts))
    }

    /// Parses an atom with its quantifier. A constraint takes none.
    ///
    /// # Errors
    /// Returns the error of the atom or of its bounds.
    fn parse_quantified(&mut self, look: bool) -> Result<Node, PatternError> {
        let atom = self.atom(look)?;
        if matches!(atom, Node::Assert(_) | Node::Look { .. }) {
            return Ok(atom);
        }
        self.skip_blanks();
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') if self.opens_bounds() => {
                self.at += 1;
                let (min, max, exact) = self.bounds()?;
                let greedy = Some(!(self.flags.advanced && self.eat('?'))).filter(|_| !exact);
                return Ok(Node::Repeat { node: Box::new(atom), min, max, greedy });
            }
            _ => return Ok(atom),
        };
        self.at += 1;
        let greedy = Some(!(self.flags.advanced && self.eat('?')));
        Ok(Node::Repeat { node: Box::new(atom), min, max, greedy })
    }

    /// Parses an atom or a constraint at the current character. In a lookaround constraint (`look`), back references
    /// are rejected and groups do not capture.
    ///
    /// # Errors
    /// Returns the [`PatternError`] of the first violation.
    ///
    /// # Panics
    /// Panics at the end of the text.
    fn atom(&mut self, look: bool) -> Result<Node, PatternError> {
        let c = self.peek().expect("the caller saw a character");
        let code = self.chars[self.at];
        match c {
            '*' | '+' | '?' => Err(PatternError::BadRepeat),
            '{' if self.opens_bounds() => Err(PatternError::BadRepeat),
            '^' => {
                self.at += 1;
                let line = self.flags.newline_anchors;
                Ok(Node::Assert(if line { Assertion::LineStart } else { Assertion::Start }))
            }
            '$' => {
                self.at += 1;
                let line = self.flags.newline_anchors;
                Ok(Node::Assert(if line { Assertion::LineEnd } else { Assertion::End }))
            }
            '.' => {
                self.at += 1;
                let mut set = CharSet::all();
                if self.flags.newline_stops {
                    set.remove('\n'.into());
                }
                Ok(Node::Set(set))
            }
            '(' => self.group(look),
            '[' => self.bracket(),
            '\\' => {
                self.at += 1;
                if self.at >= self.chars.len() {
                    return Err(PatternError::Escape);
                }
                if !self.flags.advanced {
                    self.at += 1;
                    return Ok(literal(self.chars[self.at - 1], self.flags.fold));
                }
                match self.escape()? {
                    Escape::Assert(assertion) => Ok(Node::Assert(assertion)),
                    Escape::Char(code) => Ok(literal(code, self.flags.fold)),
                    Escape::Class(set) => Ok(Node::Set(set)),
                    Escape::NotClass(set) => {
                        let mut set = set.complement();
                        if self.flags.newline_stops {
                            set.remove('\n'.into());
                        }
                        Ok(Node::Set(set))
                    }
                    Escape::Reference(number) => {
                        if look || !self.closed.get(number - 1).copied().unwrap_or(false) {
                            return Err(PatternError::BadReference);
                        }
                        Ok(Node::Reference(number, self.flags.fold))
                    }
                }
            }
            _ => {
                self.at += 1;
                Ok(literal(code, self.flags.fold))
            }
        }
    }

    /// Parses a group or lookaround constraint from its opening parenthesis.
    ///
    /// # Errors
    /// Returns [`PatternError::BadRepeat`] for an unknown `(?`, [`PatternError::Parentheses`] without a closing
    /// parenthesis, or the error of the content.
    fn group(&mut self, look: bool) -> Result<Node, PatternError> {
        self.at += 1;
        let mut around = None;
        let mut captures = !look;
        if self.flags.advanced && self.eat('?') {
            captures = false;
            let next = self.peek().ok_or(PatternError::BadRepeat)?;
            self.at += 1;
            around = match next {
                ':' => None,
                '=' => Some((true, true)),
                '!' => Some((true, false)),
                '<' => {
                    let next = self.peek().ok_or(PatternError::BadRepeat)?;
                    self.at += 1;
                    match next {
                        '=' => Some((false, true)),
                        '!' => Some((false, false)),
                        _ => return Err(PatternError::BadRepeat),
                    }
                }
                _ => return Err(PatternError::BadRepeat),
            };
        }
        let number = self.groups;
        if captures {
            self.groups += 1;
            self.closed.push(false);
        }
        let node = Box::new(self.alternatives(true, look || around.is_some())?);
        if !self.eat(')') {
            return Err(PatternError::Parentheses);
        }
        Ok(match around {
            Some((ahead, positive)) => Node::Look { ahead, positive, node },
            None if captures => {
                self.closed[number] = true;
                Node::Group(number, node)
            }
            None => *node,
        })
    }
}

/// Returns the node of a single character, with both cases of an ASCII letter if `fold` is `true`.
fn literal(code: u32, fold: bool) -> Node {
    let mut set = CharSet::one(code);
    if fold {
        set.fold_case();
    }
    Node::Set(set)
}
