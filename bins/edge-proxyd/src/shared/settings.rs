//! The settings of the section `[shared]`.

use cli_support::secret::Reference;
use edge_proxy::TicketSchedule;
use std::path::PathBuf;
use std::time::Duration;

/// The shared state and its location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedSection {
    /// The libpq connection string of the database.
    pub(crate) database: Reference,
    /// Additional root certificates for its TLS, besides the system's.
    pub(crate) roots: Option<PathBuf>,
    /// The secret that seals keys in the database.
    pub(crate) secret: Reference,
    /// The longest wait of a handshake.
    pub(crate) wait: Duration,
    /// The schedule of ticket keys.
    pub(crate) schedule: TicketSchedule,
}

impl SharedSection {
    /// Returns the files that the section names.
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
