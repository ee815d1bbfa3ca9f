//! The layout of a certificate's folder, and the one step by which another pair takes its place.

use super::disk::{self, failed};
use super::files::Inner;
use super::{Pair, StoreError};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use secrecy::{ExposeSecret, SecretString};
use std::fs::File;
use std::path::Path;

/// The files of a certificate's folder.
const FILES: [&str; 5] = ["fullchain.pem", "key.pem", "chain.pem", "full.pem", "cert.pem"];
impl Inner {
    pub(super) fn stage(&self, id: &str, pair: &Pair) -> Result<(), StoreError> {
        let folder = self.private(id);
        disk::folder(&folder)?;
        let staged = folder.join("staged");
        let in_place = self.current(id)?.is_some_and(|current| {
            current.chain == pair.chain && current.key.expose_secret() == pair.key.expose_secret()
        });
        if in_place {
            // The process ended while it was installed: what is left is the pair before it, which is the way back.
            return keep_previous(&folder);
        }
        disk::remove_folder(&staged)?;
        disk::folder(&staged)?;
        let issuers = match pair.chain.find("-----END CERTIFICATE-----\n") {
            Some(end) => &pair.chain[end + "-----END CERTIFICATE-----\n".len()..],
            None => "",
        };
        let key = pair.key.expose_secret();
        let full = SecretString::from(format!("{key}{}", pair.chain));
        let contents = [&pair.chain, key, issuers, full.expose_secret()];
        for (name, content) in FILES.iter().zip(contents) {
            disk::create(&staged.join(name), content.as_bytes(), self.rights(0o640))?;
        }
        let link = staged.join("cert.pem");
        std::os::unix::fs::symlink("fullchain.pem", &link).map_err(failed(&link))?;
        disk::set_rights(&staged, self.rights(0o750))?;
        disk::sync(&staged)
    }

    /// Puts `from` where the certificate is, and what was there where `from` was.
    pub(super) fn switch(&self, id: &str, from: &Path) -> Result<(), StoreError> {
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

    pub(super) fn install(&self, id: &str) -> Result<(), StoreError> {
        let folder = self.private(id);
        let (staged, target) = (folder.join("staged"), self.folder.join(id));
        if staged.symlink_metadata().is_ok() {
            self.carry(&target, &staged)?;
            self.switch(id, &staged)?;
            keep_previous(&folder)?;
        } else if target.symlink_metadata().is_err() {
            let why = "nothing is staged, and nothing is in place".to_owned();
            return Err(StoreError::Damaged { path: target.display().to_string(), why });
        }
        let pending = folder.join("pending-key.pem");
        let installed = self.current(id)?;
        let installed = installed.as_ref().map(|pair| pair.key.expose_secret().as_bytes());
        if installed.is_some() && disk::read(&pending)?.as_deref() == installed {
            std::fs::remove_file(&pending).map_err(failed(&pending))?;
        }
        disk::sync(&folder)
    }

    /// Files that others put beside the certificate come along.
    fn carry(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let ours = FILES.iter().any(|ours| name == *ours);
            if !ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let path = to.join(&name);
                std::fs::hard_link(entry.path(), &path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }

    pub(super) fn current(&self, id: &str) -> Result<Option<Pair>, StoreError> {
        let path = self.folder.join(id);
        // The folder is opened once, so that both files are of one pair even if another takes its place meanwhile.
        let folder = match File::open(&path) {
            Ok(folder) => folder,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(failed(&path)(why)),
        };
        let text = |name: &str| {
            disk::read_in(&folder, name)
                .map(|found| found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
                .map_err(failed(&path.join(name)))
        };
        let (chain, key) = (text("fullchain.pem")?, text("key.pem")?);
        Ok(chain.zip(key).map(|(chain, key)| Pair { chain, key: key.into() }))
    }
}

/// What was exchanged for a new pair is the one before it. What was never written to its end is nothing to go back to.
fn keep_previous(folder: &Path) -> Result<(), StoreError> {
    let (staged, previous) = (folder.join("staged"), folder.join("previous"));
    // The link is the last that is made of it.
    if staged.join("cert.pem").symlink_metadata().is_err() {
        disk::remove_folder(&staged)?;
    } else {
        disk::remove_folder(&previous)?;
        std::fs::rename(&staged, &previous).map_err(failed(&previous))?;
    }
    Ok(())
}
