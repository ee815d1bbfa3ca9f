//! A server's replies, RFC 5321 section 4.2, read as strictly as Go's `net/textproto` does.

use thiserror::Error;

/// The longest line of a reply, in bytes.
const LONGEST_LINE: usize = 4096;
/// The most lines of a reply.
const MOST_LINES: usize = 256;

/// A reply: its code and its lines without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The code, from 100 to 599.
    pub code: u16,
    /// The lines without the code, at least one.
    pub lines: Vec<String>,
}

/// A reply that is malformed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// A line without three digits.
    #[error("a line without a reply code: not an SMTP server, or one that expects TLS here")]
    Code,
    /// Lines of one reply with different codes.
    #[error("lines of one reply with different codes")]
    Codes,
    /// Too long a line or too many.
    #[error("a reply that is too long")]
    Long,
}

/// Reads one reply from what has arrived: the reply and its length in bytes, or `None` when more must arrive.
///
/// # Errors
///
/// What arrived is no reply.
pub fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, ReplyError> {
    let (mut at, mut code, mut lines) = (0, None, Vec::new());
    loop {
        let rest = &bytes[at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            // What cannot become a code is refused at once, so that nobody waits for the end of a TLS record.
            let wrong = rest.iter().take(3).any(|byte| !byte.is_ascii_digit());
            return match () {
                () if wrong => Err(ReplyError::Code),
                () if rest.len() > LONGEST_LINE => Err(ReplyError::Long),
                () => Ok(None),
            };
        };
        if end > LONGEST_LINE || lines.len() >= MOST_LINES {
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
    /// Tells if the code begins with this digit.
    #[must_use]
    pub fn is(&self, class: u16) -> bool {
        self.code / 100 == class
    }

    /// Returns code and text on one line, without control characters.
    #[must_use]
    pub fn text(&self) -> String {
        let text = self.lines.join(" ");
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{} {}", self.code, text.trim())
    }

    /// Returns the text after a keyword in the answer to EHLO, as Go finds it: upper case, exactly.
    #[must_use]
    pub fn extension(&self, keyword: &str) -> Option<&str> {
        self.lines.iter().skip(1).rev().find_map(|line| {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            (name == keyword).then_some(rest)
        })
    }
}
