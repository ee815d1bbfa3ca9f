//! Parser for the syntax of go-ini.

use super::{Entry, Header, Ini, IniError, Key, SyntaxError};

/// Triple quote, which encloses values of several lines.
const TRIPLE: &str = "\"\"\"";

/// Parses a file. Without `positions`, only the values are kept: text, entries and headers are omitted.
///
/// # Errors
/// Returns the first error, with its position.
pub(super) fn parse(text: &str, positions: bool) -> Result<Ini, IniError> {
    let mut reader = Reader { text, at: 0, line: 0, comment: String::new() };
    if text.starts_with('\u{feff}') {
        reader.at = '\u{feff}'.len_utf8();
    }
    let mut ini = Ini::empty();
    let (mut current, mut count) = (0, 1_u64);
    while let Some(whole) = reader.next_line() {
        let (begin, number) = (reader.at - whole.len(), reader.line);
        let refuse = |reason| IniError { line: number, column: column(whole), reason };
        let line = whole.trim_start();
        if line.is_empty() {
            continue;
        }
        if line.starts_with(['#', ';']) {
            reader.comment.push_str(line);
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let close = rest.rfind(']').ok_or_else(|| refuse(SyntaxError::SectionNotClosed))?;
            let name = &rest[..close];
            if name.is_empty() {
                return Err(refuse(SyntaxError::SectionWithoutName));
            }
            current = ini.section_index(name);
            reader.add_comment(&rest[close + 1..], false);
            ini.sections[current].comment = reader.take_comment();
            count = 1;
            if positions {
                ini.headers.push(Header { section: name.to_owned(), line: number, span: begin..reader.at });
            }
            continue;
        }
        let (name, rest) = key_name(line).map_err(refuse)?;
        let automatic = name == "-";
        let name = if automatic {
            count += 1;
            format!("#{}", count - 1)
        } else {
            name.to_owned()
        };
        let value = reader.value(rest).map_err(refuse)?;
        if name.is_empty() {
            return Err(refuse(SyntaxError::KeyWithoutName));
        }
        let comment = reader.take_comment();
        let section = &mut ini.sections[current];
        if positions {
            ini.entries.push(Entry {
                section: section.name.clone(),
                key: name.clone(),
                line: number,
                column: column(whole),
                span: begin..reader.at,
            });
        }
        section.put(Key { name, value, comment, automatic });
    }
    if positions {
        text.clone_into(&mut ini.text);
    }
    Ok(ini)
}

/// Returns the column, in characters from 1, of the first character that is not white space.
fn column(line: &str) -> u32 {
    let indent = line.len() - line.trim_start().len();
    u32::try_from(line[..indent].chars().count() + 1).unwrap_or(u32::MAX)
}

/// Splits a line into the key, without quotes, and the text after its delimiter `=` or `:`.
///
/// # Errors
/// Returns the error if a quote is not closed or there is no delimiter.
fn key_name(line: &str) -> Result<(&str, &str), SyntaxError> {
    let quote = match line {
        _ if line.len() > 6 && line.starts_with(TRIPLE) => TRIPLE,
        _ if line.starts_with('"') => "\"",
        _ if line.starts_with('`') => "`",
        _ => "",
    };
    if quote.is_empty() {
        let end = line.find(['=', ':']).ok_or(SyntaxError::NoDelimiter)?;
        return Ok((line[..end].trim(), &line[end + 1..]));
    }
    let inner = &line[quote.len()..];
    let close = inner.find(quote).ok_or(SyntaxError::KeyNotClosed)?;
    let after = &inner[close + quote.len()..];
    let end = after.find(['=', ':']).ok_or(SyntaxError::NoDelimiter)?;
    Ok((inner[..close].trim(), &after[end + 1..]))
}

/// Reader of the text by lines. `at` is the byte offset of the next line, `line` the number of the last one.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    /// Comments since the last key or section, which belong to the next one.
    comment: String,
}

impl<'t> Reader<'t> {
    /// Returns the next line with its line ending. `None` at the end of the text.
    fn next_line(&mut self) -> Option<&'t str> {
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return None;
        }
        let line = &rest[..rest.find('\n').map_or(rest.len(), |end| end + 1)];
        self.at += line.len();
        self.line += 1;
        Some(line)
    }

    /// Parses a value from the text after the delimiter, and from following lines if a quote is not closed in this one.
    /// A trailing comment is kept.
    ///
    /// # Errors
    /// Returns [`SyntaxError::ValueNotClosed`] if a quote is not closed.
    fn value(&mut self, text: &str) -> Result<String, SyntaxError> {
        let line = text.trim_start();
        let quote = match line {
            _ if line.len() > 3 && line.starts_with(TRIPLE) => TRIPLE,
            _ if line.starts_with('`') => "`",
            _ => "",
        };
        if !quote.is_empty() {
            let inner = &line[quote.len()..];
            return match inner.rfind(quote) {
                Some(end) => Ok(inner[..end].to_owned()),
                None => self.lines(inner, quote),
            };
        }
        let mut line = line.trim();
        if let Some(at) = line.find(['#', ';']) {
            self.comment.push_str(&line[at..]);
            line = line[..at].trim();
        }
        for quote in ['\'', '"'] {
            let inner = line.strip_prefix(quote).and_then(|line| line.strip_suffix(quote));
            if let Some(inner) = inner.filter(|inner| !inner.contains(quote)) {
                return Ok(inner.to_owned());
            }
        }
        Ok(line.to_owned())
    }

    /// Reads the rest of a value of several lines, whose first is `first`: up to the last `quote` in the first
    /// following line that contains one. A comment after it is kept.
    ///
    /// # Errors
    /// Returns [`SyntaxError::ValueNotClosed`] at the end of the text.
    fn lines(&mut self, first: &str, quote: &str) -> Result<String, SyntaxError> {
        let mut value = first.to_owned();
        loop {
            let line = self.next_line().ok_or(SyntaxError::ValueNotClosed)?;
            if let Some(end) = line.rfind(quote) {
                value.push_str(&line[..end]);
                self.add_comment(&line[end..], true);
                return Ok(value);
            }
            value.push_str(line);
        }
    }

    /// Appends the comment in a text, from its first `#` or `;`.
    fn add_comment(&mut self, text: &str, trim: bool) {
        if let Some(at) = text.find(['#', ';']) {
            self.comment.push_str(if trim { text[at..].trim() } else { &text[at..] });
        }
    }

    /// Returns the comments so far, without surrounding white space, and clears them.
    fn take_comment(&mut self) -> String {
        std::mem::take(&mut self.comment).trim().to_owned()
    }
}
