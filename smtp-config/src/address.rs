//! Addresses as Go's `net/mail` parses them, by release of Go.
//!
//! Forgejo passes `FROM`, `ENVELOPE_FROM` and `REPLY_TO_ADDRESS` to `mail.ParseAddress` and exits if it fails. Since Go
//! 1.22.1 and 1.21.8 (CVE-2024-24784) special characters in a display name must be quoted; every Forgejo from version 7
//! is built with such a release.

use std::net::{IpAddr, Ipv6Addr};
use thiserror::Error;

/// Parsing rules of Go's `net/mail`, named by the first release of Go that has them. Ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AddressRules {
    /// Domain literals (`a@[192.0.2.1]`) are rejected.
    Go1_22,
    /// Domain literals contain an IPv4 or IPv6 address without the `IPv6:` tag.
    Go1_23,
    /// As [`Go1_23`](Self::Go1_23), but a comment directly after encoded words at the beginning of a name is rejected.
    Go1_26,
    /// As [`Go1_26`](Self::Go1_26), but domain literals contain an IPv4 address, or `IPv6:` and an IPv6 address (RFC
    /// 5321 §4.1.3).
    Go1_27,
}

impl AddressRules {
    /// All rule sets, oldest first.
    pub const ALL: &[Self] = &[Self::Go1_22, Self::Go1_23, Self::Go1_26, Self::Go1_27];
}

/// A parsed mailbox (RFC 5322 §3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Display name with encoded words decoded. Empty if there is none.
    pub name: String,
    /// The addr-spec `local@domain`, without quotes around the local part.
    pub address: String,
}

/// Error of parsing an address. Displayed as Go's error.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct AddressError(String);

/// Parses one address as `mail.ParseAddress` does. A group with exactly one member is accepted.
///
/// # Errors
/// Returns an [`AddressError`] with the text of the error that Go returns.
pub fn parse_address(text: &str, rules: AddressRules) -> Result<Address, AddressError> {
    let mut parser = Parser { rest: text, rules };
    let mut found = parser.address(true)?;
    parser.skip_comments()?;
    if !parser.rest.is_empty() {
        return Err(error(format!("mail: expected single address, got {}", quote_as_go(parser.rest))));
    }
    match (found.len(), found.pop()) {
        (1, Some(address)) => Ok(address),
        (0, _) => Err(error("mail: empty group")),
        _ => Err(error("mail: group with multiple addresses")),
    }
}

/// Returns the addr-spec of a text that `mail.ParseAddress` accepts. `None` if it is rejected.
#[must_use]
pub fn mailbox(text: &str, rules: AddressRules) -> Option<String> {
    parse_address(text, rules).ok().map(|parsed| parsed.address)
}

/// Returns `name <address>`, with the display name quoted if RFC 5322 requires it. Without a name, returns `address`
/// alone.
#[must_use]
pub fn format_address(name: &str, address: &str) -> String {
    if name.is_empty() {
        return address.to_owned();
    }
    let plain = name.split(' ').all(|word| !word.is_empty() && word.chars().all(is_atom_text));
    if plain {
        return format!("{name} <{address}>");
    }
    format!("\"{}\" <{address}>", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Returns a text `Name <local@domain>`, which may be one that Go rejects, with its display name quoted if RFC 5322
/// requires it. `None` if the text has no name, or if a release of Go rejects the result or reads another name from it.
#[must_use]
pub fn with_quoted_name(text: &str) -> Option<String> {
    let (name, rest) = text.rsplit_once('<')?;
    let bare = rest.trim_end().strip_suffix('>')?;
    let name = name.trim();
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    let quoted = format_address(name, bare);
    let accepted = |rules: &AddressRules| parse_address(&quoted, *rules).is_ok_and(|read| read.name == name);
    (!name.is_empty() && AddressRules::ALL.iter().all(accepted)).then_some(quoted)
}

/// Creates an error with a text.
fn error(text: impl Into<String>) -> AddressError {
    AddressError(text.into())
}

/// Quotes a text with double quotes, as Go's `%q` does with visible characters.
fn quote_as_go(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        escape(&mut out, c, '"');
    }
    out.push('"');
    out
}

/// Quotes a character with single quotes, as Go's `%q` does with visible characters.
fn quoted_char(c: char) -> String {
    let mut out = String::from("'");
    escape(&mut out, c, '\'');
    out.push('\'');
    out
}

/// Appends a character, escaped as in Go if it is a control character, a backslash or `quote`.
fn escape(out: &mut String, c: char, quote: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if c == quote => out.extend(['\\', c]),
        c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c => out.push(c),
    }
}

/// State of the parser: the text that remains, and the rules.
struct Parser<'t> {
    rest: &'t str,
    rules: AddressRules,
}

impl<'t> Parser<'t> {
    /// Parses an address or, if `groups`, a group. Returns the mailboxes.
    ///
    /// # Errors
    /// Returns Go's error.
    fn address(&mut self, groups: bool) -> Result<Vec<Address>, AddressError> {
        self.skip_space();
        if self.rest.is_empty() {
            return Err(error("mail: no address"));
        }
        if let Ok(address) = self.spec() {
            self.skip_space();
            let name = if self.take('(') { self.comment_name()? } else { String::new() };
            return Ok(vec![Address { name, address }]);
        }
        let name = if self.rest.starts_with('<') { String::new() } else { self.phrase()? };
        self.skip_space();
        if groups && self.take(':') {
            return self.group();
        }
        if !self.take('<') {
            let atoms = name.chars().all(is_atom_text);
            return Err(error(if atoms { "mail: missing '@' or angle-addr" } else { "mail: no angle-addr" }));
        }
        let address = self.spec()?;
        if !self.take('>') {
            return Err(error("mail: unclosed angle-addr"));
        }
        Ok(vec![Address { name, address }])
    }

    /// Parses the members of a group from after its colon, up to and including the semicolon.
    ///
    /// # Errors
    /// Returns Go's error.
    fn group(&mut self) -> Result<Vec<Address>, AddressError> {
        let mut members = Vec::new();
        self.skip_space();
        if self.take(';') {
            self.skip_comments()?;
            return Ok(members);
        }
        loop {
            self.skip_space();
            members.extend(self.address(false)?);
            self.skip_comments()?;
            if self.take(';') {
                self.skip_comments()?;
                return Ok(members);
            }
            if !self.take(',') {
                return Err(error("mail: expected comma"));
            }
        }
    }

    /// Parses an addr-spec. Consumes nothing on failure.
    ///
    /// # Errors
    /// Returns Go's error.
    fn spec(&mut self) -> Result<String, AddressError> {
        let before = self.rest;
        let spec = self.local_and_domain();
        if spec.is_err() {
            self.rest = before;
        }
        spec
    }

    /// Parses the local part, `@` and the domain.
    ///
    /// # Errors
    /// Returns Go's error. What has been parsed until then is consumed.
    fn local_and_domain(&mut self) -> Result<String, AddressError> {
        self.skip_space();
        if self.rest.is_empty() {
            return Err(error("mail: no addr-spec"));
        }
        let local = if self.rest.starts_with('"') {
            // Go returns this error for any fault of the quoted string.
            let empty = || error("mail: empty quoted string in addr-spec");
            self.quoted_string().ok().filter(|local| !local.is_empty()).ok_or_else(empty)?
        } else {
            self.atom(false)?.to_owned()
        };
        if !self.take('@') {
            return Err(error("mail: missing @ in addr-spec"));
        }
        self.skip_space();
        if self.rest.is_empty() {
            return Err(error("mail: no domain in addr-spec"));
        }
        let domain = if self.rules >= AddressRules::Go1_23 && self.rest.starts_with('[') {
            self.domain_literal()?
        } else {
            self.atom(false)?.to_owned()
        };
        Ok(format!("{local}@{domain}"))
    }

    /// Parses a domain literal with its brackets.
    ///
    /// # Errors
    /// Returns Go's error.
    fn domain_literal(&mut self) -> Result<String, AddressError> {
        let inner = &self.rest[1..];
        let end = inner.find(|c| !is_visible(c) || matches!(c, '[' | ']' | '\\')).unwrap_or(inner.len());
        let text = &inner[..end];
        match inner[end..].chars().next() {
            None => return Err(error("mail: unclosed domain-literal")),
            Some(']') => self.rest = &inner[end + 1..],
            Some(c) => {
                return Err(error(format!("mail: bad character in domain-literal: {}", quoted_char(c))));
            }
        }
        let newest = self.rules >= AddressRules::Go1_27;
        if let Some(six) = text.strip_prefix("IPv6:").filter(|_| newest) {
            return match six.parse::<IpAddr>() {
                // `net.ParseIP` accepts an IPv4 address here too.
                Ok(_) => Ok(format!("[{text}]")),
                Err(_) => {
                    Err(error(format!("mail: invalid IPv6 address in domain-literal: {}", quote_as_go(text))))
                }
            };
        }
        let accepted = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => true,
            Ok(IpAddr::V6(six)) => !newest || is_mapped(six),
            Err(_) => false,
        };
        if accepted {
            Ok(format!("[{text}]"))
        } else {
            Err(error(format!("mail: invalid IP address in domain-literal: {}", quote_as_go(text))))
        }
    }

    /// Parses the display name before `<`, as words joined by spaces.
    ///
    /// # Errors
    /// Returns Go's error if the first word is not valid, or a comment is not closed. A later error ends the name.
    fn phrase(&mut self) -> Result<String, AddressError> {
        let mut words: Vec<String> = Vec::new();
        // Adjacent encoded words, which are joined without a space.
        let mut encoded = String::new();
        let mut after_encoded = false;
        let joins = self.rules >= AddressRules::Go1_26;
        let failed = loop {
            if !words.is_empty() {
                self.skip_comments()?;
            }
            self.skip_space();
            if self.rest.is_empty() {
                break None;
            }
            let read = if self.rest.starts_with('"') {
                self.quoted_string().map(PhraseWord::Plain)
            } else {
                self.atom(true).and_then(decode_word)
            };
            match read {
                Ok(PhraseWord::Encoded(text)) if joins => encoded.push_str(&text),
                Ok(PhraseWord::Encoded(text)) => {
                    match words.last_mut().filter(|_| after_encoded) {
                        Some(last) => last.push_str(&text),
                        None => words.push(text),
                    }
                    after_encoded = true;
                }
                Ok(PhraseWord::Plain(text)) => {
                    if !encoded.is_empty() {
                        words.push(std::mem::take(&mut encoded));
                    }
                    words.push(text);
                    after_encoded = false;
                }
                Err(why) => break Some(why),
            }
        };
        if !encoded.is_empty() {
            words.push(encoded);
        }
        match failed {
            // Go ignores an error after the first word.
            Some(why) if words.is_empty() => Err(error(format!("mail: missing word in phrase: {why}"))),
            _ => Ok(words.join(" ")),
        }
    }

    /// Parses a quoted string, and returns its content.
    ///
    /// # Errors
    /// Returns Go's error if it contains a control character or is not closed.
    fn quoted_string(&mut self) -> Result<String, AddressError> {
        let mut value = String::new();
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            let plain = is_visible(c) || c == ' ' || c == '\t';
            match c {
                _ if escaped && plain => {
                    escaped = false;
                    value.push(c);
                }
                '"' if !escaped => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(value);
                }
                '\\' if !escaped => escaped = true,
                _ if plain => value.push(c),
                _ => {
                    return Err(error(format!("mail: bad character in quoted-string: {}", quoted_char(c))));
                }
            }
        }
        Err(error("mail: unclosed quoted-string"))
    }

    /// Parses an atom. Unless `permissive`, dots are permitted only between other characters.
    ///
    /// # Errors
    /// Returns Go's error.
    fn atom(&mut self, permissive: bool) -> Result<&'t str, AddressError> {
        let end = self.rest.find(|c| !is_atom_text(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(error("mail: invalid string"));
        }
        let (atom, rest) = self.rest.split_at(end);
        self.rest = rest;
        match atom {
            _ if permissive => Ok(atom),
            _ if atom.starts_with('.') => Err(error("mail: leading dot in atom")),
            _ if atom.contains("..") => Err(error("mail: double dot in atom")),
            _ if atom.ends_with('.') => Err(error("mail: trailing dot in atom")),
            _ => Ok(atom),
        }
    }

    /// Parses a comment after a bare address, which is its display name, from after the opening parenthesis. Encoded
    /// words are decoded.
    ///
    /// # Errors
    /// Returns Go's error.
    fn comment_name(&mut self) -> Result<String, AddressError> {
        let comment = self.comment()?;
        let words = comment.split([' ', '\t']).filter(|word| !word.is_empty());
        let words: Result<Vec<String>, _> =
            words.map(|word| decode_word(word).map(PhraseWord::into_text)).collect();
        Ok(words?.join(" "))
    }

    /// Parses a comment, which may be nested, from after its opening parenthesis. Returns its text.
    ///
    /// # Errors
    /// Returns Go's error if the comment is not closed.
    fn comment(&mut self) -> Result<String, AddressError> {
        let (mut depth, mut text, mut escaped) = (1, String::new(), false);
        for (at, c) in self.rest.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' if at + 1 < self.rest.len() => {
                    escaped = true;
                    continue;
                }
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(text);
            }
            text.push(c);
        }
        self.rest = "";
        Err(error("mail: misformatted parenthetical comment"))
    }

    /// Skips spaces, tabs and comments.
    ///
    /// # Errors
    /// Returns Go's error if a comment is not closed.
    fn skip_comments(&mut self) -> Result<(), AddressError> {
        self.skip_space();
        while self.take('(') {
            self.comment()?;
            self.skip_space();
        }
        Ok(())
    }

    /// Skips spaces and tabs.
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Skips a character if it is next. Returns `true` if it was.
    fn take(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

/// Returns `true` for an IPv4-mapped IPv6 address.
fn is_mapped(address: Ipv6Addr) -> bool {
    address.to_ipv4_mapped().is_some()
}

/// Returns `true` for visible ASCII and for every other character from U+0080.
fn is_visible(c: char) -> bool {
    ('!'..='~').contains(&c) || c >= '\u{80}'
}

/// Returns `true` if a character may be part of an atom. A dot is included.
fn is_atom_text(c: char) -> bool {
    is_visible(c) && !"()<>[]:;@\\,\"".contains(c)
}

/// A word of a display name, by whether it was an encoded word (RFC 2047 §2).
enum PhraseWord {
    /// Content of an encoded word.
    Encoded(String),
    /// A word that was not an encoded word, without quotes.
    Plain(String),
}

impl PhraseWord {
    /// Returns the text of the word.
    fn into_text(self) -> String {
        match self {
            Self::Encoded(text) | Self::Plain(text) => text,
        }
    }
}

/// Decodes an encoded word (RFC 2047) in the encoding `B` or `Q`. Any other word, and a malformed encoded word, is
/// returned unchanged as [`PhraseWord::Plain`].
///
/// # Errors
/// Returns Go's error unless the charset of an encoded word is UTF-8, ISO-8859-1 or US-ASCII, in any case.
fn decode_word(word: &str) -> Result<PhraseWord, AddressError> {
    let plain = || Ok(PhraseWord::Plain(word.to_owned()));
    let inner = word.strip_prefix("=?").and_then(|word| word.strip_suffix("?="));
    let parts: Vec<&str> = inner.filter(|_| word.len() >= 8).unwrap_or_default().split('?').collect();
    let [charset, encoding, text] = parts[..] else { return plain() };
    let bytes = match encoding {
        "B" | "b" => base64(text),
        "Q" | "q" => quoted_printable(text),
        _ => None,
    };
    let Some(bytes) = bytes.filter(|_| !charset.is_empty()) else { return plain() };
    let folded = charset.to_lowercase().replace('ſ', "s");
    Ok(PhraseWord::Encoded(match folded.as_str() {
        "utf-8" => String::from_utf8_lossy(&bytes).into_owned(),
        "iso-8859-1" => bytes.iter().map(|byte| char::from(*byte)).collect(),
        "us-ascii" => {
            bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '\u{fffd}' }).collect()
        }
        _ => return Err(error(format!("charset not supported: {}", quote_as_go(charset)))),
    }))
}

/// Decodes Base64 with padding. `None` if it is not valid.
fn base64(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return None;
    }
    let (mut out, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for byte in body.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}

/// Decodes the Q encoding (RFC 2047 §4.2). `None` if it is not valid.
fn quoted_printable(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    loop {
        rest = match rest {
            [] => return Some(out),
            [b'=', first, second, rest @ ..] => {
                out.push(digit(*first)? << 4 | digit(*second)?);
                rest
            }
            [b'_', rest @ ..] => {
                out.push(b' ');
                rest
            }
            [byte, rest @ ..] if (b' '..=b'~').contains(byte) && *byte != b'=' => {
                out.push(*byte);
                rest
            }
            _ => return None,
        };
    }
}
