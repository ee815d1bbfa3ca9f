//! Syntax of connection strings and URIs.

use super::option_error;
use cli_support::outcome::Failure;
use std::collections::BTreeMap;

/// Parses a connection string in keyword/value form, such as `host=db user='a b'`. The last value of a repeated key
/// counts.
///
/// # Errors
/// Returns a [`Failure`] if the syntax is not valid.
pub(super) fn keyword_value(text: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut pairs = BTreeMap::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=') {
            key.push(c);
        }
        let key = key.trim().to_owned();
        if chars.next().is_none() || key.is_empty() {
            return Err(option_error("expected key=value"));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        let mut closed = !quoted;
        while let Some(c) = chars.next_if(|c| quoted || !c.is_whitespace()) {
            match c {
                '\\' => value.extend(chars.next()),
                '\'' if quoted => {
                    closed = true;
                    break;
                }
                c => value.push(c),
            }
        }
        if !closed {
            return Err(option_error(format!("the value of {key} has no closing quote")));
        }
        pairs.insert(key, value);
    }
}

/// Parses a connection URI without its scheme: `user:password@host:port,host:port/dbname?key=value`. The last value of
/// a repeated key counts.
///
/// # Errors
/// Returns a [`Failure`] if the syntax is not valid.
pub(super) fn uri(rest: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = address.split_once('/').unwrap_or((address, ""));
    let (login, hosts) = authority.split_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let mut set = |name: &str, value: &str| -> Result<(), Failure> {
        if !value.is_empty() {
            found.insert(name.to_owned(), percent_decode(value)?);
        }
        Ok(())
    };
    set("user", user)?;
    set("password", password)?;
    set("dbname", database)?;
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, port)) => (name, port.trim_start_matches(':')),
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(name);
        ports.push(port);
    }
    set("host", &names.join(","))?;
    if ports.iter().any(|port| !port.is_empty()) {
        let ports: Vec<&str> = ports.iter().map(|port| if port.is_empty() { "5432" } else { port }).collect();
        set("port", &ports.join(","))?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| option_error("expected key=value in the query"))?;
        if value.contains('=') {
            return Err(option_error(format!("the value of {name} has a second equals sign: write %3D")));
        }
        // From the days of JDBC; any other value of it is an error, as in libpq.
        let (name, value) =
            if (name, value) == ("ssl", "true") { ("sslmode", "require") } else { (name, value) };
        set(name, value)?;
    }
    Ok(found)
}

/// Decodes percent-encoded text.
///
/// # Errors
/// Returns a [`Failure`] if an escape is incomplete, or the result is not UTF-8.
fn percent_decode(text: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(option_error("a % in the URI is not followed by two hexadecimal digits"));
        };
        match u8::try_from(high * 16 + low) {
            Ok(byte) if byte != 0 => bytes.push(byte),
            _ => return Err(option_error("the URI has a %00, which stands for no character")),
        }
    }
    String::from_utf8(bytes).map_err(|_| option_error("the URI is not UTF-8"))
}
