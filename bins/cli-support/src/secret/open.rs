//! Reading of files that only their owner, or a certain group, may read.

use super::{CREDENTIALS, MAX_SECRET_SIZE, SecretError};
use crate::account::Account;
use crate::bounded;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Protection of a file from other users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileProtection {
    /// By systemd through the folder: credentials have mode 0440 and an access control list. The owner must be root or
    /// the process's user; the mode is not checked. Symbolic links are refused.
    BySystemd,
    /// By owner and mode. The owner must be root or the process's user. Others must have no access, and the group none
    /// either, except for reading a file of root.
    Privately,
    /// None, since the file is encrypted. Owner and mode are not checked.
    Openly,
}

/// Returns the folder of the unit's credentials, from `CREDENTIALS_DIRECTORY`.
///
/// # Errors
/// Returns [`SecretError::Environment`] if the variable is unset or empty, as outside a unit with credentials.
pub(super) fn credentials() -> Result<PathBuf, SecretError> {
    std::env::var_os(CREDENTIALS)
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .ok_or_else(|| SecretError::Environment(CREDENTIALS.to_owned()))
}

/// Reads a regular file of at most 64 KiB, whose owner and mode must fit `kept`. All checks use the descriptor that is
/// read, so that nothing can change in between.
///
/// # Errors
/// Returns an error if the file cannot be read, is larger, is not regular, or its owner or mode does not fit.
pub(super) fn read(path: &Path, kept: FileProtection) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    read_with(path, kept, None)
}

/// Reads a file of at most 64 KiB like [`FileProtection::Privately`], but the account `with` may own it, or one of its
/// groups may read it.
///
/// # Errors
/// Returns an error if the file cannot be read, is larger, is not regular, or its owner or mode does not fit.
pub(super) fn read_shared(path: &Path, with: &Account) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    read_with(path, FileProtection::Privately, Some(with))
}

/// Reads a file after checking that it is a regular file of at most 64 KiB whose owner and mode fit its protection.
/// `with` is an account that may own the file as well, or one of whose groups may read it. A file system that does not
/// answer is left after 2 s.
///
/// # Errors
/// Returns [`SecretError::Read`] if the file cannot be opened or read in this time, [`SecretError::Refused`] if it is
/// larger, is not regular, or its owner or mode does not fit.
fn read_with(
    path: &Path,
    kept: FileProtection,
    with: Option<&Account>,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let (file, account) = (path.to_owned(), with.cloned());
    bounded::within(path, move || read_now(&file, kept, account.as_ref())).unwrap_or_else(|| {
        Err(SecretError::Read { file: path.display().to_string(), why: bounded::timed_out() })
    })
}

/// Reads a file like [`read_with`], however long it takes.
///
/// # Errors
/// Returns the errors of [`read_with`].
fn read_now(
    path: &Path,
    kept: FileProtection,
    with: Option<&Account>,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let place = || path.display().to_string();
    let failed = |why| SecretError::Read { file: place(), why };
    let refused = |why| SecretError::Refused { place: place(), why };
    // A credential must not be a symbolic link. O_NONBLOCK keeps a named pipe from blocking until it has a writer.
    let follow = if kept == FileProtection::BySystemd { libc::O_NOFOLLOW } else { 0 };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | follow)
        .open(path)
        .map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(refused("not a regular file"));
    }
    // The owner of a process's folder in /proc is its effective user.
    let own = std::fs::metadata("/proc/self").map_err(failed)?.uid();
    let shared = with.is_some_and(|account| account.uid == about.uid());
    if kept != FileProtection::Openly && about.uid() != own && about.uid() != 0 && !shared {
        return Err(refused("belongs to another user; chown it to yourself or to root"));
    }
    // The rule of libpq for private keys: a file owned by root may be readable by its group, that of the service; one
    // owned by the user may not. A file that is shared with an account may be readable by a group of that account.
    let group = with.is_some_and(|account| account.gids.contains(&about.gid()));
    let closed = if group || about.uid() == 0 { 0o037 } else { 0o077 };
    if kept == FileProtection::Privately && about.mode() & closed != 0 {
        return Err(refused(if closed == 0o037 {
            "accessible to others or writable by its group; chmod 0400, or 0640 where its group may read it"
        } else {
            "accessible to group or others; chmod 0400, or chown root, chgrp to the group of the service and chmod 0640"
        }));
    }
    if about.len() > MAX_SECRET_SIZE {
        return Err(refused("longer than 64 KiB"));
    }
    // Allocated at full size, since growing would leave copies in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_SIZE as usize + 1));
    file.take(MAX_SECRET_SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_SECRET_SIZE {
        return Err(refused("longer than 64 KiB"));
    }
    Ok(bytes)
}
