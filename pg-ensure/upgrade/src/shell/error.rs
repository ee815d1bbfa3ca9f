//! Errors of an upgrade.

use crate::inventory::Difference;
use crate::machine::Refused;
use crate::preflight::Finding;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// An upgrade could not continue. The journal has its state; a later run resumes from there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// A file or folder.
    #[error("{}: {doing}", path.display())]
    File {
        /// The program or file concerned.
        path: PathBuf,
        /// The failed operation.
        doing: &'static str,
        /// The underlying cause.
        #[source]
        source: io::Error,
    },
    /// A program could not be run.
    #[error("{program} cannot be run")]
    Run {
        /// The program or file concerned.
        program: String,
        /// The underlying cause.
        #[source]
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed ({status}): {words}")]
    Program {
        /// The program or file concerned.
        program: String,
        /// The exit status.
        status: String,
        /// The end of its output.
        words: String,
    },
    /// The preflight found what stands in the way.
    #[error("{} of {} findings stand in the way", .0.iter().filter(|f| f.severity >= crate::Severity::Consent).count(), .0.len())]
    Blocked(Vec<Finding>),
    /// It cannot go there.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The journal cannot be understood.
    #[error("{}: {why}", path.display())]
    Journal {
        /// The journal's path.
        path: PathBuf,
        /// The reason in words.
        why: String,
    },
    /// Another run is at work.
    #[error("{}: another run is at work on this upgrade", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The content of the new cluster differs from that of the old one.
    #[error("the new cluster differs from the old one in {} facts, the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Differs(Vec<Difference>),
    /// A service must be stopped or started by somebody with the right to do so; then the run goes on.
    #[error("the service {unit} must be {}", if *.start { "started" } else { "stopped" })]
    ServiceNeeded {
        /// The systemd unit.
        unit: String,
        /// True to start it, false to stop it.
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
