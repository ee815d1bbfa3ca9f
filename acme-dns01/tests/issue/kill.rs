//! A store at which the process ends: whoever waits for its answer waits for ever.

use acme_dns01::store::{CertificatePair, Contents, FileStore, Lock, Store, StoreError, StoredAccount};
use acme_dns01::{Entry, Ledger, Limits, Record, State, Time};
use async_trait::async_trait;
use secrecy::SecretString;
use std::sync::Arc;
use tokio::sync::Notify;

/// What is about to be written.
#[derive(Debug)]
pub(crate) enum StoreWrite<'w> {
    Record(&'w Record),
    Account(&'w StoredAccount),
    Stage,
    Install,
}

/// When the process ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum CrashPoint {
    Not,
    Before,
    After,
}

type Script = dyn Fn(&StoreWrite<'_>) -> CrashPoint + Send + Sync;

pub(crate) struct CrashingStore {
    pub(crate) inner: FileStore,
    pub(crate) script: Box<Script>,
    pub(crate) dead: Arc<Notify>,
}

impl std::fmt::Debug for CrashingStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CrashingStore")
    }
}

impl CrashingStore {
    async fn end(&self) {
        self.dead.notify_one();
        std::future::pending::<()>().await;
    }

    async fn around<T>(
        &self,
        write: StoreWrite<'_>,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let end = (self.script)(&write);
        if end == CrashPoint::Before {
            self.end().await;
        }
        let done = work.await;
        if end == CrashPoint::After {
            self.end().await;
        }
        done
    }
}

#[async_trait]
impl Store for CrashingStore {
    async fn lock(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        self.inner.lock(name).await
    }
    async fn journal(&self, id: &str) -> Result<Vec<Record>, StoreError> {
        self.inner.journal(id).await
    }
    async fn append(&self, id: &str, record: &Record) -> Result<(), StoreError> {
        self.around(StoreWrite::Record(record), self.inner.append(id, record)).await
    }
    async fn compact(&self, id: &str, state: &State) -> Result<(), StoreError> {
        self.inner.compact(id, state).await
    }
    async fn pending_key(&self, id: &str) -> Result<Option<SecretString>, StoreError> {
        self.inner.pending_key(id).await
    }
    async fn save_pending_key(&self, id: &str, key: &SecretString) -> Result<(), StoreError> {
        self.inner.save_pending_key(id, key).await
    }
    async fn stage(&self, id: &str, pair: &CertificatePair) -> Result<(), StoreError> {
        self.around(StoreWrite::Stage, self.inner.stage(id, pair)).await
    }
    async fn install(&self, id: &str) -> Result<(), StoreError> {
        self.around(StoreWrite::Install, self.inner.install(id)).await
    }
    async fn exchange(&self, id: &str) -> Result<bool, StoreError> {
        self.inner.exchange(id).await
    }
    async fn previous(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        self.inner.previous(id).await
    }
    async fn current(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        self.inner.current(id).await
    }
    async fn contents(&self, id: &str) -> Result<Contents, StoreError> {
        self.inner.contents(id).await
    }
    async fn account(&self, authority: &str) -> Result<Option<StoredAccount>, StoreError> {
        self.inner.account(authority).await
    }
    async fn save_account(&self, authority: &str, account: &StoredAccount) -> Result<(), StoreError> {
        self.around(StoreWrite::Account(account), self.inner.save_account(authority, account)).await
    }
    async fn ledger(&self) -> Result<Ledger, StoreError> {
        self.inner.ledger().await
    }
    async fn note(&self, entry: Entry, now: Time, limits: &Limits) -> Result<Ledger, StoreError> {
        self.inner.note(entry, now, limits).await
    }
}
