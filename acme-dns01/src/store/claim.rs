//! Takeover of a store by the account that runs the program: one that root made by hand, another ACME client or edge-proxyd made,
//! or a backup brought back.
//!
//! Only known names are touched, never a whole tree. A symbolic link and a second name of a file, by which an account could gain a file
//! of somebody else's, are refused.

use super::StoreError;
use super::disk::failed;
use super::names::{FILES, PRIVATE};
use crate::finding::Finding;
use rustix::fs::{Dir, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Names of the files in the folder of an account.
const ACCOUNT: [&str; 3] = ["key.pem", "next-key.pem", "url"];
/// Names of the files in the private folder of a certificate.
const CERTIFICATE: [&str; 3] = ["group", "journal", "pending-key.pem"];
/// Names of the folders in the private folder of a certificate that contain pairs.
const PAIRS: [&str; 2] = ["previous", "staged"];
/// Bits of a mode with the permissions of others.
const OTHERS: u32 = 0o007;

/// Takes the store in `folder` over for a user, with the folders of these certificates. Files keep their groups, and
/// lose the permissions of others. A missing folder is created with mode 0755 and the user's `group`. Returns a finding
/// for each change, and a fault for whatever is refused and left unchanged.
///
/// # Errors
/// Returns a [`StoreError`] if a file operation fails, such as for lack of permission.
pub(super) fn claim(
    folder: &Path,
    (user, group): (u32, u32),
    ids: &[String],
) -> Result<Vec<Finding>, StoreError> {
    let mut claim = Claim { user, findings: Vec::new() };
    if !folder.exists() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed(folder))?;
        let made = open(folder).map_err(failed(folder))?;
        fchown(&made, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
            .map_err(|why| failed(folder)(why.into()))?;
        claim.tell(folder, "created");
    }
    // A link to another place is the administrator's decision.
    let top = OpenEntry { file: open(folder).map_err(failed(folder))?, path: folder.to_owned() };
    claim.correct(&top, |mode| mode & !0o002)?;
    claim.private(&top)?;
    for id in ids {
        if let Some(certificate) = claim.folder(&top, id, without_others)? {
            claim.pair(&certificate)?;
        }
    }
    Ok(claim.findings)
}

/// Opens a folder, following symbolic links.
///
/// # Errors
/// Returns an error if it cannot be opened or is not a folder.
fn open(folder: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
    Ok(rustix::fs::open(folder, flags, Mode::empty())?.into())
}

/// Returns a mode without the permissions of others.
const fn without_others(mode: u32) -> u32 {
    mode & !OTHERS
}

/// An open file or folder.
struct OpenEntry {
    file: File,
    path: PathBuf,
}

/// A takeover in progress: the id of the user, and the findings so far.
struct Claim {
    user: u32,
    findings: Vec<Finding>,
}

impl Claim {
    /// Adds a finding about a change at a path.
    fn tell(&mut self, path: &Path, what: &str) {
        self.findings.push(Finding::fine(path.display().to_string(), what));
    }

    /// Adds a fault about a file that is left unchanged.
    fn refuse(&mut self, path: &Path, why: &str) {
        self.findings.push(Finding::fault(path.display().to_string(), why));
    }

    /// Takes over the private folder of the store, if there is one: ledger, accounts, journals, keys, staged and
    /// previous pairs, and locks.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a file operation fails.
    fn private(&mut self, top: &OpenEntry) -> Result<(), StoreError> {
        let closed = |_| 0o700;
        let Some(private) = self.folder(top, PRIVATE, closed)? else { return Ok(()) };
        self.file(&private, "ledger.json")?;
        if let Some(accounts) = self.folder(&private, "accounts", closed)? {
            for name in names(&accounts)? {
                if let Some(account) = self.folder(&accounts, &name, closed)? {
                    self.files(&account, &ACCOUNT)?;
                }
            }
        }
        if let Some(certificates) = self.folder(&private, "certificates", closed)? {
            for name in names(&certificates)? {
                let Some(certificate) = self.folder(&certificates, &name, closed)? else { continue };
                self.files(&certificate, &CERTIFICATE)?;
                for name in PAIRS {
                    if let Some(folder) = self.folder(&certificate, name, without_others)? {
                        self.pair(&folder)?;
                    }
                }
            }
        }
        if let Some(locks) = self.folder(&private, "locks", closed)? {
            let names = names(&locks)?;
            self.files(&locks, &names)?;
        }
        Ok(())
    }

    /// Takes over the four files of a pair. The link `cert.pem` is left unchanged.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a file operation fails.
    fn pair(&mut self, folder: &OpenEntry) -> Result<(), StoreError> {
        self.files(folder, &FILES[..4])
    }

    /// Takes over the files with these names in a folder, as far as they exist.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a file operation fails.
    fn files(&mut self, folder: &OpenEntry, names: &[impl AsRef<str>]) -> Result<(), StoreError> {
        names.iter().try_for_each(|name| self.file(folder, name.as_ref()))
    }

    /// Takes over a folder, and returns it. `mode` returns the new mode for the old one. `None` if it does not exist or
    /// is refused.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a file operation fails.
    fn folder(
        &mut self,
        parent: &OpenEntry,
        name: &str,
        mode: impl Fn(u32) -> u32,
    ) -> Result<Option<OpenEntry>, StoreError> {
        let Some(entry) = self.look(parent, name, OFlags::DIRECTORY)? else { return Ok(None) };
        self.correct(&entry, mode)?;
        Ok(Some(entry))
    }

    /// Takes over a file, if it exists. Refused are files that are not regular, and files of another user with several
    /// names.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a file operation fails.
    fn file(&mut self, parent: &OpenEntry, name: &str) -> Result<(), StoreError> {
        let Some(entry) = self.look(parent, name, OFlags::empty())? else { return Ok(()) };
        let found = fstat(&entry.file).map_err(|why| failed(&entry.path)(why.into()))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            self.refuse(&entry.path, "not a regular file: left as it is; remove it");
        } else if found.st_nlink > 1 && found.st_uid != self.user {
            self.refuse(
                &entry.path,
                "this file has another name elsewhere (hard link), and stays with its owner: put a copy in its place",
            );
        } else {
            self.correct(&entry, without_others)?;
        }
        Ok(())
    }

    /// Opens an entry of a folder without following symbolic links. `None` if it does not exist; also if it is a
    /// symbolic link, a socket or not a folder, which is refused.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the entry cannot be opened.
    fn look(
        &mut self,
        parent: &OpenEntry,
        name: &str,
        kind: OFlags,
    ) -> Result<Option<OpenEntry>, StoreError> {
        let path = parent.path.join(name);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | kind;
        match openat(&parent.file, name, flags, Mode::empty()) {
            Ok(file) => Ok(Some(OpenEntry { file: file.into(), path })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                self.refuse(
                    &path,
                    "a symbolic link, or not a folder: left as it is; put the files themselves there",
                );
                Ok(None)
            }
            // A socket.
            Err(Errno::NXIO) => {
                self.refuse(&path, "not a regular file: left as it is; remove it");
                Ok(None)
            }
            Err(why) => Err(failed(&path)(why.into())),
        }
    }

    /// Gives an open entry to the user, and sets its mode to the result of `mode` for the old one. Adds a finding if
    /// something was changed.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if owner or mode cannot be set.
    fn correct(&mut self, entry: &OpenEntry, mode: impl Fn(u32) -> u32) -> Result<(), StoreError> {
        let OpenEntry { file, path } = entry;
        let failed = |why: Errno| failed(path)(why.into());
        let found = fstat(file).map_err(failed)?;
        let mut changes = Vec::new();
        if found.st_uid != self.user {
            fchown(file, Some(Uid::from_raw(self.user)), None).map_err(failed)?;
            changes.push(format!("owner {} in the place of {}", self.user, found.st_uid));
        }
        let (before, wanted) = (found.st_mode & 0o7777, mode(found.st_mode & 0o7777));
        if before != wanted {
            fchmod(file, Mode::from_raw_mode(wanted)).map_err(failed)?;
            changes.push(format!("mode {wanted:o} in the place of {before:o}"));
        }
        if !changes.is_empty() {
            self.tell(path, &changes.join(", "));
        }
        Ok(())
    }
}

/// Returns the names in a folder, sorted, without those that are not UTF-8.
///
/// # Errors
/// Returns a [`StoreError`] if the folder cannot be read.
fn names(folder: &OpenEntry) -> Result<Vec<String>, StoreError> {
    let failed = |why: Errno| failed(&folder.path)(why.into());
    let entries = Dir::read_from(&folder.file).map_err(failed)?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
