//! Errors of certificates, and advice on missing permissions.

use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The reason a pair of certificate and key, or a folder of them, is not used. Certificates that were loaded before
/// stay in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Reading a folder of certificates failed, or the thread that watches it cannot be started.
    #[error("cannot read the folder {}", path.display())]
    Folder {
        /// The path of the folder.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// Reading a file failed.
    #[error("cannot read {}{}", path.display(), permission_advice(path, source))]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// Users other than the key file's owner and group have access to the file: one of the lowest three permission
    /// bits is set.
    #[error("{}: all users can read this key (mode {mode:04o}): chmod 0640 {}", path.display(), path.display())]
    Readable {
        /// The path of the key file.
        path: PathBuf,
        /// The permission bits of the file, with set-user-ID, set-group-ID and sticky.
        mode: u32,
    },
    /// A file contains no valid certificate or private key in PEM, or the certificate is not that of the key.
    #[error("{}: {why}", path.display())]
    Pem {
        /// The path of the file.
        path: PathBuf,
        /// The fault of the file as text.
        why: String,
    },
    /// The private key is of an unsupported kind.
    #[error("the pair in {} cannot be used", path.display())]
    Pair {
        /// The path of the folder or of the certificate file.
        path: PathBuf,
        /// The error of rustls.
        source: rustls::Error,
    },
}

/// Returns advice for a file that the process may not read, in parentheses and after a space: the command that permits
/// it, from the mode and group of the file or of the nearest folder whose metadata can be read; or that the permissions are
/// not what forbids it. Empty for any other error, or if no metadata can be read.
fn permission_advice(path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    if accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS).is_ok() {
        return " (its permissions allow it: a sandbox of this process does not)".to_owned();
    }
    // If the metadata of the file cannot be read, a folder above it cannot be entered.
    let readable = |path: &Path| std::fs::metadata(path).map(|found| (path.to_owned(), found)).ok();
    let Some((path, found)) = path.ancestors().find_map(readable) else { return String::new() };
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let group = Group { id: found.gid(), name: group_name(&groups, found.gid()) };
    format!(" ({})", fix(&path, found.mode() & 0o7777, found.is_dir(), &group))
}

/// A group of the system.
struct Group<'a> {
    /// The numeric identifier of the group.
    id: u32,
    /// The name of the group. `None` if it is not known.
    name: Option<&'a str>,
}

/// Returns the name of the group with this ID in `groups`, the text of `/etc/group`. `None` if it is not listed.
fn group_name(groups: &str, id: u32) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        let (name, found) = (parts.next()?, parts.nth(1)?);
        (found.parse() == Ok(id)).then_some(name)
    })
}

/// Returns the state of a file or folder and the command that lets the service read or enter it: `chmod` for its
/// group, `usermod` if the group has access already, or `chgrp` first if the group is root's, which no service should
/// belong to. `mode` contains the permission bits, and `folder` is true for a folder.
fn fix(path: &Path, mode: u32, folder: bool, group: &Group<'_>) -> String {
    let path = path.display();
    let (needed, bits) = if folder { (0o050, "g+rx") } else { (0o040, "g+r") };
    if group.id == 0 {
        return format!(
            "{path} has the group root and the mode {mode:04o}: chgrp GROUP {path} && chmod {bits} {path}, with a group of the service"
        );
    }
    let name = group.name.map_or_else(|| group.id.to_string(), str::to_owned);
    if mode & needed == needed {
        format!("members of the group {name} may read {path}: usermod -aG {name} USER")
    } else {
        format!("{path} has the mode {mode:04o}: chmod {bits} {path} lets the group {name} in")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_mode_and_group() {
        let path = Path::new("/var/lib/acme/a/key.pem");
        let acme = Group { id: 989, name: group_name("root:x:0:\nacme:x:989:\n", 989) };
        assert!(fix(path, 0o640, false, &acme).ends_with("usermod -aG acme USER"));
        assert!(
            fix(path, 0o600, false, &acme)
                .contains("chmod g+r /var/lib/acme/a/key.pem lets the group acme in")
        );
        assert!(fix(path, 0o710, true, &acme).contains("chmod g+rx"));
        let unnamed = Group { id: 5, name: group_name("acme:x:989:", 5) };
        assert!(fix(path, 0o640, false, &unnamed).contains("usermod -aG 5 USER"));
        for mode in [0o600, 0o640] {
            let root = fix(path, mode, false, &Group { id: 0, name: Some("root") });
            assert!(root.contains("chgrp GROUP") && !root.contains("usermod"), "{root}");
        }
    }
}
