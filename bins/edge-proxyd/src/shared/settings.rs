//! The settings of the section `[shared]`.

use cli_support::secret::Reference;
use edge_proxy::TicketSchedule;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of the shared state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedSection {
    /// The reference to the libpq connection string of the database, which is a secret.
    pub(crate) database: Reference,
    /// The file of additional authorities for TLS to the database, besides those of the system. `None` if there is
    /// none.
    pub(crate) roots: Option<PathBuf>,
    /// The reference to the secret that encrypts keys and sessions in the database.
    pub(crate) secret: Reference,
    /// The longest time that a TLS handshake waits for the database.
    pub(crate) wait: Duration,
    /// The times after which ticket keys are replaced and expire.
    pub(crate) schedule: TicketSchedule,
}

impl SharedSection {
    /// Returns the files that the section names: the authorities, and of secrets the files, age files and age
    /// identities. Credentials and environment variables have none.
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
