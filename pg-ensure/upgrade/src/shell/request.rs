//! The request for an upgrade, and the traits that its caller implements.

use crate::facts::{Backup, HbaComparison, StopMethod};
use crate::mode::Mode;
use crate::record::Amcheck;
use crate::step::{Reindexing, Step};
use crate::version::Major;
use std::path::{Path, PathBuf};

/// Request for an upgrade. Fields that are `None` are detected, or have a default.
#[derive(Clone, Debug)]
pub struct Request {
    /// The old version.
    pub from: Major,
    /// The new version.
    pub to: Major,
    /// Directory that contains a directory for each version. Default: `/var/lib/postgresql`.
    pub base: PathBuf,
    /// Name of the cluster below the version's directory, such as `main` on Debian.
    pub cluster: Option<String>,
    /// Old data directory, if it is not below `base`.
    pub old_data: Option<PathBuf>,
    /// New data directory, if it is not below `base`. Must be on the file system of `base`.
    pub new_data: Option<PathBuf>,
    /// Directory of the old `postgresql.conf`, if it is not the data directory.
    pub old_config: Option<PathBuf>,
    /// WAL directory of the new cluster. `None` for inside the data directory.
    pub wal_dir: Option<PathBuf>,
    /// Directory of the old version's programs.
    pub old_bin: Option<PathBuf>,
    /// Directory of the new version's programs.
    pub new_bin: Option<PathBuf>,
    /// Transfer mode. `None` selects [`Mode::choose`].
    pub mode: Option<Mode>,
    /// Number of parallel jobs, at least 1. Default: the number of processors.
    pub jobs: u32,
    /// Kind and location of the backup. `None` selects a base backup beside the old data directory.
    pub backup: Option<Backup>,
    /// Method by which the old server is stopped. Default: [`StopMethod::Refuse`].
    pub stopping: StopMethod,
    /// systemd unit that starts the new server, if it is not the one that is stopped.
    pub start_service: Option<String>,
    /// `true` to start the new server, which is the default. Otherwise the run ends before that step with
    /// [`Outcome::Waiting`](crate::Outcome::Waiting) until the operator has started the server.
    pub starting: bool,
    /// Codes of findings that the operator accepts.
    pub accept: Vec<String>,
    /// Time at which indexes of changed collations are rebuilt. Default: before the switch.
    pub reindexing: Reindexing,
    /// Selection of the relations that `pg_amcheck` checks. Default: a sample.
    pub amcheck: Amcheck,
    /// Superuser to connect as. `None` tries the account's name and `postgres`.
    pub superuser: Option<String>,
    /// Last step of this run. `None` for all steps.
    pub until: Option<Step>,
    /// `true` for the upgrade of a rehearsal's copy, which must not affect other systems. Default: `false`.
    pub rehearsal: bool,
}

impl Request {
    /// Creates a request for an upgrade in `/var/lib/postgresql`, with defaults for all other fields.
    #[must_use]
    pub fn new(from: Major, to: Major) -> Self {
        Self {
            from,
            to,
            base: PathBuf::from("/var/lib/postgresql"),
            cluster: None,
            old_data: None,
            new_data: None,
            old_config: None,
            wal_dir: None,
            old_bin: None,
            new_bin: None,
            mode: None,
            jobs: std::thread::available_parallelism()
                .ok()
                .and_then(|count| u32::try_from(count.get()).ok())
                .unwrap_or(1),
            backup: None,
            stopping: StopMethod::Refuse,
            start_service: None,
            starting: true,
            accept: Vec::new(),
            reindexing: Reindexing::BeforeCommit,
            amcheck: Amcheck::Sample,
            superuser: None,
            until: None,
            rehearsal: false,
        }
    }
}

/// Comparison of an old `pg_hba.conf` under both versions.
pub trait HbaChecker {
    /// Compares the decisions of the `pg_hba.conf` at the path `file` under the version `from` and under the version
    /// `to`.
    fn check(&self, file: &Path, from: Major, to: Major) -> HbaComparison;
}

/// An [`HbaChecker`] that returns [`HbaComparison::Unchecked`].
#[derive(Clone, Copy, Debug)]
pub struct NoHbaChecker;

impl HbaChecker for NoHbaChecker {
    fn check(&self, _: &Path, _: Major, _: Major) -> HbaComparison {
        HbaComparison::Unchecked
    }
}

/// Stops and starts systemd units.
pub trait Services {
    /// Starts a unit, or stops it if `start` is `false`. Returns `Ok(false)` if the operator has to do that before the
    /// run continues.
    ///
    /// # Errors
    /// Returns a human-readable description of the error.
    fn set(&self, unit: &str, start: bool) -> Result<bool, String>;
}

/// Observer of a run. Called synchronously.
pub trait Observer {
    /// Reports that a step is about to begin.
    fn begin(&mut self, step: Step);
    /// Reports that a step has ended, with its outcome in a few words, such as `done in 1.2 s` or `failed`.
    fn end(&mut self, step: Step, how: &str);
    /// Reports a remark, which is one line of text.
    fn note(&mut self, text: &str);
}

/// Observer that ignores all events.
#[derive(Clone, Copy, Debug)]
pub struct NoopObserver;

impl Observer for NoopObserver {
    fn begin(&mut self, _: Step) {}
    fn end(&mut self, _: Step, _: &str) {}
    fn note(&mut self, _: &str) {}
}
