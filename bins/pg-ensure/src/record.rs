//! Record of the passwords that were set, for sessions that cannot read stored passwords.
//!
//! The record contains SCRAM verifiers, never passwords, in a file that only its owner can read.

use crate::args::ServerArgs;
use cli_support::outcome::Failure;
use pg_ensure::{Name, Verifier};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The SCRAM verifiers that earlier runs set on one server. `path` is `None` without a state folder.
pub(crate) struct Record {
    path: Option<PathBuf>,
    verifiers: BTreeMap<Name, Verifier>,
}

impl Record {
    /// Reads the record of a server. Empty without a state folder (`--state` or `$STATE_DIRECTORY`) or a file for the
    /// server.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the file exists and cannot be read.
    pub(crate) fn read(args: &ServerArgs, config: &Config) -> Result<Self, Failure> {
        let folder = args.state.clone().or_else(|| std::env::var_os("STATE_DIRECTORY").map(PathBuf::from));
        let path = folder.map(|folder| folder.join(format!("{}.passwords", file_name(config))));
        let text = match path.as_deref().map(std::fs::read_to_string) {
            Some(Ok(text)) => text,
            Some(Err(why)) if why.kind() != std::io::ErrorKind::NotFound => {
                let path = path.unwrap_or_default();
                return Err(Failure::Failed(format!("{}: {why}", path.display())));
            }
            Some(Err(_)) | None => String::new(),
        };
        // A line that cannot be parsed only causes its password to be set again.
        let verifiers = text.lines().filter_map(|line| {
            let (verifier, role) = line.split_once(' ')?;
            Some((Name::new(&unescaped(role)).ok()?, Verifier::parse(verifier).ok()?))
        });
        Ok(Self { path, verifiers: verifiers.collect() })
    }

    /// Returns the verifiers by role.
    pub(crate) fn verifiers(&self) -> BTreeMap<Name, Verifier> {
        self.verifiers.clone()
    }

    /// Adds the verifiers that a run has stored, and writes the file atomically. No effect without a state folder or
    /// verifiers.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the file cannot be written.
    pub(crate) fn add(mut self, set: &BTreeMap<Name, SecretString>) -> Result<(), Failure> {
        let Some(path) = self.path.filter(|_| !set.is_empty()) else { return Ok(()) };
        for (name, verifier) in set {
            if let Ok(verifier) = Verifier::parse(verifier.expose_secret()) {
                self.verifiers.insert(name.clone(), verifier);
            }
        }
        let mut text = String::new();
        for (name, verifier) in &self.verifiers {
            let secret = verifier.to_secret();
            let _ = writeln!(text, "{} {}", secret.expose_secret(), escaped(name.as_str()));
        }
        let write = || -> std::io::Result<()> {
            use std::io::Write as _;
            let folder = path.parent().unwrap_or(std::path::Path::new("."));
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let fresh = path.with_extension("passwords.new");
            let _ = std::fs::remove_file(&fresh);
            let mut file =
                std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            std::fs::File::open(folder)?.sync_all()
        };
        write().map_err(|why| Failure::Failed(format!("{}: {why}", path.display())))
    }
}

/// Returns the name of a server's file: its hosts and ports, with `_` for characters other than ASCII letters, digits,
/// `-`, `+` and `.`.
fn file_name(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}-{port}"),
            Host::Unix(folder) => format!("{}-{port}", folder.display()),
        }
    });
    let text = hosts.collect::<Vec<_>>().join("+");
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-+.".contains(c) { c } else { '_' }).collect()
}

/// Escapes backslashes and line ends in a role name.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

/// Decodes a role name that [`escaped`] has encoded. Other escapes are kept.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => out.extend(chars.next().map(|next| match next {
                'n' => '\n',
                'r' => '\r',
                other => other,
            })),
            (c, false) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["a", "a b", "a\\n", "line\nbreak", "\\"] {
            assert_eq!(unescaped(&escaped(name)), name);
            assert!(!escaped(name).contains('\n'));
        }
    }
}
