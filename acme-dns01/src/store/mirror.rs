//! A shared store whose certificates are also written to files, for the servers on this host.

use super::{CertificatePair, Changes, FileStore, Lock, PostgresStore, Store, StoreError, StoredAccount};
use crate::finding::Finding;
use crate::ledger::{Entry, Ledger, Limits};
use crate::machine::{Record, State};
use crate::time::Time;
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Store in PostgreSQL that also writes the certificates to files of this host, in the layout `/var/lib/acme/<name>/`.
/// Servers can read them there while the database is unreachable.
#[derive(Clone, Debug)]
pub struct Mirror {
    shared: Arc<PostgresStore>,
    files: FileStore,
}

impl Mirror {
    /// Creates a store that mirrors `shared` into `files`.
    #[must_use]
    pub const fn new(shared: Arc<PostgresStore>, files: FileStore) -> Self {
        Self { shared, files }
    }
}

#[async_trait]
impl Store for Mirror {
    async fn lock(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        self.shared.lock(name).await
    }
    async fn journal(&self, id: &str) -> Result<Vec<Record>, StoreError> {
        self.shared.journal(id).await
    }
    async fn append(&self, id: &str, record: &Record) -> Result<(), StoreError> {
        self.shared.append(id, record).await
    }
    async fn compact(&self, id: &str, state: &State) -> Result<(), StoreError> {
        self.shared.compact(id, state).await
    }
    async fn pending_key(&self, id: &str) -> Result<Option<SecretString>, StoreError> {
        self.shared.pending_key(id).await
    }
    async fn save_pending_key(&self, id: &str, key: &SecretString) -> Result<(), StoreError> {
        self.shared.save_pending_key(id, key).await
    }
    async fn stage(&self, id: &str, pair: &CertificatePair) -> Result<(), StoreError> {
        self.shared.stage(id, pair).await
    }
    async fn install(&self, id: &str) -> Result<(), StoreError> {
        self.shared.install(id).await?;
        self.refresh(id).await.map(|_| ())
    }
    async fn exchange(&self, id: &str) -> Result<bool, StoreError> {
        let exchanged = self.shared.exchange(id).await?;
        self.refresh(id).await?;
        Ok(exchanged)
    }
    async fn previous(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        self.shared.previous(id).await
    }
    async fn current(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        self.shared.current(id).await
    }
    async fn account(&self, authority: &str) -> Result<Option<StoredAccount>, StoreError> {
        self.shared.account(authority).await
    }
    async fn save_account(&self, authority: &str, account: &StoredAccount) -> Result<(), StoreError> {
        self.shared.save_account(authority, account).await
    }
    async fn ledger(&self) -> Result<Ledger, StoreError> {
        self.shared.ledger().await
    }
    async fn note(&self, entry: Entry, now: Time, limits: &Limits) -> Result<Ledger, StoreError> {
        self.shared.note(entry, now, limits).await
    }

    async fn forget(&self, id: &str) -> Result<(), StoreError> {
        self.shared.forget(id).await
    }
    fn folder(&self, id: &str) -> Option<PathBuf> {
        self.files.folder(id)
    }
    async fn correct(&self, id: &str) -> Result<Vec<String>, StoreError> {
        self.files.correct(id).await
    }
    async fn check(&self, id: &str) -> Result<Vec<Finding>, StoreError> {
        self.files.check(id).await
    }

    async fn refresh(&self, id: &str) -> Result<bool, StoreError> {
        // Several tasks of this host may refresh at the same time; the last one must see the latest pair.
        let name = format!("mirror@{id}");
        let _held = loop {
            match self.files.lock(&name).await? {
                Some(held) => break held,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let Some(shared) = self.shared.current(id).await? else { return Ok(false) };
        let same = self.files.current(id).await.ok().flatten().is_some_and(|ours| {
            ours.chain == shared.chain && ours.key.expose_secret() == shared.key.expose_secret()
        });
        // A pair that is in place is staged and installed again, since the process may have ended between the exchange
        // of the folders and the move of the replaced pair to `previous`.
        self.files.stage(id, &shared).await?;
        self.files.install(id).await?;
        Ok(!same)
    }

    async fn local(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        self.files.current(id).await
    }

    fn changes(&self) -> Option<Changes> {
        self.shared.changes()
    }
}
