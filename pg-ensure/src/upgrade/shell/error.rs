//! What can go wrong.

use crate::upgrade::inventory::Difference;
use crate::upgrade::machine::Refused;
use crate::upgrade::preflight::Finding;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why an upgrade did not go on. The journal says where it stands; a later run goes on from there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// A file or folder.
    #[error("{}: {doing}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was being done with it.
        doing: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program could not be run.
    #[error("{program} cannot be run")]
    Run {
        /// Which.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed ({status}): {words}")]
    Program {
        /// Which.
        program: String,
        /// Its status.
        status: String,
        /// What it said last.
        words: String,
    },
    /// The preflight found what stands in the way.
    #[error("{} of {} findings stand in the way", .0.iter().filter(|f| f.severity >= crate::upgrade::Severity::Consent).count(), .0.len())]
    Blocked(Vec<Finding>),
    /// It cannot go there.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The journal cannot be understood.
    #[error("{}: {why}", path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another run is at work.
    #[error("{}: another run is at work on this upgrade", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// What is in the new cluster is not what was in the old one.
    #[error("the new cluster differs from the old one in {} facts, the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Differs(Vec<Difference>),
    /// A service must be stopped or started by somebody with the right to do so; then the run goes on.
    #[error("the service {unit} must be {}", if *.start { "started" } else { "stopped" })]
    ServiceNeeded {
        /// The unit.
        unit: String,
        /// Whether to start it, else to stop it.
        start: bool,
    },
    /// Something else, in words for people.
    #[error("{0}")]
    Other(String),
}

/// Gives an error of the system its file.
pub(super) trait At<T> {
    fn at(self, path: &Path, doing: &'static str) -> Result<T, UpgradeError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path, doing: &'static str) -> Result<T, UpgradeError> {
        self.map_err(|source| UpgradeError::File { path: path.to_owned(), doing, source })
    }
}

impl<T> At<T> for Result<T, rustix::io::Errno> {
    fn at(self, path: &Path, doing: &'static str) -> Result<T, UpgradeError> {
        self.map_err(io::Error::from).at(path, doing)
    }
}
