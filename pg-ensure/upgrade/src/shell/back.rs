//! Rollback to the old cluster.

use super::condition::{machine_of, new_condition, old_condition, restorable};
use super::error::UpgradeError;
use super::request::{HbaChecker, Observer, Services};
use super::run::Run;
use super::upgrade::Upgrade;
use super::{cleanup, gather};
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
        let choices = &record.choices;
        let cleanups =
            machine.rollback(old_condition(choices), new_condition(choices), restorable(&record))?;
        let mut run = Run { request: &self.request, layout: &self.layout, record, hba, services, observer };
        machine.begin_rollback()?;
        run.record.state = machine.state();
        run.save()?;
        for cleanup in cleanups {
            cleanup::clean(&mut run, cleanup)?;
        }
        run.record.state = State::RolledBack;
        run.save()?;
        run.write_reports()?;
        Ok(run.record)
    }
}
