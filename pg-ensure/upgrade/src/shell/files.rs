//! File operations: atomic replacement, creation, removal, sizes.

use super::error::{UpgradeError, WithPath};
use crate::mode::FileCopy;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Replaces a file atomically and durably, with this mode.
///
/// # Errors
/// Returns an error if the file cannot be written, renamed or synced.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), UpgradeError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let write = || -> io::Result<()> {
        let mut fresh = tempfile::Builder::new().prefix(".replace-").tempfile_in(folder)?;
        fresh.write_all(content)?;
        fresh.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        fresh.as_file().sync_all()?;
        fresh.persist(path).map_err(|why| why.error)?;
        File::open(folder)?.sync_all()
    };
    write().at(path, "cannot be written")
}

/// Creates a folder and its missing parents with mode 0700. Succeeds if it exists.
///
/// # Errors
/// Returns an error if a folder cannot be created.
pub(super) fn make(path: &Path) -> Result<(), UpgradeError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).at(path, "cannot be made")
}

/// Creates a folder that only this account may access.
///
/// # Errors
/// Returns an error if the folder exists and belongs to another account, or others may access it.
pub(super) fn make_own(path: &Path) -> Result<(), UpgradeError> {
    make(path)?;
    let about = fs::symlink_metadata(path).at(path, "cannot be looked at")?;
    if !about.is_dir() || about.uid() != rustix::process::geteuid().as_raw() || about.mode() & 0o077 != 0 {
        let why = io::Error::other("it is not a folder of this account alone: remove it");
        return Err(why).at(path, "cannot be used");
    }
    Ok(())
}

/// Syncs a folder, so that changes of its entries are durable.
///
/// # Errors
/// Returns an error if it cannot be opened or synced.
pub(super) fn sync_folder(path: &Path) -> Result<(), UpgradeError> {
    File::open(path).and_then(|folder| folder.sync_all()).at(path, "cannot be synced")
}

/// Renames a file or folder, and syncs both parents.
///
/// # Errors
/// Returns an error if it cannot be renamed, or a parent cannot be synced.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), UpgradeError> {
    fs::rename(from, to).at(to, "cannot get its name")?;
    for folder in [from.parent(), to.parent()].into_iter().flatten() {
        sync_folder(folder)?;
    }
    Ok(())
}

/// Removes a file, or a folder with its content. Symbolic links are removed, not followed. Succeeds if the path does
/// not exist.
///
/// # Errors
/// Returns an error if it cannot be removed completely.
pub(super) fn remove(path: &Path) -> Result<(), UpgradeError> {
    match fs::symlink_metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(why) => Err(why).at(path, "cannot be looked at"),
        Ok(about) if about.is_dir() => fs::remove_dir_all(path).at(path, "cannot be removed"),
        Ok(_) => fs::remove_file(path).at(path, "cannot be removed"),
    }
}

/// Appends a suffix to the last component of a path.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns the disk usage of the files in a folder in bytes. Symbolic links are not followed; `skip` contains names of
/// entries in the folder itself that are omitted. Files that disappear meanwhile, and an unreadable folder, count as 0.
pub(super) fn bytes(path: &Path, skip: &[&str]) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .filter_map(Result::ok)
        .filter(|entry| !skip.iter().any(|name| entry.file_name() == *name))
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => bytes(&entry.path(), &[]),
            Ok(about) => about.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// Returns the free space for this account on a folder's file system, in bytes.
///
/// # Errors
/// Returns an error if the file system cannot be queried.
pub(super) fn free(path: &Path) -> Result<u64, UpgradeError> {
    let about = rustix::fs::statvfs(path).at(path, "cannot be measured")?;
    Ok(about.f_bavail * about.f_frsize)
}

/// Returns the nearest existing path at or above a path, and its device number. `None` if none can be examined.
pub(super) fn device(path: &Path) -> Option<(PathBuf, u64)> {
    let there = path.ancestors().find_map(|path| Some((path.to_owned(), fs::metadata(path).ok()?.dev())))?;
    Some(there)
}

/// Returns the fastest copy of a file that works in this folder, which is tried with unnamed temporary files.
pub(super) fn file_copy(folder: &Path) -> FileCopy {
    if clones(folder) {
        FileCopy::Clone
    } else if copies_in_kernel(folder) {
        FileCopy::InKernel
    } else {
        FileCopy::Plain
    }
}

/// Returns `true` if the file system supports cloning (FICLONE).
fn clones(folder: &Path) -> bool {
    let tried = || -> io::Result<()> {
        let mut source = tempfile::tempfile_in(folder)?;
        source.write_all(&[7; 8192])?;
        let target = tempfile::tempfile_in(folder)?;
        rustix::fs::ioctl_ficlone(&target, &source)?;
        Ok(())
    };
    tried().is_ok()
}

/// Returns `true` if `copy_file_range()` works in this folder.
fn copies_in_kernel(folder: &Path) -> bool {
    let tried = || -> io::Result<bool> {
        let mut source = tempfile::tempfile_in(folder)?;
        source.write_all(&[7; 8192])?;
        let target = tempfile::tempfile_in(folder)?;
        let (mut from, mut to) = (0, 0);
        Ok(rustix::fs::copy_file_range(&source, Some(&mut from), &target, Some(&mut to), 8192)? > 0)
    };
    tried().unwrap_or(false)
}

/// Returns the names of a folder's entries, sorted. Empty if the folder cannot be read. Names that are not UTF-8 are
/// omitted.
pub(super) fn names(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}
