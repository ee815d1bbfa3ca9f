//! The request for an upgrade, and the traits that its caller implements.

use crate::facts::{Backup, Hba, Stopping};
use crate::mode::Mode;
use crate::record::Amcheck;
use crate::step::{Reindexing, Step};
use crate::version::Major;
use std::path::{Path, PathBuf};

/// The request for an upgrade. Everything that is omitted is detected.
#[derive(Clone, Debug)]
pub struct Request {
    /// The old version.
    pub from: Major,
    /// The new version.
    pub to: Major,
    /// The folder that has a folder for each version.
    pub base: PathBuf,
    /// The cluster's name below the version's folder, where there is one: `main` on Debian.
    pub cluster: Option<String>,
    /// The old data folder, where it is elsewhere.
    pub old_data: Option<PathBuf>,
    /// The new data folder, where it shall be elsewhere. On the file system of `base`.
    pub new_data: Option<PathBuf>,
    /// The folder of the old `postgresql.conf`, where it is elsewhere.
    pub old_config: Option<PathBuf>,
    /// The folder of the new cluster's write-ahead log, where it shall not be among the data.
    pub wal_dir: Option<PathBuf>,
    /// The old version's programs.
    pub old_bin: Option<PathBuf>,
    /// The new version's programs.
    pub new_bin: Option<PathBuf>,
    /// The transfer mode.
    pub mode: Option<Mode>,
    /// The number of parallel jobs; from 1.
    pub jobs: u32,
    /// The backup; by default a base backup beside the old folder.
    pub backup: Option<Backup>,
    /// The way the old server is stopped, and started again or replaced by the new one.
    pub stopping: Stopping,
    /// Another service that starts the new server.
    pub start_service: Option<String>,
    /// True to start the new server; otherwise the upgrade waits before that step until it runs.
    pub starting: bool,
    /// Findings that are accepted, by code.
    pub accept: Vec<String>,
    /// When indexes of changed collations are rebuilt.
    pub reindexing: Reindexing,
    /// The relations that `pg_amcheck` checks.
    pub amcheck: Amcheck,
    /// A superuser to connect as, where it is neither the account's name nor `postgres`.
    pub superuser: Option<String>,
    /// The last step to take in this run.
    pub until: Option<Step>,
    /// True for the upgrade of a copy that is to keep to itself.
    pub rehearsal: bool,
}

impl Request {
    /// An upgrade between two versions in `/var/lib/postgresql`, with the defaults of everything else.
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
            stopping: Stopping::Refuse,
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

/// Judges an old `pg_hba.conf` for the new version.
pub trait HbaChecker {
    /// Compares the meaning of the file under both versions.
    fn check(&self, file: &Path, from: Major, to: Major) -> Hba;
}

/// Does not look.
#[derive(Clone, Copy, Debug)]
pub struct Unchecked;

impl HbaChecker for Unchecked {
    fn check(&self, _: &Path, _: Major, _: Major) -> Hba {
        Hba::Unchecked
    }
}

/// Stops and starts services.
pub trait Services {
    /// Stops or starts a unit. `Ok(false)` where that is somebody else's to do before the run goes on.
    ///
    /// # Errors
    /// In words for people.
    fn set(&self, unit: &str, start: bool) -> Result<bool, String>;
}

/// Hears what is going on.
pub trait Observer {
    /// A step begins.
    fn begin(&mut self, step: Step);
    /// Called when a step has ended, with its outcome in a few words: done, failed, or waiting for the service.
    fn end(&mut self, step: Step, how: &str);
    /// Something worth a line.
    fn note(&mut self, text: &str);
}

/// Ignores all events.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Observer for Silent {
    fn begin(&mut self, _: Step) {}
    fn end(&mut self, _: Step, _: &str) {}
    fn note(&mut self, _: &str) {}
}
