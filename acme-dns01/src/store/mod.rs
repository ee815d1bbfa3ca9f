//! Stores of certificates, keys, accounts, journals and the ledger.

mod claim;
mod disk;
mod files;
mod layout;
#[cfg(feature = "postgres")]
mod mirror;
mod names;
#[cfg(feature = "postgres")]
mod postgres;

pub use files::{FileStore, Ownership};
#[cfg(feature = "postgres")]
pub use mirror::Mirror;
#[cfg(feature = "postgres")]
pub use postgres::{Database, Encryption, PostgresStore};

use crate::finding::Finding;
use crate::ledger::{Entry, Ledger, Limits};
use crate::machine::{Record, State};
use crate::time::Time;
use async_trait::async_trait;
use secrecy::SecretString;
use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use tokio::sync::mpsc;

/// A certificate chain with its private key, in PEM.
#[derive(Clone, Debug)]
pub struct CertificatePair {
    /// The certificate chain in PEM, end-entity certificate first.
    pub chain: String,
    /// Private key in PEM.
    pub key: SecretString,
}

/// Content of a certificate's files in place, which need not be valid. A file that does not exist, or cannot be read,
/// is `None`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Contents {
    /// Content of `fullchain.pem`: the certificate chain. `None` if the file is missing or cannot be read.
    pub chain: Option<String>,
    /// Content of `key.pem`: the private key. `None` if the file is missing or cannot be read.
    pub key: Option<SecretString>,
    /// Reason why a file cannot be read. `None` if every existing file was read.
    pub unreadable: Option<String>,
}

impl From<Option<CertificatePair>> for Contents {
    fn from(pair: Option<CertificatePair>) -> Self {
        let (chain, key) = pair.map(|pair| (pair.chain, pair.key)).unzip();
        Self { chain, key, unreadable: None }
    }
}

/// An account in the store.
#[derive(Clone, Debug)]
pub struct StoredAccount {
    /// Account key in PEM.
    pub key: SecretString,
    /// Account URL. `None` until the account is registered.
    pub url: Option<String>,
    /// New account key during a key change, when the CA may have accepted either key. `None` otherwise.
    pub next_key: Option<SecretString>,
}

/// Error of a store. After a failed write, a file or row has its old or its new content, never a part of either; of a
/// write to several files, some may have been changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file operation failed.
    #[error("{path}: {why}{advice}")]
    File {
        /// Path of the file.
        path: String,
        /// Error of the operating system.
        #[source]
        why: std::io::Error,
        /// Advice for the user, in parentheses with a leading space. Empty if there is none.
        advice: &'static str,
    },
    /// Stored data is missing, or cannot be parsed or used; or a placeholder cannot be generated. A retry does not
    /// help.
    #[error("{path}: {why}")]
    Damaged {
        /// Path of the data, its location in the database, or the certificate's id.
        path: String,
        /// Description of the fault, as far as known with the fix.
        why: String,
    },
    /// A connection to the database or an operation failed, or the connection parameters or root certificates are
    /// missing or not valid. The text is the reason.
    #[error("the database: {0}")]
    Database(String),
    /// The journal could not be written three times in a row, so that the engine ended the round of the certificate.
    #[error("{why}; nothing is done that is not written down before")]
    Unwritten {
        /// Reason of the last failed write.
        why: String,
    },
    /// The lock was lost, so that another host may work on the certificate. Nothing was written.
    #[error("the lock of {id} is lost: the connection to the database broke")]
    LockLost {
        /// Id of the certificate.
        id: String,
    },
    /// Another process holds the lock of the certificate.
    #[error("another process works on {id}: try again later")]
    Busy {
        /// Id of the certificate.
        id: String,
    },
    /// Error of a store implemented outside this crate.
    #[error("the store failed")]
    Other {
        /// Error of the store, with its causes.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
        /// `true` if the error is transient, so that a retry may succeed.
        transient: bool,
    },
}

impl StoreError {
    /// Returns `true` if a retry may succeed: for database errors, lost locks, locks held by another process, and
    /// errors of other stores that are marked as transient.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Database(_) | Self::LockLost { .. } | Self::Busy { .. } => true,
            Self::Other { transient, .. } => *transient,
            Self::File { .. } | Self::Damaged { .. } | Self::Unwritten { .. } => false,
        }
    }
}

/// An exclusive lock, released when dropped.
pub struct Lock {
    #[expect(dead_code, reason = "it is dropped, not read")]
    held: Box<dyn Any + Send + Sync>,
    lost: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Lock {
    /// Creates a lock that cannot be lost. Dropping the lock drops `held`, whose `Drop` must release it.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self { held: Box::new(held), lost: Box::new(|| false) }
    }

    /// Creates a lock that can be lost while it is held, such as one that depends on a connection. `lost` must return
    /// `true` once that has happened.
    pub fn revocable(held: impl Any + Send + Sync, lost: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { held: Box::new(held), lost: Box::new(lost) }
    }

    /// Returns `true` once the lock is lost. Its holder must then stop.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        (self.lost)()
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("lost", &self.is_lost()).finish()
    }
}

/// Notification that certificates in a shared store were, or may have been, replaced by this or another host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Another certificate was installed under this id, possibly by this host.
    Certificate(String),
    /// The notifications were interrupted, so that anything may have changed.
    Anything,
}

/// Receiver of the changes of a shared store. Dropping the receiver ends the subscription.
pub type Changes = mpsc::UnboundedReceiver<Change>;

/// A store of certificates, accounts, journals and the ledger. Data is durable when the method that writes it returns.
///
/// Only the holder of the lock of a certificate's id may write the data of that certificate. A store that several hosts
/// share rejects writes without the lock ([`StoreError::LockLost`]).
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Takes the lock of a name: a certificate's id, or `account@` and the key of an account
    /// ([`account_key`](crate::engine::account_key)). Returns `None`, without waiting, if another process or task holds
    /// it.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails; not if the lock is held.
    async fn lock(&self, name: &str) -> Result<Option<Lock>, StoreError>;
    /// Returns the journal of a certificate, oldest record first. An incomplete last record is omitted.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the journal cannot be read or parsed.
    async fn journal(&self, id: &str) -> Result<Vec<Record>, StoreError>;
    /// Appends a record to the journal of a certificate.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the record cannot be written durably.
    async fn append(&self, id: &str, record: &Record) -> Result<(), StoreError>;
    /// Replaces the journal of a certificate by a single snapshot. `state` must be the state replayed from the journal.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the journal cannot be replaced.
    async fn compact(&self, id: &str, state: &State) -> Result<(), StoreError>;
    /// Returns the private key generated for the next certificate. `None` if there is none.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the key exists and cannot be read.
    async fn pending_key(&self, id: &str) -> Result<Option<SecretString>, StoreError>;
    /// Stores a private key for the next certificate.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the key cannot be written durably.
    async fn save_pending_key(&self, id: &str, key: &SecretString) -> Result<(), StoreError>;
    /// Stages a pair, so that [`install`](Self::install) can put it in place. Replaces a pair staged before. A pair
    /// that is in place already is not staged, so that the previous pair is kept.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the pair cannot be written durably.
    async fn stage(&self, id: &str, pair: &CertificatePair) -> Result<(), StoreError>;
    /// Puts the staged pair in place atomically, and makes the replaced one the previous pair. Removes the pending key
    /// if it belongs to the installed pair. If nothing is staged and a complete pair is in place, an interrupted
    /// installation is completed, or nothing changes.
    ///
    /// # Errors
    /// Returns [`StoreError::Damaged`] if nothing is staged, and no pair is in place or one of its files is missing,
    /// and another [`StoreError`] if the exchange fails.
    async fn install(&self, id: &str) -> Result<(), StoreError>;
    /// Exchanges the pair in place with the previous pair. Returns `false`, without a change, if there is no previous
    /// pair.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the exchange fails.
    async fn exchange(&self, id: &str) -> Result<bool, StoreError>;
    /// Returns the previous pair, which [`exchange`](Self::exchange) would put in place. `None` if there is none or a
    /// file of it is missing.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a file exists and cannot be read.
    async fn previous(&self, id: &str) -> Result<Option<CertificatePair>, StoreError>;
    /// Returns the pair in place. `None` if there is none or a file of it is missing.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a file exists and cannot be read.
    async fn current(&self, id: &str) -> Result<Option<CertificatePair>, StoreError>;
    /// Returns the content of the files in place, even if they are incomplete or not valid. By default it is derived
    /// from [`current`](Self::current).
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a file exists and cannot be read.
    async fn contents(&self, id: &str) -> Result<Contents, StoreError> {
        self.current(id).await.map(Contents::from)
    }
    /// Returns the ids of all certificates that have a journal. A store shared by hosts with different configurations
    /// returns none, which is the default.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the list cannot be read.
    async fn ids(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
    /// Removes journal, pending key and previous pair of a certificate; a store in a database may remove the pair in
    /// place too. By default the journal is replaced by an empty snapshot.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if something cannot be removed.
    async fn forget(&self, id: &str) -> Result<(), StoreError> {
        self.compact(id, &State::default()).await
    }
    /// Returns the absolute path of the certificate's folder on this host. `None` if the store has no files.
    fn folder(&self, id: &str) -> Option<PathBuf> {
        let _ = id;
        None
    }
    /// Corrects owner, group and mode of a certificate's files. Returns a description of each correction. By default
    /// does nothing.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if owner, group or mode cannot be set.
    async fn correct(&self, id: &str) -> Result<Vec<String>, StoreError> {
        let _ = id;
        Ok(Vec::new())
    }
    /// Checks that a certificate's files can be written and given to their group. Returns findings. By default checks
    /// nothing and returns none.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the check itself fails.
    async fn check(&self, id: &str) -> Result<Vec<Finding>, StoreError> {
        let _ = id;
        Ok(Vec::new())
    }
    /// Returns the account stored under a key of [`account_key`](crate::engine::account_key). `None` if there is none.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the account exists and cannot be read or parsed.
    async fn account(&self, authority: &str) -> Result<Option<StoredAccount>, StoreError>;
    /// Stores an account under a key of [`account_key`](crate::engine::account_key).
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the account cannot be written durably.
    async fn save_account(&self, authority: &str, account: &StoredAccount) -> Result<(), StoreError>;
    /// Returns the rate-limit ledger of all authorities.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the ledger exists and cannot be read or parsed.
    async fn ledger(&self) -> Result<Ledger, StoreError>;
    /// Records an entry in the ledger, as [`Ledger::record`] does, and returns the updated ledger.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the ledger cannot be read or written.
    async fn note(&self, entry: Entry, now: Time, limits: &Limits) -> Result<Ledger, StoreError>;

    /// Updates the copy of a shared store's certificate in the files of this host. Returns `true` if the copy changed.
    /// By default does nothing and returns `false`.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the shared store cannot be read, or the files cannot be written.
    async fn refresh(&self, id: &str) -> Result<bool, StoreError> {
        let _ = id;
        Ok(false)
    }
    /// Returns the pair on this host, without a query to a shared store. By default it is [`current`](Self::current).
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a file exists and cannot be read.
    async fn local(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        self.current(id).await
    }
    /// Subscribes to changes of a shared store from now on. Returns `None` if the store is not shared, which is the
    /// default. The subscription survives reconnections, and ends when the receiver is dropped.
    fn changes(&self) -> Option<Changes> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::StoreError;
    use std::error::Error;

    /// An error of a store that is implemented elsewhere.
    #[derive(Debug, thiserror::Error)]
    #[error("the vault is sealed")]
    struct Sealed(#[source] std::io::Error);

    #[test]
    fn the_error_of_a_store_elsewhere_keeps_its_type_and_its_causes() {
        for transient in [false, true] {
            let source = Box::new(Sealed(std::io::Error::other("no quorum")));
            let error = StoreError::Other { source, transient };
            assert_eq!(crate::error_chain(&error), "the store failed: the vault is sealed: no quorum");
            let sealed = error.source().and_then(|source| source.downcast_ref::<Sealed>());
            assert_eq!(sealed.map(|sealed| sealed.0.to_string()).as_deref(), Some("no quorum"));
            assert_eq!(error.is_transient(), transient);
        }
    }
}
