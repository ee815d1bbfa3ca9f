//! A JSON parser that records the position of every value, as the TOML parser does.

use std::borrow::Cow;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Maximum nesting depth of values.
const MAX_DEPTH: usize = 32;

/// Byte range of an error in the text, and its description.
pub type JsonError = (Range<usize>, String);

/// Parses a JSON object, with the byte range of every key and value. Keys whose value is null are omitted, as if they
/// were absent.
///
/// # Errors
/// Returns a [`JsonError`] if the text is not a valid JSON object, has a duplicate key or null in an array, or values
/// are nested more than 32 deep.
pub fn parse<'i>(text: &'i str) -> Result<Spanned<DeTable<'i>>, JsonError> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.blank();
    if reader.at < text.len() {
        return Err(reader.wrong("unexpected text after the end"));
    }
    let Some(value) = value else { return Err((0..0, "expected an object, found null".to_owned())) };
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Ok(Spanned::new(span, table)),
        _ => Err((span, "expected an object".to_owned())),
    }
}

/// A parser at a byte offset of the text.
struct Reader<'i> {
    text: &'i str,
    at: usize,
}

impl<'i> Reader<'i> {
    /// Returns the text from the current position on.
    fn rest(&self) -> &'i str {
        &self.text[self.at..]
    }

    /// Creates an error at the current position.
    fn wrong(&self, what: &str) -> JsonError {
        (self.at..self.at, what.to_owned())
    }

    /// Skips white space.
    fn blank(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// Consumes `word` and returns `true`, if the rest begins with it.
    fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Parses a value, at the nesting depth `depth`. `None` for null, which is equivalent to omitting the key.
    ///
    /// # Errors
    /// Returns place and description of the first error.
    fn value(&mut self, depth: usize) -> Result<Option<Spanned<DeValue<'i>>>, JsonError> {
        if depth > MAX_DEPTH {
            return Err(self.wrong("values are nested too deeply"));
        }
        self.blank();
        let start = self.at;
        let value = match self.rest().bytes().next() {
            None => return Err(self.wrong("expected a value")),
            Some(b'{') => DeValue::Table(self.object(depth)?),
            Some(b'[') => DeValue::Array(self.array(depth)?),
            Some(b'"') => DeValue::String(Cow::Owned(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ if self.take("true") => DeValue::Boolean(true),
            _ if self.take("false") => DeValue::Boolean(false),
            _ if self.take("null") => return Ok(None),
            _ => return Err(self.wrong("not a valid JSON value")),
        };
        Ok(Some(Spanned::new(start..self.at, value)))
    }

    /// Parses an object, at its opening brace.
    ///
    /// # Errors
    /// Returns place and description of the first syntax error.
    fn object(&mut self, depth: usize) -> Result<DeTable<'i>, JsonError> {
        self.at += 1;
        let mut table = DeTable::new();
        self.blank();
        if self.take("}") {
            return Ok(table);
        }
        loop {
            self.blank();
            let start = self.at;
            if !self.rest().starts_with('"') {
                return Err(self.wrong("expected a key in quotes"));
            }
            let key = self.string()?;
            let span = start..self.at;
            self.blank();
            if !self.take(":") {
                return Err(self.wrong("expected a colon"));
            }
            let value = self.value(depth + 1)?;
            let key: Spanned<Cow<'i, str>> = Spanned::new(span.clone(), Cow::Owned(key));
            if table.contains_key(&key) {
                return Err((span, "duplicate key".to_owned()));
            }
            if let Some(value) = value {
                table.insert(key, value);
            }
            self.blank();
            if self.take("}") {
                return Ok(table);
            }
            if !self.take(",") {
                return Err(self.wrong("expected a comma or }"));
            }
        }
    }

    /// Parses an array, at its opening bracket. Null is not permitted in it.
    ///
    /// # Errors
    /// Returns place and description of the first syntax error.
    fn array(&mut self, depth: usize) -> Result<DeArray<'i>, JsonError> {
        self.at += 1;
        let mut array = DeArray::new();
        self.blank();
        if self.take("]") {
            return Ok(array);
        }
        loop {
            let value = self.value(depth + 1)?;
            array.push(value.ok_or_else(|| self.wrong("a list cannot hold null"))?);
            self.blank();
            if self.take("]") {
                return Ok(array);
            }
            if !self.take(",") {
                return Err(self.wrong("expected a comma or ]"));
            }
        }
    }

    /// Parses a string, at its opening quote, and returns its content.
    ///
    /// # Errors
    /// Returns place and description of the error.
    fn string(&mut self) -> Result<String, JsonError> {
        let start = self.at;
        let mut escaped = false;
        let end = self.rest().bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let Some(end) = end else { return Err(self.wrong("unterminated string")) };
        self.at += end + 2;
        let raw = &self.text[start..self.at];
        serde_json::from_str(raw).map_err(|_| (start..self.at, "not a valid JSON string".to_owned()))
    }

    /// Parses a number as an integer or float.
    ///
    /// # Errors
    /// Returns place and description if it is not a valid number of JSON or does not fit.
    fn number(&mut self) -> Result<DeValue<'i>, JsonError> {
        let start = self.at;
        let rest = self.rest();
        let length = rest.bytes().take_while(|b| b.is_ascii_digit() || b"+-.eE".contains(b)).count();
        let raw = &rest[..length];
        let wrong = (start..start + length, format!("{raw} is not a valid number"));
        if serde_json::from_str::<serde_json::Number>(raw).is_err() {
            return Err(wrong);
        }
        let value = DeValue::parse(raw).map_err(|_| wrong)?.into_inner();
        self.at = start + length;
        Ok(value)
    }
}
