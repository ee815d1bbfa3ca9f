//! Execution of the steps that the state machine determines, with the journal.

use super::condition::{machine_of, old_condition};
use super::error::UpgradeError;
use super::gather;
use super::journal::{Layout, WorkFolder, now};
use super::outcome::Outcome;
use super::request::{HbaChecker, Observer, Request, Services};
use super::server::ServerFolder;
use super::{configuration, files, server};
use crate::facts::{Catalog, CatalogQuery, ServerState, StopMethod};
use crate::html::html;
use crate::machine::{Machine, OldClusterState, Recovery, State};
use crate::preflight::{passes, preflight};
use crate::record::{Entry, Record};
use crate::report::{report, span};
use crate::step::Step;
use std::path::PathBuf;

/// A run in progress.
pub(super) struct Run<'r> {
    pub(super) request: &'r Request,
    pub(super) layout: &'r Layout,
    pub(super) record: Record,
    pub(super) hba: &'r dyn HbaChecker,
    pub(super) services: &'r dyn Services,
    pub(super) observer: &'r mut dyn Observer,
}

impl Run<'_> {
    /// Returns the work folder.
    pub(super) fn work(&self) -> &WorkFolder {
        &self.layout.work
    }

    /// Writes the journal durably.
    ///
    /// # Errors
    /// Returns an error if it cannot be serialized or written.
    pub(super) fn save(&self) -> Result<(), UpgradeError> {
        self.work().store(&self.record)
    }

    /// Returns the properties of the old cluster that the preflight queried.
    ///
    /// # Errors
    /// Returns [`UpgradeError::Journal`] if the journal does not contain them.
    pub(super) fn catalog(&self) -> Result<&Catalog, UpgradeError> {
        self.record.catalog.as_ref().ok_or_else(|| UpgradeError::Journal {
            path: self.work().journal(),
            why: "it does not have what the old server said".to_owned(),
        })
    }

    /// Returns the programs and directories of the old cluster.
    pub(super) fn old_home(&self) -> ServerFolder {
        ServerFolder {
            bin: self.record.choices.old_bin.clone(),
            data: self.record.choices.old_data.clone(),
            config: configuration::config_folder(self.request, self.layout),
        }
    }

    /// Returns the programs and directories of the new cluster before the switch.
    pub(super) fn staging_home(&self) -> ServerFolder {
        ServerFolder {
            bin: self.record.choices.new_bin.clone(),
            data: self.record.choices.staging.clone(),
            config: None,
        }
    }

    /// Adds a note to the last entry of the journal's history, that of the running step. No effect without an entry.
    /// The journal is not written.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        if let Some(entry) = self.record.history.last_mut() {
            entry.notes.push(text.into());
        }
    }

    /// Recovers from an interruption, then performs the remaining steps until the upgrade is complete, has to wait, or
    /// reaches the requested step. Writes the reports, and returns the record with the outcome.
    ///
    /// # Errors
    /// Returns an error if the recovery, a step or the journal fails.
    pub(super) fn run_steps(&mut self) -> Result<(Record, Outcome), UpgradeError> {
        self.recover()?;
        loop {
            let mut machine = machine_of(&self.record);
            let step = match machine.state() {
                State::Done => {
                    self.write_reports()?;
                    return Ok((self.record.clone(), Outcome::Done));
                }
                State::Ready(step) => step,
                State::Running(_) | State::RollingBack(_) | State::RolledBack => {
                    // Recovery has ended a running state, and refused one that is being rolled back.
                    return Err(crate::TransitionError::Over.into());
                }
            };
            if self.request.until.is_some_and(|until| machine.before(until, step)) {
                self.write_reports()?;
                return Ok((self.record.clone(), Outcome::Waiting(step)));
            }
            if step == Step::Start && self.waits_for_somebody() {
                self.write_reports()?;
                return Ok((self.record.clone(), Outcome::Waiting(step)));
            }
            if machine.before(Step::Quiesce, step)
                && machine.before(step, Step::Start)
                && self.old_was_used()?
            {
                let recovery = machine.old_was_used()?;
                self.observer.note("the old server was started meanwhile: its data are transferred again");
                self.apply(&recovery)?;
                continue;
            }
            machine.begin()?;
            self.record.state = machine.state();
            self.record.history.push(Entry {
                step,
                began: now(),
                ended: None,
                failed: None,
                notes: Vec::new(),
            });
            self.save()?;
            self.observer.begin(step);
            let result = self.step(step);
            self.ended(machine, step, result)?;
        }
    }

    /// Records the result of a step in the journal. A step that needs the operator to set a service counts as not
    /// begun.
    ///
    /// # Errors
    /// Returns the error of the step, or an error if the journal cannot be written.
    fn ended(
        &mut self,
        mut machine: Machine,
        step: Step,
        result: Result<(), UpgradeError>,
    ) -> Result<(), UpgradeError> {
        match result {
            Ok(()) => {
                let ended = now();
                let mut took = 0;
                if let Some(entry) = self.record.history.last_mut() {
                    entry.ended = Some(ended);
                    took = ended.saturating_sub(entry.began);
                }
                self.record.state = machine.finish()?;
                self.save()?;
                self.observer.end(step, &format!("done in {}", span(took)));
                Ok(())
            }
            Err(UpgradeError::ServiceNeeded { unit, start }) => {
                // Nothing was changed, so the step counts as not begun.
                self.record.history.pop();
                self.record.state = State::Ready(step);
                self.save()?;
                self.observer.end(step, "waits for the service");
                Err(UpgradeError::ServiceNeeded { unit, start })
            }
            Err(why) => {
                if let Some(entry) = self.record.history.last_mut() {
                    entry.ended = Some(now());
                    entry.failed = Some(why.to_string());
                }
                self.observer.end(step, "failed");
                // The step counts as begun, so that the next run cleans up. The journal cannot be written if the disk
                // is full, and then still has the running state.
                let _ = self.save();
                let _ = self.write_reports();
                Err(why)
            }
        }
    }

    /// Performs the work of a step. The journal is not written here.
    ///
    /// # Errors
    /// Returns the error of the step.
    fn step(&mut self, step: Step) -> Result<(), UpgradeError> {
        match step {
            Step::Discover => self.discover(),
            Step::Preflight => self.preflight(),
            Step::Backup => self.backup(),
            Step::Prepare => self.prepare(),
            Step::Check => self.check(),
            Step::Quiesce => self.quiesce(),
            Step::Transfer => self.transfer(),
            Step::Verify => self.verify(),
            Step::Reindex => self.reindex(),
            Step::Carry => self.carry(),
            Step::Commit => self.commit(),
            Step::Start => self.start(),
            Step::Statistics => self.statistics(),
            Step::Extensions => self.extensions(),
        }
    }

    /// Cleans up after a run that was interrupted during a step. No effect otherwise.
    ///
    /// # Errors
    /// Returns an error if no recovery is possible from the cluster's state, or a cleanup or the journal fails.
    fn recover(&mut self) -> Result<(), UpgradeError> {
        let machine = machine_of(&self.record);
        let Some(recovery) = machine.recovery(old_condition(&self.record.choices))? else { return Ok(()) };
        if let State::Running(step) = machine.state() {
            self.observer.note(&format!("{step} was cut short: going on from {}", recovery.from));
        }
        self.apply(&recovery)
    }

    /// Performs a recovery and records that it is complete.
    ///
    /// # Errors
    /// Returns the error of the first cleanup that fails, or an error if the journal cannot be written.
    fn apply(&mut self, recovery: &Recovery) -> Result<(), UpgradeError> {
        for cleanup in &recovery.cleanup {
            self.clean(*cleanup)?;
        }
        let mut machine = machine_of(&self.record);
        machine.finish_recovery(recovery);
        self.record.state = machine.state();
        self.save()
    }

    /// Notes the versions and folders of the programs, the mode, and the number of parallel jobs.
    ///
    /// # Errors
    /// Never returns an error.
    fn discover(&mut self) -> Result<(), UpgradeError> {
        let choices = self.record.choices.clone();
        self.note(format!("{} in {}", choices.old_version, choices.old_bin.display()));
        self.note(format!("{} in {}", choices.new_version, choices.new_bin.display()));
        self.note(format!("mode {}, {} at once", choices.mode, choices.jobs));
        Ok(())
    }

    /// Runs the preflight, with a private server if the old one is stopped, and records the findings, whether the old
    /// server runs, and the properties of the old cluster.
    ///
    /// # Errors
    /// Returns [`UpgradeError::Blocked`] with all findings if one prevents the upgrade or requires consent, or another
    /// error if the facts cannot be gathered.
    fn preflight(&mut self) -> Result<(), UpgradeError> {
        let (request, layout) = (self.request, self.layout);
        let facts = gather::facts(request, layout, self.hba, &self.record.id, true)?;
        let findings = preflight(&facts, &request.accept);
        self.record.findings.clone_from(&findings);
        self.record.was_live =
            matches!(facts.old.as_ref().map(|old| &old.running), Some(ServerState::Live { .. }));
        if !passes(&findings) {
            return Err(UpgradeError::Blocked(findings));
        }
        match facts.asked {
            CatalogQuery::Yes(catalog) => self.record.catalog = Some(*catalog),
            // Only a cluster with a blocking finding is not queried.
            _ => {
                return Err(UpgradeError::Other(
                    "the old server could not be asked what is in it".to_owned(),
                ));
            }
        }
        let count = findings.len();
        self.note(format!("{count} findings, none in the way"));
        Ok(())
    }

    /// Returns `true` if the old server is running, or has run since it was stopped, according to its control file.
    ///
    /// # Errors
    /// Returns an error if the control file cannot be read.
    pub(super) fn old_was_used(&self) -> Result<bool, UpgradeError> {
        let choices = &self.record.choices;
        if server::running_pid_file(&choices.old_data).is_some() {
            return Ok(true);
        }
        let Some(known) = &self.record.fingerprint else { return Ok(false) };
        if old_condition(choices) == OldClusterState::Disabled {
            // A disabled cluster cannot have been started.
            return Ok(false);
        }
        let found = gather::control(&choices.old_bin, &choices.old_data).map_err(UpgradeError::Other)?;
        Ok(found.fingerprint() != *known)
    }

    /// Returns `true` if the new server has to be started by the operator and is not running yet.
    fn waits_for_somebody(&self) -> bool {
        let choices = &self.record.choices;
        !(self.request.starting && choices.starting) && server::running_pid_file(&choices.new_data).is_none()
    }

    /// Writes the report as text and as HTML to the work folder.
    ///
    /// # Errors
    /// Returns an error if a file cannot be written.
    pub(super) fn write_reports(&self) -> Result<(), UpgradeError> {
        let folder = &self.work().folder;
        files::replace(&folder.join("report.txt"), report(&self.record).as_bytes(), 0o640)?;
        files::replace(&folder.join("report.html"), html(&self.record).as_bytes(), 0o640)
    }

    /// Returns the systemd unit of the old server. `None` if the server is not stopped by a unit.
    pub(super) fn unit(&self) -> Option<String> {
        match &self.record.choices.stopping {
            StopMethod::Service(unit) => Some(unit.clone()),
            StopMethod::Refuse | StopMethod::PgCtl => None,
        }
    }

    /// Returns the programs and directories of the new cluster after the switch.
    pub(super) fn new_home(&self) -> ServerFolder {
        ServerFolder { data: PathBuf::from(&self.record.choices.new_data), ..self.staging_home() }
    }
}
