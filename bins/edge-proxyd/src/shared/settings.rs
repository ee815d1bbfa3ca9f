//! The section as it is meant.

use cli_support::secret::Reference;
use edge_proxy::shared::Schedule;
use std::path::PathBuf;
use std::time::Duration;

/// What is shared, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// The database, in libpq's words.
    pub(crate) database: Reference,
    /// Roots that its certificate may come from, beside the system's.
    pub(crate) roots: Option<PathBuf>,
    /// What the keys are sealed by in the database.
    pub(crate) secret: Reference,
    /// How long a handshake waits.
    pub(crate) wait: Duration,
    /// When keys change.
    pub(crate) schedule: Schedule,
}

impl Section {
    /// The files that it names.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = self.roots.iter().cloned().collect();
        for reference in [&self.database, &self.secret] {
            match reference {
                Reference::File(file) => paths.push(file.clone()),
                Reference::Age { file, identity } => paths.extend([file.clone(), identity.clone()]),
                _ => {}
            }
        }
        paths
    }
}
