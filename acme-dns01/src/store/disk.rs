//! Atomic file operations that set mode and owner before the file becomes visible.

use super::StoreError;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Tries to create a file in a folder, with mode 0600. The file has no name or, where the filesystem does not support
/// that, is removed at once.
///
/// # Errors
/// Returns the error of opening the folder, or of creating or removing the file.
pub(super) fn probe(folder: &Path) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::TMPFILE;
    match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        // Filesystems without files that have no name.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
            let path = folder.join(format!(".acme-dns01-probe-{}", std::process::id()));
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            std::fs::remove_file(&path)
        }
        other => other.map(drop).map_err(Into::into),
    }
}

/// Returns a function that converts an I/O error at this path into a [`StoreError::File`], with advice for a full
/// filesystem or quota, missing permission and a read-only filesystem.
pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    move |why| {
        let advice = match why.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                " (make room; the old certificate is still in place)"
            }
            io::ErrorKind::PermissionDenied => {
                " (the account that runs this must own the folder, and be in the group that it gives files to; the old certificate \
                 is still in place)"
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                " (add the folder to ReadWritePaths= of the unit; one that was made after the start needs a restart, too)"
            }
            _ => "",
        };
        StoreError::File { path: path.display().to_string(), why, advice }
    }
}

/// Mode, user and group of a file. `None` leaves the user or group unchanged.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileAttributes {
    pub(super) mode: u32,
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
}

impl FileAttributes {
    /// Returns attributes with this mode that leave user and group unchanged.
    pub(super) const fn private(mode: u32) -> Self {
        Self { mode, user: None, group: None }
    }

    /// Sets user and group, then the mode, of an open file. User and group that are `None` remain unchanged.
    ///
    /// # Errors
    /// Returns an error if one of them cannot be set.
    fn set(self, file: &File) -> io::Result<()> {
        if self.user.is_some() || self.group.is_some() {
            rustix::fs::fchown(file, self.user.map(Uid::from_raw), self.group.map(Gid::from_raw))?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        Ok(())
    }
}

/// Sets the group of a file or folder, and leaves its user and mode unchanged.
///
/// # Errors
/// Returns an error if the file cannot be opened for reading, or the account may not give it to the group.
pub(super) fn set_group(path: &Path, group: u32) -> io::Result<()> {
    let file = File::open(path)?;
    rustix::fs::fchown(&file, None, Some(Gid::from_raw(group)))?;
    Ok(())
}

/// Copies the POSIX access control lists (access and default) of a file or folder to another. A list that the source
/// does not have, that exceeds 4096 bytes, or that cannot be read, is skipped.
///
/// # Errors
/// Returns [`StoreError::File`] if a list cannot be set.
pub(super) fn copy_acl(from: &Path, to: &Path) -> Result<(), StoreError> {
    for name in ["system.posix_acl_access", "system.posix_acl_default"] {
        let mut value = vec![0; 4096];
        let Ok(length) = rustix::fs::getxattr(from, name, &mut value[..]) else { continue };
        value.truncate(length);
        rustix::fs::setxattr(to, name, &value, rustix::fs::XattrFlags::empty())
            .map_err(|why| failed(to)(why.into()))?;
    }
    Ok(())
}

/// Returns `true` if a file or folder has a POSIX access control list of at most 4096 bytes for access. A default list
/// does not count, and an error is `false`.
pub(super) fn has_acl(path: &Path) -> bool {
    let mut value = [0; 4096];
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut value[..]).is_ok()
}

/// Creates a folder and its missing parents with mode 0700 (less the umask). Succeeds if it exists, and leaves its mode
/// unchanged.
///
/// # Errors
/// Returns [`StoreError::File`] if a folder cannot be created.
pub(super) fn folder(path: &Path) -> Result<(), StoreError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))
}

/// Sets owner and mode of a folder or file.
///
/// # Errors
/// Returns [`StoreError::File`] if the owner or the mode cannot be set.
pub(super) fn set_rights(path: &Path, rights: FileAttributes) -> Result<(), StoreError> {
    File::open(path).and_then(|file| rights.set(&file)).map_err(failed(path))
}

/// Creates a file, which must not exist, sets its rights before the content is written, and syncs it. The folder is not
/// synced. After an error, an incomplete file may remain.
///
/// # Errors
/// Returns [`StoreError::File`] if the file exists, its rights cannot be set, or it cannot be written or synced.
pub(super) fn create(path: &Path, content: &[u8], rights: FileAttributes) -> Result<(), StoreError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        rights.set(&file)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(failed(path))
}

/// Replaces or creates a file atomically and durably, by way of a temporary file with the suffix `.new`. One that
/// remained from before is removed.
///
/// # Errors
/// Returns [`StoreError::File`] if the temporary file cannot be removed, written or renamed, or the folder cannot be
/// synced. The former content then remains, unless only the folder could not be synced.
pub(super) fn replace(path: &Path, content: &[u8], rights: FileAttributes) -> Result<(), StoreError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    match std::fs::remove_file(temporary) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(failed(temporary)(why)),
        _ => {}
    }
    create(temporary, content, rights).inspect_err(|_| {
        let _ = std::fs::remove_file(temporary);
    })?;
    std::fs::rename(temporary, path).map_err(failed(path))?;
    sync(path.parent().unwrap_or(path))
}

/// Syncs a folder, so that changes of its entries are durable.
///
/// # Errors
/// Returns [`StoreError::File`] if it cannot be opened or synced.
pub(super) fn sync(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(failed(folder))
}

/// Returns the content of a file. `None` if the file does not exist.
///
/// # Errors
/// Returns [`StoreError::File`] if it exists and cannot be read.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(failed(path)(why)),
    }
}

/// Returns the content of a file in an open folder. `None` if the file does not exist.
///
/// # Errors
/// Returns an error if it exists and cannot be read.
pub(super) fn read_in(folder: &File, name: &str) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(file) => {
            let mut content = Vec::new();
            File::from(file).read_to_end(&mut content)?;
            Ok(Some(content))
        }
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// Removes a folder with its content, or a file in its place. Succeeds if it does not exist.
///
/// # Errors
/// Returns [`StoreError::File`] if it cannot be removed completely.
pub(super) fn remove_folder(path: &Path) -> Result<(), StoreError> {
    let is_other = path.symlink_metadata().is_ok_and(|found| !found.is_dir());
    let removed = if is_other { std::fs::remove_file(path) } else { std::fs::remove_dir_all(path) };
    match removed {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(failed(path)(why)),
        _ => Ok(()),
    }
}
