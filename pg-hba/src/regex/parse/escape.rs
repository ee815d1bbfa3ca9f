//! Parser of escapes in regular expressions.

use super::{Assertion, CharSet, Parser, PatternError};

/// Meaning of an escape.
pub(super) enum Escape {
    Assert(Assertion),
    Char(u32),
    Class(CharSet),
    NotClass(CharSet),
    Reference(usize),
}

impl Parser {
    /// Parses an escape of an advanced regular expression, from after its backslash.
    ///
    /// # Errors
    /// Returns [`PatternError::Escape`] for an unknown letter or digits that are not valid.
    pub(super) fn escape(&mut self) -> Result<Escape, PatternError> {
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
}
