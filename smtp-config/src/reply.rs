//! SMTP replies (RFC 5321 §4.2), parsed as strictly as by Go's `net/textproto`.

use thiserror::Error;

/// Maximum length of a reply line, in bytes.
const MAX_LINE_LEN: usize = 4096;
/// Maximum number of lines in a reply.
const MAX_LINES: usize = 256;

/// An SMTP reply: code and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Reply code, from 100 to 599.
    pub code: u16,
    /// Text of each line, without code and separator; never empty.
    pub lines: Vec<String>,
}

/// Error of parsing an SMTP reply.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// A line does not begin with a reply code from 100 to 599 that a space, a hyphen or the end of the line follows.
    #[error("a line without a reply code: not an SMTP server, or one that expects TLS here")]
    Code,
    /// The lines of a reply have different codes.
    #[error("lines of one reply with different codes")]
    Codes,
    /// A line is longer than 4096 bytes, or the reply has more than 256 lines.
    #[error("a reply that is too long")]
    Long,
}

/// Parses a reply from the bytes received so far. Returns the reply with its length in bytes, or `None` if it is
/// incomplete.
///
/// # Errors
/// Returns a [`ReplyError`] as soon as the bytes cannot become a valid reply.
pub fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, ReplyError> {
    let (mut at, mut code, mut lines) = (0, None, Vec::new());
    loop {
        let rest = &bytes[at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            // Bytes that cannot become a code are rejected at once, so that a TLS record is not awaited to its end.
            let wrong = rest.iter().take(3).any(|byte| !byte.is_ascii_digit());
            return match () {
                () if wrong => Err(ReplyError::Code),
                () if rest.len() > MAX_LINE_LEN => Err(ReplyError::Long),
                () => Ok(None),
            };
        };
        if end > MAX_LINE_LEN || lines.len() >= MAX_LINES {
            return Err(ReplyError::Long);
        }
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        let (digits, text) = line.split_at_checked(3).ok_or(ReplyError::Code)?;
        let number =
            std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()));
        let number: u16 = number.and_then(|digits| digits.parse().ok()).ok_or(ReplyError::Code)?;
        if !(100..600).contains(&number) {
            return Err(ReplyError::Code);
        }
        if *code.get_or_insert(number) != number {
            return Err(ReplyError::Codes);
        }
        let (more, text) = match text.split_first() {
            None => (false, text),
            Some((b'-', text)) => (true, text),
            Some((b' ', text)) => (false, text),
            Some(_) => return Err(ReplyError::Code),
        };
        lines.push(String::from_utf8_lossy(text).into_owned());
        at += end + 1;
        if !more {
            return Ok(Some((Reply { code: number, lines }, at)));
        }
    }
}

impl Reply {
    /// Returns `true` if the reply code begins with this digit, from 1 to 5.
    #[must_use]
    pub fn is(&self, class: u16) -> bool {
        self.code / 100 == class
    }

    /// Returns code and text on one line, with control characters replaced by spaces.
    #[must_use]
    pub fn text(&self) -> String {
        let text = self.lines.join(" ");
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{} {}", self.code, text.trim())
    }

    /// Returns the parameters of an EHLO keyword, empty if it has none. `None` if the reply lacks it. As in Go, the
    /// keyword is case-sensitive and the first line is skipped. If it occurs several times, the last applies.
    #[must_use]
    pub fn extension(&self, keyword: &str) -> Option<&str> {
        self.lines.iter().skip(1).rev().find_map(|line| {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            (name == keyword).then_some(rest)
        })
    }
}
