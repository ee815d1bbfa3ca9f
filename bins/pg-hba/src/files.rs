//! Reading files: the shell around a library that reads none.

use cli_support::outcome::Failure;
use pg_hba::{Document, Include, IncludeError, Policy, PolicyDto, Server, Version};
use std::path::Path;

/// Included files, from the file system.
pub(crate) struct Disk;

impl Include for Disk {
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
    std::fs::read_to_string(path).map_err(|why| Failure::Configuration(format!("{}: {why}", path.display())))
}

/// Reads a pg_hba.conf with what it includes.
pub(crate) fn document(path: &Path, version: Version) -> Result<Document, Failure> {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(Document::load(&full.display().to_string(), &text(path)?, &Server::new(version), &mut Disk))
}

/// The rules of a file that the server would accept.
pub(crate) fn rules(path: &Path, version: Version) -> Result<Vec<pg_hba::Rule>, Failure> {
    let refused =
        |why| Failure::Configuration(format!("{}: PostgreSQL {version} refuses it:\n{why}", path.display()));
    document(path, version)?.rules().map_err(refused)
}

/// Reads a policy.
pub(crate) fn policy(path: &Path, version: Version) -> Result<Policy, Failure> {
    let wrong = |why: String| Failure::Configuration(format!("{}: {why}", path.display()));
    let dto: PolicyDto = toml::from_str(&text(path)?).map_err(|why| wrong(why.to_string()))?;
    dto.to_policy(&Server::new(version)).map_err(|why| {
        let source = std::error::Error::source(&why).map(|source| format!(": {source}")).unwrap_or_default();
        wrong(format!("{why}{source}"))
    })
}
