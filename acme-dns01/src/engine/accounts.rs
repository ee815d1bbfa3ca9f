//! Accounts: one per directory URL, registered once, and recovered after a restart at any point.

use super::UnreadyDependency;
use crate::adopt::{Adoption, Execution, FoundAccount};
use crate::client::{Account, AccountKey, Acme, ExternalAccount};
use crate::deferred::Deferred;
use crate::machine::{AcmeError, Dependency, ErrorKind};
use crate::store::{Lock, Store, StoreError, StoredAccount};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Attempts to take the lock of an account, 100 ms apart: one minute in total.
const LOCK_ATTEMPTS: u32 = 600;

/// A CA, with the settings of the account there.
#[derive(Debug)]
pub struct Authority {
    /// ACME client of the authority.
    pub acme: Acme,
    /// Contact addresses of the account: mail addresses without `mailto:`.
    pub contact: Vec<String>,
    /// External account binding (RFC 8555 §7.3.4) for a new account. `None` sends none.
    pub external_account: Option<ExternalAccount>,
    /// External account binding that may become available later, used if [`external_account`](Self::external_account)
    /// is `None`. Until then, the authority is not ready
    /// ([`Engine::unready_dependency`](super::Engine::unready_dependency)), unless its account is registered.
    pub deferred_external_account: Option<Deferred<Arc<ExternalAccount>>>,
    /// `true` if the user agreed to the CA's terms of service. If `false`, no account is registered: an order without a
    /// registered account fails. [`Authority::new`] sets `true`.
    pub terms_agreed: bool,
    account: tokio::sync::Mutex<Option<Arc<Account>>>,
}

impl Authority {
    /// Creates an authority without contacts and external account binding, whose terms of service are agreed to.
    #[must_use]
    pub fn new(acme: Acme) -> Self {
        Self {
            acme,
            contact: Vec::new(),
            external_account: None,
            deferred_external_account: None,
            terms_agreed: true,
            account: tokio::sync::Mutex::default(),
        }
    }
}

/// Returns the key under which a store keeps the account of a directory URL: the URL without its scheme, with every
/// character other than ASCII letters, digits, `-` and `.` replaced by `_`.
#[must_use]
pub fn account_key(directory: &str) -> String {
    let bare = directory.split_once("://").map_or(directory, |(_, rest)| rest);
    bare.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' }).collect()
}

/// Returns scheme, host and port of a URL, which is everything before its path, or the whole URL if it has no path.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url.get(host..).and_then(|rest| rest.find('/')).and_then(|end| url.get(..host + end)).unwrap_or(url)
}

/// Converts a store error with its causes: a transient error to [`ErrorKind::Transient`], any other to
/// [`ErrorKind::Local`].
pub(super) fn store_error(error: &StoreError) -> AcmeError {
    let kind = if error.is_transient() { ErrorKind::Transient } else { ErrorKind::Local };
    AcmeError::new(kind, crate::error_chain(error))
}

/// The configured authorities by name, and their accounts in the store.
pub(super) struct AccountKeeper {
    pub(super) authorities: BTreeMap<String, Authority>,
    store: Arc<dyn Store>,
}

impl AccountKeeper {
    /// Creates an empty set of authorities, whose accounts are in `store`.
    pub(super) const fn new(store: Arc<dyn Store>) -> Self {
        Self { authorities: BTreeMap::new(), store }
    }

    /// Returns the authority with this configured name.
    ///
    /// # Errors
    /// Returns an error that lists the configured names if there is none.
    pub(super) fn authority(&self, name: &str) -> Result<&Authority, AcmeError> {
        self.authorities.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.authorities.keys().map(String::as_str).collect();
            let why = format!("no authority is called `{name}`; there are {}", known.join(", "));
            AcmeError::new(ErrorKind::Local, why)
        })
    }

    /// Returns the directory URL of each authority, by its configured name.
    pub(super) fn directories(&self) -> BTreeMap<String, String> {
        let url = |(name, authority): (&String, &Authority)| (name.clone(), authority.acme.url().to_owned());
        self.authorities.iter().map(url).collect()
    }

    /// Returns the account URL from the store, without a request to the CA. `None` if no account is registered, the
    /// authority is not configured, or the store fails.
    pub(super) async fn known_url(&self, name: &str) -> Option<String> {
        let authority = self.authority(name).ok()?;
        self.load_stored(name, authority).await.ok().flatten().and_then(|account| account.url)
    }

    /// Returns what an authority lacks: root certificates, or the external account binding if no account is registered
    /// there. `None` if it lacks nothing or is not configured.
    pub(super) async fn lacks(&self, name: &str) -> Option<String> {
        let authority = self.authorities.get(name)?;
        if let Err(error) = authority.acme.http().ready().await {
            return Some(error.to_string());
        }
        let late =
            authority.deferred_external_account.as_ref().filter(|_| authority.external_account.is_none())?;
        let why = late.get().await.err()?;
        self.known_url(name).await.is_none().then_some(why)
    }

    /// Returns the first of the authorities with these names, if each of them lacks something. `None` if one lacks
    /// nothing or is not configured, and without names.
    pub(super) async fn unready_dependency(&self, names: &[String]) -> Option<UnreadyDependency> {
        let mut first = None;
        for name in names {
            let reason = self.lacks(name).await?;
            first
                .get_or_insert(UnreadyDependency { dependency: Dependency::Authority(name.clone()), reason });
        }
        first
    }

    /// Waits up to a minute for the lock of an account, which another process holds during a registration or key
    /// change, and returns it.
    ///
    /// # Errors
    /// Returns a local error if the lock is still held then, or the store's error.
    async fn wait_for_lock(&self, authority: &Authority) -> Result<Lock, AcmeError> {
        let name = format!("account@{}", account_key(authority.acme.url()));
        for _ in 0..LOCK_ATTEMPTS {
            if let Some(lock) = self.store.lock(&name).await.map_err(|error| store_error(&error))? {
                return Ok(lock);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let why = format!("another process has held the account of {} for a minute", authority.acme.url());
        Err(AcmeError::new(ErrorKind::Local, why))
    }

    /// Reads the stored account of a CA: under its directory URL, or else under its configured name, as older versions
    /// stored it. The latter only counts if it has no account URL, or one of the directory's origin. `None` if there is
    /// no account.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    async fn load_stored(
        &self,
        name: &str,
        authority: &Authority,
    ) -> Result<Option<StoredAccount>, AcmeError> {
        let url = authority.acme.url();
        let durable = |error| store_error(&error);
        if let Some(found) = self.store.account(&account_key(url)).await.map_err(durable)? {
            return Ok(Some(found));
        }
        let named = self.store.account(name).await.map_err(durable)?;
        // An account of another directory does not count.
        let same = |account: &StoredAccount| {
            account.url.as_deref().is_none_or(|account| origin(account) == origin(url))
        };
        Ok(named.filter(same))
    }

    /// Stores an account under its authority's directory URL.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    async fn save(&self, authority: &Authority, account: &StoredAccount) -> Result<(), AcmeError> {
        let key = account_key(authority.acme.url());
        self.store.save_account(&key, account).await.map_err(|error| store_error(&error))
    }

    /// Returns the account at an authority: from memory, from the store, or registered with a new key that is stored
    /// first. Completes or reverts an interrupted key change. If `forgotten`, the CA no longer knows the account, so it
    /// is registered again with its key.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the authority is not configured, the terms of service are not agreed to, or the
    /// store or the CA fails.
    pub(super) async fn ensure(&self, name: &str, forgotten: bool) -> Result<Arc<Account>, AcmeError> {
        let authority = self.authority(name)?;
        let mut known = authority.account.lock().await;
        if let Some(account) = &*known
            && !forgotten
        {
            // Another process may have changed the account's key.
            let stored = self.load_stored(name, authority).await?;
            let same = |stored: StoredAccount| {
                stored.next_key.is_none() && stored.key.expose_secret() == account.key().pem().expose_secret()
            };
            if stored.is_some_and(same) {
                return Ok(account.clone());
            }
        }
        let _lock = self.wait_for_lock(authority).await?;
        let mut stored = match self.load_stored(name, authority).await? {
            Some(stored) => stored,
            None => {
                let stored = StoredAccount { key: generate()?.pem().clone(), url: None, next_key: None };
                self.save(authority, &stored).await?;
                stored
            }
        };
        if let Some(next) = &stored.next_key {
            // A key change was interrupted: the new key is the account's if the CA knows it.
            match authority.acme.find_account(&key(authority, next)?).await {
                Ok(url) => stored = StoredAccount { key: next.clone(), url: Some(url), next_key: None },
                Err(error)
                    if matches!(
                        error.kind,
                        ErrorKind::AccountUnknown | ErrorKind::Refused | ErrorKind::KeyRefused
                    ) =>
                {
                    stored.next_key = None;
                }
                Err(error) => return Err(error),
            }
            self.save(authority, &stored).await?;
        }
        let account_key = key(authority, &stored.key)?;
        let url = match stored.url.clone().filter(|_| !forgotten) {
            Some(url) => url,
            None => {
                if !authority.terms_agreed {
                    let meta = authority.acme.directory().await?.directory.meta;
                    let terms = meta.terms_of_service.unwrap_or_else(|| authority.acme.url().to_owned());
                    let why = format!(
                        "the terms of service are not agreed to: read {terms} and set agree_terms = true"
                    );
                    return Err(AcmeError::new(ErrorKind::Local, why));
                }
                let late = match &authority.deferred_external_account {
                    Some(late) if authority.external_account.is_none() => {
                        let late = late.get().await;
                        Some(late.map_err(|why| AcmeError::new(ErrorKind::Transient, why))?)
                    }
                    _ => None,
                };
                let binding = authority.external_account.as_ref().or(late.as_deref());
                let url = authority.acme.register(&account_key, &authority.contact, binding).await?;
                stored.url = Some(url.clone());
                self.save(authority, &stored).await?;
                url
            }
        };
        let account = Arc::new(Account::new(authority.acme.clone(), account_key, url));
        *known = Some(account.clone());
        Ok(account)
    }

    /// Stores the account of another client at this CA, unless one is registered already. Of `found`, the first account
    /// whose URL has the directory's origin is taken. Returns the result.
    ///
    /// # Errors
    /// Returns an error if the authority is not configured, or the store fails.
    pub(super) async fn adopt(
        &self,
        name: &str,
        found: &[FoundAccount],
        execution: Execution,
    ) -> Result<Adoption, AcmeError> {
        let authority = self.authority(name)?;
        // In the order of `ensure`, and before a look: a registration may be under way, here or in another process.
        let mut known = authority.account.lock().await;
        let _lock =
            if execution == Execution::DryRun { None } else { Some(self.wait_for_lock(authority).await?) };
        if let Some(url) = self.load_stored(name, authority).await?.and_then(|stored| stored.url) {
            return Ok(Adoption::Settled(format!("there is one already: {url}")));
        }
        let directory = authority.acme.url();
        let Some(account) = found.iter().find(|found| origin(&found.url) == origin(directory)) else {
            return Ok(Adoption::Settled("none was found: one will be registered".to_owned()));
        };
        let shown = format!("{} from {}", account.url, account.path.display());
        if execution == Execution::DryRun {
            return Ok(Adoption::Pending(format!("would be taken: {shown}")));
        }
        let stored =
            StoredAccount { key: account.key.clone(), url: Some(account.url.clone()), next_key: None };
        self.save(authority, &stored).await?;
        *known = None;
        Ok(Adoption::Settled(format!("taken: {shown}")))
    }

    /// Replaces the key of an account by a new ES256 key. Both keys are stored until the CA has confirmed the new one.
    ///
    /// # Errors
    /// Returns an error if the authority is not configured, the CA rejects the change, or the store fails.
    pub(super) async fn roll_over(&self, name: &str) -> Result<(), AcmeError> {
        self.change_key(name, |_| true).await.map(|_| ())
    }

    /// Replaces the key of an account by an ES256 key. Returns the account URL, or `None`, without a change, if the key
    /// is ES256 already.
    ///
    /// # Errors
    /// Returns an error if the authority is not configured, the CA rejects the change, or the store fails.
    pub(super) async fn modernize(&self, name: &str) -> Result<Option<String>, AcmeError> {
        self.change_key(name, |key| !key.is_es256()).await
    }

    /// Replaces the key of an account by a new ES256 key if `wanted` returns `true` for the current one. The new key is
    /// stored beside the old one before the request. Returns the account URL, or `None` if nothing was changed.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the account cannot be obtained, another process changes the key, or the store or the
    /// CA fails.
    async fn change_key(
        &self,
        name: &str,
        wanted: impl Fn(&AccountKey) -> bool,
    ) -> Result<Option<String>, AcmeError> {
        self.ensure(name, false).await?;
        let authority = self.authority(name)?;
        let mut known = authority.account.lock().await;
        let _lock = self.wait_for_lock(authority).await?;
        // Read again under the lock, since another process may have changed the account in between.
        let stored = self.load_stored(name, authority).await?.filter(|stored| stored.next_key.is_none());
        let busy = || AcmeError::new(ErrorKind::Transient, "another process changes the account's key");
        let mut stored = stored.ok_or_else(busy)?;
        let url = stored.url.clone().unwrap_or_default();
        let old = key(authority, &stored.key)?;
        if !wanted(&old) {
            return Ok(None);
        }
        let account = Account::new(authority.acme.clone(), old, url.clone());
        let next = generate()?;
        stored.next_key = Some(next.pem().clone());
        self.save(authority, &stored).await?;
        *known = None;
        account.change_key(&next).await?;
        let changed = StoredAccount { key: next.pem().clone(), url: Some(url.clone()), next_key: None };
        self.save(authority, &changed).await?;
        Ok(Some(url))
    }

    /// Deactivates the account at the CA, and stores a new, unregistered key in its place. An account that is not
    /// registered yet is registered first.
    ///
    /// # Errors
    /// Returns an error if the authority is not configured, the CA rejects the request, or the store fails.
    pub(super) async fn deactivate(&self, name: &str) -> Result<(), AcmeError> {
        let account = self.ensure(name, false).await?;
        let authority = self.authority(name)?;
        let mut known = authority.account.lock().await;
        let _lock = self.wait_for_lock(authority).await?;
        account.deactivate().await?;
        *known = None;
        self.save(authority, &StoredAccount { key: generate()?.pem().clone(), url: None, next_key: None })
            .await
    }
}

/// Parses the account key of a stored account at an authority.
///
/// # Errors
/// Returns an error of kind [`ErrorKind::Local`] if it is not a valid key.
fn key(authority: &Authority, text: &SecretString) -> Result<AccountKey, AcmeError> {
    AccountKey::from_pem(text.expose_secret()).map_err(|error| {
        let name = account_key(authority.acme.url());
        let why = format!(
            "the account key in the store, key.pem of .acme-dns01/accounts/{name}: {error}: take it from a backup, or move \
             that folder away to register another account"
        );
        AcmeError::new(ErrorKind::Local, why)
    })
}

/// Generates an account key.
///
/// # Errors
/// Returns an error of kind [`ErrorKind::Local`] if that fails.
fn generate() -> Result<AccountKey, AcmeError> {
    AccountKey::generate()
        .map_err(|error| AcmeError::new(ErrorKind::Local, format!("a new account key: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_origins() {
        let url = "https://acme-v02.api.letsencrypt.org/directory";
        assert_eq!(account_key(url), "acme-v02.api.letsencrypt.org_directory");
        assert_eq!(origin(url), "https://acme-v02.api.letsencrypt.org");
        assert_eq!(origin("https://localhost:14000/dir"), "https://localhost:14000");
        assert_ne!(account_key("https://a.test/b"), account_key("https://a.test/c"));
    }
}
