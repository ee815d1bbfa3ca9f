//! The journal on disk, the lock, and the directories of an upgrade.

use super::error::{UpgradeError, WithPath};
use super::files;
use crate::record::Record;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the milliseconds since 1970-01-01 UTC.
pub(super) fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// The work folder of an upgrade: journal, lock, inventory, logs and reports.
#[derive(Clone, Debug)]
pub(super) struct WorkFolder {
    pub(super) folder: PathBuf,
}

impl WorkFolder {
    /// Returns the path of the journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.folder.join("journal.json")
    }

    /// Returns the path of the inventory.
    pub(super) fn inventory(&self) -> PathBuf {
        self.folder.join("inventory.json")
    }

    /// Returns the folder of logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Returns the folder of private servers' sockets and access rules: in the work folder, or below `/tmp` if the path
    /// of a socket would be too long.
    pub(super) fn private(&self) -> PathBuf {
        let beside = self.folder.join("private");
        // The path of a Unix-domain socket has at most 107 bytes. A longer one is replaced by a short path that is
        // derived from it.
        if beside.as_os_str().len() + "/.s.PGSQL.50432".len() <= 107 {
            return beside;
        }
        let mut hasher = DefaultHasher::new();
        beside.hash(&mut hasher);
        PathBuf::from(format!("/tmp/.upgrade-pg-cluster-{:016x}", hasher.finish()))
    }

    /// Reads the journal. `None` if there is none.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] if the journal cannot be read or parsed, or has another format version.
    pub(super) fn load(&self) -> Result<Option<Record>, UpgradeError> {
        let path = self.journal();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(why).at(&path, "cannot be read"),
        };
        let wrong = |why: String| UpgradeError::Journal { path: path.clone(), why };
        let record: Record = serde_json::from_slice(&text).map_err(|why| wrong(why.to_string()))?;
        if record.format != 2 {
            return Err(wrong(format!(
                "format {} is not known to this program: finish or roll back with the version that began",
                record.format
            )));
        }
        Ok(Some(record))
    }

    /// Writes the journal atomically and durably.
    ///
    /// # Errors
    /// Returns an error if it cannot be serialized or written.
    pub(super) fn store(&self, record: &Record) -> Result<(), UpgradeError> {
        let text = serde_json::to_vec_pretty(record)
            .map_err(|why| UpgradeError::Journal { path: self.journal(), why: why.to_string() })?;
        files::replace(&self.journal(), &text, 0o600)
    }

    /// Locks the work folder against other runs until the returned file is dropped. Does not wait. The lock file is
    /// never removed, since two runs could otherwise lock different files.
    ///
    /// # Errors
    /// Returns [`UpgradeError::Locked`] if another run holds the lock.
    pub(super) fn lock(&self) -> Result<File, UpgradeError> {
        files::make(&self.folder)?;
        let path = self.folder.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .at(&path, "cannot be opened")?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(UpgradeError::Locked { path }),
            Err(why) => Err(why).at(&path, "cannot be locked"),
        }
    }
}

/// The directories of an upgrade.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) old_data: PathBuf,
    pub(super) new_data: PathBuf,
    pub(super) staging: PathBuf,
    backup: PathBuf,
    pub(super) work: WorkFolder,
    /// Name of the cluster, such as `main`, if the data directories are below a directory of this name, as on Debian.
    /// `None` otherwise.
    pub(super) cluster: Option<String>,
}

impl Layout {
    /// Returns the default path of the backup: beside the clusters, with the first number as suffix whose path does not
    /// exist.
    pub(super) fn backup(&self) -> PathBuf {
        let free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
        let numbered = (2..).map(|number: u32| files::beside(&self.backup, &format!("-{number}")));
        std::iter::once(self.backup.clone()).chain(numbered).find(free).unwrap_or_else(|| self.backup.clone())
    }
}

/// Determines the directories of an upgrade below `base`. The data directories are in a subdirectory `cluster`, or
/// `main` if only that contains a cluster. `old` and `new` override the data directories.
pub(super) fn layout(
    base: &Path,
    from: impl std::fmt::Display,
    to: impl std::fmt::Display,
    cluster: Option<&str>,
    old: Option<&Path>,
    new: Option<&Path>,
) -> Layout {
    let old_base = base.join(from.to_string());
    let debian = !old_base.join("PG_VERSION").exists() && old_base.join("main/PG_VERSION").exists();
    let new_debian = base.join(to.to_string()).join("main/PG_VERSION").exists();
    let cluster = cluster.map(str::to_owned).or_else(|| (debian || new_debian).then(|| "main".to_owned()));
    let below = |folder: PathBuf| cluster.as_ref().map_or_else(|| folder.clone(), |name| folder.join(name));
    let suffix = cluster.as_ref().map(|name| format!("-{name}")).unwrap_or_default();
    Layout {
        old_data: old.map_or_else(|| below(old_base), Path::to_owned),
        new_data: new.map_or_else(|| below(base.join(to.to_string())), Path::to_owned),
        staging: base.join(format!(".new-{to}{suffix}")),
        backup: base.join(format!("backup-{from}-before-{to}{suffix}")),
        work: WorkFolder { folder: base.join(format!("upgrade-{from}-{to}{suffix}")) },
        cluster,
    }
}
