//! Reading of files that only their owner may read.

use super::{CREDENTIALS, MAX_SECRET_SIZE, SecretError};
use crate::account::Account;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The protection of a file from other users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileProtection {
    /// By systemd, through the folder: credentials have the mode 0440 and an access list.
    BySystemd,
    /// By the mode of the file.
    Privately,
    /// Not needed, since the file is encrypted.
    Openly,
}

/// Returns the folder of the unit's credentials.
pub(super) fn credentials() -> Result<PathBuf, SecretError> {
    std::env::var_os(CREDENTIALS)
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .ok_or_else(|| SecretError::Environment(CREDENTIALS.to_owned()))
}

/// Reads a file. All checks use the descriptor that is read, so that nothing can change in between.
pub(super) fn read(path: &Path, kept: FileProtection) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    read_with(path, kept, None)
}

/// Reads a file that may also belong to an account, or be readable by one of its groups.
pub(super) fn read_shared(path: &Path, with: &Account) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    read_with(path, FileProtection::Privately, Some(with))
}

fn read_with(
    path: &Path,
    kept: FileProtection,
    with: Option<&Account>,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let place = || path.display().to_string();
    let failed = |why| SecretError::Read { file: place(), why };
    let refused = |why| SecretError::Refused { place: place(), why };
    // A credential must not be a link. A pipe would block until it has a writer.
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
    // The rule of libpq for keys: a file of root's may be readable for its group, which is the service's, whoever reads it;
    // one's own may not be. A file that is shared with an account may be readable for a group of that account.
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
    // Allocated at full size: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_SIZE as usize + 1));
    file.take(MAX_SECRET_SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_SECRET_SIZE {
        return Err(refused("longer than 64 KiB"));
    }
    Ok(bytes)
}
