//! The shell around the machine: does what it asks for, and tells it what came of it.

mod account;
mod actions;
mod check;
mod keep;
mod round;

pub use account::Account;
pub use check::Finding;

use crate::alert::Messenger;
use crate::client::{Acme, ExternalAccount};
use crate::dns::Dns;
use crate::ledger::Ledger;
use crate::live::{Deployment, Live};
use crate::machine::{Alert, Spec, Trouble, TroubleKind};
use crate::provider::Provider;
use crate::store::{Store, StoreError};
use crate::time::Time;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, watch};

/// A CA and our account there.
#[derive(Debug)]
pub struct Authority {
    /// Its client.
    pub acme: Acme,
    /// Mail addresses for the account.
    pub contact: Vec<String>,
    /// The external account that a new account is bound to.
    pub external_account: Option<ExternalAccount>,
    account: tokio::sync::Mutex<Option<Arc<Account>>>,
}

impl Authority {
    /// A CA without contacts.
    #[must_use]
    pub fn new(acme: Acme) -> Self {
        Self { acme, contact: Vec::new(), external_account: None, account: tokio::sync::Mutex::default() }
    }
}

/// A certificate that is to be there.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// What it is.
    pub spec: Spec,
    /// The providers for its names; all that are configured if empty.
    pub providers: Vec<String>,
    /// Who serves it.
    pub deployment: Deployment,
}

impl From<Spec> for Certificate {
    fn from(spec: Spec) -> Self {
        Self { spec, providers: Vec::new(), deployment: Deployment::default() }
    }
}

/// What became of a certificate in one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its id.
    pub id: String,
    /// How it ended.
    pub how: How,
}

/// How a round ended for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// There is a new one.
    Issued,
    /// Nothing was due until then, and why.
    Fine(Time, String),
    /// It did not work; the next try, and why.
    Failed(Time, String),
    /// Another process is at it.
    Elsewhere,
}

/// What the engine counts, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Certificates obtained.
    pub issued: u64,
    /// Attempts that failed or stalled.
    pub failed: u64,
    /// Orders asked for.
    pub orders: u64,
    /// Alerts given.
    pub alerts: u64,
    /// Alerts that reached nobody.
    pub alerts_lost: u64,
}

/// What hears of everything the engine does: a line a step.
pub type Observer = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// The engine. Cheap to share behind an [`Arc`].
pub struct Engine {
    store: Arc<dyn Store>,
    authorities: BTreeMap<String, Authority>,
    providers: Vec<(String, Arc<dyn Provider>)>,
    dns: Dns,
    messengers: Vec<Arc<dyn Messenger>>,
    live: Option<Arc<Live>>,
    observer: Option<Observer>,
    parallel: Arc<Semaphore>,
    ledger: tokio::sync::Mutex<Ledger>,
    counts: Mutex<Counts>,
    /// What a person was told of a store that does not work, by certificate.
    hushed: Mutex<BTreeMap<String, round::Hushed>>,
    /// What this machine's servers were told of, by certificate: its serial number.
    told: Mutex<BTreeMap<String, String>>,
    stopping: watch::Sender<bool>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("store", &self.store)
            .field("providers", &self.providers)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without authorities and providers, that works on at most five certificates at once.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, dns: Dns) -> Self {
        Self {
            store,
            authorities: BTreeMap::new(),
            providers: Vec::new(),
            dns,
            messengers: Vec::new(),
            live: None,
            observer: None,
            parallel: Arc::new(Semaphore::new(5)),
            ledger: tokio::sync::Mutex::default(),
            counts: Mutex::default(),
            hushed: Mutex::default(),
            told: Mutex::default(),
            stopping: watch::Sender::new(false),
        }
    }

    /// Adds a CA under the name by which specifications call it.
    #[must_use]
    pub fn authority(mut self, name: impl Into<String>, authority: Authority) -> Self {
        self.authorities.insert(name.into(), authority);
        self
    }

    /// Adds a DNS provider. The first that has a zone for a name is the one.
    #[must_use]
    pub fn provider(mut self, name: impl Into<String>, provider: Arc<dyn Provider>) -> Self {
        self.providers.push((name.into(), provider));
        self
    }

    /// Adds a way to reach a person.
    #[must_use]
    pub fn messenger(mut self, messenger: Arc<dyn Messenger>) -> Self {
        self.messengers.push(messenger);
        self
    }

    /// Takes certificates into use in this process.
    #[must_use]
    pub fn live(mut self, live: Arc<Live>) -> Self {
        self.live = Some(live);
        self
    }

    /// Who hears of each step: the certificate's id, and the step in words.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// On how many certificates it works at once, 1 to 1000.
    #[must_use]
    pub fn parallel(mut self, count: usize) -> Self {
        self.parallel = Arc::new(Semaphore::new(count.clamp(1, 1000)));
        self
    }

    /// What was counted since the engine was made.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn say(&self, id: &str, what: &str) {
        if let Some(observer) = &self.observer {
            observer(id, what);
        }
    }

    async fn alert(&self, id: &str, alert: &Alert) {
        self.count(|counts| counts.alerts += 1);
        self.say(id, &format!("alert: {alert}"));
        let mut told = Vec::new();
        for messenger in &self.messengers {
            told.push(messenger.tell(id, alert));
        }
        for why in join_all(told).await.into_iter().filter_map(Result::err) {
            self.count(|counts| counts.alerts_lost += 1);
            self.say(id, &format!("an alert reached nobody: {why}"));
        }
    }

    /// The account at a CA, registered if need be.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn account(&self, authority: &str) -> Result<Arc<Account>, Trouble> {
        account::ensure(&*self.store, authority, self.authority_named(authority)?, false).await
    }

    /// Gives the account at a CA another key.
    ///
    /// # Errors
    /// [`Trouble`]; the old key is still good then, or the new one is found at the next start.
    pub async fn roll_over(&self, authority: &str) -> Result<(), Trouble> {
        account::roll_over(&*self.store, authority, self.authority_named(authority)?).await
    }

    /// Ends the account at a CA for good. Whatever is ordered there afterwards is by a new one.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn deactivate(&self, authority: &str) -> Result<(), Trouble> {
        account::deactivate(&*self.store, authority, self.authority_named(authority)?).await
    }

    /// Revokes the certificate in the store. `reason` is a code of RFC 5280 §5.3.1.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn revoke(&self, certificate: &Certificate, reason: Option<u8>) -> Result<(), Trouble> {
        let ours = |why: String| Trouble::new(TroubleKind::Ours, why);
        let id = &certificate.spec.id;
        let state = self.state(certificate).await.map_err(|why| store_trouble(&why))?;
        let pair = self.store.current(id).await.map_err(|why| store_trouble(&why))?;
        let (held, pair) =
            state.held.zip(pair).ok_or_else(|| ours(format!("{id}: there is no certificate")))?;
        let authority = held.authority.unwrap_or_default();
        let account = self.account(&authority).await?;
        let leaf = crate::client::leaf(&pair.chain).map_err(|why| ours(why.to_string()))?;
        self.authority_named(&authority)?.acme.revoke(&account.key, &account.url, &leaf, reason).await
    }

    fn authority_named(&self, name: &str) -> Result<&Authority, Trouble> {
        self.authorities.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.authorities.keys().map(String::as_str).collect();
            let why = format!("no authority is called `{name}`; there are {}", known.join(", "));
            Trouble::new(TroubleKind::Ours, why)
        })
    }
}

fn store_trouble(why: &StoreError) -> Trouble {
    let kind = if why.is_transient() { TroubleKind::Transient } else { TroubleKind::Ours };
    Trouble::new(kind, why.to_string())
}
