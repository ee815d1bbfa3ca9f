//! Environment variables as `environment-to-ini` reads them, which writes them to app.ini before Forgejo starts, in
//! containers and on NixOS. Forgejo itself does not read them.

use crate::ini::{Ini, Unrepresentable};
use crate::section::{Setting, SettingError};

/// Decoded name of a variable of environment-to-ini: the key of app.ini that it sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Name of the section, in lower case.
    pub section: String,
    /// Name of the key, in the case of the variable.
    pub key: String,
    /// Whether the variable contains the path of a file with the value (`__FILE`).
    pub file: bool,
}

/// Returns the variable name of a key, such as `FORGEJO__email_0X2E_incoming__HOST`. Characters other than ASCII
/// letters, digits and a `_` between two of them (but not before `0`) are encoded as `_0X`, their UTF-8 bytes in
/// hexadecimal, and `_`.
#[must_use]
pub fn variable(section: &str, key: &str) -> String {
    format!("FORGEJO__{}__{}", encode_name(section), encode_name(key))
}

/// Returns the name of the variable that contains the path of a file with the value. One LF or CRLF at the end of the
/// file is removed.
#[must_use]
pub fn file_variable(section: &str, key: &str) -> String {
    format!("{}__FILE", variable(section, key))
}

/// Decodes a variable name as Forgejo does. Returns `None` unless it begins with `FORGEJO__` or `GITEA__`, has a key,
/// and is valid UTF-8.
#[must_use]
pub fn decode(name: &str) -> Option<Variable> {
    let (name, file) = name.strip_suffix("__FILE").map_or((name, false), |name| (name, true));
    let rest = name.strip_prefix("FORGEJO__").or_else(|| name.strip_prefix("GITEA__"))?;
    let (mut section, mut key) = (Vec::new(), None::<Vec<u8>>);
    let mut rest = rest;
    while !rest.is_empty() {
        let (plain, bytes, after) = next_escape(rest);
        match &mut key {
            Some(key) => key.extend(plain.as_bytes()),
            None => match plain.split_once("__") {
                Some((before, behind)) => {
                    section.extend(before.as_bytes());
                    key = Some(behind.as_bytes().to_vec());
                }
                None => section.extend(plain.as_bytes()),
            },
        }
        key.as_mut().unwrap_or(&mut section).extend(bytes);
        rest = after;
    }
    let key = String::from_utf8(key?).ok().filter(|key| !key.is_empty())?;
    Some(Variable { section: String::from_utf8(section).ok()?.to_lowercase(), key, file })
}

/// Returns the text before the next escape sequence, the bytes that it encodes, and the rest. Without an escape
/// sequence, returns the whole text.
fn next_escape(text: &str) -> (&str, Vec<u8>, &str) {
    let mut from = 0;
    while let Some(at) = text[from..].find("_0") {
        let at = from + at;
        let rest = &text[at + 2..];
        if let Some(rest) = rest.strip_prefix(['x', 'X']) {
            let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
            if end > 0 && end % 2 == 0 && rest[end..].starts_with('_') {
                let digits = &rest.as_bytes()[..end];
                let nibble = |c: u8| char::from(c).to_digit(16).unwrap_or_default() as u8;
                let bytes = digits.chunks(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect();
                return (&text[..at], bytes, &rest[end + 1..]);
            }
        }
        from = at + 1;
    }
    (text, Vec::new(), "")
}

/// Encodes the name of a section or key for an environment variable: other characters than letters, digits, and single
/// inner `_` that no `0` follows become `_0X…_` with their UTF-8 bytes in hexadecimal.
fn encode_name(name: &str) -> String {
    let mut out = String::new();
    let mut buffer = [0; 4];
    for (at, c) in name.char_indices() {
        // A `_` at an end or beside another one would be read as a separator or as the beginning of an escape
        // sequence.
        let edge = at == 0 || at + c.len_utf8() == name.len();
        let alone = !edge && !name[..at].ends_with('_') && !name[at + 1..].starts_with(['_', '0']);
        if c.is_ascii_alphanumeric() || (c == '_' && alone) {
            out.push(c);
        } else {
            let bytes = c.encode_utf8(&mut buffer).bytes();
            out.push_str("_0X");
            out.extend(bytes.map(|byte| format!("{byte:02X}")));
            out.push('_');
        }
    }
    out
}

/// Checks that Forgejo reads the value of a variable unchanged, after environment-to-ini has written it to app.ini and
/// after two re-saves by Forgejo.
///
/// # Errors
/// Returns the reason why the value would change.
pub fn survives(value: &str) -> Result<(), Unrepresentable> {
    if value.contains('\0') {
        return Err(Unrepresentable::Nul);
    }
    if value.contains(['\n', '\r']) {
        return Err(Unrepresentable::LineEnd);
    }
    if crate::ini::has_reference(value) {
        return Err(Unrepresentable::Reference);
    }
    let mut ini = Ini::parse("[s]\nK = k\nL = 1\n").map_err(|_| Unrepresentable::Resave)?;
    ini.set("s", "K", value);
    for _ in 0..3 {
        ini = Ini::parse(&ini.write()).map_err(|_| Unrepresentable::Resave)?;
        if ini.value("s", "K").as_deref() != Some(value) || ini.value("s", "L").as_deref() != Some("1") {
            return Err(Unrepresentable::Resave);
        }
    }
    Ok(())
}

/// Returns the variables for settings, as pairs of name and value, in the same order.
///
/// # Errors
/// Returns a [`SettingError`] for the first setting whose value would change, as by [`survives`].
pub fn variables(settings: &[Setting]) -> Result<Vec<(String, String)>, SettingError> {
    let each = settings.iter().map(|Setting { section, key, value }| {
        survives(value).map_err(|reason| SettingError { key: key.clone(), reason })?;
        Ok((variable(section, key), value.clone()))
    });
    each.collect()
}

/// File format for environment variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.env` file of Docker Compose.
    Compose,
    /// File for `docker run --env-file`: everything after `=` is the value, quotes included.
    Docker,
    /// Script for a POSIX shell, read by `. ./file`. Variables are not exported.
    Shell,
    /// File for systemd's `EnvironmentFile=`.
    Systemd,
}

/// Returns the line `NAME=value` without a line ending, quoted as the format requires. The value must not contain a
/// line break.
#[must_use]
pub fn line(format: Format, name: &str, value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+:,./-_".contains(c);
    if format == Format::Docker || (!value.is_empty() && value.chars().all(plain)) {
        return format!("{name}={value}");
    }
    let escaped = |special: &str| {
        let mut out = String::new();
        for c in value.chars() {
            if special.contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
        out
    };
    match format {
        Format::Shell => format!("{name}='{}'", value.replace('\'', "'\\''")),
        Format::Systemd if value.contains('\'') => format!("{name}=\"{}\"", escaped("\\\"`$")),
        Format::Compose if value.contains('\'') => format!("{name}=\"{}\"", escaped("\\\"$")),
        Format::Compose | Format::Systemd | Format::Docker => format!("{name}='{value}'"),
    }
}
