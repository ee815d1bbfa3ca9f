//! Does what the machine says, and writes down what happened.

use super::error::UpgradeError;
use super::gather;
use super::journal::{Layout, Work, layout};
use super::request::{HbaChecker, Observer, Request, Services};
use super::server::Home;
use super::{configuration, files, server};
use crate::upgrade::facts::{Asked, Backup, Catalog, Facts, Running, Stopping};
use crate::upgrade::html::html;
use crate::upgrade::machine::{Machine, Old, Recovery, State};
use crate::upgrade::preflight::{Finding, passes, preflight};
use crate::upgrade::record::{Choices, Entry, Record};
use crate::upgrade::report::{report, span};
use crate::upgrade::step::Step;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What an upgrade would do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is known.
    pub facts: Facts,
    /// What stands in the way, and what is worth knowing.
    pub findings: Vec<Finding>,
    /// The steps in their order.
    pub steps: Vec<Step>,
    /// The steps during which no server runs for anybody.
    pub without_server: Vec<Step>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is done.
    Done,
    /// It was done by an earlier run; nothing was touched.
    WasDone,
    /// It stopped before this step, as it was asked to, or because somebody else is to start the new server.
    Waiting(Step),
}

/// An upgrade of one cluster.
#[derive(Debug)]
pub struct Upgrade {
    pub(super) request: Request,
    pub(super) layout: Layout,
}

impl Upgrade {
    /// The upgrade that a request asks for. Nothing is touched.
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

    /// The old data folder.
    #[must_use]
    pub fn old_data(&self) -> &Path {
        &self.layout.old_data
    }

    /// The new data folder.
    #[must_use]
    pub fn new_data(&self) -> &Path {
        &self.layout.new_data
    }

    /// The folder with the journal, the logs and the reports.
    #[must_use]
    pub fn work(&self) -> &Path {
        &self.layout.work.folder
    }

    /// What would be done, and what stands in the way. Nothing is written, and a server that is stopped stays so.
    ///
    /// # Errors
    /// When a program that should answer cannot be run.
    pub fn plan(&self, hba: &dyn HbaChecker) -> Result<Plan, UpgradeError> {
        let facts = gather::facts(&self.request, &self.layout, hba, "plan", false)?;
        let findings = preflight(&facts, &self.request.accept);
        let machine = Machine::new(facts.mode, self.request.reindexing);
        let steps = machine.steps().to_vec();
        let live = matches!(facts.old.as_ref().map(|old| &old.running), Some(Running::Live { .. }));
        let without_server = steps
            .iter()
            .copied()
            .filter(|step| {
                live && !machine.before(*step, Step::Quiesce) && machine.before(*step, Step::Start)
            })
            .collect();
        Ok(Plan { facts, findings, steps, without_server })
    }

    /// What was written down, if anything was.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn status(&self) -> Result<Option<Record>, UpgradeError> {
        self.layout.work.load()
    }

    /// Whether there is a way back now, and if not, why.
    ///
    /// # Errors
    /// With the reason.
    pub fn way_back(&self, record: &Record) -> Result<(), UpgradeError> {
        let machine = restored(record);
        let backup = record.backup_made && matches!(record.choices.backup, Backup::Base(_));
        machine.way_back(old_condition(&record.choices), committed(&record.choices), backup)?;
        Ok(())
    }

    /// Goes on from wherever the upgrade stands, or begins it.
    ///
    /// # Errors
    /// See [`UpgradeError`]. The journal says where it stands, and a later run goes on from there.
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
            // Said before a folder is made for the journal.
            let plan = self.plan(hba)?;
            return Err(UpgradeError::Blocked(plan.findings));
        }
        self.may_write(hba)?;
        let _lock = work.lock()?;
        gather::private_folder(work)?;
        let record = self.begin_or_go_on(work, hba)?;
        let mut run = Run { upgrade: self, record, hba, services, observer };
        run.go()
    }

    /// A run that may not write says so by its findings, before it fails at the journal.
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

    fn begin_or_go_on(&self, work: &Work, hba: &dyn HbaChecker) -> Result<Record, UpgradeError> {
        if let Some(record) = work.load()? {
            let early = matches!(
                record.state,
                State::Ready(Step::Discover | Step::Preflight)
                    | State::Running(Step::Discover | Step::Preflight)
            );
            match record.state {
                State::Undone => {
                    let kept = work.folder.join(format!("journal-{}.json", record.id));
                    files::rename(&work.journal(), &kept)?;
                }
                _ if early => super::leftovers::stop(work, &record.id, &[&self.layout.old_data])?,
                _ => return Ok(record),
            }
        }
        // Before anything is begun, what a run is asked for is what counts, not what an earlier one was.
        let (old, new) = gather::programs(&self.request);
        let (Some(old_bin), Some(new_bin)) = (old.folder.clone(), new.folder.clone()) else {
            return Err(UpgradeError::Blocked(self.plan(hba)?.findings));
        };
        let base = self.layout.staging.parent().unwrap_or(Path::new("/"));
        let mode = self.request.mode.unwrap_or_else(|| {
            crate::upgrade::Mode::choose(self.request.to, files::clones(base), files::copies_in_kernel(base))
        });
        let choices = Choices {
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
        };
        let record = Record {
            format: 1,
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
            left: Vec::new(),
        };
        work.store(&record)?;
        Ok(record)
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn restored(record: &Record) -> Machine {
    Machine::restored(record.choices.mode, record.choices.reindexing, record.state)
}

/// Whether `pg_upgrade` has put the old control file aside.
pub(super) fn old_condition(choices: &Choices) -> Old {
    let global = choices.old_data.join("global");
    let aside = global.join("pg_control.old").exists() && !global.join("pg_control").exists();
    // Swapping moves folders after that, and putting a backup back begins by moving what is left of the cluster away.
    if aside || !choices.old_data.exists() { Old::Disabled } else { Old::Whole }
}

/// Whether the new folder has its name.
pub(super) fn committed(choices: &Choices) -> bool {
    choices.new_data.join("PG_VERSION").exists() && !choices.staging.exists()
}

/// A run under way.
pub(super) struct Run<'r> {
    pub(super) upgrade: &'r Upgrade,
    pub(super) record: Record,
    pub(super) hba: &'r dyn HbaChecker,
    pub(super) services: &'r dyn Services,
    pub(super) observer: &'r mut dyn Observer,
}

impl Run<'_> {
    pub(super) fn work(&self) -> &Work {
        &self.upgrade.layout.work
    }

    pub(super) fn save(&self) -> Result<(), UpgradeError> {
        self.work().store(&self.record)
    }

    pub(super) fn catalog(&self) -> Result<&Catalog, UpgradeError> {
        self.record.catalog.as_ref().ok_or_else(|| UpgradeError::Journal {
            path: self.work().journal(),
            why: "it does not have what the old server said".to_owned(),
        })
    }

    pub(super) fn old_home(&self) -> Home {
        Home {
            bin: self.record.choices.old_bin.clone(),
            data: self.record.choices.old_data.clone(),
            config: configuration::config_folder(&self.upgrade.request, &self.upgrade.layout),
        }
    }

    /// The new cluster, where it is made.
    pub(super) fn staging_home(&self) -> Home {
        Home {
            bin: self.record.choices.new_bin.clone(),
            data: self.record.choices.staging.clone(),
            config: None,
        }
    }

    /// Notes for the running step.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        if let Some(entry) = self.record.history.last_mut() {
            entry.notes.push(text.into());
        }
    }

    fn go(&mut self) -> Result<(Record, Outcome), UpgradeError> {
        self.recover()?;
        loop {
            let mut machine = restored(&self.record);
            let step = match machine.state() {
                State::Done => {
                    self.write_reports()?;
                    return Ok((self.record.clone(), Outcome::Done));
                }
                State::Ready(step) => step,
                State::Running(_) | State::Undoing(_) | State::Undone => {
                    // Recovered before; and what is being undone was refused there.
                    return Err(crate::upgrade::Refused::Over.into());
                }
            };
            if self.upgrade.request.until.is_some_and(|until| machine.before(until, step)) {
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
                // Nothing was done yet: the step waits as if it had not begun.
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
                // The step counts as begun, so that the next run puts things in order. A full disk may keep the journal
                // from being written; then it says so still.
                let _ = self.save();
                let _ = self.write_reports();
                Err(why)
            }
        }
    }

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

    /// Puts in order what an earlier run left in the middle of a step.
    fn recover(&mut self) -> Result<(), UpgradeError> {
        let machine = restored(&self.record);
        let Some(recovery) = machine.recovery(old_condition(&self.record.choices))? else { return Ok(()) };
        if let State::Running(step) = machine.state() {
            self.observer.note(&format!("{step} was cut short: going on from {}", recovery.from));
        }
        self.apply(&recovery)
    }

    fn apply(&mut self, recovery: &Recovery) -> Result<(), UpgradeError> {
        for cleanup in &recovery.cleanup {
            self.clean(*cleanup)?;
        }
        let mut machine = restored(&self.record);
        machine.recovered(recovery);
        self.record.state = machine.state();
        self.save()
    }

    fn discover(&mut self) -> Result<(), UpgradeError> {
        let choices = self.record.choices.clone();
        self.note(format!("{} in {}", choices.old_version, choices.old_bin.display()));
        self.note(format!("{} in {}", choices.new_version, choices.new_bin.display()));
        self.note(format!("mode {}, {} at once", choices.mode, choices.jobs));
        Ok(())
    }

    fn preflight(&mut self) -> Result<(), UpgradeError> {
        let (request, layout) = (&self.upgrade.request, &self.upgrade.layout);
        let facts = gather::facts(request, layout, self.hba, &self.record.id, true)?;
        let findings = preflight(&facts, &request.accept);
        self.record.findings.clone_from(&findings);
        self.record.was_live =
            matches!(facts.old.as_ref().map(|old| &old.running), Some(Running::Live { .. }));
        if !passes(&findings) {
            return Err(UpgradeError::Blocked(findings));
        }
        match facts.asked {
            Asked::Yes(catalog) => self.record.catalog = Some(*catalog),
            // Only a cluster that was found wanting is not asked.
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

    /// Whether the old server has run since it was stopped, which its control file tells.
    pub(super) fn old_was_used(&self) -> Result<bool, UpgradeError> {
        let choices = &self.record.choices;
        if server::live(&choices.old_data).is_some() {
            return Ok(true);
        }
        let Some(known) = &self.record.fingerprint else { return Ok(false) };
        if old_condition(choices) == Old::Disabled {
            // It cannot have been started, or is not there any more.
            return Ok(false);
        }
        let found = gather::control(&choices.old_bin, &choices.old_data).map_err(UpgradeError::Other)?;
        Ok(found.fingerprint() != *known)
    }

    fn waits_for_somebody(&self) -> bool {
        let choices = &self.record.choices;
        !(self.upgrade.request.starting && choices.starting) && server::live(&choices.new_data).is_none()
    }

    /// The report as text and as HTML, beside the journal.
    pub(super) fn write_reports(&self) -> Result<(), UpgradeError> {
        let folder = &self.work().folder;
        files::replace(&folder.join("report.txt"), report(&self.record).as_bytes(), 0o640)?;
        files::replace(&folder.join("report.html"), html(&self.record).as_bytes(), 0o640)
    }

    /// The unit that runs the old server, as far as anybody said.
    pub(super) fn unit(&self) -> Option<String> {
        match &self.record.choices.stopping {
            Stopping::Service(unit) => Some(unit.clone()),
            Stopping::Refuse | Stopping::PgCtl => None,
        }
    }

    /// Where the new cluster is now.
    pub(super) fn new_home(&self) -> Home {
        Home { data: PathBuf::from(&self.record.choices.new_data), ..self.staging_home() }
    }
}
