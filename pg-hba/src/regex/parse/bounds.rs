//! Parser of the bounds of repetitions in regular expressions.

use super::{Parser, PatternError};

impl Parser {
    /// Returns `true` if the brace at the current position begins bounds, which a digit follows. Any other brace stands
    /// for itself.
    pub(super) fn opens_bounds(&mut self) -> bool {
        let here = self.at;
        self.at += 1;
        self.skip_expanded();
        let digit = self.peek().is_some_and(|c| c.is_ascii_digit());
        self.at = here;
        digit
    }

    /// Parses bounds from after `{` to `}`. Returns minimum, maximum, and `true` if one number stands for both; `None` is
    /// no maximum. Within them only the expanded syntax has comments: `(?#…)` is an error.
    ///
    /// # Errors
    /// Returns [`PatternError::Braces`] without a closing brace, and [`PatternError::BadBounds`] for bounds that are
    /// reversed, above 255 or not numbers.
    pub(super) fn bounds(&mut self) -> Result<(u32, Option<u32>, bool), PatternError> {
        let min = self.bound()?;
        let mut max = Some(min);
        let exact = !self.eat(',');
        if !exact {
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
        if max.is_some_and(|max| min > max) { Err(PatternError::BadBounds) } else { Ok((min, max, exact)) }
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
}
