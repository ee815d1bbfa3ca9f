//! The record of an upgrade: the journal's content, from which the report is made.

use super::conf::Edit;
use super::facts::{Backup, Catalog, Stopping};
use super::machine::State;
use super::mode::Mode;
use super::preflight::Finding;
use super::step::{Reindexing, Step};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The relations that `pg_amcheck` checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Amcheck {
    /// Not at all.
    Off,
    /// The smallest relations, until those checked are as large as a budget.
    #[default]
    Sample,
    /// Every table and index of every database.
    Full,
}

/// The resolved options of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Choices {
    /// The old version.
    pub from: u32,
    /// The new version.
    pub to: u32,
    /// The old version's programs.
    pub old_bin: PathBuf,
    /// The programs' version.
    pub old_version: String,
    /// The new version's programs.
    pub new_bin: PathBuf,
    /// The programs' version.
    pub new_version: String,
    /// The old folder.
    pub old_data: PathBuf,
    /// The new folder.
    pub new_data: PathBuf,
    /// The folder in which the new cluster is prepared.
    pub staging: PathBuf,
    /// The transfer mode.
    pub mode: Mode,
    /// The number of parallel jobs.
    pub jobs: u32,
    /// The backup's kind and place.
    pub backup: Backup,
    /// The way the old server is stopped.
    pub stopping: Stopping,
    /// True if this program starts the new one.
    pub starting: bool,
    /// When indexes are rebuilt.
    pub reindexing: Reindexing,
    /// The relations that `pg_amcheck` checks.
    pub amcheck: Amcheck,
    /// The folder of the new cluster's write-ahead log, where it is not among the data.
    #[cfg_attr(feature = "shell", serde(default))]
    pub wal_dir: Option<PathBuf>,
}

/// One time that a step was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Entry {
    /// The step that the entry is about.
    pub step: Step,
    /// When it began, in milliseconds since 1970.
    pub began: u64,
    /// When it ended; `None` while it runs, and for ever if it was cut short.
    pub ended: Option<u64>,
    /// The error, if the step failed.
    pub failed: Option<String>,
    /// Notes of the step.
    pub notes: Vec<String>,
}

/// A database with collations whose version has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Recollated {
    /// The database's name.
    pub database: String,
    /// True if its own collation has changed.
    pub itself: bool,
    /// Other collations that have, quoted with their schemas.
    pub collations: Vec<String>,
}

/// All that is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// The journal's format: 2.
    pub format: u32,
    /// The name of this upgrade.
    pub id: String,
    /// The current state.
    pub state: State,
    /// The resolved options.
    pub choices: Choices,
    /// The findings of the preflight.
    pub findings: Vec<Finding>,
    /// The steps that were attempted, in order, with those that failed.
    pub history: Vec<Entry>,
    /// The old server's answers about itself.
    pub catalog: Option<Catalog>,
    /// True if the old server ran when it began, so that going back starts it again.
    pub was_live: bool,
    /// The backup that was made and verified.
    pub backup_made: bool,
    /// The old cluster's control file after the last time that it was of use.
    pub fingerprint: Option<String>,
    /// Folders that the new version has made in tablespaces.
    pub tablespaces: Vec<PathBuf>,
    /// The number of compared facts, by kind.
    pub compared: BTreeMap<String, usize>,
    /// Collations that have changed.
    pub recollated: Vec<Recollated>,
    /// The edits of the configuration files.
    pub edits: Vec<Edit>,
    /// Remarks and tasks left for the operator.
    pub left: Vec<String>,
    /// True once the old cluster was removed by a garbage collection.
    #[cfg_attr(feature = "shell", serde(default))]
    pub removed: bool,
}

impl Record {
    /// When it ended: the end of its last entry, once it is over.
    #[must_use]
    pub fn ended(&self) -> Option<u64> {
        matches!(self.state, State::Done | State::Undone)
            .then(|| self.history.last().and_then(|entry| entry.ended))
            .flatten()
    }

    /// Milliseconds that all tries of a step took.
    #[must_use]
    pub fn took(&self, step: Step) -> u64 {
        let entries = self.history.iter().filter(|entry| entry.step == step);
        entries.filter_map(|entry| Some(entry.ended?.saturating_sub(entry.began))).sum()
    }

    /// Milliseconds without a server, where the old one ran: from the first time that it was stopped to the start of the
    /// new one.
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
