//! File store in the folder layout of NixOS: `/var/lib/acme/<name>/`.

use super::disk::{self, FileAttributes, failed};
use super::names::PRIVATE;
use super::{CertificatePair, Contents, Lock, Store, StoreError, StoredAccount};
use crate::finding::Finding;
use crate::ledger::{Entry, Ledger, Limits};
use crate::machine::{Record, State};
use crate::time::Time;
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The names of the folders in the private folder.
const PARTS: [&str; 3] = ["accounts", "certificates", "locks"];

/// Ownership of certificate files.
#[derive(Clone, Debug, Default)]
pub struct Ownership {
    /// User id that owns the files. `None` for the account that runs the program.
    pub user: Option<u32>,
    /// Id of the group that may read certificates. `None` for the group of the account. A certificate's folder that
    /// another program created, or whose group was changed later, is not given to this group, unless its group is that
    /// of root.
    pub group: Option<u32>,
    /// Ids of the groups of single certificates, by certificate id. They precede `group`, and apply even in folders
    /// created by another program.
    pub groups: BTreeMap<String, u32>,
}

impl Ownership {
    /// Returns the id of a group: `name` itself if it is a number, or the id of the entry with this name in
    /// `/etc/group`. `None` if there is no entry or the file cannot be read.
    #[must_use]
    pub fn group_named(name: &str) -> Option<u32> {
        if let Ok(number) = name.parse() {
            return Some(number);
        }
        let groups = std::fs::read_to_string("/etc/group").ok()?;
        groups.lines().find_map(|line| {
            let mut parts = line.split(':');
            (parts.next()? == name).then(|| parts.nth(1)?.parse().ok())?
        })
    }
}

/// Store of certificates in `<folder>/<name>/` with mode 0750, and files with mode 0640: `fullchain.pem`, `key.pem`,
/// `chain.pem` (the issuers), `full.pem` (key and chain) and `cert.pem`, a link to `fullchain.pem`. Journals, accounts,
/// keys and locks are in `<folder>/.acme-dns01/`, which only the owner can read.
#[derive(Clone, Debug)]
pub struct FileStore {
    inner: Arc<Inner>,
}

/// The folder and the ownership of a file store.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) folder: PathBuf,
    pub(super) owner: Ownership,
}

impl FileStore {
    /// Opens the store in this folder, which is created with mode 0755 and this ownership if it does not exist. A
    /// relative path is made absolute.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the folder cannot be created or accessed.
    pub fn open(folder: impl Into<PathBuf>, owner: Ownership) -> Result<Self, StoreError> {
        let folder = folder.into();
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        let inner = Inner { folder, owner };
        let private = inner.folder.join(PRIVATE);
        let fresh = !inner.folder.exists();
        for part in PARTS {
            disk::folder(&private.join(part))?;
        }
        if fresh {
            let rights = FileAttributes { mode: 0o755, user: inner.owner.user, group: inner.owner.group };
            disk::set_rights(&inner.folder, rights)?;
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Changes the owner of the store in `folder`, with the folders of the certificates of these ids, to the user with
    /// the id `user`: of a store that another account created, such as root by hand, or another ACME client. To be
    /// called by root, before the user opens the store. A missing folder is created with mode 0755 and the group with
    /// the id `group`.
    ///
    /// Files keep their groups, and lose the permissions of others. Only files and folders of the store's own layout
    /// are changed, never a whole tree. Symbolic links, and files with several names that belong to another user, are
    /// left unchanged. Returns a finding for each change, and a fault for each of these.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a file operation fails.
    pub fn claim(folder: &Path, user: u32, group: u32, ids: &[String]) -> Result<Vec<Finding>, StoreError> {
        super::claim::claim(folder, (user, group), ids)
    }

    /// Returns the first folder of the store in `folder` in which this process cannot create a file, with the error.
    /// `None` if it can in all that exist. If the store does not exist yet, the nearest existing folder above is tried.
    /// No file remains.
    #[must_use]
    pub fn obstacle(folder: &Path) -> Option<(PathBuf, std::io::Error)> {
        let private = folder.join(PRIVATE);
        let nearest = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        let parts = std::iter::once(private.clone()).chain(PARTS.map(|part| private.join(part)));
        std::iter::once(nearest.to_owned())
            .chain(parts.filter(|part| part.exists()))
            .find_map(|part| disk::probe(&part).err().map(|why| (part, why)))
    }

    /// Runs a blocking operation on a thread of Tokio's blocking pool, and waits for it.
    ///
    /// # Errors
    /// Returns the error of the operation, or [`StoreError::Damaged`] if it panics.
    async fn off<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.inner.clone();
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(done) => done,
            Err(why) => Err(StoreError::Damaged { path: String::new(), why: why.to_string() }),
        }
    }
}

/// A locked file. It is unlocked explicitly when dropped, since a child process that is being started may have
/// inherited the descriptor for a moment.
struct FileLock(File);

impl Drop for FileLock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Inner {
    /// Returns the private folder of a certificate, which contains its journal, staged and previous pair, and pending
    /// key.
    pub(super) fn private(&self, id: &str) -> PathBuf {
        self.folder.join(PRIVATE).join("certificates").join(id)
    }

    /// Locks the lock file of a name. If `wait`, blocks until the lock is free; otherwise returns `None` at once if the
    /// lock is held.
    ///
    /// # Errors
    /// Returns [`StoreError::File`] if the file cannot be created or locked.
    fn lock(&self, name: &str, wait: bool) -> Result<Option<FileLock>, StoreError> {
        let path = self.folder.join(PRIVATE).join("locks").join(name.replace('/', "_"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed(&path))?;
        if wait {
            file.lock().map_err(failed(&path))?;
            return Ok(Some(FileLock(file)));
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(FileLock(file))),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(why)) => Err(failed(&path)(why)),
        }
    }

    /// Reads the journal of a certificate. Empty if there is none. An incomplete last line is omitted.
    ///
    /// # Errors
    /// Returns [`StoreError::Damaged`] for another line that cannot be parsed.
    fn journal(&self, id: &str) -> Result<Vec<Record>, StoreError> {
        let path = self.private(id).join("journal");
        let Some(content) = disk::read(&path)? else { return Ok(Vec::new()) };
        let text = String::from_utf8_lossy(&content);
        let mut records = Vec::new();
        for (number, line) in text.split_inclusive('\n').enumerate() {
            match serde_json::from_str(line) {
                Ok(record) if line.ends_with('\n') => records.push(record),
                // The process ended while it wrote the last line, which therefore does not count.
                _ if !line.ends_with('\n') => break,
                Ok(_) => break,
                Err(why) => {
                    return Err(StoreError::Damaged {
                        path: path.display().to_string(),
                        why: format!(
                            "line {}: {why}; a later version wrote it, or it is damaged: install that version, or move the file away to begin anew \
                             (the certificate stays)",
                            number + 1
                        ),
                    });
                }
            }
        }
        Ok(records)
    }

    /// Appends a record to the journal of a certificate and syncs it to disk. An incomplete last line is removed first.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the journal cannot be written. The record is then removed again as far as possible.
    fn append(&self, id: &str, record: &Record) -> Result<(), StoreError> {
        let folder = self.private(id);
        let path = folder.join("journal");
        let fresh = !path.exists();
        disk::folder(&folder)?;
        let line = line(record)?;
        let write = || {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)?;
            let end = truncate_partial_line(&mut file)?;
            let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
            if written.is_err() {
                // A partially written line must not precede the next one.
                let _ = file.set_len(end);
            }
            written
        };
        write().map_err(failed(&path))?;
        if fresh { disk::sync(&folder) } else { Ok(()) }
    }

    /// Returns the folder of an account, named by its key with all characters other than ASCII letters, digits, `-`,
    /// `.` and `_` replaced by `_`.
    fn account_folder(&self, authority: &str) -> PathBuf {
        let safe: String = authority
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') { c } else { '_' })
            .collect();
        self.folder.join(PRIVATE).join("accounts").join(safe)
    }

    /// Reads the ledger. An empty one if there is no file.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the file cannot be read or is not a valid ledger.
    fn ledger(&self) -> Result<Ledger, StoreError> {
        let path = self.folder.join(PRIVATE).join("ledger.json");
        let Some(content) = disk::read(&path)? else { return Ok(Ledger::default()) };
        serde_json::from_slice(&content).map_err(|why| StoreError::Damaged {
            path: path.display().to_string(),
            why: format!(
                "{why}; a later version wrote it, or it is damaged: install that version, or move the file away (orders of \
                 before do not count towards the limits then, and the CA may refuse more of them)"
            ),
        })
    }
}

#[async_trait]
impl Store for FileStore {
    async fn lock(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        let name = name.to_owned();
        Ok(self.off(move |inner| inner.lock(&name, false)).await?.map(Lock::new))
    }

    async fn journal(&self, id: &str) -> Result<Vec<Record>, StoreError> {
        let id = id.to_owned();
        self.off(move |inner| inner.journal(&id)).await
    }

    async fn append(&self, id: &str, record: &Record) -> Result<(), StoreError> {
        let (id, record) = (id.to_owned(), record.clone());
        self.off(move |inner| inner.append(&id, &record)).await
    }

    async fn compact(&self, id: &str, state: &State) -> Result<(), StoreError> {
        let (id, line) = (id.to_owned(), line(&Record::State(Box::new(state.clone())))?);
        self.off(move |inner| {
            disk::replace(
                &inner.private(&id).join("journal"),
                line.as_bytes(),
                FileAttributes::private(0o600),
            )
        })
        .await
    }

    async fn pending_key(&self, id: &str) -> Result<Option<SecretString>, StoreError> {
        let id = id.to_owned();
        self.off(move |inner| {
            let content = disk::read(&inner.private(&id).join("pending-key.pem"))?;
            Ok(content.map(|content| String::from_utf8_lossy(&content).into_owned().into()))
        })
        .await
    }

    async fn save_pending_key(&self, id: &str, key: &SecretString) -> Result<(), StoreError> {
        let (id, key) = (id.to_owned(), key.clone());
        self.off(move |inner| {
            // Before an order, since its certificate could not be put in place.
            inner.refuse_link(&id)?;
            let folder = inner.private(&id);
            disk::folder(&folder)?;
            let path = folder.join("pending-key.pem");
            disk::replace(&path, key.expose_secret().as_bytes(), FileAttributes::private(0o600))
        })
        .await
    }

    async fn stage(&self, id: &str, pair: &CertificatePair) -> Result<(), StoreError> {
        let (id, pair) = (id.to_owned(), pair.clone());
        self.off(move |inner| inner.stage(&id, &pair)).await
    }

    async fn install(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.off(move |inner| inner.install(&id)).await
    }

    async fn exchange(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.off(move |inner| {
            let previous = inner.private(&id).join("previous");
            if previous.symlink_metadata().is_err() {
                return Ok(false);
            }
            inner.refuse_link(&id)?;
            inner.replace_folder(&id, &previous)?;
            inner.bring_folders(&id)?;
            Ok(true)
        })
        .await
    }

    async fn previous(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        let id = id.to_owned();
        self.off(move |inner| inner.previous(&id)).await
    }

    async fn current(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        let id = id.to_owned();
        self.off(move |inner| inner.current(&id)).await
    }

    async fn contents(&self, id: &str) -> Result<Contents, StoreError> {
        let id = id.to_owned();
        self.off(move |inner| inner.contents(&id)).await
    }

    async fn ids(&self) -> Result<Vec<String>, StoreError> {
        self.off(|inner| {
            let path = inner.folder.join(PRIVATE).join("certificates");
            let entries = std::fs::read_dir(&path).map_err(failed(&path))?;
            let mut ids: Vec<String> = entries
                .filter_map(|entry| {
                    let entry = entry.ok()?;
                    entry.path().join("journal").exists().then(|| entry.file_name().into_string().ok())?
                })
                .collect();
            ids.sort();
            Ok(ids)
        })
        .await
    }

    async fn forget(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.off(move |inner| disk::remove_folder(&inner.private(&id))).await
    }

    fn folder(&self, id: &str) -> Option<PathBuf> {
        Some(self.inner.folder.join(id))
    }

    async fn correct(&self, id: &str) -> Result<Vec<String>, StoreError> {
        let id = id.to_owned();
        self.off(move |inner| inner.correct(&id)).await
    }

    async fn check(&self, id: &str) -> Result<Vec<Finding>, StoreError> {
        let id = id.to_owned();
        self.off(move |inner| Ok(inner.check(&id))).await
    }

    async fn account(&self, authority: &str) -> Result<Option<StoredAccount>, StoreError> {
        let authority = authority.to_owned();
        self.off(move |inner| {
            let folder = inner.account_folder(&authority);
            let text = |name: &str| -> Result<Option<String>, StoreError> {
                let content = disk::read(&folder.join(name))?;
                Ok(content.map(|content| String::from_utf8_lossy(&content).trim_end().to_owned()))
            };
            let Some(key) = text("key.pem")? else { return Ok(None) };
            let next_key = text("next-key.pem")?.map(|key| format!("{key}\n").into());
            Ok(Some(StoredAccount { key: format!("{key}\n").into(), url: text("url")?, next_key }))
        })
        .await
    }

    async fn save_account(&self, authority: &str, account: &StoredAccount) -> Result<(), StoreError> {
        let (authority, account) = (authority.to_owned(), account.clone());
        self.off(move |inner| {
            let folder = inner.account_folder(&authority);
            disk::folder(&folder)?;
            let rights = FileAttributes::private(0o600);
            let files = [
                // The next key is written first: neither of the keys that the CA may know must be lost.
                ("next-key.pem", account.next_key.as_ref().map(|key| key.expose_secret().to_owned())),
                ("key.pem", Some(account.key.expose_secret().to_owned())),
                ("url", account.url.as_ref().map(|url| format!("{url}\n"))),
            ];
            for (name, content) in &files {
                if let Some(content) = content {
                    disk::replace(&folder.join(name), content.as_bytes(), rights)?;
                }
            }
            for (name, content) in files.iter().rev() {
                let path = folder.join(name);
                if content.is_none() && path.exists() {
                    std::fs::remove_file(&path).map_err(failed(&path))?;
                }
            }
            disk::sync(&folder)
        })
        .await
    }

    async fn ledger(&self) -> Result<Ledger, StoreError> {
        self.off(Inner::ledger).await
    }

    async fn note(&self, entry: Entry, now: Time, limits: &Limits) -> Result<Ledger, StoreError> {
        let limits = *limits;
        self.off(move |inner| {
            let _held = inner.lock("ledger", true)?;
            let mut ledger = inner.ledger()?;
            ledger.record(entry, now, &limits);
            let path = inner.folder.join(PRIVATE).join("ledger.json");
            let text = serde_json::to_vec(&ledger).map_err(|why| StoreError::Damaged {
                path: path.display().to_string(),
                why: why.to_string(),
            })?;
            disk::replace(&path, &text, FileAttributes::private(0o600))?;
            Ok(ledger)
        })
        .await
    }
}

/// Returns a journal record as one line of JSON, including its line feed.
///
/// # Errors
/// Returns [`StoreError::Damaged`] if the record cannot be serialized.
fn line(record: &Record) -> Result<String, StoreError> {
    let text = serde_json::to_string(record);
    text.map(|text| text + "\n")
        .map_err(|why| StoreError::Damaged { path: "journal".to_owned(), why: why.to_string() })
}

/// Truncates a file after its last line feed, or to nothing without one, and seeks to that position, which is returned.
///
/// # Errors
/// Returns an error if the file cannot be read or truncated.
fn truncate_partial_line(file: &mut File) -> std::io::Result<u64> {
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    let end = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) as u64;
    if end < content.len() as u64 {
        file.set_len(end)?;
    }
    file.seek(SeekFrom::Start(end))
}
