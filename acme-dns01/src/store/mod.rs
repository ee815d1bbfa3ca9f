//! Stores of certificates, keys, accounts, journals and the ledger.

mod disk;
mod files;
mod layout;
#[cfg(feature = "postgres")]
mod mirror;
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

/// A chain and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The leaf and its issuers.
    pub chain: String,
    /// Private key in PEM.
    pub key: SecretString,
}

/// Files of a certificate, as far as they are there.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Contents {
    /// `fullchain.pem`: the leaf and its issuers.
    pub chain: Option<String>,
    /// `key.pem`: the key.
    pub key: Option<SecretString>,
    /// Reason why one of them cannot be read.
    pub unreadable: Option<String>,
}

impl From<Option<Pair>> for Contents {
    fn from(pair: Option<Pair>) -> Self {
        let (chain, key) = pair.map(|pair| (pair.chain, pair.key)).unzip();
        Self { chain, key, unreadable: None }
    }
}

/// An account as it is kept.
#[derive(Clone, Debug)]
pub struct StoredAccount {
    /// Account key in PEM.
    pub key: SecretString,
    /// Its URL, once it is registered.
    pub url: Option<String>,
    /// A key that the account may have already: a change was under way.
    pub next_key: Option<SecretString>,
}

/// Error of a store. The stored data is unchanged.
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
        /// Advice for the user, in brackets.
        advice: &'static str,
    },
    /// Stored data is corrupt.
    #[error("{path}: {why}")]
    Damaged {
        /// Path of the damaged data.
        path: String,
        /// Description of the damage.
        why: String,
    },
    /// A database operation failed.
    #[error("the database: {0}")]
    Database(String),
    /// The journal takes no more lines.
    #[error("{why}; nothing is done that is not written down before")]
    Unwritten {
        /// Reason of the failed write.
        why: String,
    },
    /// The lock is lost, so that another machine may work on the certificate: nothing was written.
    #[error("the lock of {id} is lost: the connection to the database broke")]
    LockLost {
        /// Id of the lock.
        id: String,
    },
    /// Another process works on the certificate.
    #[error("another process works on {id}: try again later")]
    Busy {
        /// Id of the certificate.
        id: String,
    },
    /// An error of a store of one's own.
    #[error("the store failed")]
    Other {
        /// Error of the store, with its causes.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Whether the error is transient, so that a retry may succeed.
        transient: bool,
    },
}

impl StoreError {
    /// Returns `true` if a retry may succeed: the database restarts, or the network is down.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Database(_) | Self::LockLost { .. } | Self::Busy { .. } => true,
            Self::Other { transient, .. } => *transient,
            Self::File { .. } | Self::Damaged { .. } | Self::Unwritten { .. } => false,
        }
    }
}

/// Held while something is worked on; others wait or turn away. It is released when it is dropped.
pub struct Lock {
    #[expect(dead_code, reason = "it is dropped, not read")]
    held: Box<dyn Any + Send + Sync>,
    lost: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Lock {
    /// Releases what is given when it is dropped; it cannot be lost before.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self { held: Box::new(held), lost: Box::new(|| false) }
    }

    /// The same for a lock that can be lost while it is held, as that of a connection can.
    pub fn revocable(held: impl Any + Send + Sync, lost: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { held: Box::new(held), lost: Box::new(lost) }
    }

    /// Returns `true` once the lock is lost; its holder has to stop.
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

/// Change of a shared store by another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// There is another certificate of this id.
    Certificate(String),
    /// Nobody listened for a while: anything may have changed.
    Anything,
}

/// The changes of a shared store, for as long as it is kept.
pub type Changes = mpsc::UnboundedReceiver<Change>;

/// A store. What a call wrote is durable when it returns.
///
/// What belongs to a certificate is written by whoever holds the lock of its id; a store that is shared by several machines
/// refuses it to others ([`StoreError::LockLost`]).
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Takes the lock of a name, or `None` if another has it.
    async fn lock(&self, name: &str) -> Result<Option<Lock>, StoreError>;
    /// The journal of a certificate. A last line that was cut is left out.
    async fn journal(&self, id: &str) -> Result<Vec<Record>, StoreError>;
    /// Appends a line.
    async fn append(&self, id: &str, record: &Record) -> Result<(), StoreError>;
    /// Puts one line in the place of all, if they add up to this.
    async fn compact(&self, id: &str, state: &State) -> Result<(), StoreError>;
    /// The key that was made for the next certificate.
    async fn pending_key(&self, id: &str) -> Result<Option<SecretString>, StoreError>;
    /// Keeps a key for the next certificate.
    async fn save_pending_key(&self, id: &str, key: &SecretString) -> Result<(), StoreError>;
    /// Keeps a pair ready to be installed.
    async fn stage(&self, id: &str, pair: &Pair) -> Result<(), StoreError>;
    /// Puts the staged pair into place, at once; the one before is kept. The pending key is forgotten if it is the pair's.
    /// A pair that is in place already stays, as does the one before it.
    async fn install(&self, id: &str) -> Result<(), StoreError>;
    /// Exchanges the pair in place with the one kept before. Whether there was one.
    async fn exchange(&self, id: &str) -> Result<bool, StoreError>;
    /// The pair in place.
    async fn current(&self, id: &str) -> Result<Option<Pair>, StoreError>;
    /// The files in place, also those that cannot be used.
    async fn contents(&self, id: &str) -> Result<Contents, StoreError> {
        self.current(id).await.map(Contents::from)
    }
    /// Ids of all certificates that have a journal, if this machine alone decides which are configured. A store that machines with
    /// configurations of their own share returns none.
    async fn ids(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
    /// Removes the journal, the pending key and the previous pair of a certificate; the pair in place stays.
    async fn forget(&self, id: &str) -> Result<(), StoreError> {
        self.compact(id, &State::default()).await
    }
    /// Absolute path of the certificate's folder on this machine, if it has one.
    fn folder(&self, id: &str) -> Option<PathBuf> {
        let _ = id;
        None
    }
    /// Corrects group and mode of a certificate's files. Returns what was corrected.
    async fn correct(&self, id: &str) -> Result<Vec<String>, StoreError> {
        let _ = id;
        Ok(Vec::new())
    }
    /// Proves that a certificate's files can be written with their group.
    async fn check(&self, id: &str) -> Result<Vec<Finding>, StoreError> {
        let _ = id;
        Ok(Vec::new())
    }
    /// The account under a key: see [`account_key`](crate::engine::account_key).
    async fn account(&self, authority: &str) -> Result<Option<StoredAccount>, StoreError>;
    /// Keeps an account.
    async fn save_account(&self, authority: &str, account: &StoredAccount) -> Result<(), StoreError>;
    /// Rate-limit ledger of all authorities.
    async fn ledger(&self) -> Result<Ledger, StoreError>;
    /// Adds to the ledger; the ledger as it is then.
    async fn note(&self, entry: Entry, now: Time, limits: &Limits) -> Result<Ledger, StoreError>;

    /// Brings what is kept beside a shared store, for servers on this machine, up to date. Whether anything was.
    async fn refresh(&self, id: &str) -> Result<bool, StoreError> {
        let _ = id;
        Ok(false)
    }
    /// The pair that this machine has, whether the shared store can be reached or not.
    async fn local(&self, id: &str) -> Result<Option<Pair>, StoreError> {
        self.current(id).await
    }
    /// Changes by other machines from now on; `None` for a store that is not shared. It lasts as long as the receiver
    /// is kept, over restarts of whatever it comes from.
    fn changes(&self) -> Option<Changes> {
        None
    }
}
