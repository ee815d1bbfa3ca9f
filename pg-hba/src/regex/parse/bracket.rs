//! Parser of bracket expressions in regular expressions.

use super::escape::Escape;
use super::{Assertion, CharSet, Node, Parser, PatternError};

impl Parser {
    /// Parses a bracket expression, or one of the word constraints `[[:<:]]` and `[[:>:]]`.
    ///
    /// # Errors
    /// Returns [`PatternError::Brackets`] without a closing bracket, [`PatternError::Range`] for a range that is not
    /// valid, or the error of an item.
    pub(super) fn bracket(&mut self) -> Result<Node, PatternError> {
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
