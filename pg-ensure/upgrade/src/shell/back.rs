//! Rollback to the old cluster.

use super::condition::{committed, machine_of, old_condition};
use super::error::UpgradeError;
use super::request::{HbaChecker, Observer, Services};
use super::run::Run;
use super::upgrade::Upgrade;
use super::{cleanup, gather};
use crate::facts::Backup;
use crate::machine::State;
use crate::record::Record;

impl Upgrade {
    /// Rolls back to the old cluster, and returns the record. Possible until the switch to the new cluster only.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] if a rollback is not possible or a cleanup fails. The call can be repeated.
    pub fn roll_back(
        &self,
        hba: &dyn HbaChecker,
        services: &dyn Services,
        observer: &mut dyn Observer,
    ) -> Result<Record, UpgradeError> {
        let work = &self.layout.work;
        if work.load()?.is_none() {
            return Err(crate::TransitionError::Over.into());
        }
        let _lock = work.lock()?;
        let record = work.load()?.ok_or(crate::TransitionError::Over)?;
        gather::private_folder(work)?;
        let mut machine = machine_of(&record);
        let backup = record.backup_made && matches!(record.choices.backup, Backup::Base(_));
        let way = machine.way_back(old_condition(&record.choices), committed(&record.choices), backup)?;
        let mut run = Run { request: &self.request, layout: &self.layout, record, hba, services, observer };
        machine.begin_rollback()?;
        run.record.state = machine.state();
        run.save()?;
        for cleanup in way {
            cleanup::clean(&mut run, cleanup)?;
        }
        run.record.state = State::RolledBack;
        run.save()?;
        run.write_reports()?;
        Ok(run.record)
    }
}
