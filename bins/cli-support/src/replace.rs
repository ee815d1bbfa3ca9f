//! Atomic replacement of files: a reader, and a restart after a crash, sees either the old or the new content.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Error of replacing a file. The old file is intact, unless only syncing its folder failed.
#[derive(Debug, Error)]
#[error("{}: {step}", path.display())]
pub struct ReplaceError {
    /// Path of the file.
    pub path: PathBuf,
    step: &'static str,
    #[source]
    source: io::Error,
}

/// A replacement of a file. Mode and owner are set on the new file before the rename.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replacement {
    mode: Option<u32>,
    owner: Option<(u32, u32)>,
}

impl Replacement {
    /// Creates a replacement that keeps the mode (permission bits) and the owner of the old file. If there is no old
    /// file, the new one has mode 0600 and the owner of the process.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the mode of the new file; only the permission, set-ID and sticky bits (0o7777) count.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode & 0o7777);
        self
    }

    /// Sets user id and group id of the new file.
    #[must_use]
    pub fn owner(mut self, user: u32, group: u32) -> Self {
        self.owner = Some((user, group));
        self
    }

    /// Replaces the file atomically and durably: the content is written to a new file in the same folder, synced and
    /// renamed, and the folder is synced. If the path is a symbolic link, the file that it points to is replaced. If
    /// there is no file, it is created.
    ///
    /// # Errors
    /// Returns an error if the folder is missing or not writable, the path is a dangling link, the owner or mode cannot
    /// be set, or the content cannot be written or synced.
    pub fn write(self, path: &Path, content: &[u8]) -> Result<(), ReplaceError> {
        let failed = |step| move |source| ReplaceError { path: path.to_owned(), step, source };
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(why) if why.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
                std::path::absolute(path).map_err(failed("cannot be found"))?
            }
            Err(why) => return Err(failed("cannot be found")(why)),
        };
        let old = match std::fs::metadata(&real) {
            Ok(about) => Some(about),
            Err(why) if why.kind() == io::ErrorKind::NotFound => None,
            Err(why) => return Err(failed("cannot be inspected")(why)),
        };
        let mode = self.mode.or_else(|| old.as_ref().map(|old| old.mode() & 0o7777)).unwrap_or(0o600);
        let owner = self.owner.or_else(|| old.as_ref().map(|old| (old.uid(), old.gid())));

        let folder = real.parent().unwrap_or(Path::new("/"));
        // The name is hidden, so that no include of `*.conf` matches it.
        let mut fresh = tempfile::Builder::new()
            .prefix(".replace-")
            .tempfile_in(folder)
            .map_err(failed("cannot create a new file beside it"))?;
        fresh.write_all(content).map_err(failed("the new content cannot be written"))?;
        let about = fresh.as_file().metadata().map_err(failed("the new file cannot be inspected"))?;
        if let Some((user, group)) = owner.filter(|owner| *owner != (about.uid(), about.gid())) {
            fchown(fresh.as_file(), Some(user), Some(group)).map_err(failed("its owner cannot be kept"))?;
        }
        // The mode is set after the owner, since a change of the owner clears set-user-ID bits.
        fresh
            .as_file()
            .set_permissions(Permissions::from_mode(mode))
            .map_err(failed("its mode cannot be kept"))?;
        fresh.as_file().sync_all().map_err(failed("the new content cannot be written"))?;
        fresh.persist(&real).map_err(|why| failed("cannot be replaced")(why.error))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("its folder cannot be synced"))
    }
}

/// Replaces a file atomically, and keeps its mode and owner.
///
/// # Errors
/// Returns the errors of [`Replacement::write`].
pub fn replace(path: &Path, content: &[u8]) -> Result<(), ReplaceError> {
    Replacement::new().write(path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_and_link_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
    }

    #[test]
    fn a_new_file_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new");
        replace(&file, b"x").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
        Replacement::new().mode(0o644).write(&file, b"y").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o644);
    }

    #[test]
    fn a_link_to_nowhere_is_an_error_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).unwrap();
        assert!(replace(&link, b"x").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
