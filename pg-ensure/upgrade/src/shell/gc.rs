//! Garbage collection: removal of old clusters after a retention time.

use super::error::UpgradeError;
use super::journal::{WorkFolder, now};
use super::upgrade::Upgrade;
use super::{files, server};
use crate::facts::Backup;
use crate::machine::State;
use crate::record::Record;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Options of [`collect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcOptions {
    /// Retention time since the end of an upgrade. Clusters of later upgrades are kept.
    pub older_than: Duration,
    /// `true` to remove the backups of the removed clusters, too.
    pub backups: bool,
    /// `true` to remove nothing. The report is the same.
    pub dry_run: bool,
}

/// The removed and the kept clusters of a garbage collection ([`collect`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Removed directories and files, each with its size in bytes. In a dry run, those that would be removed.
    pub removed: Vec<(PathBuf, u64)>,
    /// Clusters that were kept, each with the reason.
    pub kept: Vec<String>,
}

/// Removes the old clusters of completed upgrades whose journals are in the directory `base`. Clusters that may not be
/// removed are kept, and are listed in the report with the reason.
///
/// # Errors
/// Returns an [`UpgradeError`] if a journal cannot be read, an upgrade is locked, or a directory cannot be removed.
pub fn collect(base: &Path, options: &GcOptions) -> Result<GcReport, UpgradeError> {
    let mut garbage = GcReport::default();
    for name in files::names(base).into_iter().filter(|name| name.starts_with("upgrade-")) {
        let work = WorkFolder { folder: base.join(&name) };
        let Some(record) = work.load()? else { continue };
        let _lock = work.lock()?;
        match may_go(&record, options.older_than) {
            Ok(()) => {
                remove(&record, options, &mut garbage)?;
                if !options.dry_run && !record.removed {
                    let record = Record { removed: true, ..record };
                    work.store(&record)?;
                }
            }
            Err(why) => garbage.kept.push(format!("{}: {why}", record.choices.old_data.display())),
        }
    }
    Ok(garbage)
}

/// Checks that an old cluster may be removed: its upgrade is complete and ended at least `older_than` ago, the new
/// cluster exists, no server runs on the old one, and it is a directory with a cluster of the old version, or was
/// already removed by this program. The error is the reason why not.
fn may_go(record: &Record, older_than: Duration) -> Result<(), String> {
    let choices = &record.choices;
    if record.state != State::Done {
        return Err("its upgrade is not done".to_owned());
    }
    let ended = record.ended().ok_or_else(|| "the journal does not say when its upgrade ended".to_owned())?;
    let age = now().saturating_sub(ended) / 1_000;
    if age < older_than.as_secs() {
        return Err(format!("its upgrade was done {} days ago", age / 86_400));
    }
    let new = fs::read_to_string(choices.new_data.join("PG_VERSION")).unwrap_or_default();
    if new.trim() != choices.to.to_string() {
        return Err(format!("there is no cluster of {} in {}", choices.to, choices.new_data.display()));
    }
    if server::running_pid_file(&choices.old_data).is_some() {
        return Err("a server runs on it".to_owned());
    }
    if record.removed {
        return Ok(());
    }
    let Ok(about) = fs::symlink_metadata(&choices.old_data) else {
        return Err("it is no longer there, and this program did not remove it".to_owned());
    };
    if !about.is_dir() {
        return Err("it is a link, and where it leads is not known".to_owned());
    }
    let version = fs::read_to_string(choices.old_data.join("PG_VERSION")).unwrap_or_default();
    if version.trim() != choices.from.to_string() {
        return Err(format!("it is not a cluster of {}", choices.from));
    }
    Ok(())
}

/// Removes an old cluster with its directories in tablespaces and, as the options say, its backup, and adds each path
/// to the report.
///
/// # Errors
/// Returns an error if a path cannot be removed.
fn remove(record: &Record, options: &GcOptions, garbage: &mut GcReport) -> Result<(), UpgradeError> {
    let choices = &record.choices;
    let mut paths = Vec::new();
    let links = choices.old_data.join("pg_tblspc");
    for oid in files::names(&links) {
        let Ok(location) = fs::read_link(links.join(oid)) else { continue };
        let prefix = format!("PG_{}_", choices.from);
        let old = files::names(&location).into_iter().filter(|name| name.starts_with(&prefix));
        paths.extend(old.map(|name| location.join(name)));
    }
    if options.backups
        && let Backup::Base(path) | Backup::Dump(path) = &choices.backup
    {
        let all = [path.clone(), files::beside(path, ".tablespaces")];
        paths.extend(all.into_iter().filter(|path| fs::symlink_metadata(path).is_ok()));
    }
    // The data directory is renamed first, so that a partly removed one is not taken for a cluster, and removed last,
    // since it contains the locations of the tablespaces.
    if !record.removed {
        paths.push(choices.old_data.clone());
    }
    for path in paths {
        let size = if path.is_dir() {
            files::bytes(&path, &[])
        } else {
            fs::metadata(&path).map_or(0, |about| about.len())
        };
        if !options.dry_run {
            let going = if path == choices.old_data {
                let going = files::beside(&path, ".removed");
                files::rename(&path, &going)?;
                going
            } else {
                path.clone()
            };
            files::remove(&going)?;
        }
        garbage.removed.push((path, size));
    }
    Ok(())
}

impl Upgrade {
    /// Returns the directory that contains the clusters and the journals.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.request.base
    }
}
