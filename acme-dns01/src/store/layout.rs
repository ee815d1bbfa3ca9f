//! The layout of a certificate's folder, and the atomic exchange of its content.

use super::disk::{self, FileAttributes, failed};
use super::files::Inner;
use super::names::FILES;
use super::{CertificatePair, Contents, StoreError};
use crate::finding::Finding;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use secrecy::{ExposeSecret, SecretString};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

impl Inner {
    /// Writes a pair to the folder `staged`, with the files of the store's layout, and syncs it. A pair that is in
    /// place already is not staged; an interrupted installation is completed instead.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a file or folder cannot be written.
    pub(super) fn stage(&self, id: &str, pair: &CertificatePair) -> Result<(), StoreError> {
        let folder = self.private(id);
        disk::folder(&folder)?;
        let staged = folder.join("staged");
        // A pair in place that cannot be read is replaced.
        let in_place = self.current(id).ok().flatten().is_some_and(|current| {
            current.chain == pair.chain && current.key.expose_secret() == pair.key.expose_secret()
        });
        if in_place {
            // The process ended during the installation: the staged folder holds the previous pair, which a roll-back
            // needs.
            return keep_previous(&folder);
        }
        self.refuse_link(id)?;
        disk::remove_folder(&staged)?;
        disk::folder(&staged)?;
        let issuers = match pair.chain.find("-----END CERTIFICATE-----\n") {
            Some(end) => &pair.chain[end + "-----END CERTIFICATE-----\n".len()..],
            None => "",
        };
        let key = pair.key.expose_secret();
        let full = SecretString::from(format!("{key}{}", pair.chain));
        let contents = [&pair.chain, key, issuers, full.expose_secret()];
        let (file, directory) = (self.rights(id, 0o640), self.rights(id, 0o750));
        for (name, content) in FILES.iter().zip(contents) {
            disk::create(&staged.join(name), content.as_bytes(), file)?;
        }
        let link = staged.join("cert.pem");
        std::os::unix::fs::symlink("fullchain.pem", &link).map_err(failed(&link))?;
        disk::set_rights(&staged, directory)?;
        disk::sync(&staged)
    }

    /// Checks that the certificate's folder is not a symbolic link, which a new pair would replace by a folder.
    ///
    /// # Errors
    /// Returns [`StoreError::Damaged`] with the fix if it is one.
    pub(super) fn refuse_link(&self, id: &str) -> Result<(), StoreError> {
        let path = self.folder.join(id);
        let Ok(to) = std::fs::read_link(&path) else { return Ok(()) };
        let why = format!(
            "a symbolic link to {}, which a renewal would replace: move the folder here in its place, and link from there \
             to here",
            to.display()
        );
        Err(StoreError::Damaged { path: path.display().to_string(), why })
    }

    /// Puts the folder `from` in place of the certificate's folder, atomically, and syncs both parents. Afterwards the
    /// folder that was in place, if any, is at `from`.
    ///
    /// # Errors
    /// Returns an error if a file operation fails, or the filesystem cannot exchange two folders.
    pub(super) fn replace_folder(&self, id: &str, from: &Path) -> Result<(), StoreError> {
        let target = self.folder.join(id);
        if target.symlink_metadata().is_err() {
            std::fs::rename(from, &target).map_err(failed(&target))?;
        } else {
            renameat_with(CWD, from, CWD, &target, RenameFlags::EXCHANGE).map_err(|why| match why {
                Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => StoreError::File {
                    path: target.display().to_string(),
                    why: why.into(),
                    advice: " (this filesystem cannot exchange two folders at once, as ext4, xfs, btrfs and tmpfs can: \
                             move the folder to one that does)",
                },
                why => failed(&target)(why.into()),
            })?;
        }
        disk::sync(&self.folder)?;
        disk::sync(from.parent().unwrap_or(from))
    }

    /// Puts the staged folder in place, makes the replaced pair the previous one, and removes the pending key if it
    /// belongs to the installed pair. What other programs added to the folder is carried over. Without a staged folder,
    /// an interrupted installation is completed.
    ///
    /// # Errors
    /// Returns an error if nothing is staged and no complete pair is in place, or a file operation fails.
    pub(super) fn install(&self, id: &str) -> Result<(), StoreError> {
        let folder = self.private(id);
        let (staged, target) = (folder.join("staged"), self.folder.join(id));
        if staged.symlink_metadata().is_ok() {
            self.copy_extras(&target, &staged)?;
            // If another program gave the folder its group, that group is not recorded as this store's.
            let adopted = !self.owner.groups.contains_key(id) && self.adopted_group(id).is_some();
            if !adopted && let Ok(found) = std::fs::symlink_metadata(&staged) {
                self.note_group(id, found.gid())?;
            }
            self.replace_folder(id, &staged)?;
            keep_previous(&folder)?;
        } else if self.current(id)?.is_none() {
            // A folder that another program created may be there without a pair.
            let why = "nothing is staged, and no complete pair is in place".to_owned();
            return Err(StoreError::Damaged { path: target.display().to_string(), why });
        }
        self.bring_folders(id)?;
        let pending = folder.join("pending-key.pem");
        let installed = self.current(id)?;
        let installed = installed.as_ref().map(|pair| pair.key.expose_secret().as_bytes());
        if installed.is_some() && disk::read(&pending)?.as_deref() == installed {
            std::fs::remove_file(&pending).map_err(failed(&pending))?;
        }
        disk::sync(&folder)
    }

    /// Copies to a new folder what other programs added to the certificate's folder: symbolic links, files (as hard
    /// links, or as copies where links are refused) and access control lists, also those of the store's own files.
    /// Folders are omitted, and existing entries are not replaced.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if an entry cannot be created, or a list cannot be set.
    fn copy_extras(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let path = to.join(&name);
            let Ok(kind) = entry.file_type() else { continue };
            if FILES.iter().any(|file| name == *file) {
                if kind.is_file() && path.symlink_metadata().is_ok_and(|found| found.is_file()) {
                    disk::copy_acl(&entry.path(), &path)?;
                }
                continue;
            }
            if path.symlink_metadata().is_ok() {
                continue;
            }
            if kind.is_symlink() {
                let target = std::fs::read_link(entry.path()).map_err(failed(&path))?;
                std::os::unix::fs::symlink(target, &path).map_err(failed(&path))?;
            } else if kind.is_file() {
                // The kernel refuses links to files of another account (fs.protected_hardlinks).
                std::fs::hard_link(entry.path(), &path)
                    .or_else(|_| std::fs::copy(entry.path(), &path).map(drop))
                    .map_err(failed(&path))?;
            }
        }
        disk::copy_acl(from, to)
    }

    /// Moves the folders that other programs created beside the certificate from the previous pair to the pair in
    /// place, except where a folder or file of that name exists.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a folder cannot be moved.
    pub(super) fn bring_folders(&self, id: &str) -> Result<(), StoreError> {
        let (previous, target) = (self.private(id).join("previous"), self.folder.join(id));
        let Ok(entries) = std::fs::read_dir(&previous) else { return Ok(()) };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let path = target.join(entry.file_name());
            if path.symlink_metadata().is_err() {
                std::fs::rename(entry.path(), &path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }

    /// Returns the group of a certificate's files: the one configured for the certificate, else that of a folder that
    /// another program created or changed, else that of the store. `None` for the account's group.
    fn group(&self, id: &str) -> Option<u32> {
        let given = self.owner.groups.get(id).copied();
        given.or_else(|| self.adopted_group(id)).or(self.owner.group)
    }

    /// Returns the group of a certificate's folder that another program created, or whose group was changed since.
    /// `None` if there is no folder, or its group is the one that the store recorded, or that of root, which is not a
    /// deliberate choice.
    fn adopted_group(&self, id: &str) -> Option<u32> {
        let found = std::fs::symlink_metadata(self.folder.join(id)).ok()?;
        let chosen = found.is_dir() && found.gid() != 0 && self.noted_group(id) != Some(found.gid());
        chosen.then(|| found.gid())
    }

    /// Returns the group that this store last gave to the certificate's folder. `None` if none is recorded.
    fn noted_group(&self, id: &str) -> Option<u32> {
        let text = std::fs::read_to_string(self.private(id).join("group")).ok()?;
        text.trim().parse().ok()
    }

    /// Records the group that this store gives to the certificate's folder.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the file cannot be written.
    fn note_group(&self, id: &str, group: u32) -> Result<(), StoreError> {
        if self.noted_group(id) == Some(group) {
            return Ok(());
        }
        let folder = self.private(id);
        disk::folder(&folder)?;
        disk::replace(&folder.join("group"), format!("{group}\n").as_bytes(), FileAttributes::private(0o600))
    }

    /// Returns the attributes of a certificate's file or folder: this mode, the configured user and the group of
    /// [`group`](Self::group).
    fn rights(&self, id: &str, mode: u32) -> FileAttributes {
        FileAttributes { mode, user: self.owner.user, group: self.group(id) }
    }

    /// Corrects group and mode of a certificate's folder and files. A folder that another program created keeps its
    /// group, unless a group is configured for the certificate; the permissions of others are removed there too, since
    /// the files hold a private key. Modes of files with an access control list, and symbolic links, are left
    /// unchanged. Returns a description of each correction; empty without a folder.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if group or mode of a file cannot be set, as of a file of another account. All other
    /// files are corrected nevertheless.
    pub(super) fn correct(&self, id: &str) -> Result<Vec<String>, StoreError> {
        let target = self.folder.join(id);
        if !target.is_dir() {
            return Ok(Vec::new());
        }
        let adopted = !self.owner.groups.contains_key(id) && self.adopted_group(id).is_some();
        let group = if adopted { None } else { self.group(id) };
        let (mut corrected, mut fault) = (Vec::new(), None);
        let files = FILES.iter().take(4).map(|name| (target.join(name), 0o640));
        for (path, mode) in std::iter::once((target.clone(), 0o750)).chain(files) {
            let Ok(found) = std::fs::symlink_metadata(&path) else { continue };
            // With an access control list, the group's part of the mode is the list's mask.
            let mode = match () {
                () if adopted => found.mode() & 0o7770,
                () if disk::has_acl(&path) => found.mode() & 0o7777,
                () => mode,
            };
            let fine = found.mode() & 0o7777 == mode && group.is_none_or(|group| group == found.gid());
            if found.is_symlink() || fine {
                continue;
            }
            if let Err(error) = disk::set_rights(&path, FileAttributes { mode, user: None, group }) {
                fault = fault.or(Some(error));
                continue;
            }
            let of = group.map_or_else(String::new, |group| format!(", group {group}"));
            corrected.push(format!("{}: mode {mode:o}{of}", path.display()));
        }
        if let Some(group) = group {
            self.note_group(id, group)?;
        }
        fault.map_or(Ok(corrected), Err)
    }

    /// Returns the first file with the private key of a certificate that every account on this machine can read,
    /// through folders that every account can enter. `None` if there is none.
    fn open_key(&self, id: &str) -> Option<PathBuf> {
        let target = self.folder.join(id);
        let for_others =
            |path: &Path, bit: u32| std::fs::metadata(path).is_ok_and(|found| found.mode() & bit != 0);
        if !for_others(&self.folder, 0o1) || !for_others(&target, 0o1) {
            return None;
        }
        ["key.pem", "full.pem"].iter().map(|name| target.join(name)).find(|path| for_others(path, 0o4))
    }

    /// Checks, by creating and removing an empty file in the store's and the certificate's folder, that files can be
    /// written and given to their group, and that the private key is not readable by every account. Returns exactly one
    /// finding.
    pub(super) fn check(&self, id: &str) -> Vec<Finding> {
        let about = format!("{id}: permissions");
        let target = self.folder.join(id);
        if let Err(error) = self.refuse_link(id) {
            return vec![Finding::fault(about, error.to_string())];
        }
        let trial = |folder: &Path| -> Result<(), String> {
            let path = folder.join(".acme-dns01-check");
            let _ = std::fs::remove_file(&path);
            let made =
                disk::create(&path, b"", FileAttributes::private(0o600)).map_err(|error| error.to_string());
            let given = made.and_then(|()| match self.group(id) {
                Some(group) => disk::set_group(&path, group).map_err(|error| {
                    let folder = folder.display();
                    format!(
                        "{folder}: files cannot be given to the group {group} ({error}): run as root, or add the account to it"
                    )
                }),
                None => Ok(()),
            });
            let _ = std::fs::remove_file(&path);
            given
        };
        let mut folders = vec![self.folder.clone()];
        folders.extend(target.is_dir().then_some(target));
        for folder in folders {
            if let Err(error) = trial(&folder) {
                return vec![Finding::fault(about, error)];
            }
        }
        if let Some(path) = self.open_key(id) {
            let message = format!(
                "{}: everybody on this machine can read the private key: chmod o-rwx, as the owner of the file",
                path.display()
            );
            return vec![Finding::fault(about, message)];
        }
        let group = self.group(id).map_or_else(String::new, |group| format!(" with group {group}"));
        vec![Finding::fine(about, format!("files can be written{group}"))]
    }

    /// Reads the chain and key in place; `None` each for a missing file. A file that exists but cannot be read is
    /// reported in `unreadable`, not as an error.
    ///
    /// # Errors
    /// Returns a [`StoreError`] for errors other than missing files and denied permission.
    pub(super) fn contents(&self, id: &str) -> Result<Contents, StoreError> {
        read_contents(&self.folder.join(id))
    }

    /// Returns the pair in place. `None` if one of its files, or the folder, is missing.
    ///
    /// # Errors
    /// Returns [`StoreError::Damaged`] if a file cannot be read.
    pub(super) fn current(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        complete(&self.folder.join(id))
    }

    /// Returns the previous pair. `None` if one of its files, or the folder, is missing.
    ///
    /// # Errors
    /// Returns [`StoreError::Damaged`] if a file cannot be read.
    pub(super) fn previous(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        complete(&self.private(id).join("previous"))
    }
}

/// Returns the pair in a folder. `None` if one of its files, or the folder, is missing.
///
/// # Errors
/// Returns [`StoreError::Damaged`] if a file cannot be read.
fn complete(folder: &Path) -> Result<Option<CertificatePair>, StoreError> {
    let Contents { chain, key, unreadable } = read_contents(folder)?;
    if let Some(why) = unreadable {
        return Err(StoreError::Damaged { path: folder.display().to_string(), why });
    }
    Ok(chain.zip(key).map(|(chain, key)| CertificatePair { chain, key }))
}

/// Reads chain and key in the folder at `path`, as [`Inner::contents`] describes.
///
/// # Errors
/// Returns a [`StoreError`] for errors other than missing files and denied permission.
fn read_contents(path: &Path) -> Result<Contents, StoreError> {
    // The folder is opened once, so that both files belong to the same pair even if the folder is exchanged
    // meanwhile.
    let folder = match File::open(path) {
        Ok(folder) => folder,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contents::default()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let unreadable = Some(format!("{}: {error}", path.display()));
            return Ok(Contents { unreadable, ..Contents::default() });
        }
        Err(error) => return Err(failed(path)(error)),
    };
    let mut unreadable = None;
    let mut text = |name: &str| match disk::read_in(&folder, name) {
        Ok(found) => Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::IsADirectory | ErrorKind::NotADirectory
            ) =>
        {
            unreadable = Some(format!("{}: {error}", path.join(name).display()));
            Ok(None)
        }
        Err(error) => Err(failed(&path.join(name))(error)),
    };
    let (chain, key) = (text("fullchain.pem")?, text("key.pem")?);
    Ok(Contents { chain, key: key.map(Into::into), unreadable })
}

/// Moves the replaced pair from `staged` to `previous`, where it replaces an older one. An incomplete staged pair is
/// removed instead. `folder` is the private folder of the certificate.
///
/// # Errors
/// Returns a [`StoreError`] if a folder cannot be removed or moved.
fn keep_previous(folder: &Path) -> Result<(), StoreError> {
    let (staged, previous) = (folder.join("staged"), folder.join("previous"));
    // The link `cert.pem` is the last entry that staging creates.
    if staged.join("cert.pem").symlink_metadata().is_err() {
        disk::remove_folder(&staged)?;
    } else {
        disk::remove_folder(&previous)?;
        std::fs::rename(&staged, &previous).map_err(failed(&previous))?;
    }
    Ok(())
}
