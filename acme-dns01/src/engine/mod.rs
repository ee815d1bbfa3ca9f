//! The shell around the machine: does what it asks for, and tells it what came of it.

mod account;
mod actions;
mod check;

pub use account::Account;
pub use check::Finding;

use crate::alert::Messenger;
use crate::client::{Acme, ExternalAccount, now};
use crate::dns::Dns;
use crate::ledger::Ledger;
use crate::live::{Deployment, Live};
use crate::machine::{Action, Alert, Event, Machine, Record, Spec, State, Trouble, TroubleKind};
use crate::provider::Provider;
use crate::store::{Pair, Store, StoreError};
use crate::time::Time;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

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

    /// Makes sure that there is something to serve: takes what is in the store into use, or puts a self-signed pair there.
    ///
    /// # Errors
    /// [`StoreError`], or that a key cannot be made.
    pub async fn prepare(&self, certificate: &Certificate) -> Result<(), StoreError> {
        let id = &certificate.spec.id;
        let current = match self.store.current(id).await? {
            Some(pair) => pair,
            None => {
                let (chain, key) =
                    crate::client::self_signed(&certificate.spec.names, certificate.spec.key_type)
                        .map_err(|why| StoreError::Damaged { path: id.clone(), why: why.to_string() })?;
                let pair = Pair { chain, key };
                // Another process may be about to put a real one there.
                if let Some(_held) = self.store.lock(id).await?
                    && self.store.current(id).await?.is_none()
                {
                    self.store.stage(id, &pair).await?;
                    self.store.install(id).await?;
                    self.say(id, "a self-signed certificate until there is a real one");
                }
                self.store.current(id).await?.unwrap_or(pair)
            }
        };
        if let Some(live) = &self.live {
            live.set(id, &current)
                .map_err(|why| StoreError::Damaged { path: id.clone(), why: why.to_string() })?;
        }
        Ok(())
    }

    /// Where a certificate stands, by its journal and by what is in its folder.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn state(&self, certificate: &Certificate) -> Result<State, StoreError> {
        let records = self.store.journal(&certificate.spec.id).await?;
        let mut state = State::replay(&records);
        if state.held.is_none()
            && let Some(pair) = self.store.current(&certificate.spec.id).await?
            && let Ok(mut held) = crate::client::describe(&pair.chain)
            && held.authority.is_some()
        {
            // A certificate that another program put there is as good as one of ours.
            held.authority = certificate.spec.authorities.first().cloned();
            held.profile.clone_from(&certificate.spec.profile);
            state.held = Some(held);
        }
        Ok(state)
    }

    /// Does what is due for one certificate, until nothing is.
    pub async fn round(&self, certificate: &Certificate, force: bool) -> Outcome {
        let id = certificate.spec.id.clone();
        let how = match self.work(certificate, force).await {
            Ok(how) => how,
            Err(why) => {
                let next = now().after(Duration::from_secs(60));
                self.alert(&id, &Alert::Failing { why: why.to_string(), next, failures: 1 }).await;
                How::Failed(next, why.to_string())
            }
        };
        Outcome { id, how }
    }

    async fn work(&self, certificate: &Certificate, force: bool) -> Result<How, StoreError> {
        // Never closed.
        let _turn = self.parallel.clone().acquire_owned().await;
        let id = &certificate.spec.id;
        let Some(_held) = self.store.lock(id).await? else { return Ok(How::Elsewhere) };
        *self.ledger.lock().await = self.store.ledger().await?;
        let records = self.store.journal(id).await?.len();
        let state = self.state(certificate).await?;
        if records > 64 && state.attempt.is_none() {
            self.store.compact(id, &state).await?;
        }
        let mut machine = Machine::new(certificate.spec.clone(), state);
        if force {
            machine.force();
        }
        let mut issued = false;
        loop {
            let action = machine.poll(now(), &*self.ledger.lock().await);
            if let Action::Journal(record) = &action {
                issued |= matches!(record, Record::Installed { .. });
                self.hear(id, record);
            }
            if let Action::Wait { until, why } = action {
                if machine.rests() {
                    let state = machine.state();
                    let failed = state.failures > 0 || state.refused > 0 || state.deploy_until.is_some();
                    return Ok(match failed {
                        true => How::Failed(until, state.trouble.clone().unwrap_or(why)),
                        false if issued => How::Issued,
                        false => How::Fine(until, why),
                    });
                }
                let pause = until.since(now());
                if pause > Duration::from_secs(120) {
                    // What takes longer is taken up again in another round.
                    return Ok(How::Failed(until, why));
                }
                tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
                continue;
            }
            let event = self.perform(certificate, &machine, action).await.unwrap_or_else(Event::Error);
            if let Event::Error(trouble) = &event {
                self.say(id, &format!("trouble: {}", trouble.why));
            }
            machine.handle(event, now());
        }
    }

    fn hear(&self, id: &str, record: &Record) {
        match record {
            Record::Began { authority, why, .. } => self.say(id, &format!("begins at {authority}: {why}")),
            Record::Ordered { url } => {
                self.count(|counts| counts.orders += 1);
                self.say(id, &format!("ordered: {url}"));
            }
            Record::Publishing(txt) => self.say(id, &format!("TXT {} at {}", txt.name, txt.provider)),
            Record::Triggering { .. } => self.say(id, "every name server has it; the CA validates"),
            Record::Finalizing => self.say(id, "validated; the CA issues"),
            Record::Installed { held, .. } => {
                self.count(|counts| counts.issued += 1);
                self.say(id, &format!("installed: serial {}, until {}", held.serial, held.not_after));
            }
            Record::Deployed { .. } => self.say(id, "deployed"),
            Record::Failed { why, until, .. } | Record::Stalled { why, until, .. } => {
                self.count(|counts| counts.failed += 1);
                self.say(id, &format!("failed, next try {until}: {why}"));
            }
            Record::RolledBack { why, .. } => self.say(id, &format!("rolled back: {why}")),
            _ => {}
        }
    }

    /// Does what is due for all of these, as many at once as allowed.
    pub async fn once(self: &Arc<Self>, certificates: &[Certificate], force: bool) -> Vec<Outcome> {
        let mut rounds = tokio::task::JoinSet::new();
        for certificate in certificates.iter().cloned() {
            let engine = self.clone();
            rounds.spawn(async move {
                if let Err(why) = engine.prepare(&certificate).await {
                    engine.say(&certificate.spec.id, &why.to_string());
                }
                engine.round(&certificate, force).await
            });
        }
        let mut outcomes = rounds.join_all().await;
        outcomes.sort_by(|one, other| one.id.cmp(&other.id));
        outcomes
    }

    /// Keeps a certificate alive for ever.
    pub async fn keep(self: Arc<Self>, certificate: Certificate) {
        loop {
            if let Err(why) = self.prepare(&certificate).await {
                self.say(&certificate.spec.id, &why.to_string());
            }
            let outcome = self.round(&certificate, false).await;
            let until = match outcome.how {
                How::Issued => now(),
                How::Fine(until, _) | How::Failed(until, _) => until,
                How::Elsewhere => now().after(Duration::from_secs(30)),
            };
            // Clocks jump and machines sleep: look again at least every hour, and never in a frenzy.
            let pause = until.since(now()).clamp(Duration::from_millis(200), Duration::from_secs(3600));
            tokio::time::sleep(pause).await;
        }
    }

    /// Keeps all of these alive until it is dropped.
    pub async fn run(self: &Arc<Self>, certificates: &[Certificate]) {
        let mut tasks = tokio::task::JoinSet::new();
        for certificate in certificates.iter().cloned() {
            tasks.spawn(self.clone().keep(certificate));
        }
        tasks.join_all().await;
    }

    async fn alert(&self, id: &str, alert: &Alert) {
        self.count(|counts| counts.alerts += 1);
        self.say(id, &format!("alert: {alert}"));
        for messenger in &self.messengers {
            if let Err(why) = messenger.tell(id, alert).await {
                self.count(|counts| counts.alerts_lost += 1);
                self.say(id, &format!("an alert reached nobody: {why}"));
            }
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

    /// Ends the account at a CA for good.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn deactivate(&self, authority: &str) -> Result<(), Trouble> {
        let account = self.account(authority).await?;
        self.authority_named(authority)?.acme.deactivate(&account.key, &account.url).await
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
    Trouble::new(TroubleKind::Ours, why.to_string())
}
