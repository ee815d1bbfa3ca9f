//! Accounts: one a CA, made once, found again whatever happened in between.

use super::{Authority, store_trouble};
use crate::client::AccountKey;
use crate::machine::{Trouble, TroubleKind};
use crate::store::{Lock, Store, StoredAccount};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;

/// An account that is registered.
#[derive(Debug)]
pub struct Account {
    /// Its key.
    pub key: AccountKey,
    /// Its URL.
    pub url: String,
}

/// Waits for the lock of an account: registering takes seconds.
async fn locked(store: &dyn Store, authority: &str) -> Result<Lock, Trouble> {
    for _ in 0..600 {
        let name = format!("account@{authority}");
        if let Some(lock) = store.lock(&name).await.map_err(|why| store_trouble(&why))? {
            return Ok(lock);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Trouble::new(
        TroubleKind::Ours,
        format!("another process holds the account at {authority} for a minute"),
    ))
}

fn key(text: &secrecy::SecretString) -> Result<AccountKey, Trouble> {
    AccountKey::from_pem(text.expose_secret())
        .map_err(|why| Trouble::new(TroubleKind::Ours, format!("the account key in the store: {why}")))
}

/// The account at an authority: from the store, or registered with a key that is stored before.
pub(super) async fn ensure(
    store: &dyn Store,
    name: &str,
    authority: &Authority,
    forgotten: bool,
) -> Result<Arc<Account>, Trouble> {
    let mut known = authority.account.lock().await;
    let durable = |why| store_trouble(&why);
    if let Some(account) = &*known
        && !forgotten
    {
        // Another process may have given the account another key.
        let stored = store.account(name).await.map_err(durable)?;
        let same = |stored: StoredAccount| {
            stored.next_key.is_none() && stored.key.expose_secret() == account.key.pem().expose_secret()
        };
        if stored.is_some_and(same) {
            return Ok(account.clone());
        }
    }
    let _held = locked(store, name).await?;
    let mut stored = match store.account(name).await.map_err(durable)? {
        Some(stored) => stored,
        None => {
            let made = AccountKey::generate()
                .map_err(|why| Trouble::new(TroubleKind::Ours, format!("the account key: {why}")))?;
            let stored = StoredAccount { key: made.pem().clone(), url: None, next_key: None };
            store.save_account(name, &stored).await.map_err(durable)?;
            stored
        }
    };
    if let Some(next) = &stored.next_key {
        // A change of the key was under way: the one that the authority knows is the account's.
        let next_key = key(next)?;
        match authority.acme.account(&next_key, &[], None, true).await {
            Ok(url) => stored = StoredAccount { key: next.clone(), url: Some(url), next_key: None },
            Err(why) if why.kind == TroubleKind::AccountUnknown || why.kind == TroubleKind::Refused => {
                stored.next_key = None;
            }
            Err(why) => return Err(why),
        }
        store.save_account(name, &stored).await.map_err(durable)?;
    }
    let account_key = key(&stored.key)?;
    let url = match stored.url.clone().filter(|_| !forgotten) {
        Some(url) => url,
        None => {
            let binding = authority.external_account.as_ref();
            let url = authority.acme.account(&account_key, &authority.contact, binding, false).await?;
            stored.url = Some(url.clone());
            store.save_account(name, &stored).await.map_err(durable)?;
            url
        }
    };
    let account = Arc::new(Account { key: account_key, url });
    *known = Some(account.clone());
    Ok(account)
}

/// Gives the account another key. Both are stored until the authority has confirmed the new one.
pub(super) async fn roll_over(store: &dyn Store, name: &str, authority: &Authority) -> Result<(), Trouble> {
    ensure(store, name, authority, false).await?;
    let durable = |why| store_trouble(&why);
    let mut known = authority.account.lock().await;
    let _held = locked(store, name).await?;
    // Under the lock, what the store has now: another process may have been here in between.
    let mut stored =
        store.account(name).await.map_err(durable)?.filter(|stored| stored.next_key.is_none()).ok_or_else(
            || Trouble::new(TroubleKind::Transient, "another process changes the account's key"),
        )?;
    let url = stored.url.clone().unwrap_or_default();
    let old = key(&stored.key)?;
    let next = AccountKey::generate()
        .map_err(|why| Trouble::new(TroubleKind::Ours, format!("the new account key: {why}")))?;
    stored.next_key = Some(next.pem().clone());
    store.save_account(name, &stored).await.map_err(durable)?;
    *known = None;
    authority.acme.change_key(&old, &next, &url).await?;
    stored = StoredAccount { key: next.pem().clone(), url: Some(url), next_key: None };
    store.save_account(name, &stored).await.map_err(durable)
}

/// Ends the account, and puts another key in its place, with which nothing is registered yet.
pub(super) async fn deactivate(store: &dyn Store, name: &str, authority: &Authority) -> Result<(), Trouble> {
    let account = ensure(store, name, authority, false).await?;
    let mut known = authority.account.lock().await;
    let _held = locked(store, name).await?;
    authority.acme.deactivate(&account.key, &account.url).await?;
    *known = None;
    let next = AccountKey::generate()
        .map_err(|why| Trouble::new(TroubleKind::Ours, format!("the next account key: {why}")))?;
    let stored = StoredAccount { key: next.pem().clone(), url: None, next_key: None };
    store.save_account(name, &stored).await.map_err(|why| store_trouble(&why))
}
