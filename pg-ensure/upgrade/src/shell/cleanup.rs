//! Cleanup after an interruption, and for a rollback. The old data directory is only touched to restore the name of its
//! control file, or to restore the backup if the data are gone.

use super::error::{UpgradeError, WithPath};
use super::journal::now;
use super::run::Run;
use super::server::{self, start_public};
use super::tools::output;
use super::{files, leftovers};
use crate::facts::Backup;
use crate::machine::Cleanup;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Performs a cleanup. Idempotent. A backup that was made and verified is not discarded.
///
/// # Errors
/// Returns an error if a process cannot be ended, a file cannot be removed or renamed, the backup cannot be
/// restored, or the old server cannot be started.
pub(super) fn clean(run: &mut Run<'_>, cleanup: Cleanup) -> Result<(), UpgradeError> {
    let choices = run.record.choices.clone();
    match cleanup {
        Cleanup::StopLeftovers => {
            leftovers::stop(run.work(), &run.record.id, &[&choices.old_data, &choices.staging])
        }
        // A backup that was made and verified is kept.
        Cleanup::DiscardBackup if run.record.backup_made => Ok(()),
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
        Cleanup::DiscardNew => discard_new(run),
        Cleanup::EnableOld => {
            let global = choices.old_data.join("global");
            if global.join("pg_control").exists() {
                return Ok(());
            }
            files::rename(&global.join("pg_control.old"), &global.join("pg_control"))
        }
        Cleanup::RestoreBackup => restore_backup(run),
        Cleanup::StartOld => start_old(run),
    }
}

/// Removes the staging directory, the content of the new WAL directory, and the new cluster's directories in
/// tablespaces. The output of pg_upgrade about its failure is moved to the logs first, if possible.
///
/// # Errors
/// Returns an error if something cannot be removed.
fn discard_new(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let choices = &run.record.choices;
    let said = choices.staging.join("pg_upgrade_output.d");
    if said.exists() {
        let kept = run.work().logs().join(format!("pg_upgrade-{}", now()));
        files::make(&run.work().logs())?;
        // An error, such as a full disk or another file system, must not prevent the removal.
        let _ = fs::rename(&said, &kept);
    }
    files::remove(&choices.staging)?;
    if let Some(folder) = &choices.wal_dir {
        for name in files::names(folder) {
            files::remove(&folder.join(name))?;
        }
    }
    for folder in &run.record.tablespaces {
        files::remove(folder)?;
    }
    choices.staging.parent().map_or(Ok(()), files::sync_folder)
}

/// Restores the verified base backup in place of a cluster that linking or swapping has destroyed. The remains of
/// the cluster are kept under another name.
///
/// # Errors
/// Returns an error if there is no base backup, or it cannot be copied or renamed.
fn restore_backup(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let choices = run.record.choices.clone();
    let Backup::Base(backup) = &choices.backup else {
        return Err(crate::TransitionError::OldGone { mode: choices.mode }.into());
    };
    let gone = files::beside(&choices.old_data, &format!(".gone-{}", run.record.id));
    let partial = files::beside(&choices.old_data, &format!(".back-{}", run.record.id));
    // An earlier attempt is complete if the remains were moved away and a cluster is in their place.
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
    run.record.remarks.push(format!(
        "{} is from the backup; what was left of the old cluster is in {}",
        choices.old_data.display(),
        gone.display()
    ));
    Ok(())
}

/// Starts the old server, if it was running when the upgrade began and is not running now.
///
/// # Errors
/// Returns an error if the server does not start, or the operator has to start the unit.
fn start_old(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    if !run.record.was_live || server::running_pid_file(&run.record.choices.old_data).is_some() {
        return Ok(());
    }
    if let Some(unit) = run.unit() {
        return run.set_service(&unit, true);
    }
    let options = run.record.catalog.as_ref().map(|catalog| catalog.options.clone()).unwrap_or_default();
    start_public(&run.old_home(), &options)
}

/// Copies a folder with owners, modes and times. Blocks are shared if the file system supports that.
///
/// # Errors
/// Returns an error if `cp` fails.
fn copy(from: &Path, to: &Path) -> Result<(), UpgradeError> {
    output(Command::new("cp").args(["-a", "--reflink=auto", "--"]).arg(from).arg(to)).map(|_| ())
}
