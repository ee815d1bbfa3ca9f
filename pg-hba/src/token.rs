//! Tokenizer: lines, continuations, quotes, commas and comments, as in `next_token` of hba.c.

use crate::server::Version;

/// A byte range of the source text, from `start` up to but excluding `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Offset of the first byte, from 0.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

/// A token of a line, between commas or whitespace: one value of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The text without quotes. Empty only for `""`.
    pub text: String,
    /// Whether a quote precedes the first character, so that keywords, `+` and `@` have no special meaning.
    pub quoted: bool,
    /// Byte range in the source, including quotes. A token from `@file` has the range of that reference.
    pub span: Span,
}

impl Token {
    /// Returns `true` if the token is this word without quotes at its start, compared case-sensitively.
    pub(crate) fn is_keyword(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }
}

/// A field: the tokens that commas join. Never empty.
pub type Field = Vec<Token>;

/// A logical line: physical lines joined by continuation backslashes.
#[derive(Clone, Debug)]
pub(crate) struct LogicalLine {
    /// Number of its first physical line, from 1.
    pub(crate) number: u32,
    /// Byte range in the source, including line endings.
    pub(crate) span: Span,
    /// Text without line endings, continuation backslashes, and whatever follows a NUL byte.
    pub(crate) text: String,
    /// Source offset of each byte of `text`.
    origin: Vec<usize>,
}

impl LogicalLine {
    /// Returns the source offset of a byte of `text`, or of its end.
    pub(crate) fn offset(&self, at: usize) -> usize {
        match self.origin.get(at) {
            Some(&offset) => offset,
            None => self.origin.last().map_or(self.span.start, |last| last + 1),
        }
    }

    /// Returns `true` if the server rejects the line for its length: in version 13, a text of 20,478 bytes or more.
    pub(crate) fn is_too_long(&self, version: Version) -> bool {
        // Before version 14 a line is read into a buffer of `MAX_LINE` bytes.
        version == Version::V13 && self.text.len() >= 20_478
    }
}

/// Splits a file into logical lines, whose spans cover the text without gaps.
pub(crate) fn lines(source: &str, version: Version) -> Vec<LogicalLine> {
    let mut lines = Vec::new();
    let mut at = 0;
    let mut number = 1;
    while at < source.len() {
        let start = at;
        let first = number;
        let mut text = String::new();
        let mut origin = Vec::new();
        let mut continued_at = 0;
        while at < source.len() {
            let end = source[at..].find('\n').map_or(source.len(), |found| at + found + 1);
            // The server reads C strings: it loses what follows a NUL and, from version 14, the line ending too, so
            // that the next physical line is appended and not counted.
            let nul = source[at..end].find('\0').map(|found| at + found);
            text.push_str(&source[at..nul.unwrap_or(end)]);
            origin.extend(at..nul.unwrap_or(end));
            at = end;
            if nul.is_some() && version.has_continuations() && at < source.len() {
                continue;
            }
            number += 1;
            let kept = text.trim_end_matches(['\n', '\r']).len();
            text.truncate(kept);
            origin.truncate(kept);
            // The backslash must come after the last continuation, or two of them would join three lines.
            if version.has_continuations() && text.len() > continued_at && text.ends_with('\\') {
                text.pop();
                origin.pop();
                continued_at = text.len();
                continue;
            }
            break;
        }
        lines.push(LogicalLine { number: first, span: Span { start, end: at }, text, origin });
    }
    lines
}

/// A token, and whether the field continues.
#[derive(Debug)]
pub(crate) struct LexedToken {
    pub(crate) token: Token,
    /// Whether a comma follows, so that the next token belongs to the same field.
    pub(crate) comma: bool,
}

/// Reads the next token of a line from the byte offset `at`, which is advanced to the end of the token. White space and
/// commas before it are skipped. Returns `None` at the end of the line and before a comment.
pub(crate) fn next_token(line: &LogicalLine, at: &mut usize) -> Option<LexedToken> {
    let bytes = line.text.as_bytes();
    let blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r');
    while bytes.get(*at).is_some_and(|&byte| blank(byte) || byte == b',') {
        *at += 1;
    }
    let start = *at;
    let mut text = Vec::new();
    let (mut in_quote, mut was_quote, mut saw_quote) = (false, false, false);
    let mut initial_quote = false;
    let mut comma = false;
    let mut end = *at;
    while let Some(&byte) = bytes.get(*at) {
        if blank(byte) && !in_quote {
            break;
        }
        if byte == b'#' && !in_quote {
            *at = bytes.len();
            break;
        }
        if byte == b',' && !in_quote {
            comma = true;
            break;
        }
        if byte != b'"' || was_quote {
            text.push(byte);
        }
        // Two quotes inside quotes stand for one.
        was_quote = in_quote && byte == b'"' && !was_quote;
        if byte == b'"' {
            in_quote = !in_quote;
            saw_quote = true;
            initial_quote |= text.is_empty();
        }
        *at += 1;
        end = *at;
    }
    if !saw_quote && text.is_empty() {
        return None;
    }
    let text = String::from_utf8(text).expect("only whole ASCII characters were left out");
    let span = Span { start: line.offset(start), end: line.offset(end.saturating_sub(1)) + 1 };
    Some(LexedToken { token: Token { text, quoted: initial_quote, span }, comma })
}

/// Returns a value in double quotes, with those inside doubled, if the tokenizer requires it, if it begins with `+`,
/// `@` or `/`, or if `plain` is `false` because a bare word would have a special meaning. Otherwise returns it
/// unchanged.
pub(crate) fn quote(text: &str, plain: bool) -> String {
    let safe =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/' | '=' | '+' | '%');
    let leading = text.starts_with(['+', '@', '/']);
    if plain && !text.is_empty() && !leading && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(source: &str) -> Vec<(String, bool, bool)> {
        let line = &lines(source, Version::V18)[0];
        let mut at = 0;
        std::iter::from_fn(|| next_token(line, &mut at))
            .map(|lexed| (lexed.token.text, lexed.token.quoted, lexed.comma))
            .collect()
    }

    #[test]
    fn quotes_commas_and_comments() {
        let token = |text: &str, quoted, comma| (text.to_owned(), quoted, comma);
        assert_eq!(
            tokens("a, b ,c"),
            [token("a", false, true), token("b", false, false), token("c", false, false)]
        );
        assert_eq!(
            tokens(r#"a"ll" "all" "a""b" """" """#),
            [
                token("all", false, false),
                token("all", true, false),
                token("a\"b", true, false),
                token("\"", true, false),
                token("", true, false),
            ]
        );
        assert_eq!(tokens("a#b c"), [token("a", false, false)]);
        assert_eq!(tokens("\"open # to, the end"), [token("open # to, the end", true, false)]);
    }

    #[test]
    fn continuations_join_before_anything_else() {
        let source = "al\\\nl x # a \\\nstill a comment\nnext";
        let found = lines(source, Version::V18);
        assert_eq!(
            (found.len(), found[0].text.as_str(), found[1].number),
            (2, "all x # a still a comment", 4)
        );
        assert_eq!(lines(source, Version::V13).len(), 4);
        assert_eq!(lines("a\\\n\\\nb", Version::V18)[0].text, "ab");
        assert_eq!(lines("a\\\\\n\nb", Version::V18)[0].text, "a\\");
        let cut = lines("a b\0 lost\nc\nd\n", Version::V18);
        assert_eq!((cut.len(), cut[0].text.as_str(), cut[1].number), (2, "a bc", 2));
        assert_eq!(lines("a b\0 lost\nc\n", Version::V13)[0].text, "a b");
    }
}
