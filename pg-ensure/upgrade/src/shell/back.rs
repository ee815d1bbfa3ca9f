//! Putting things in order: after a kill, and on the way back. Nothing here touches the old data but to give a file its
//! name back, or to put the backup in their place where they are gone.

use super::condition::{committed, machine_of, old_condition};
use super::error::{UpgradeError, WithPath};
use super::journal::now;
use super::leftovers;
use super::request::{HbaChecker, Observer, Services};
use super::run::Run;
use super::server::{self, start_public};
use super::tools::output;
use super::upgrade::Upgrade;
use super::{files, gather};
use crate::facts::Backup;
use crate::machine::{Cleanup, State};
use crate::record::Record;
use std::fs;
use std::path::Path;
use std::process::Command;

impl Upgrade {
    /// Rolls back to the old cluster. Possible until the switch only.
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
            run.clean(cleanup)?;
        }
        run.record.state = State::RolledBack;
        run.save()?;
        run.write_reports()?;
        Ok(run.record)
    }
}

impl Run<'_> {
    /// Performs a cleanup. Idempotent.
    pub(super) fn clean(&mut self, cleanup: Cleanup) -> Result<(), UpgradeError> {
        let choices = self.record.choices.clone();
        match cleanup {
            Cleanup::StopLeftovers => {
                leftovers::stop(self.work(), &self.record.id, &[&choices.old_data, &choices.staging])
            }
            // One that was made and verified stays.
            Cleanup::DiscardBackup if self.record.backup_made => Ok(()),
            Cleanup::DiscardBackup => match &choices.backup {
                Backup::Base(path) | Backup::Dump(path) => {
                    for part in
                        [path.clone(), files::beside(path, ".partial"), files::beside(path, ".tablespaces")]
                    {
                        files::remove(&part)?;
                    }
                    Ok(())
                }
                Backup::Asserted(_) => Ok(()),
            },
            Cleanup::DiscardNew => self.discard_new(),
            Cleanup::EnableOld => {
                let global = choices.old_data.join("global");
                if global.join("pg_control").exists() {
                    return Ok(());
                }
                files::rename(&global.join("pg_control.old"), &global.join("pg_control"))
            }
            Cleanup::RestoreBackup => self.restore_backup(),
            Cleanup::StartOld => self.start_old(),
        }
    }

    /// Removes the new cluster that was not finished. What pg_upgrade wrote about its failure is kept.
    fn discard_new(&mut self) -> Result<(), UpgradeError> {
        let choices = &self.record.choices;
        let said = choices.staging.join("pg_upgrade_output.d");
        if said.exists() {
            let kept = self.work().logs().join(format!("pg_upgrade-{}", now()));
            files::make(&self.work().logs())?;
            // Another file system or a full disk must not keep the folder from being removed.
            let _ = fs::rename(&said, &kept);
        }
        files::remove(&choices.staging)?;
        if let Some(folder) = &choices.wal_dir {
            for name in files::names(folder) {
                files::remove(&folder.join(name))?;
            }
        }
        for folder in &self.record.tablespaces {
            files::remove(folder)?;
        }
        choices.staging.parent().map_or(Ok(()), files::sync_folder)
    }

    /// Replaces a cluster that linking or swapping has destroyed by the verified backup. The remains are kept under another name.
    fn restore_backup(&mut self) -> Result<(), UpgradeError> {
        let choices = self.record.choices.clone();
        let Backup::Base(backup) = &choices.backup else {
            return Err(crate::TransitionError::OldGone { mode: choices.mode }.into());
        };
        let gone = files::beside(&choices.old_data, &format!(".gone-{}", self.record.id));
        let partial = files::beside(&choices.old_data, &format!(".back-{}", self.record.id));
        // Done by an earlier try, if what was left of the old cluster is aside and a cluster is in its place.
        if !(gone.exists() && choices.old_data.exists()) {
            files::remove(&partial)?;
            copy(backup, &partial)?;
            let links = partial.join("pg_tblspc");
            let aside = files::beside(backup, ".tablespaces");
            for oid in files::names(&links) {
                let link = links.join(&oid);
                let source = if gone.exists() { &gone } else { &choices.old_data };
                let original = source.join("pg_tblspc").join(&oid);
                let location = fs::read_link(&original).at(&original, "cannot be read")?;
                for folder in files::names(&aside.join(&oid)) {
                    let (from, to) = (aside.join(&oid).join(&folder), location.join(&folder));
                    files::remove(&to)?;
                    copy(&from, &to)?;
                }
                files::remove(&link)?;
                std::os::unix::fs::symlink(&location, &link).at(&link, "cannot be made")?;
            }
            if choices.old_data.exists() {
                files::rename(&choices.old_data, &gone)?;
            }
            files::rename(&partial, &choices.old_data)?;
        }
        self.record.left.push(format!(
            "{} is from the backup; what was left of the old cluster is in {}",
            choices.old_data.display(),
            gone.display()
        ));
        Ok(())
    }

    /// Starts the old server, if it ran when the upgrade began.
    fn start_old(&mut self) -> Result<(), UpgradeError> {
        if !self.record.was_live || server::running_pid_file(&self.record.choices.old_data).is_some() {
            return Ok(());
        }
        if let Some(unit) = self.unit() {
            return self.set_service(&unit, true);
        }
        let options = self.record.catalog.as_ref().map(|catalog| catalog.options.clone()).unwrap_or_default();
        start_public(&self.old_home(), &options)
    }
}

/// Copies a folder with owners, modes and times, sharing blocks where the file system can.
fn copy(from: &Path, to: &Path) -> Result<(), UpgradeError> {
    output(Command::new("cp").args(["-a", "--reflink=auto", "--"]).arg(from).arg(to)).map(|_| ())
}
