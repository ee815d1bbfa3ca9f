//! What Go's net/mail takes for an address.

/// The bare address of what Go's `mail.ParseAddress` accepts; `None` for what it refuses. Forgejo ends at once when
/// `FROM` is refused.
#[must_use]
pub fn mailbox(text: &str) -> Option<String> {
    let mut parser = Parser { rest: text };
    let mut found = parser.address(true)?;
    if !parser.skip_comments() || !parser.rest.is_empty() || found.len() != 1 {
        return None;
    }
    found.pop()
}

/// Whether a name before `<` has characters that belong in quotes: versions of Go differ in whether they take them.
#[must_use]
pub fn has_unquoted_specials(text: &str) -> bool {
    let Some(end) = text.rfind('<') else { return text.contains(['(', ')', ':']) };
    let mut quoted = false;
    let mut escaped = false;
    text[..end].chars().any(|c| {
        let special = !quoted && "()[];@\\,:".contains(c);
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => {}
        }
        special
    })
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn address(&mut self, groups: bool) -> Option<Vec<String>> {
        self.skip_space();
        if self.rest.is_empty() {
            return None;
        }
        if let Some(spec) = self.spec() {
            self.skip_space();
            if self.take('(') {
                let comment = self.comment()?;
                if comment.split([' ', '\t']).any(|word| encoded(word) == Encoded::OtherCharset) {
                    return None;
                }
            }
            return Some(vec![spec]);
        }
        if !self.rest.starts_with('<') && !self.phrase() {
            return None;
        }
        self.skip_space();
        if groups && self.take(':') {
            return self.group();
        }
        if !self.take('<') {
            return None;
        }
        let spec = self.spec()?;
        self.take('>').then(|| vec![spec])
    }

    fn group(&mut self) -> Option<Vec<String>> {
        let mut members = Vec::new();
        self.skip_space();
        if self.take(';') {
            self.skip_comments();
            return Some(members);
        }
        loop {
            self.skip_space();
            members.extend(self.address(false)?);
            if !self.skip_comments() {
                return None;
            }
            if self.take(';') {
                self.skip_comments();
                return Some(members);
            }
            if !self.take(',') {
                return None;
            }
        }
    }

    /// `local@domain`; nothing is consumed when it is none.
    fn spec(&mut self) -> Option<String> {
        let before = self.rest;
        let spec = self.local_and_domain();
        if spec.is_none() {
            self.rest = before;
        }
        spec
    }

    fn local_and_domain(&mut self) -> Option<String> {
        self.skip_space();
        let local = if self.rest.starts_with('"') {
            self.quoted().filter(|local| !local.is_empty())?
        } else {
            self.atom(false)?.to_owned()
        };
        if !self.take('@') {
            return None;
        }
        self.skip_space();
        let domain = self.atom(false)?;
        Some(format!("{local}@{domain}"))
    }

    /// Words before `<`; whether there is one.
    fn phrase(&mut self) -> bool {
        let mut words = 0;
        loop {
            self.skip_space();
            if self.rest.is_empty() {
                // Nothing but blanks counts as a phrase of no words.
                return true;
            }
            let read = if self.rest.starts_with('"') {
                self.quoted().is_some()
            } else {
                self.atom(true).is_some_and(|word| encoded(word) != Encoded::OtherCharset)
            };
            if !read {
                return words > 0;
            }
            words += 1;
        }
    }

    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            let plain = visible(c) || c == ' ' || c == '\t';
            if escaped {
                if !plain {
                    return None;
                }
                escaped = false;
                value.push(c);
            } else if c == '"' {
                self.rest = &self.rest[at + 1..];
                return Some(value);
            } else if c == '\\' {
                escaped = true;
            } else if plain {
                value.push(c);
            } else {
                return None;
            }
        }
        None
    }

    fn atom(&mut self, permissive: bool) -> Option<&'t str> {
        let allowed = |c: char| match c {
            '.' => true,
            '(' | ')' | '[' | ']' | ';' | '@' | '\\' | ',' => permissive,
            '<' | '>' | '"' | ':' => false,
            _ => visible(c),
        };
        let end = self.rest.find(|c| !allowed(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return None;
        }
        let (atom, rest) = self.rest.split_at(end);
        self.rest = rest;
        let dots = atom.starts_with('.') || atom.contains("..") || atom.ends_with('.');
        (permissive || !dots).then_some(atom)
    }

    /// A comment whose `(` is consumed.
    fn comment(&mut self) -> Option<String> {
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
                return Some(text);
            }
            text.push(c);
        }
        None
    }

    fn skip_comments(&mut self) -> bool {
        self.skip_space();
        while self.take('(') {
            if self.comment().is_none() {
                return false;
            }
            self.skip_space();
        }
        true
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

fn visible(c: char) -> bool {
    ('!'..='~').contains(&c) || c >= '\u{80}'
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoded {
    /// A word as any other, or an encoded one in a known character set.
    Fine,
    /// An encoded word that could be decoded but for its character set.
    OtherCharset,
}

fn encoded(word: &str) -> Encoded {
    let inner = word.strip_prefix("=?").and_then(|word| word.strip_suffix("?="));
    let parts: Vec<&str> = inner.filter(|_| word.len() >= 8).unwrap_or_default().split('?').collect();
    let [charset, encoding, text] = parts[..] else { return Encoded::Fine };
    let decodes = match encoding {
        "B" | "b" => base64(text),
        "Q" | "q" => quoted_printable(text.as_bytes()),
        _ => false,
    };
    let known = ["utf-8", "iso-8859-1", "us-ascii"].contains(&&*charset.to_lowercase().replace('ſ', "s"));
    if decodes && !known && !charset.is_empty() { Encoded::OtherCharset } else { Encoded::Fine }
}

fn base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    text.len().is_multiple_of(4)
        && padding <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

fn quoted_printable(mut text: &[u8]) -> bool {
    loop {
        text = match text {
            [] => return true,
            [b'=', first, second, rest @ ..] if first.is_ascii_hexdigit() && second.is_ascii_hexdigit() => {
                rest
            }
            [b'=', ..] => return false,
            [byte, rest @ ..] if (b' '..=b'~').contains(byte) => rest,
            _ => return false,
        };
    }
}
