//! `pg_hosts.conf` of PostgreSQL 19: certificates by the name that a client asks for (`ssl_sni`).
//!
//! See <https://www.postgresql.org/docs/19/ssl-tcp.html>.

use crate::document::{Include, Reader};
use crate::error::ParseError;
use crate::server::{Server, Version};
use crate::token::Token;
use std::collections::HashMap;
use std::fmt;
use thiserror::Error;

/// Connections to which an entry applies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `*`: connections to which no other entry applies, with or without a server name.
    Default,
    /// `/no_sni/`: connections without a server name.
    NoName,
    /// A server name (SNI), as written, compared case-insensitively.
    Name(String),
}

impl fmt::Display for HostPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("*"),
            Self::NoName => out.write_str("/no_sni/"),
            Self::Name(name) => out.write_str(name),
        }
    }
}

/// An entry of `pg_hosts.conf`: the certificate for some server names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Number of the first physical line, from 1, in the file that contains the entry: `pg_hosts.conf` or one that it
    /// includes.
    pub line: u32,
    /// Connections to which the entry applies. Never empty; `*` and `/no_sni/` are always alone.
    pub patterns: Vec<HostPattern>,
    /// Path of the server certificate, as written.
    pub certificate: String,
    /// Path of the private key, as written.
    pub key: String,
    /// Path of the CA certificates by which client certificates are verified. `None` if the field is absent.
    pub authority: Option<String>,
    /// Command that prints the passphrase of the key. `None` if the field is absent.
    pub passphrase_command: Option<String>,
    /// Whether the command is also run at a reload. Default: `false`.
    pub reloads: bool,
}

/// Error of a line of `pg_hosts.conf` that the server rejects.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {reason}")]
pub struct HostsError {
    /// Number of the first physical line, from 1, in the file that contains it: `pg_hosts.conf` or one that it includes.
    pub line: u32,
    /// Description of the error, mostly with the action that corrects it.
    pub reason: String,
}

/// A parsed `pg_hosts.conf`: certificates and keys by the server name that a client requests.
///
/// ```
/// use pg_hba::{Hosts, NoIncludes};
/// let text = "db.example.org db.crt db.key\n* other.crt other.key\n";
/// let hosts = Hosts::load("pg_hosts.conf", text, &mut NoIncludes).expect("valid");
/// assert_eq!(hosts.decide(Some("DB.example.org")).map(|host| host.line), Some(1));
/// assert_eq!(hosts.decide(None).map(|host| host.line), Some(2));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    hosts: Vec<Host>,
    lines: HashMap<HostPattern, usize>,
}

impl Hosts {
    /// Parses a file with the lists of host names that it includes by `@file`, and with included files. `path` is not
    /// read; relative names are resolved against its folder.
    ///
    /// # Errors
    /// Returns an error for every line that the server rejects, such as a second entry for a server name. With such a
    /// file the server does not start, and a reload has no effect.
    pub fn load(path: &str, text: &str, includes: &mut dyn Include) -> Result<Self, Vec<HostsError>> {
        let server = Server::new(Version::V19);
        let mut reader = Reader { server: &server, includes };
        let (mut found, mut errors) = (Self::default(), Vec::new());
        for raw in reader.file(path, text, 0) {
            let line = raw.origin.line;
            if !raw.is_record() {
                continue;
            }
            let result = match &raw.error {
                Some(refusal) => Err(refusal_text(&raw.refused(refusal.clone(), None))),
                None => host(&raw.fields, line),
            };
            match result.and_then(|host| found.add(host)) {
                Ok(()) => {}
                Err(reason) => errors.push(HostsError { line, reason }),
            }
        }
        if errors.is_empty() { Ok(found) } else { Err(errors) }
    }

    /// Returns the entries, in the order of the file.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Returns the entry for a server name, or with `None` for connections without one; in both cases, else the entry
    /// for `*`. Returns `None` if no entry applies: the handshake then fails or, if the file has no entries, the
    /// settings of postgresql.conf apply.
    #[must_use]
    pub fn decide(&self, name: Option<&str>) -> Option<&Host> {
        let own = match name {
            Some(name) => HostPattern::Name(name.to_ascii_lowercase()),
            None => HostPattern::NoName,
        };
        let at = self.lines.get(&own).or_else(|| self.lines.get(&HostPattern::Default))?;
        self.hosts.get(*at)
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// Returns a description if an earlier entry has one of its patterns. The entry is then not appended.
    fn add(&mut self, host: Host) -> Result<(), String> {
        for pattern in &host.patterns {
            let key = match pattern {
                HostPattern::Name(name) => HostPattern::Name(name.to_ascii_lowercase()),
                other => other.clone(),
            };
            if let Some(before) = self.lines.insert(key, self.hosts.len()) {
                let line = self.hosts.get(before).map_or(host.line, |before| before.line);
                return Err(format!("{pattern} has an entry already, in line {line}: keep one"));
            }
        }
        self.hosts.push(host);
        Ok(())
    }
}

/// Returns the server's message of an error, without its position and fix.
fn refusal_text(error: &ParseError) -> String {
    error.reason.to_string()
}

/// Interprets the fields of a line: host names, certificate, key, and optionally CA certificates, passphrase command
/// and a boolean (`on`, `true`, `yes` or `1`, or `off`, `false`, `no` or `0`).
///
/// # Errors
/// Returns a description if the line is empty, the certificate or key is missing, `*` or `/no_sni/` is not alone, a
/// field other than the first has a comma, the last field is not a boolean, or there are more than six fields.
fn host(fields: &[Vec<Token>], line: u32) -> Result<Host, String> {
    let [names, rest @ ..] = fields else { return Err("missing host name".to_owned()) };
    let patterns: Vec<HostPattern> = names
        .iter()
        .map(|token| match token.text.as_str() {
            // Quotes do not change the meaning of these two.
            "*" => HostPattern::Default,
            "/no_sni/" => HostPattern::NoName,
            name => HostPattern::Name(name.to_owned()),
        })
        .collect();
    let special = patterns.iter().find(|pattern| !matches!(pattern, HostPattern::Name(_)));
    if let Some(special) = special.filter(|_| patterns.len() > 1) {
        return Err(format!("{special} stands beside other names: give it a line of its own"));
    }
    let mut values = Vec::new();
    for field in rest {
        match field.as_slice() {
            [token] => values.push(token.text.clone()),
            _ => return Err("several values joined by commas: only host names are a list".to_owned()),
        }
    }
    let mut values = values.into_iter();
    let mut required =
        |what: &str| values.next().ok_or_else(|| format!("the {what} is missing: add its file"));
    let (certificate, key) = (required("certificate")?, required("key")?);
    let (authority, passphrase_command, reloads) = (values.next(), values.next(), values.next());
    let reloads = match reloads {
        None => false,
        Some(word) => boolean(&word).ok_or_else(|| format!("{word:?} is not a boolean: write on or off"))?,
    };
    if values.next().is_some() {
        return Err("more than six fields: quote a command that has blanks".to_owned());
    }
    Ok(Host { line, patterns, certificate, key, authority, passphrase_command, reloads })
}

/// Parses a boolean as `parse_bool` of the server: in any case, and abbreviated where that is unambiguous. `None` for
/// other texts.
fn boolean(word: &str) -> Option<bool> {
    let word = word.to_ascii_lowercase();
    let abbreviates = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    if word == "1" || abbreviates("true", 1) || abbreviates("yes", 1) || word == "on" {
        return Some(true);
    }
    (word == "0" || abbreviates("false", 1) || abbreviates("no", 1) || abbreviates("off", 2)).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{IncludeError, NoIncludes};

    fn load(text: &str) -> Result<Hosts, Vec<HostsError>> {
        Hosts::load("pg_hosts.conf", text, &mut NoIncludes)
    }

    struct NameFile;

    impl Include for NameFile {
        fn read(&mut self, _: &str) -> Result<String, IncludeError> {
            Ok("example.com\nexample.net\n".to_owned())
        }

        fn list(&mut self, _: &str) -> Result<Vec<String>, IncludeError> {
            Err(IncludeError::Missing)
        }
    }

    #[test]
    fn entries_are_chosen_by_the_name_that_is_asked_for() {
        let text =
            "# names\nexample.org,example.com a.crt a.key ca.crt \"echo it\" on\n/no_sni/ b.crt b.key\n";
        let hosts = load(text).expect("valid");
        let first = &hosts.hosts()[0];
        assert_eq!((first.authority.as_deref(), first.reloads), (Some("ca.crt"), true));
        assert_eq!(first.passphrase_command.as_deref(), Some("echo it"));
        let line = |name| hosts.decide(name).map(|host| host.line);
        assert_eq!(line(Some("Example.COM")), Some(2));
        assert_eq!(line(None), Some(3));
        // Without a default the handshake fails.
        assert_eq!(line(Some("example.net")), None);
        let hosts =
            Hosts::load("pg_hosts.conf", "a.test,@names a.crt a.key\n", &mut NameFile).expect("valid");
        assert!(hosts.decide(Some("example.net")).is_some() && hosts.decide(Some("b.test")).is_none());
        assert!(load("").expect("valid").hosts().is_empty());
    }

    #[test]
    fn what_the_server_refuses_is_named_with_its_line() {
        for (text, words) in [
            ("example.org,*,example.net a.crt a.key\n", "* stands beside other names"),
            ("* a.crt a.key\n* b.crt b.key\n", "line 2: * has an entry already, in line 1"),
            ("/no_sni/ a b\n/no_sni/ a b\n", "/no_sni/ has an entry already"),
            ("example.org a b\nx,Example.org a b\n", "Example.org has an entry already"),
            ("example.org a.crt\n", "the key is missing"),
            ("example.org\n", "the certificate is missing"),
            ("example.org a b c d maybe\n", "not a boolean"),
            ("example.org a b c d on x\n", "more than six fields"),
            ("example.org a,b c\n", "joined by commas"),
            ("\"*\" a b\n* a b\n", "* has an entry already"),
            ("example.org a b c d o\n", "not a boolean"),
        ] {
            let errors = load(text).expect_err(text);
            assert!(errors.iter().any(|error| error.to_string().contains(words)), "{text}: {errors:?}");
        }
    }
}
