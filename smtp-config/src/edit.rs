//! An app.ini is edited without changing a byte that is not ours.

use crate::ini::{Ini, IniError, Unrepresentable, quote};
use crate::route::same_but;
use thiserror::Error;

/// Why a file is not edited.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// go-ini refuses the file.
    #[error("app.ini: {0}")]
    Ini(#[from] IniError),
    /// A value that cannot be written.
    #[error("{key} cannot be written: {reason}")]
    Value {
        /// The key.
        key: String,
        /// Why.
        reason: Unrepresentable,
    },
    /// Forgejo would not read what is meant, now or after it has written the file itself.
    #[error("{0} would not be read as meant, because of the rest of the file")]
    NotRead(String),
}

/// A change: a section, a key, and its value or `None` to remove it.
pub type Change<'a> = (&'a str, &'a str, Option<&'a str>);

/// The file with the changes. A line whose value is already right stays as it is, so a second edit changes nothing.
/// A line whose value changes is written anew; a comment at its end moves above it, but for `PASSWD` and `PASSWORD`,
/// where it may be the tail of the old password; of several of these only the last stays. The result is read back, and
/// read back after two re-saves, before it is returned.
///
/// # Errors
///
/// Why the file is left alone.
pub fn edit(text: &str, changes: &[Change<'_>]) -> Result<String, EditError> {
    let mut now = text.to_owned();
    for (section, key, value) in changes {
        now = change(&now, section, key, *value)?;
    }
    let (old, mut new) = (Ini::parse(text)?, Ini::parse(&now)?);
    let keys: Vec<(&str, &str)> = changes.iter().map(|(section, key, _)| (*section, *key)).collect();
    if !same_but(&old, &new, &keys) {
        return Err(EditError::NotRead("another key".to_owned()));
    }
    for _ in 0..3 {
        for (section, key, value) in changes {
            let read =
                new.section(section).is_some_and(|held| held.keys().iter().any(|held| held.name() == *key));
            let right = match value {
                Some(value) => read && new.value(section, key).as_deref() == Some(value),
                None => !read,
            };
            if !right {
                return Err(EditError::NotRead((*key).to_owned()));
            }
        }
        new = Ini::parse(&new.write()).map_err(|_| EditError::NotRead("the file".to_owned()))?;
    }
    Ok(now)
}

fn change(text: &str, section: &str, key: &str, value: Option<&str>) -> Result<String, EditError> {
    let ini = Ini::parse(text)?;
    let end = if text.lines().next().is_some_and(|_| text.contains("\r\n")) { "\r\n" } else { "\n" };
    let ours = ini.entries().iter().filter(|entry| entry.section == section);
    let same: Vec<_> = ours.clone().filter(|entry| entry.key == key).collect();
    let mut out = text.to_owned();
    let Some(value) = value else {
        for entry in same.iter().rev() {
            out.replace_range(entry.span.clone(), "");
        }
        return Ok(out);
    };
    if let [earlier @ .., _] = same.as_slice()
        && is_password(key)
        && !earlier.is_empty()
    {
        for entry in earlier.iter().rev() {
            out.replace_range(entry.span.clone(), "");
        }
        return change(&out, section, key, Some(value));
    }
    let quoted = quote(value).map_err(|reason| EditError::Value { key: key.to_owned(), reason })?;
    let line = format!("{key} = {quoted}{end}");
    if let Some(entry) = same.last() {
        if ini.value(section, key).as_deref() == Some(value) && lasts(&ini, section, key, value) {
            return Ok(out);
        }
        let old = &text[entry.span.clone()];
        let indent = &old[..old.len() - old.trim_start().len()];
        let comment = comment(old).filter(|_| !is_password(key));
        let comment = comment.map(|comment| format!("{indent}{comment}{end}")).unwrap_or_default();
        out.replace_range(entry.span.clone(), &format!("{comment}{indent}{line}"));
        return Ok(out);
    }
    let headers =
        ini.headers().iter().filter(|header| header.section == section).map(|header| header.span.end);
    let place = ours.map(|entry| entry.span.end).chain(headers).max();
    let (at, header) = match place {
        Some(at) => (at, String::new()),
        None => {
            let blank = if text.is_empty() { "" } else { end };
            (text.len(), format!("{blank}[{section}]{end}"))
        }
    };
    let before = if at == 0 || text[..at].ends_with('\n') { "" } else { end };
    out.insert_str(at, &format!("{before}{header}{line}"));
    Ok(out)
}

fn lasts(ini: &Ini, section: &str, key: &str, value: &str) -> bool {
    let once = Ini::parse(&ini.write());
    let twice = once.as_ref().ok().and_then(|once| Ini::parse(&once.write()).ok());
    [once.ok(), twice]
        .iter()
        .all(|ini| ini.as_ref().and_then(|ini| ini.value(section, key)).as_deref() == Some(value))
}

/// Whether a key has a password.
pub(crate) fn is_password(key: &str) -> bool {
    matches!(key, "PASSWD" | "PASSWORD")
}

/// The comment at the end of a line whose value has no backticks and no triple quotes.
fn comment(line: &str) -> Option<&str> {
    let value = line[line.find(['=', ':'])? + 1..].trim();
    let at = value.find(['#', ';']).filter(|_| !value.starts_with(['`']) && !value.starts_with("\"\"\""))?;
    Some(&value[at..])
}
