//! Where certificates, keys, accounts, journals and the ledger are kept.

mod disk;
mod files;
#[cfg(feature = "postgres")]
mod postgres;

pub use files::{FileStore, Ownership};
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;

use crate::ledger::{Entry, Ledger, Limits};
use crate::machine::{Record, State};
use crate::time::Time;
use async_trait::async_trait;
use secrecy::SecretString;
use std::any::Any;
use std::fmt;

/// A chain and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The leaf and its issuers.
    pub chain: String,
    /// The key.
    pub key: SecretString,
}

/// An account as it is kept.
#[derive(Clone, Debug)]
pub struct StoredAccount {
    /// Its key.
    pub key: SecretString,
    /// Its URL, once it is registered.
    pub url: Option<String>,
    /// A key that the account may have already: a change was under way.
    pub next_key: Option<SecretString>,
}

/// Why the store does not do what it should. Whatever was in it is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file.
    #[error("{path}: {why}{advice}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: std::io::Error,
        /// What to change.
        advice: &'static str,
    },
    /// Something in it is no sense.
    #[error("{path}: {why}")]
    Damaged {
        /// Where.
        path: String,
        /// What.
        why: String,
    },
    /// The database.
    #[error("the database: {0}")]
    Database(String),
}

/// Held while something is worked on; others wait or turn away.
pub struct Lock(#[expect(dead_code, reason = "it is dropped, not read")] Box<dyn Any + Send + Sync>);

impl Lock {
    /// Releases what is given when it is dropped.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self(Box::new(held))
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

/// A store. What a call wrote is durable when it returns.
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
    /// Puts the staged pair into place, at once; the one before is kept. The pending key is forgotten.
    async fn install(&self, id: &str) -> Result<(), StoreError>;
    /// Exchanges the pair in place with the one kept before. Whether there was one.
    async fn exchange(&self, id: &str) -> Result<bool, StoreError>;
    /// The pair in place.
    async fn current(&self, id: &str) -> Result<Option<Pair>, StoreError>;
    /// The account at an authority.
    async fn account(&self, authority: &str) -> Result<Option<StoredAccount>, StoreError>;
    /// Keeps an account.
    async fn save_account(&self, authority: &str, account: &StoredAccount) -> Result<(), StoreError>;
    /// The ledger.
    async fn ledger(&self) -> Result<Ledger, StoreError>;
    /// Adds to the ledger; the ledger as it is then.
    async fn note(&self, entry: Entry, now: Time, limits: &Limits) -> Result<Ledger, StoreError>;
}
