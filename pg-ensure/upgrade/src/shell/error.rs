//! Errors of an upgrade.

use crate::inventory::Difference;
use crate::machine::TransitionError;
use crate::preflight::Finding;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Error of an upgrade. The journal contains the state of the upgrade, and a later run resumes from there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// A file operation failed.
    #[error("{}: {doing}", path.display())]
    File {
        /// Path of the file or directory.
        path: PathBuf,
        /// Description of the failed operation, such as `cannot be read`.
        doing: &'static str,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A program could not be started, or its end could not be awaited.
    #[error("{program} cannot be run")]
    Run {
        /// Name of the program.
        program: String,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A program failed, or a server ended early or was not ready in time.
    #[error("{program} failed ({status}): {words}")]
    Program {
        /// Name of the program.
        program: String,
        /// Exit status of the program as text, such as `exit status: 1` or `signal: 9 (SIGKILL)`; `not ready after an
        /// hour` for a server that was not ready in time.
        status: String,
        /// Last lines of its error messages, or of its output.
        words: String,
    },
    /// The preflight reported obstacles; all findings, including notes.
    #[error("{} of {} findings stand in the way", .0.iter().filter(|f| f.severity >= crate::Severity::Consent).count(), .0.len())]
    Blocked(Vec<Finding>),
    /// The requested transition is not possible in the current state.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The journal or the inventory is not valid: it cannot be parsed, has another format version, or lacks what a step
    /// needs.
    #[error("{}: {why}", path.display())]
    Journal {
        /// Path of the journal or of the inventory.
        path: PathBuf,
        /// Description of the error.
        why: String,
    },
    /// Another run holds the lock of the upgrade.
    #[error("{}: another run is at work on this upgrade", path.display())]
    Locked {
        /// Path of the lock file.
        path: PathBuf,
    },
    /// The inventories of old and new cluster differ.
    #[error("the new cluster differs from the old one in {} facts, the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Differs(Vec<Difference>),
    /// A service has to be stopped or started by the operator before the run can continue.
    #[error("the service {unit} must be {}", if *.start { "started" } else { "stopped" })]
    ServiceNeeded {
        /// Name of the systemd unit.
        unit: String,
        /// `true` if the unit has to be started, `false` if stopped.
        start: bool,
    },
    /// Another error; its description.
    #[error("{0}")]
    Other(String),
}

/// Conversion of an I/O error to an [`UpgradeError`] with a path.
pub(super) trait WithPath<T> {
    /// Adds the path and a description of the failed operation to an error.
    fn at(self, path: &Path, doing: &'static str) -> Result<T, UpgradeError>;
}

impl<T> WithPath<T> for io::Result<T> {
    fn at(self, path: &Path, doing: &'static str) -> Result<T, UpgradeError> {
        self.map_err(|source| UpgradeError::File { path: path.to_owned(), doing, source })
    }
}

impl<T> WithPath<T> for Result<T, rustix::io::Errno> {
    fn at(self, path: &Path, doing: &'static str) -> Result<T, UpgradeError> {
        self.map_err(io::Error::from).at(path, doing)
    }
}
