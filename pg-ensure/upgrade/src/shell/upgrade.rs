//! Entry points: planning, status, running an upgrade.

use super::condition::{machine_of, new_condition, old_condition, restorable};
use super::error::UpgradeError;
use super::journal::{Layout, WorkFolder, layout, now};
use super::outcome::Outcome;
use super::request::{HbaChecker, Observer, Request, Services};
use super::run::Run;
use super::{files, gather, steps};
use crate::facts::{Backup, Facts, ServerState};
use crate::machine::{Machine, State};
use crate::preflight::{Finding, Severity, preflight};
use crate::record::{Record, ResolvedOptions};
use crate::step::Step;
use std::path::Path;

/// The steps that an upgrade would take, with the findings of the preflight and the facts that they are based on.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Facts that were gathered.
    pub facts: Facts,
    /// Findings of the preflight.
    pub findings: Vec<Finding>,
    /// All steps of the upgrade, in order, even if some of them are complete. Empty if the upgrade is complete.
    pub steps: Vec<Step>,
    /// Those of the steps during which clients have no server. Empty if the old server is not running.
    pub without_server: Vec<Step>,
}

/// An upgrade of one cluster to a new major version, which can be planned, run, resumed and rolled back.
#[derive(Debug)]
pub struct Upgrade {
    pub(super) request: Request,
    pub(super) layout: Layout,
}

impl Upgrade {
    /// Creates the upgrade for a request. Nothing is changed.
    #[must_use]
    pub fn new(request: Request) -> Self {
        let layout = layout(
            &request.base,
            request.from,
            request.to,
            request.cluster.as_deref(),
            request.old_data.as_deref(),
            request.new_data.as_deref(),
        );
        Self { request, layout }
    }

    /// Returns the old data directory.
    #[must_use]
    pub fn old_data(&self) -> &Path {
        &self.layout.old_data
    }

    /// Returns the new data directory.
    #[must_use]
    pub fn new_data(&self) -> &Path {
        &self.layout.new_data
    }

    /// Returns the work folder, which contains journal, logs and reports.
    #[must_use]
    pub fn work(&self) -> &Path {
        &self.layout.work.folder
    }

    /// Plans the upgrade and runs the preflight. Nothing is changed but for temporary files, and no stopped server is
    /// started. For a completed upgrade, the only finding is a note.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] if a program cannot be run, the configuration cannot be converted, the old server
    /// runs and has no database to query it in, or the journal cannot be read.
    pub fn plan(&self, hba: &dyn HbaChecker) -> Result<Plan, UpgradeError> {
        let mut facts = gather::facts(&self.request, &self.layout, hba, "plan", false)?;
        let record = self.layout.work.load()?;
        facts.in_progress = record.as_ref().map(|record| record.state).filter(|state| match state {
            State::Ready(_) | State::Running(_) | State::RollingBack(_) => true,
            State::RolledBack | State::Done => false,
        });
        if let Some(record) = record.as_ref().filter(|record| record.state == State::Done) {
            let what = format!(
                "done before: PostgreSQL {} is in {}",
                record.choices.to,
                record.choices.new_data.display()
            );
            let done =
                Finding { code: "done".to_owned(), severity: Severity::Note, what, fix: String::new() };
            return Ok(Plan { facts, findings: vec![done], steps: Vec::new(), without_server: Vec::new() });
        }
        let findings = preflight(&facts, &self.request.accept);
        let machine = Machine::new(facts.mode, self.request.reindexing);
        let steps = machine.steps().to_vec();
        let live = matches!(facts.old.as_ref().map(|old| &old.running), Some(ServerState::Running { .. }));
        let without_server = steps
            .iter()
            .copied()
            .filter(|step| {
                live && !machine.before(*step, Step::Quiesce) && machine.before(*step, Step::Start)
            })
            .collect();
        Ok(Plan { facts, findings, steps, without_server })
    }

    /// Returns the record of the upgrade. `None` if none has begun.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] if the journal cannot be read.
    pub fn status(&self) -> Result<Option<Record>, UpgradeError> {
        self.layout.work.load()
    }

    /// Checks that a rollback is possible in the current state. Nothing is changed.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] with the reason why a rollback is not possible.
    pub fn check_rollback(&self, record: &Record) -> Result<(), UpgradeError> {
        let machine = machine_of(record);
        machine.rollback(
            old_condition(&record.choices),
            new_condition(&record.choices),
            restorable(record),
        )?;
        Ok(())
    }

    /// Begins the upgrade, or resumes it from its journal. Returns the record with the outcome.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`]. The journal contains the state, and a later run resumes from there.
    pub fn run(
        &self,
        hba: &dyn HbaChecker,
        services: &dyn Services,
        observer: &mut dyn Observer,
    ) -> Result<(Record, Outcome), UpgradeError> {
        let work = &self.layout.work;
        if let Some(record) = work.load()?
            && record.state == State::Done
        {
            return Ok((record, Outcome::WasDone));
        }
        let old = &self.layout.old_data;
        if !old.join("PG_VERSION").exists() && work.load()?.is_none() {
            // Reported before a folder is created for the journal.
            let plan = self.plan(hba)?;
            return Err(UpgradeError::Blocked(plan.findings));
        }
        self.may_write(hba)?;
        let _lock = work.lock()?;
        gather::private_folder(work)?;
        let record = self.begin_or_go_on(work, hba)?;
        let mut run = Run { request: &self.request, layout: &self.layout, record, hba, services, observer };
        steps::run_steps(&mut run)
    }

    /// Checks that the base directory can be written to.
    ///
    /// # Errors
    /// Returns [`UpgradeError::Blocked`] with the findings of the preflight if the directory cannot be written to
    /// although there is free space.
    fn may_write(&self, hba: &dyn HbaChecker) -> Result<(), UpgradeError> {
        let base = self.layout.work.folder.parent().unwrap_or(Path::new("/"));
        if tempfile::tempfile_in(base).is_err() {
            let space = files::free(base).unwrap_or(0);
            if space > 1 << 20 {
                return Err(UpgradeError::Blocked(self.plan(hba)?.findings));
            }
        }
        Ok(())
    }

    /// Returns the record of the upgrade in progress, or creates a new one. A record that has not passed the preflight
    /// is replaced, and one that was rolled back is renamed.
    ///
    /// # Errors
    /// Returns [`UpgradeError::Blocked`] if the programs of a version are missing, or an error if the journal cannot be
    /// read, renamed or written.
    fn begin_or_go_on(&self, work: &WorkFolder, hba: &dyn HbaChecker) -> Result<Record, UpgradeError> {
        if let Some(record) = work.load()? {
            let early = matches!(
                record.state,
                State::Ready(Step::Discover | Step::Preflight)
                    | State::Running(Step::Discover | Step::Preflight)
            );
            match record.state {
                State::RolledBack => {
                    let kept = work.folder.join(format!("journal-{}.json", record.id));
                    files::rename(&work.journal(), &kept)?;
                }
                _ if early => super::leftovers::stop(work, &record.id, &[&self.layout.old_data])?,
                _ => return Ok(record),
            }
        }
        // Until the preflight has passed, the current request counts, not that of an earlier run.
        let (old, new) = gather::programs(&self.request);
        let (Some(old_bin), Some(new_bin)) = (old.folder.clone(), new.folder.clone()) else {
            return Err(UpgradeError::Blocked(self.plan(hba)?.findings));
        };
        let base = self.layout.staging.parent().unwrap_or(Path::new("/"));
        let choose = || crate::Mode::choose(self.request.to, files::file_copy(base));
        let mode = self.request.mode.unwrap_or_else(choose);
        let choices = ResolvedOptions {
            from: self.request.from.number(),
            to: self.request.to.number(),
            old_bin,
            old_version: old.version.unwrap_or_default(),
            new_bin,
            new_version: new.version.unwrap_or_default(),
            old_data: self.layout.old_data.clone(),
            new_data: self.layout.new_data.clone(),
            staging: self.layout.staging.clone(),
            mode,
            jobs: self.request.jobs.max(1),
            backup: self.request.backup.clone().unwrap_or_else(|| Backup::Base(self.layout.backup())),
            stopping: self.request.stopping.clone(),
            starting: self.request.starting,
            reindexing: self.request.reindexing,
            amcheck: self.request.amcheck,
            wal_dir: self.request.wal_dir.clone(),
        };
        let record = Record {
            format: 2,
            id: format!("{}-{}-{:x}", choices.from, choices.to, now()),
            state: State::Ready(Step::Discover),
            choices,
            findings: Vec::new(),
            history: Vec::new(),
            catalog: None,
            was_live: false,
            backup_made: false,
            fingerprint: None,
            tablespaces: Vec::new(),
            compared: std::collections::BTreeMap::new(),
            recollated: Vec::new(),
            edits: Vec::new(),
            remarks: Vec::new(),
            removed: false,
        };
        work.store(&record)?;
        Ok(record)
    }
}
