//! Effective settings of `[email.incoming]` after Forgejo's start, loaded in the order of its loader.

use crate::effective::{Password, SectionLoader, secret};
use crate::fatal::Fatal;
use crate::ini::Ini;
use crate::reply_to::reply_to;
use crate::section::INCOMING;
use crate::version::Version;
use secrecy::SecretString;

/// Effective settings of `[email.incoming]` after Forgejo's start. `Debug` does not print the password.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EffectiveIncoming {
    /// Address for replies by mail, with `%{token}` (`REPLY_TO_ADDRESS`).
    pub reply_to: String,
    /// Host name or address of the IMAP server. Empty if it is missing.
    pub host: String,
    /// Port, which may be out of range. Default: 993 with TLS and 143 without from version 8, and 0 before.
    pub port: i64,
    /// Whether implicit TLS is used (`USE_TLS`). Default: `false`.
    pub tls: bool,
    /// Whether any certificate is accepted (`SKIP_TLS_VERIFY`). Default: `false`.
    pub accepts_any_certificate: bool,
    /// User name of the mailbox. Empty if it is missing.
    pub username: String,
    /// Source of the password.
    pub password: Password,
    /// Name of the mailbox. Default: `INBOX`.
    pub mailbox: String,
    /// Whether handled messages are deleted (`DELETE_HANDLED_MESSAGE`). Default: `true`.
    pub delete_handled: bool,
}

/// Loads `[email.incoming]` by the rules of a Forgejo version. Returns `None` if incoming mail is disabled, which is
/// the default.
///
/// # Errors
/// Returns the first setting that stops Forgejo from starting.
pub fn effective_incoming(ini: &Ini, version: Version) -> Result<Option<EffectiveIncoming>, Fatal> {
    let mut section = SectionLoader { ini: ini.excerpt(&["email", INCOMING]), name: INCOMING };
    if !section.flag("ENABLED", false) {
        return Ok(None);
    }
    // Forgejo loads the values first, and resolves aliases afterwards.
    let aliased = |other: &str, key: &str| version.knows_aliases() && section.has(other) && !section.has(key);
    let username = section.text(if aliased("USER", "USERNAME") { "USER" } else { "USERNAME" });
    let password = if version.knows_uri() {
        section.alias("PASSWD", "PASSWORD");
        section.alias("PASSWD_URI", "PASSWORD_URI");
        secret(&mut section, version, "PASSWORD_URI", "PASSWORD")?
    } else {
        match section.text(if aliased("PASSWD", "PASSWORD") { "PASSWD" } else { "PASSWORD" }) {
            text if text.is_empty() => Password::None,
            text => Password::Written(SecretString::from(text)),
        }
    };
    let tls = section.flag("USE_TLS", false);
    let port = integer(&section.text("PORT")).unwrap_or(0);
    let port = match port {
        0 if version.infers_incoming_port() => {
            if tls {
                993
            } else {
                143
            }
        }
        port => port,
    };
    let address = section.text("REPLY_TO_ADDRESS");
    if let Err(reason) = reply_to(&address, version.address_rules()) {
        return Err(Fatal::ReplyTo { value: address, reason });
    }
    let mailbox = Some(section.text("MAILBOX")).filter(|name| !name.is_empty());
    Ok(Some(EffectiveIncoming {
        reply_to: address,
        host: section.text("HOST"),
        port,
        tls,
        accepts_any_certificate: section.flag("SKIP_TLS_VERIFY", false),
        username,
        password,
        mailbox: mailbox.unwrap_or_else(|| "INBOX".to_owned()),
        delete_handled: section.flag("DELETE_HANDLED_MESSAGE", true),
    }))
}

/// Parses an integer as Go does with base 0: a prefix selects the base, and underscores are permitted between digits.
/// `None` if it is not valid or exceeds 64 bits.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, body, prefixed) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..], true),
        [b'0', b'b', ..] => (2, &lower[2..], true),
        [b'0', b'o', ..] => (8, &lower[2..], true),
        [b'0', _, ..] => (8, &lower[1..], true),
        _ => (10, lower.as_str(), false),
    };
    let mut after_digit = prefixed;
    let mut plain = String::new();
    for c in body.chars() {
        if c == '_' {
            if !after_digit {
                return None;
            }
            after_digit = false;
        } else {
            plain.push(c);
            after_digit = true;
        }
    }
    if !after_digit || plain.is_empty() || plain.starts_with(['+', '-']) {
        return None;
    }
    let value = i64::from_str_radix(&plain, base).ok()?;
    Some(if negative { -value } else { value })
}
