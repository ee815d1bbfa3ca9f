//! Record of an upgrade: the content of the journal, from which the report is generated.

use super::conf::Edit;
use super::facts::{Backup, Catalog, StopMethod};
use super::machine::State;
use super::mode::Mode;
use super::preflight::Finding;
use super::step::{Reindexing, Step};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Selection of the relations that `pg_amcheck` checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Amcheck {
    /// `pg_amcheck` is not run.
    Off,
    /// Tables whose sizes fit into a budget of 32 MB for the whole cluster, largest first, at most 200 per database,
    /// with their indexes, except those of databases with changed collations.
    #[default]
    Sample,
    /// Every table of every database that accepts connections, with its indexes, except those of databases with changed
    /// collations.
    Full,
}

/// The options of an upgrade, with the default for each one that the request leaves out. Fixed when the upgrade begins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct ResolvedOptions {
    /// Old major version.
    pub from: u32,
    /// New major version.
    pub to: u32,
    /// Directory of the old version's programs.
    pub old_bin: PathBuf,
    /// Version of the old programs, such as `17.10`.
    pub old_version: String,
    /// Directory of the new version's programs.
    pub new_bin: PathBuf,
    /// Version of the new programs, such as `18.1`.
    pub new_version: String,
    /// Path of the old data directory.
    pub old_data: PathBuf,
    /// Path of the new data directory.
    pub new_data: PathBuf,
    /// Directory in which the new cluster is prepared.
    pub staging: PathBuf,
    /// Transfer mode of the upgrade.
    pub mode: Mode,
    /// Number of parallel jobs.
    pub jobs: u32,
    /// Kind and location of the backup.
    pub backup: Backup,
    /// Method by which the old server is stopped.
    pub stopping: StopMethod,
    /// `true` if this program starts the new server.
    pub starting: bool,
    /// Time at which indexes of changed collations are rebuilt.
    pub reindexing: Reindexing,
    /// Selection of the relations that `pg_amcheck` checks.
    pub amcheck: Amcheck,
    /// WAL directory of the new cluster. `None` if it is inside the data directory.
    #[cfg_attr(feature = "shell", serde(default))]
    pub wal_dir: Option<PathBuf>,
}

/// One attempt of a step, with its times and its error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Entry {
    /// The attempted step.
    pub step: Step,
    /// Beginning of the attempt, in milliseconds since 1970-01-01 UTC.
    pub began: u64,
    /// End of the attempt, in milliseconds since 1970-01-01 UTC. `None` while it is running or if it was interrupted.
    pub ended: Option<u64>,
    /// Error message. `None` unless the attempt failed.
    pub failed: Option<String>,
    /// Remarks made during the attempt.
    pub notes: Vec<String>,
}

/// A database with collations whose recorded version differs from that of the installed library, so that indexes may
/// have another order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct ChangedCollations {
    /// Name of the database.
    pub database: String,
    /// `true` if the default collation of the database has changed.
    pub itself: bool,
    /// Other changed collations, as quoted, schema-qualified names: those outside `pg_catalog`, and those that an index
    /// uses.
    pub collations: Vec<String>,
}

/// The content of an upgrade's journal: options, state, attempts and results. A later run resumes or rolls back from
/// it, and reports are made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// Version of the journal's format: 2.
    pub format: u32,
    /// Unique identifier of the upgrade: old version, new version, and the time of its beginning.
    pub id: String,
    /// Current state of the upgrade.
    pub state: State,
    /// The resolved options.
    pub choices: ResolvedOptions,
    /// Findings of the preflight. Empty until it has run.
    pub findings: Vec<Finding>,
    /// All attempts of steps in order, including failed ones.
    pub history: Vec<Entry>,
    /// Properties of the old cluster. `None` until they are queried.
    pub catalog: Option<Catalog>,
    /// `true` if the old server was running at the beginning, so that a rollback starts it again.
    pub was_live: bool,
    /// `true` if this upgrade made a backup and verified it.
    pub backup_made: bool,
    /// Fingerprint of the old cluster's control file after its last intended use. `None` before the old server is
    /// stopped.
    pub fingerprint: Option<String>,
    /// Paths of the directories that the new version creates in tablespaces.
    pub tablespaces: Vec<PathBuf>,
    /// Number of facts that were compared between the old and the new cluster after the transfer, by kind, such as
    /// tables.
    pub compared: BTreeMap<String, usize>,
    /// Databases with changed collations.
    pub recollated: Vec<ChangedCollations>,
    /// The edits of the configuration files.
    pub edits: Vec<Edit>,
    /// Remarks and remaining tasks for the operator. Serialized as `left`.
    #[cfg_attr(feature = "shell", serde(rename = "left"))]
    pub remarks: Vec<String>,
    /// `true` if the old cluster was removed by garbage collection.
    #[cfg_attr(feature = "shell", serde(default))]
    pub removed: bool,
}

impl Record {
    /// Returns the end of the last attempt of a step in milliseconds since 1970-01-01 UTC, if the upgrade is complete
    /// or was rolled back. `None` while it is in progress, and if that attempt was interrupted or there was none.
    #[must_use]
    pub fn ended(&self) -> Option<u64> {
        matches!(self.state, State::Done | State::RolledBack)
            .then(|| self.history.last().and_then(|entry| entry.ended))
            .flatten()
    }

    /// Returns the total duration of all attempts of a step that have ended, failed ones included, in milliseconds.
    #[must_use]
    pub fn took(&self, step: Step) -> u64 {
        let entries = self.history.iter().filter(|entry| entry.step == step);
        entries.filter_map(|entry| Some(entry.ended?.saturating_sub(entry.began))).sum()
    }

    /// Returns the time without a server in milliseconds, from the first attempt to stop the old server to the end of
    /// the last attempt to start the new one. `None` if the old server was not running at the beginning, or either has
    /// not happened.
    #[must_use]
    pub fn downtime(&self) -> Option<u64> {
        if !self.was_live {
            return None;
        }
        let began = self.history.iter().find(|entry| entry.step == Step::Quiesce)?.began;
        let ended = self.history.iter().rev().find(|entry| entry.step == Step::Start)?.ended?;
        ended.checked_sub(began)
    }
}
