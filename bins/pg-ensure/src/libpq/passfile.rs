//! Parser of password files, as libpq reads them.

use super::{DEFAULT_FOLDERS, ProcessEnvironment};
use cli_support::outcome::Failure;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Returns the password of the hosts from the password file, which must be the same for all of them. `None` if no line
/// matches, the password is empty, or the file cannot be read, is not a plain file or can be accessed by others than its
/// owner; the latter two are reported on standard error.
///
/// # Errors
/// Returns a failure if the file has different passwords for several hosts, or one for some of them only.
pub(super) fn password(
    parameters: &BTreeMap<String, String>,
    around: &ProcessEnvironment<'_>,
) -> Result<Option<String>, Failure> {
    let default = || around.home.as_ref().map(|home| home.join(".pgpass"));
    let Some(path) = parameters.get("passfile").map(PathBuf::from).or_else(default) else { return Ok(None) };
    let Ok(about) = std::fs::metadata(&path) else { return Ok(None) };
    if !about.is_file() {
        eprintln!("pg-ensure: {}: ignored, since it is not a plain file", path.display());
        return Ok(None);
    }
    if about.permissions().mode() & 0o077 != 0 {
        eprintln!("pg-ensure: {}: ignored, since others can read it: chmod 0600", path.display());
        return Ok(None);
    }
    let Ok(bytes) = std::fs::read(&path) else { return Ok(None) };
    // Names of other servers may be in any encoding.
    let text = String::from_utf8_lossy(&bytes);
    let list = |name: &str| -> Vec<&str> {
        parameters.get(name).map(|value| value.split(',').collect()).unwrap_or_default()
    };
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let value = |name: &str| parameters.get(name).map_or("", String::as_str);
    let (user, database) = (value("user"), value("dbname"));
    if user.is_empty() || database.is_empty() {
        return Ok(None);
    }
    let found = hosts.iter().enumerate().map(|(index, host)| {
        let host = if host.is_empty() { addresses.get(index).copied().unwrap_or_default() } else { host };
        // The default socket folders match `localhost`.
        let host = if host.is_empty() || DEFAULT_FOLDERS.contains(&host) { "localhost" } else { host };
        let port = ports.get(index).or(ports.first()).copied().filter(|port| !port.is_empty());
        let values = [host, port.unwrap_or("5432"), database, user];
        let password = text.lines().find_map(|line| password_in(line, values));
        (host, password.filter(|password| !password.is_empty()))
    });
    let found: Vec<(&str, Option<String>)> = found.collect();
    let Some(((first, password), rest)) = found.split_first() else { return Ok(None) };
    match rest.iter().find(|(_, other)| other != password) {
        None => Ok(password.clone()),
        // A password of one host must not be sent to another.
        Some((other, _)) => Err(Failure::Configuration(format!(
            "{}: the passwords for {first} and {other} differ, which is not supported: use --password, or give each host \
             a line with the same one",
            path.display()
        ))),
    }
}

/// Returns the password in a line of a password file, as `passwordFromFile()` in libpq: up to the first unescaped
/// colon. `values` are host, port, database and user. `None` if the line is a comment, or its first four fields do not
/// match.
fn password_in(line: &str, values: [&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut rest = line;
    for value in values {
        rest = after_match(rest, value)?;
    }
    let (mut password, mut chars) = (String::new(), rest.chars());
    while let Some(c) = chars.next().filter(|c| *c != ':') {
        password.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    Some(password)
}

/// Returns the text after a field that is `*` or equal to `value`, and its colon, as `pwdfMatchesString()` in libpq: a
/// backslash escapes the next character, and a colon within the value, as in an IPv6 address, need not be escaped.
/// `None` if it does not match.
fn after_match<'l>(line: &'l str, value: &str) -> Option<&'l str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let (mut line, mut value) = (line.chars(), value.chars());
    loop {
        let wanted = value.next();
        match (line.next()?, wanted) {
            (':', None) => return Some(line.as_str()),
            (_, None) => return None,
            ('\\', Some(wanted)) => {
                if line.next()? != wanted {
                    return None;
                }
            }
            (c, Some(wanted)) => {
                if c != wanted {
                    return None;
                }
            }
        }
    }
}
