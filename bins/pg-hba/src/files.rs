//! Files on disk, for a library that reads none.

use cli_support::document::Source;
use cli_support::finding::{Finding, Findings};
use cli_support::outcome::{Failure, chain};
use cli_support::words::Words;
use pg_hba::{Document, Include, IncludeError, Mappings, Policy, PolicyError, PolicySpec, Server, Version};
use std::path::Path;

/// Included files, from the file system.
pub(crate) struct FileSystem;

impl Include for FileSystem {
    fn read(&mut self, path: &str) -> Result<String, IncludeError> {
        std::fs::read_to_string(path).map_err(|why| words(&why))
    }

    fn list(&mut self, path: &str) -> Result<Vec<String>, IncludeError> {
        let entries = std::fs::read_dir(path).map_err(|why| words(&why))?;
        Ok(entries
            .filter_map(Result::ok)
            .filter(|entry| !entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }
}

fn words(why: &std::io::Error) -> IncludeError {
    match why.kind() {
        std::io::ErrorKind::NotFound => IncludeError::Missing,
        _ => IncludeError::Other(why.to_string()),
    }
}

pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|why| Findings::unreadable(&path.display().to_string(), &why).into())
}

/// Reads a pg_hba.conf with what it includes.
pub(crate) fn document(path: &Path, server: &Server) -> Result<Document, Failure> {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(Document::load(&full.display().to_string(), &text(path)?, server, &mut FileSystem))
}

/// Reads a pg_ident.conf with what it includes.
pub(crate) fn mappings(path: &Path, server: &Server) -> Result<Mappings, Failure> {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(Mappings::load(&full.display().to_string(), &text(path)?, server, &mut FileSystem))
}

/// Returns the rules of a file that the server would accept.
pub(crate) fn rules(path: &Path, server: &Server) -> Result<Vec<pg_hba::Rule>, Failure> {
    let version = server.version();
    let refused =
        |why| Failure::Configuration(format!("{}: PostgreSQL {version} refuses it:\n{why}", path.display()));
    document(path, server)?.rules().map_err(refused)
}

/// The words of a policy for hints.
const WORDS: Words = Words {
    foreign: &[
        ("auth_method", "write local, tailnet and tls, or whole rules in before = [\"host …\"]"),
        ("method", "write local, tailnet and tls, or whole rules in before = [\"host …\"]"),
        ("rules", "write before = [\"host all all …\"] or after"),
        ("databases", "write [[services]] with database and role"),
        ("users", "write [[services]] with database and role, and privileged = [\"…\"]"),
        ("admin", "write privileged = [\"…\"], or superuser"),
    ],
    values: &[
        ("scram-sha-256", "`scram`"),
        ("scram-sha256", "`scram`"),
        ("md5", "`scram`, since md5 leaves PostgreSQL"),
        ("password", "`scram`"),
        ("reject", "`off`, for the tailnet"),
        ("require", "`required`"),
    ],
    examples: &[("database", "database = \"forgejo\""), ("role", "role = \"forgejo\"")],
    secrets: &[],
};

/// Reads a policy.
pub(crate) fn policy(path: &Path, version: Version) -> Result<Policy, Failure> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|why| Findings::unreadable(&file, &why))?;
    let source = Source::parse(&file, &text, WORDS)?;
    let spec: PolicySpec = source.deserialize()?;
    spec.to_policy_or_all(&Server::new(version))
        .map_err(|errors| Findings::new(errors.iter().map(|error| fault(&source, error)).collect()).into())
}

/// Returns an error of a policy with its place.
fn fault(source: &Source<'_>, error: &PolicyError) -> Finding {
    let below = |field: &str, text: &str| source.path_of_text(field, text).unwrap_or(field.to_owned());
    match error {
        PolicyError::EmptyName { field } => {
            source.fault_at(&below(field, ""), "empty: write the name of a role or database")
        }
        PolicyError::HostBits { field, value, net } => {
            source.fault_at(&below(field, value), format!("has bits set beyond its prefix: write {net}"))
        }
        PolicyError::Network { field, value } => {
            source.fault_at(&below(field, value), "not a valid CIDR range: write one such as 100.64.0.0/10")
        }
        PolicyError::Rule { field, position, source: why } => {
            let said = why.to_string().trim().replace('\n', "; ");
            source.fault_at(&format!("{field}[{}]", position - 1), format!("refused by PostgreSQL: {said}"))
        }
        other => source.fault_at("", chain(other)),
    }
}

#[cfg(test)]
mod reference_tests {
    use super::*;
    use cli_support::reference::{keys, known_keys};

    #[test]
    fn the_reference_has_the_keys_that_are_read_and_no_others() {
        let text = include_str!("../POLICY.md");
        for (heading, before) in
            [("Top level", ""), ("[[services]]", "[[services]]\n"), ("[[replication]]", "[[replication]]\n")]
        {
            assert_eq!(keys(text, heading), known_keys::<PolicySpec>(before), "{heading}");
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("## ")).count(), 3);
    }
}
