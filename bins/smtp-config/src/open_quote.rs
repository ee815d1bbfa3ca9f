//! Quotes that are not closed on their line, so that the settings after them become part of a value.

use smtp_config::{INCOMING, OVERRIDE_HEADER, SECTION};

/// The quotes that enclose values of several lines.
const QUOTES: [&str; 2] = ["\"\"\"", "`"];

/// A value whose quote is not closed on its line although settings follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenQuote {
    /// The number of the line, from 1.
    pub(crate) line: usize,
    /// The column of the key in characters, from 1.
    pub(crate) column: usize,
    /// The opening quote: `"""` or a single character.
    quote: &'static str,
    /// The number of the line on which the value ends. `None` if it has no end.
    pub(crate) end: Option<usize>,
}

/// Returns the first value of a file whose quote is not closed on its line although settings follow.
///
/// A value of several lines is valid in app.ini. One that begins after the line of its key and ends on a line that is
/// no setting is meant as such. With `is_valid`, for a file that go-ini reads, others count only if they have the header
/// of a section, or belong to a mail section and have a setting.
pub(crate) fn find(text: &str, is_valid: bool) -> Option<OpenQuote> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut at, mut section) = (0, String::new());
    while at < lines.len() {
        if let Some(name) = header(lines[at]) {
            name.clone_into(&mut section);
        }
        let Some(quote) = opened(lines[at]) else {
            at += 1;
            continue;
        };
        let close = (at + 1..lines.len()).find(|line| lines[*line].contains(quote));
        let swallowed = &lines[at + 1..close.map_or(lines.len(), |close| close + 1)];
        let is_mail = [SECTION, OVERRIDE_HEADER, INCOMING].contains(&section.as_str());
        let has_setting = (!is_valid || is_mail) && swallowed.iter().any(|line| is_setting(line));
        let is_block = ends_with_quote(lines[at], quote) && close.is_some_and(|end| !is_setting(lines[end]));
        if close.is_none()
            || !is_block && (has_setting || swallowed.iter().any(|line| header(line).is_some()))
        {
            let indent = lines[at].chars().take_while(|c| c.is_whitespace()).count();
            return Some(OpenQuote { line: at + 1, column: indent + 1, quote, end: close.map(|at| at + 1) });
        }
        at = close.map_or(lines.len(), |close| close + 1);
    }
    None
}

impl OpenQuote {
    /// Returns the file with the quote closed at the end of its line.
    pub(crate) fn close(&self, text: &str) -> String {
        let closed = text.split_inclusive('\n').enumerate().map(|(at, line)| {
            if at + 1 != self.line {
                return line.to_owned();
            }
            let bare = line.trim_end_matches(['\n', '\r']);
            format!("{bare}{}{}", self.quote, &line[bare.len()..])
        });
        closed.collect()
    }
}

/// Returns the quote that a line opens around a value and does not close. `None` for other lines.
fn opened(line: &str) -> Option<&'static str> {
    let line = line.trim_start();
    if line.starts_with(['#', ';', '[']) {
        return None;
    }
    let value = line[line.find(['=', ':'])? + 1..].trim_start();
    let quote = QUOTES.into_iter().find(|quote| value.starts_with(quote))?;
    (!value[quote.len()..].contains(quote)).then_some(quote)
}

/// Returns whether nothing follows the quote that a line opens.
fn ends_with_quote(line: &str, quote: &str) -> bool {
    line.trim_end().ends_with(quote)
}

/// Returns the name of the section that a line begins. `None` for other lines.
fn header(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix('[')?.strip_suffix(']')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._- ".contains(c);
    (name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_name)).then_some(name)
}

/// Returns whether a line is a setting as app.ini has them, whose key consists of capitals, digits and `_`.
fn is_setting(line: &str) -> bool {
    let Some((key, _)) = line.split_once('=') else { return false };
    let key = key.trim();
    key.starts_with(|c: char| c.is_ascii_uppercase())
        && key.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line, its end, and the text with the quote closed.
    fn found(text: &str, is_valid: bool) -> Option<(usize, Option<usize>, String)> {
        find(text, is_valid).map(|open| (open.line, open.end, open.close(text)))
    }

    #[test]
    fn a_value_that_swallows_settings_has_an_open_quote() {
        let text = "[mailer]\nSMTP_ADDR = `mail\nFROM = a@b\n";
        let closed = "[mailer]\nSMTP_ADDR = `mail`\nFROM = a@b\n";
        assert_eq!(found(text, false), Some((2, None, closed.into())));
        // Another quote further down ends it.
        let text = "[mailer]\r\n  A = \"\"\"x\r\nB = y\r\nC = \"\"\"z\"\"\"\r\n";
        let open = find(text, true).expect("an open quote");
        assert_eq!((open.line, open.column, open.end), (2, 3, Some(4)));
        assert!(open.close(text).contains("A = \"\"\"x\"\"\"\r\nB = y\r\n"));
        // Another quote further down ends this one too.
        assert!(found("[x]\nA = `\n[mailer]\nC = `d`\n", true).is_some());
        // In a section of another subject, a valid value may have lines like settings, but no header.
        let script = "[markup.x]\nRENDER = \"\"\"\nA=b c\n\"\"\"\n";
        assert_eq!(found(script, true), None);
        assert!(found("[markup.x]\nRENDER = `x\nA=b c\n`\n", false).is_some());
        assert!(found("[x]\nA = `b\n[mailer]\nC = `d`\n", true).is_some());
    }

    #[test]
    fn closed_quotes_and_plain_text_of_several_lines() {
        for text in [
            "[a]\nB = `c`\nD = e\n",
            "[a]\nB = \"\"\"one\ntwo <b>\n\"\"\"\nC = d\n",
            "# A = `b\n; C = `d\nE = f\n",
            "[mailer]\nA = \"b\nC = d\n",
            // Values that are meant to have several lines, whatever these are.
            "[ui]\nA = \"\"\"\nwrite this:\n[mailer]\nENABLED = true\n\"\"\"\n",
            "[mailer]\nA = `\nB = c\n  d`\n",
        ] {
            assert_eq!(found(text, true), None, "{text}");
            assert_eq!(found(text, false), None, "{text}");
        }
    }
}
