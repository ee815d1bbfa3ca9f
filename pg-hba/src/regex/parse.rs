//! Parser of regular expressions, following regc_lex.c and regcomp.c.

use super::charset::CharSet;
use super::error::PatternError;
use crate::encoding::encode_file;

/// Syntax tree of a regular expression. Groups are numbered from 0, references from 1; the boolean of a reference is
/// whether it ignores case.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Alternatives(Vec<Self>),
    Assert(Assertion),
    Group(usize, Box<Self>),
    Look { ahead: bool, positive: bool, node: Box<Self> },
    Reference(usize, bool),
    Repeat { node: Box<Self>, min: u32, max: Option<u32>, greedy: bool },
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
struct Flags {
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
    flags: Flags,
    groups: usize,
    closed: Vec<bool>,
    depth: usize,
}

/// Meaning of an escape.
enum Escape {
    Assert(Assertion),
    Char(u32),
    Class(CharSet),
    NotClass(CharSet),
    Reference(usize),
}

impl Parser {
    /// Creates a parser of an advanced regular expression without options.
    fn new(text: &str) -> Self {
        let flags = Flags {
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
                let (min, max) = self.bounds()?;
                let greedy = !(self.flags.advanced && self.eat('?'));
                return Ok(Node::Repeat { node: Box::new(atom), min, max, greedy });
            }
            _ => return Ok(atom),
        };
        self.at += 1;
        let greedy = !(self.flags.advanced && self.eat('?'));
        Ok(Node::Repeat { node: Box::new(atom), min, max, greedy })
    }

    /// Returns `true` if the brace at the current position begins bounds, which a digit follows. Any other brace stands
    /// for itself.
    fn opens_bounds(&mut self) -> bool {
        let here = self.at;
        self.at += 1;
        self.skip_expanded();
        let digit = self.peek().is_some_and(|c| c.is_ascii_digit());
        self.at = here;
        digit
    }

    /// Parses bounds from after `{` to `}`. Returns minimum and maximum; `None` is no maximum. Within them only the
    /// expanded syntax has comments: `(?#…)` is an error.
    ///
    /// # Errors
    /// Returns [`PatternError::Braces`] without a closing brace, and [`PatternError::BadBounds`] for bounds that are
    /// reversed, above 255 or not numbers.
    fn bounds(&mut self) -> Result<(u32, Option<u32>), PatternError> {
        let min = self.bound()?;
        let mut max = Some(min);
        if self.eat(',') {
            self.skip_expanded();
            max = match self.peek() {
                None => return Err(PatternError::Braces),
                Some(c) if c.is_ascii_digit() => Some(self.bound()?),
                Some(_) => None,
            };
        }
        self.skip_expanded();
        match self.peek() {
            None => return Err(PatternError::Braces),
            Some('}') => self.at += 1,
            Some(_) => return Err(PatternError::BadBounds),
        }
        if max.is_some_and(|max| min > max) { Err(PatternError::BadBounds) } else { Ok((min, max)) }
    }

    /// Parses a bound from 0 to 255.
    ///
    /// # Errors
    /// Returns [`PatternError::BadBounds`] above 255, and [`PatternError::Braces`] at the end of the text.
    fn bound(&mut self) -> Result<u32, PatternError> {
        let mut value = 0;
        self.skip_expanded();
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            if value >= 255 {
                return Err(PatternError::BadBounds);
            }
            value = value * 10 + digit;
            self.at += 1;
            self.skip_expanded();
        }
        if self.peek().is_none() {
            return Err(PatternError::Braces);
        }
        if value > 255 { Err(PatternError::BadBounds) } else { Ok(value) }
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

    /// Parses an escape of an advanced regular expression, from after its backslash.
    ///
    /// # Errors
    /// Returns [`PatternError::Escape`] for an unknown letter or digits that are not valid.
    fn escape(&mut self) -> Result<Escape, PatternError> {
        let code = self.chars[self.at];
        self.at += 1;
        let Some(c) = char::from_u32(code).filter(char::is_ascii_alphanumeric) else {
            return Ok(Escape::Char(code));
        };
        let class = |name| CharSet::class(name).expect("a class of our own table");
        Ok(match c {
            'a' => Escape::Char(7),
            'A' => Escape::Assert(Assertion::Start),
            'b' => Escape::Char(8),
            'B' => Escape::Char('\\'.into()),
            'c' => {
                let next = *self.chars.get(self.at).ok_or(PatternError::Escape)?;
                self.at += 1;
                Escape::Char(next & 0o37)
            }
            'd' => Escape::Class(class("digit")),
            'D' => Escape::NotClass(class("digit")),
            'e' => Escape::Char(0o33),
            'f' => Escape::Char(12),
            'm' => Escape::Assert(Assertion::WordStart),
            'M' => Escape::Assert(Assertion::WordEnd),
            'n' => Escape::Char(10),
            'r' => Escape::Char(13),
            's' => Escape::Class(class("space")),
            'S' => Escape::NotClass(class("space")),
            't' => Escape::Char(9),
            'u' => Escape::Char(self.digits(16, 4, 4)?),
            'U' => Escape::Char(self.digits(16, 8, 8)?),
            'v' => Escape::Char(11),
            'w' => Escape::Class(class("word")),
            'W' => Escape::NotClass(class("word")),
            'x' => Escape::Char(self.digits(16, 1, 255)?),
            'y' => Escape::Assert(Assertion::Boundary),
            'Y' => Escape::Assert(Assertion::NotBoundary),
            'Z' => Escape::Assert(Assertion::End),
            '1'..='9' => {
                self.at -= 1;
                let from = self.at;
                let number = self.digits(10, 1, 255)? as usize;
                // The server's own heuristic: one digit, or the number of a group that exists, is a reference;
                // otherwise octal.
                if self.at == from + 1 || (number > 0 && number <= self.groups) {
                    return Ok(Escape::Reference(number));
                }
                self.at = from;
                Escape::Char(self.octal()?)
            }
            '0' => {
                self.at -= 1;
                Escape::Char(self.octal()?)
            }
            _ => return Err(PatternError::Escape),
        })
    }

    /// Parses one to three octal digits. The third one is not consumed if the value would exceed 255.
    ///
    /// # Errors
    /// Returns [`PatternError::Escape`] without a digit.
    fn octal(&mut self) -> Result<u32, PatternError> {
        let value = self.digits(8, 1, 3)?;
        if value > 0xff {
            self.at -= 1;
            return Ok(value >> 3);
        }
        Ok(value)
    }

    /// Parses from `least` to `most` digits. Values wrap beyond 32 bits.
    ///
    /// # Errors
    /// Returns [`PatternError::Escape`] for fewer digits, or a value above the largest code point.
    fn digits(&mut self, base: u32, least: usize, most: usize) -> Result<u32, PatternError> {
        let mut value = 0_u32;
        let mut count = 0;
        while count < most {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(base)) else { break };
            value = value.wrapping_mul(base).wrapping_add(digit);
            self.at += 1;
            count += 1;
        }
        if count < least || value > 0x7fff_fffe { Err(PatternError::Escape) } else { Ok(value) }
    }

    /// Parses a bracket expression, or one of the word constraints `[[:<:]]` and `[[:>:]]`.
    ///
    /// # Errors
    /// Returns [`PatternError::Brackets`] without a closing bracket, [`PatternError::Range`] for a range that is not
    /// valid, or the error of an item.
    fn bracket(&mut self) -> Result<Node, PatternError> {
        for (text, assertion) in [("[[:<:]]", Assertion::WordStart), ("[[:>:]]", Assertion::WordEnd)] {
            if self.looking_at(text) {
                self.at += text.len();
                return Ok(Node::Assert(assertion));
            }
        }
        self.at += 1;
        let negated = self.eat('^');
        let mut set = CharSet::default();
        let mut complements = CharSet::default();
        let mut first = true;
        loop {
            match self.peek() {
                None => return Err(PatternError::Brackets),
                Some(']') if !first => break,
                Some('-') if !first && self.peek_at(1) != Some(']') => return Err(PatternError::Range),
                _ => {}
            }
            let start = self.bracket_item(&mut set, &mut complements)?;
            first = false;
            let Some(start) = start else { continue };
            let ranges = self.peek() == Some('-') && self.peek_at(1).is_some_and(|c| c != ']');
            if !ranges {
                set.add(start, start);
                continue;
            }
            self.at += 1;
            let mut unused = CharSet::default();
            let end = if self.eat('-') {
                '-'.into()
            } else {
                self.bracket_item(&mut unused, &mut CharSet::default())?.ok_or(PatternError::Range)?
            };
            if start > end {
                return Err(PatternError::Range);
            }
            set.add(start, end);
        }
        self.at += 1;
        if self.flags.fold {
            set.fold_case();
        }
        set.union(&complements);
        if negated {
            set = set.complement();
            if self.flags.newline_stops {
                set.remove('\n'.into());
            }
        }
        Ok(Node::Set(set))
    }

    /// Parses one item of a bracket expression. Returns a character that may begin a range. `None` for a class, which
    /// has been added to `set` or, complemented, to `complements`.
    ///
    /// # Errors
    /// Returns [`PatternError::Brackets`] at the end, or the error of an escape or name.
    fn bracket_item(
        &mut self,
        set: &mut CharSet,
        complements: &mut CharSet,
    ) -> Result<Option<u32>, PatternError> {
        let code = *self.chars.get(self.at).ok_or(PatternError::Brackets)?;
        self.at += 1;
        match char::from_u32(code) {
            Some('\\') if self.flags.advanced => {
                if self.at >= self.chars.len() {
                    return Err(PatternError::Escape);
                }
                match self.escape()? {
                    Escape::Char(code) => Ok(Some(code)),
                    Escape::Class(class) => {
                        set.union(&class);
                        Ok(None)
                    }
                    Escape::NotClass(class) => {
                        complements.union(&class.complement());
                        Ok(None)
                    }
                    Escape::Assert(_) | Escape::Reference(_) => Err(PatternError::Escape),
                }
            }
            Some('[') => match self.peek() {
                None => Err(PatternError::Brackets),
                Some(kind @ ('.' | '=' | ':')) => {
                    self.at += 1;
                    self.parse_named(kind, set)
                }
                _ => Ok(Some(code)),
            },
            _ => Ok(Some(code)),
        }
    }

    /// Parses the name after `[:`, `[=` or `[.`. Returns the character of a collating element. `None` for a class or an
    /// equivalence class, which has been added to `set`.
    ///
    /// # Errors
    /// Returns [`PatternError::Class`] or [`PatternError::Collation`] for an unknown name, and
    /// [`PatternError::Brackets`] without its end.
    fn parse_named(&mut self, kind: char, set: &mut CharSet) -> Result<Option<u32>, PatternError> {
        let from = self.at;
        while !(self.peek() == Some(kind) && self.peek_at(1) == Some(']')) {
            if self.at >= self.chars.len() {
                return Err(PatternError::Brackets);
            }
            self.at += 1;
        }
        let name: String =
            self.chars[from..self.at].iter().filter_map(|&code| char::from_u32(code)).collect();
        self.at += 2;
        match kind {
            ':' => {
                let folded =
                    if self.flags.fold && matches!(&*name, "lower" | "upper") { "alpha" } else { &name };
                set.union(&CharSet::class(folded).ok_or(PatternError::Class)?);
                Ok(None)
            }
            '=' => {
                let code = CharSet::element(&name).ok_or(PatternError::Collation)?;
                set.add(code, code);
                Ok(None)
            }
            _ => CharSet::element(&name).map(Some).ok_or(PatternError::Collation),
        }
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
