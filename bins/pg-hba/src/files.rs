//! Files on disk, for a library that reads none.

use cli_support::outcome::Failure;
use pg_hba::{Document, Include, IncludeError, Mappings, Policy, PolicyDto, Server, Version};
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
pub(crate) fn document(path: &Path, server: &Server) -> Result<Document, Failure> {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(Document::load(&full.display().to_string(), &text(path)?, server, &mut Disk))
}

/// Reads a pg_ident.conf with what it includes.
pub(crate) fn mappings(path: &Path, server: &Server) -> Result<Mappings, Failure> {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(Mappings::load(&full.display().to_string(), &text(path)?, server, &mut Disk))
}

/// Returns the rules of a file that the server would accept.
pub(crate) fn rules(path: &Path, server: &Server) -> Result<Vec<pg_hba::Rule>, Failure> {
    let version = server.version();
    let refused =
        |why| Failure::Configuration(format!("{}: PostgreSQL {version} refuses it:\n{why}", path.display()));
    document(path, server)?.rules().map_err(refused)
}

/// Reads a policy.
pub(crate) fn policy(path: &Path, version: Version) -> Result<Policy, Failure> {
    let wrong = |why: String| Failure::Configuration(format!("{}: {why}", path.display()));
    let dto: PolicyDto = {
        let text = text(path)?;
        toml::from_str(&text).map_err(|why| {
            let at = why.span().map_or(0, |span| span.start.min(text.len()));
            let begin = text[..at].rfind('\n').map_or(0, |at| at + 1);
            let line = text[..at].matches('\n').count() + 1;
            let column = text[begin..at].chars().count() + 1;
            Failure::Configuration(format!("{}:{line}:{column}: {}", path.display(), why.message()))
        })?
    };
    dto.to_policy(&Server::new(version)).map_err(|why| {
        let source = std::error::Error::source(&why).map(|source| format!(": {source}")).unwrap_or_default();
        wrong(format!("{why}{source}"))
    })
}
