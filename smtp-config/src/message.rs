//! Messages as Forgejo composes them: headers, quoted-printable parts, and the overrides of `[mailer.override_header]`.

use crate::effective::EffectiveMailer;
use std::fmt::Write;

/// A message to be rendered. Time and domain are arguments, so that the result is deterministic.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Address of the recipient, without a display name.
    pub to: &'a str,
    /// Subject, without the prefix.
    pub subject: &'a str,
    /// Text of the plain-text part. Lines may end in LF or CRLF.
    pub text: &'a str,
    /// HTML part. `None` for a message without one. Omitted if the mailer sends plain text only.
    pub html: Option<&'a str>,
    /// Value of the Date header (RFC 5322 §3.3), as [`date`] returns it.
    pub date: &'a str,
    /// The same time in milliseconds since 1970-01-01 UTC, for the Message-ID.
    pub milliseconds: u64,
    /// Domain of the instance, for the Message-ID.
    pub domain: &'a str,
}

impl Message<'_> {
    /// Renders the message with CRLF line endings, without dot-stuffing; see [`smtp_data`]. Headers of the mailer are
    /// added, and replace others of exactly the same name, except `Content-Type` and `Content-Transfer-Encoding`, which
    /// stay beside them.
    #[must_use]
    pub fn render(&self, mailer: &EffectiveMailer) -> String {
        let mut headers: Vec<(String, Vec<String>)> = Vec::new();
        let mut set = |name: &str, value: Vec<String>| {
            // Forgejo compares header names case-sensitively.
            match headers.iter_mut().find(|(held, _)| held == name) {
                Some((_, held)) => *held = value,
                None => headers.push((name.to_owned(), value)),
            }
        };
        let subject = match mailer.subject_prefix.as_str() {
            "" => self.subject.to_owned(),
            prefix => format!("{prefix} {}", self.subject),
        };
        let (name, address) = match &mailer.sender {
            Some(sender) => (sender.name.as_str(), sender.address.as_str()),
            None => ("", ""),
        };
        let to =
            if mailer.version.sends_by_go_mail() { format!("<{}>", self.to) } else { self.to.to_owned() };
        set("Mime-Version", vec!["1.0".to_owned()]);
        set("From", vec![sender(name, address)]);
        set("To", vec![to]);
        set("Subject", vec![encoded_words(&subject)]);
        set("Date", vec![self.date.to_owned()]);
        set("X-Auto-Response-Suppress", vec!["All".to_owned()]);
        set("Message-ID", vec![self.id()]);
        for (name, values) in &mailer.headers {
            set(name, values.iter().map(|value| encoded_words(value)).collect());
        }
        let mut out = String::new();
        for (name, values) in headers {
            let space = if values.is_empty() { "" } else { " " };
            let _ = write!(out, "{name}:{space}{}\r\n", values.join(", "));
        }
        match self.html.filter(|_| !mailer.plain_text) {
            None => part(&mut out, "text/plain", self.text),
            Some(html) => {
                let boundary = format!("{:016x}{:016x}", fnv(self.text.as_bytes()), fnv(html.as_bytes()));
                let _ = write!(out, "Content-Type: multipart/alternative;\r\n boundary={boundary}\r\n\r\n");
                for (kind, text) in [("text/plain", self.text), ("text/html", html)] {
                    let _ = write!(out, "--{boundary}\r\n");
                    part(&mut out, kind, text);
                    out.push_str("\r\n");
                }
                let _ = write!(out, "--{boundary}--\r\n");
            }
        }
        out
    }

    /// Returns the Message-ID, from the time and a hash of recipient, subject and body.
    fn id(&self) -> String {
        let body = self.html.unwrap_or(self.text);
        let hashed: Vec<u8> = [self.to, self.subject, body].concat().into_bytes();
        format!("<autogen-{}-{:016x}@{}>", self.milliseconds, fnv(&hashed), self.domain)
    }
}

/// Returns the 64-bit FNV-1 hash.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3_u64) ^ u64::from(*byte))
}

/// Appends a MIME part: its headers, with the media type `kind`, and the text in quoted-printable UTF-8.
fn part(out: &mut String, kind: &str, text: &str) {
    let _ = write!(
        out,
        "Content-Type: {kind}; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\r\n",
        quoted_printable(text)
    );
}

/// Returns the value of the From header: the address alone without a name, otherwise the name and the address in angle
/// brackets. A name that is not ASCII is encoded, and one with special characters quoted.
fn sender(name: &str, address: &str) -> String {
    if name.is_empty() {
        return address.to_owned();
    }
    if !name.is_ascii() {
        return format!("{} <{address}>", encoded_words(name));
    }
    let specials = name.contains(|c: char| "()<>[]:;@\\,.\"".contains(c));
    let quoted = if specials {
        format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        name.to_owned()
    };
    format!("{quoted} <{address}>")
}

/// Encodes header text (RFC 2047): unchanged if it contains only visible ASCII and spaces, and no `=?`; otherwise as
/// encoded words of at most 75 characters, one on each line.
fn encoded_words(text: &str) -> String {
    if text.chars().all(|c| (' '..='~').contains(&c)) && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = vec![String::new()];
    let mut buffer = [0; 4];
    for c in text.chars() {
        let encoded: String = match c {
            ' ' => "_".to_owned(),
            '!'..='~' if !"=?_".contains(c) => c.to_string(),
            _ => c.encode_utf8(&mut buffer).bytes().map(|byte| format!("={byte:02X}")).collect(),
        };
        if words.last().is_some_and(|word| word.len() + encoded.len() > 60) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push_str(&encoded);
        }
    }
    let words: Vec<String> = words.iter().map(|word| format!("=?UTF-8?q?{word}?=")).collect();
    words.join("\r\n ")
}

/// Encodes text as quoted-printable (RFC 2045 §6.7), with lines of at most 76 characters, which end in CRLF.
fn quoted_printable(text: &str) -> String {
    let mut out = String::new();
    let text = text.replace("\r\n", "\n");
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push_str("\r\n");
        }
        let mut width = 0;
        for (at, byte) in line.bytes().enumerate() {
            let blank_at_end = matches!(byte, b' ' | b'\t') && at + 1 == line.len();
            let plain = (matches!(byte, b' '..=b'~' | b'\t')) && byte != b'=' && !blank_at_end;
            let needed = if plain { 1 } else { 3 };
            if width + needed > 75 {
                out.push_str("=\r\n");
                width = 0;
            }
            if plain {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "={byte:02X}");
            }
            width += needed;
        }
    }
    out
}

/// Returns the data that follows DATA: the message with dot-stuffing (RFC 5321 §4.5.2), and the final line with a
/// single dot. Lines of `message` must end in CRLF.
#[must_use]
pub fn smtp_data(message: &str) -> String {
    let mut out = String::new();
    for line in message.split_terminator("\r\n") {
        let dot = if line.starts_with('.') { "." } else { "" };
        let _ = write!(out, "{dot}{line}\r\n");
    }
    out.push_str(".\r\n");
    out
}

/// Formats seconds since 1970-01-01 UTC as a date and time of RFC 5322, in UTC (`+0000`).
#[must_use]
pub fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(days % 7) as usize];
    // Years of the Gregorian calendar are assumed to begin in March, so that the leap day is the last day of a year.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let name = names[(month - 1) as usize];
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{weekday}, {day:02} {name} {year:04} {hour:02}:{minute:02}:{second:02} +0000")
}
