//! The I/O shell around the issuance machine: performs its actions and reports their results.

mod accounts;
mod adopter;
mod blocked;
mod check;
mod choice;
mod clock;
mod deployer;
mod download;
mod events;
mod follow;
mod inspect;
mod issuer;
mod keep;
mod locator;
mod reporter;
mod rollout;
mod round;
mod sweep;

pub use crate::client::Account;
pub use crate::finding::Finding;
pub use accounts::{Authority, account_key};
pub use check::RecordTrial;
pub use clock::{Clock, SystemClock};
pub use events::{EngineEvent, Observer};
pub use inspect::inspect;
pub use locator::UnreadyDependency;
pub use reporter::Counts;
pub use round::{CertificateRound, Renewal, RoundOutcome};

use crate::adopt::{ClientFolder, Execution};
use crate::alert::AlertSink;
use crate::client::KeyPair;
use crate::condition::{Condition, StoredPair};
use crate::dns::Dns;
use crate::ledger::Ledger;
use crate::lifetime::RenewalTime;
use crate::live::{Deployment, LiveCertificates};
use crate::machine::{AcmeError, CertificateSpec, ErrorKind, Machine, Record, State};
use crate::provider::Provider;
use crate::store::{CertificatePair, Store, StoreError};
use crate::time::Time;
use accounts::{AccountKeeper, store_error};
use adopter::Adopter;
use check::Checker;
use deployer::Deployer;
use follow::Follower;
use locator::Locator;
use reporter::Reporter;
use round::{Round, adopt, placeholder, remove_records};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Reason code of a revocation because of a compromised key (RFC 5280 §5.3.1).
const KEY_COMPROMISE: u8 = 1;

/// A certificate to obtain and renew, with its deployment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Certificate {
    /// Specification of the certificate.
    pub spec: CertificateSpec,
    /// Servers to reload, and handshakes that verify the deployment.
    pub deployment: Deployment,
}

impl Certificate {
    /// Creates a certificate with its deployment.
    #[must_use]
    pub const fn new(spec: CertificateSpec, deployment: Deployment) -> Self {
        Self { spec, deployment }
    }
}

impl From<CertificateSpec> for Certificate {
    fn from(spec: CertificateSpec) -> Self {
        Self { spec, deployment: Deployment::default() }
    }
}

/// Returns `true` if `key` is a valid private key that belongs to the certificate that the state records as issued.
/// `false` if none is recorded.
fn fits(state: &State, key: &secrecy::SecretString) -> bool {
    let key = KeyPair::from_pem(key);
    state.held.as_ref().zip(key.ok()).is_some_and(|(held, key)| held.public_key == key.public_key())
}

/// State of a certificate, from its journal and its stored files.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CertificateStatus {
    /// Condition of the pair in place.
    pub condition: Condition,
    /// The certificate and key in place.
    pub stored: StoredPair,
    /// State replayed from the journal. A certificate of a CA that is in place, and that the journal records neither as
    /// issued nor as lost, counts as issued.
    pub state: State,
    /// Time from which the certificate is due, with the reason. A pause after a failure is not considered.
    pub due: RenewalTime,
    /// End of the pause after a failure. `None` if no pause is in force.
    pub paused_until: Option<Time>,
}

/// The engine, which obtains, renews and deploys certificates. Shared behind an [`Arc`].
pub struct Engine {
    store: Arc<dyn Store>,
    accounts: AccountKeeper,
    locator: Locator,
    deployer: Deployer,
    reporter: Reporter,
    placeholders: bool,
    parallel: Arc<Semaphore>,
    ledger: tokio::sync::Mutex<Ledger>,
    clock: Arc<dyn Clock>,
    stopping: watch::Sender<bool>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("store", &self.store)
            .field("providers", &self.locator.providers)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Creates an engine without authorities and providers. It processes at most five certificates concurrently, and
    /// installs placeholders.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, dns: Dns) -> Self {
        Self {
            accounts: AccountKeeper::new(store.clone()),
            locator: Locator { dns, providers: Vec::new() },
            deployer: Deployer::new(store.clone()),
            reporter: Reporter::default(),
            store,
            placeholders: true,
            parallel: Arc::new(Semaphore::new(5)),
            ledger: tokio::sync::Mutex::default(),
            clock: Arc::new(SystemClock),
            stopping: watch::Sender::new(false),
        }
    }

    /// Adds a CA under the name that [`CertificateSpec::authorities`](crate::CertificateSpec) uses. Replaces one of the
    /// same name.
    #[must_use]
    pub fn authority(mut self, name: impl Into<String>, authority: Authority) -> Self {
        self.accounts.authorities.insert(name.into(), authority);
        self
    }

    /// Adds a DNS provider under the name that [`CertificateSpec::providers`](crate::CertificateSpec) uses. Of several
    /// providers for a TXT record, one with the record's name itself is preferred, then one with exactly its zone, then
    /// the one that was added first.
    #[must_use]
    pub fn provider(mut self, name: impl Into<String>, provider: Arc<dyn Provider>) -> Self {
        self.locator.providers.push((name.into(), provider));
        self
    }

    /// Adds an alert sink. Every alert is sent to all sinks.
    #[must_use]
    pub fn alert_sink(mut self, sink: Arc<dyn AlertSink>) -> Self {
        self.reporter.sinks.push(sink);
        self
    }

    /// Sets the rustls resolver that serves the certificates in this process. Without one, certificates are only stored
    /// and deployed to other programs.
    #[must_use]
    pub fn live(mut self, live: Arc<LiveCertificates>) -> Self {
        self.deployer.live = Some(live);
        self
    }

    /// Sets the observer, which receives each event with the certificate's id. Replaces an earlier observer.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> Self {
        self.reporter.observer = Some(observer);
        self
    }

    /// Sets whether a self-signed placeholder is installed where no certificate exists, so that servers can start.
    /// Default: `true`.
    #[must_use]
    pub const fn placeholders(mut self, install: bool) -> Self {
        self.placeholders = install;
        self
    }

    /// Sets the number of certificates processed concurrently, limited to 1 to 1000. Default: 5.
    #[must_use]
    pub fn parallel(mut self, count: usize) -> Self {
        self.parallel = Arc::new(Semaphore::new(count.clamp(1, 1000)));
        self
    }

    /// Sets the clock. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the current time of the engine's clock.
    fn now(&self) -> Time {
        self.clock.now()
    }

    /// Returns the counters since the engine was created.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.reporter.counts()
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns a checker of this engine's configuration.
    const fn checker(&self) -> Checker<'_> {
        Checker::new(self)
    }

    /// Returns the certificate, with the directory URL of each of the engine's authorities added to the specification
    /// where that has none for the name, and with the digest of the deployment.
    fn complete(&self, certificate: &Certificate) -> Certificate {
        let mut certificate = certificate.clone();
        certificate.spec.deployment = Some(certificate.deployment.digest());
        for (name, url) in self.accounts.directories() {
            certificate.spec.directories.entry(name).or_insert(url);
        }
        certificate
    }

    /// Prepares each certificate ([`prepare`](Self::prepare)) and performs its due actions ([`round`](Self::round)),
    /// concurrently up to the limit of [`parallel`](Self::parallel). Returns the results sorted by id. An error of the
    /// preparation is reported as an event only.
    pub async fn run_once(
        self: &Arc<Self>,
        certificates: &[Certificate],
        renewal: Renewal,
    ) -> Vec<CertificateRound> {
        let mut rounds = tokio::task::JoinSet::new();
        for certificate in certificates {
            let (engine, certificate) = (self.clone(), certificate.clone());
            rounds.spawn(async move {
                engine.prepare_or_report(&certificate).await;
                engine.round(&certificate, renewal).await
            });
        }
        let mut found = rounds.join_all().await;
        found.sort_by(|one, other| one.id.cmp(&other.id));
        found
    }

    /// Obtains, renews and deploys these certificates until [`stop`](Self::stop): prepares each one
    /// ([`prepare`](Self::prepare)) and performs its due actions ([`round`](Self::round)), again and again, at least
    /// once an hour. Meanwhile puts the certificates that other hosts install into a shared store into use, and calls
    /// [`sweep`](Self::sweep) at the start and once a day. Errors are reported as events and alerts.
    pub async fn run(self: &Arc<Self>, certificates: &[Certificate]) {
        let mut tasks = tokio::task::JoinSet::new();
        for certificate in certificates.iter().cloned() {
            tasks.spawn(keep::keep(self.clone(), certificate));
        }
        if let Some(changes) = self.store.changes() {
            tasks.spawn(Follower::new(self.clone(), certificates.to_vec()).run(changes));
        }
        let (engine, all) = (self.clone(), certificates.to_vec());
        tasks.spawn(async move { sweep::keep_sweeping(&engine, &all).await });
        tasks.join_all().await;
    }

    /// Removes the TXT records of certificates that have a journal and are not among `configured`, and abandons their
    /// attempts. A certificate that another process has locked is skipped.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails. A record that cannot be removed is reported as an event and an
    /// alert instead.
    pub async fn sweep(&self, configured: &[Certificate]) -> Result<(), StoreError> {
        sweep::sweep(self, configured).await
    }

    /// Stops [`run`](Self::run) and every round as soon as the current action is complete and recorded, which takes at
    /// most the time limit of one request or deployment step.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Returns `true` after [`stop`](Self::stop).
    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Sleeps for `pause`. Returns `true` after the pause, and `false` as soon as the engine is or was stopped.
    async fn sleep(&self, pause: Duration) -> bool {
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            () = self.clock.sleep(pause) => true,
            _ = stopping.wait_for(|stopping| *stopping) => false,
        }
    }

    /// Prepares a certificate, after waiting for its turn under the limit of [`parallel`](Self::parallel). An error is
    /// reported as an event.
    async fn prepare_or_report(&self, certificate: &Certificate) {
        // The semaphore is never closed.
        let _turn = self.parallel.clone().acquire_owned().await;
        if let Err(error) = self.prepare(certificate).await {
            self.reporter.event(&certificate.spec.id, &EngineEvent::Error(crate::error_chain(&error)));
        }
    }

    /// Performs the due actions of one certificate until none is left, a wait exceeds two minutes, or the engine is
    /// stopped. The certificate's lock is held meanwhile. Begins once fewer certificates than
    /// [`parallel`](Self::parallel) allows are being processed.
    pub async fn round(&self, certificate: &Certificate, renewal: Renewal) -> CertificateRound {
        let certificate = self.complete(certificate);
        // The semaphore is never closed.
        let _turn = self.parallel.clone().acquire_owned().await;
        let outcome = Round::run(self, &certificate, renewal).await;
        CertificateRound { id: certificate.spec.id, outcome }
    }

    /// Ensures that a pair can be served: corrects group and mode of the files, installs a self-signed
    /// placeholder where the store has no usable pair (unless placeholders are disabled), and puts the pair into use in
    /// this process. Files that cannot be corrected are reported as an event only.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails, no key can be generated, or the pair cannot be used. If only a
    /// shared store fails, the copy on this host is put into use instead.
    pub async fn prepare(&self, certificate: &Certificate) -> Result<(), StoreError> {
        let id = &certificate.spec.id;
        match self.store.correct(id).await {
            Ok(corrected) => {
                corrected.into_iter().for_each(|what| self.reporter.event(id, &EngineEvent::Corrected(what)));
            }
            // The files of another account can be served all the same.
            Err(error) => self.reporter.event(id, &EngineEvent::Error(crate::error_chain(&error))),
        }
        let current = match self.current_or_placeholder(&certificate.spec).await {
            Ok(pair) => pair,
            Err(error) => match self.store.local(id).await {
                Ok(Some(pair)) => {
                    let why = crate::error_chain(&error);
                    self.reporter.note(id, format!("the pair of this machine is used for now: {why}"));
                    Some(pair)
                }
                _ => return Err(error),
            },
        };
        current.map_or(Ok(()), |pair| self.deployer.set_live(id, &pair))
    }

    /// Puts the copy of the pair on this host into use without a query to a shared store, so that a server can start
    /// while the database is unreachable. Without a usable copy, does the same as [`prepare`](Self::prepare).
    /// [`run`](Self::run) later puts a newer pair of the store into use.
    ///
    /// # Errors
    /// Returns the errors of [`prepare`](Self::prepare).
    pub async fn begin(&self, certificate: &Certificate) -> Result<(), StoreError> {
        match self.store.local(&certificate.spec.id).await {
            Ok(Some(pair)) if self.deployer.set_live(&certificate.spec.id, &pair).is_ok() => Ok(()),
            _ => self.prepare(certificate).await,
        }
    }

    /// Returns the pair in the store. `None` if it is missing or incomplete, or key and chain do not match.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    async fn usable(&self, id: &str) -> Result<Option<CertificatePair>, StoreError> {
        let contents = self.store.contents(id).await?;
        match (inspect(&contents), contents.chain, contents.key) {
            (StoredPair::Complete(_), Some(chain), Some(key)) => Ok(Some(CertificatePair { chain, key })),
            _ => Ok(None),
        }
    }

    /// Returns the pair in the store. If none is usable, installs a self-signed placeholder and returns it. Waits up to
    /// 10 s for another process that holds the lock to install a pair; after that, returns a placeholder that is not
    /// installed. `None` if no pair is usable and placeholders are disabled.
    ///
    /// # Errors
    /// Returns an error if the store fails, or the placeholder cannot be generated.
    async fn current_or_placeholder(
        &self,
        spec: &CertificateSpec,
    ) -> Result<Option<CertificatePair>, StoreError> {
        let id = &spec.id;
        self.store.refresh(id).await?;
        if let Some(pair) = self.usable(id).await? {
            return Ok(Some(pair));
        }
        if !self.placeholders {
            return Ok(None);
        }
        let pair = placeholder(spec, self.now()).await?;
        // Another process may be about to install a pair.
        for _ in 0..100 {
            if let Some(_lock) = self.store.lock(id).await? {
                if self.usable(id).await?.is_none() {
                    self.note_loss(spec).await?;
                    self.store.stage(id, &pair).await?;
                    self.store.install(id).await?;
                    self.reporter.event(id, &EngineEvent::Placeholder);
                }
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.usable(id).await?.is_some() {
                break;
            }
        }
        self.store.refresh(id).await?;
        Ok(Some(self.usable(id).await?.unwrap_or(pair)))
    }

    /// Records in the journal that the issued pair was lost, before a placeholder replaces what is left of it. If the
    /// certificate can be downloaded again, its key is saved as the pending key first, and the restoration is recorded.
    /// Does nothing if no issued certificate is recorded, the pair is not lost, an attempt has issued a new one, or a
    /// restoration is recorded already.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    async fn note_loss(&self, spec: &CertificateSpec) -> Result<(), StoreError> {
        let state = State::replay(&self.store.journal(&spec.id).await?);
        if state.held.is_none() {
            return Ok(());
        }
        let contents = self.store.contents(&spec.id).await?;
        let condition = Condition::of(spec, &state, &inspect(&contents), self.now());
        let issued = state.attempt.as_ref().is_some_and(|attempt| attempt.issued.is_some());
        if condition.is_lost() && !issued {
            let why = condition.to_string();
            let record = match contents.key.filter(|key| fits(&state, key)) {
                Some(key) if state.restorable(spec, &condition, self.now()).is_some() => {
                    if state.restoring {
                        return Ok(());
                    }
                    // The placeholder has another key; the issued certificate's key is needed to restore it.
                    self.store.save_pending_key(&spec.id, &key).await?;
                    Record::Restoring { at: self.now(), why }
                }
                _ if state.restoring => return Ok(()),
                _ => Record::Lost { at: self.now(), why },
            };
            self.store.append(&spec.id, &record).await?;
            self.reporter.record(&spec.id, &record);
        }
        Ok(())
    }

    /// Returns the state of a certificate replayed from its journal, [`CertificateStatus::state`].
    ///
    /// # Errors
    /// Returns a [`StoreError`] if journal or files cannot be read.
    pub async fn state(&self, certificate: &Certificate) -> Result<State, StoreError> {
        Ok(self.certificate_status(certificate).await?.state)
    }

    /// Returns the state of a certificate, with the condition of the pair in place and the time from which it is due.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if journal or files cannot be read.
    pub async fn certificate_status(
        &self,
        certificate: &Certificate,
    ) -> Result<CertificateStatus, StoreError> {
        let spec = self.complete(certificate).spec;
        let state = State::replay(&self.store.journal(&spec.id).await?);
        let stored = inspect(&self.store.contents(&spec.id).await?);
        let condition = Condition::of(&spec, &state, &stored, self.now());
        let state = adopt(&spec, state, &stored);
        let due = if condition.is_lost() && !state.undeployed {
            RenewalTime { at: Time::default(), reason: crate::RenewalReason::Lost(condition.to_string()) }
        } else {
            crate::renewal_due(&spec, &state, Some(&stored))
        };
        let paused_until = state.paused_until(self.now());
        Ok(CertificateStatus { condition, stored, state, due, paused_until })
    }

    /// Runs every check that needs no order: directories and clocks of the CAs, credentials and their scope, CAA,
    /// zones, every name server, files and their permissions. With [`RecordTrial::Write`], a TXT record is also created
    /// and removed at each challenge name.
    pub async fn check(&self, certificates: &[Certificate], trial: RecordTrial) -> Vec<Finding> {
        let certificates: Vec<Certificate> =
            certificates.iter().map(|certificate| self.complete(certificate)).collect();
        self.checker().check(&certificates, trial).await
    }

    /// Imports the accounts and certificates of another client that these certificates need, or with
    /// [`Execution::DryRun`] only determines them. A valid certificate in place and a registered account are not
    /// replaced. Returns a finding for each account, certificate and skipped file of the other client.
    pub async fn adopt(
        &self,
        found: &ClientFolder,
        certificates: &[Certificate],
        execution: Execution,
    ) -> Vec<Finding> {
        let certificates: Vec<Certificate> =
            certificates.iter().map(|certificate| self.complete(certificate)).collect();
        Adopter::new(self, found, execution).run(&certificates).await
    }

    /// Returns the account at a CA, and registers one if there is none. `authority` is the CA's configured name.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the name is unknown, the terms of service are not agreed to, or the CA or the store
    /// fails.
    pub async fn account(&self, authority: &str) -> Result<Arc<Account>, AcmeError> {
        self.accounts.ensure(authority, false).await
    }

    /// Replaces the key of the account at a CA (RFC 8555 §7.3.5) by a new ES256 key. `authority` is the CA's configured
    /// name. An account that is not registered yet is registered first.
    ///
    /// # Errors
    /// Returns an [`AcmeError`]. Either key may then be valid; the next use of the account determines which.
    pub async fn roll_over(&self, authority: &str) -> Result<(), AcmeError> {
        self.accounts.roll_over(authority).await
    }

    /// Deactivates the account at a CA permanently (RFC 8555 §7.3.6). `authority` is the CA's configured name. Later
    /// orders use a new account. An account that is not registered yet is registered first.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA refuses or cannot be reached, or the store fails.
    pub async fn deactivate(&self, authority: &str) -> Result<(), AcmeError> {
        self.accounts.deactivate(authority).await
    }

    /// Revokes the certificate in the store at the CA that issued it, and records that in the journal, so that the next
    /// round replaces the certificate. `reason` is a reason code of RFC 5280 §5.3.1, `None` for unspecified. Waits up
    /// to 10 s for the lock.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if there is no certificate, the CA refuses, or the revocation cannot be recorded; in
    /// the last case the certificate is revoked all the same.
    pub async fn revoke(&self, certificate: &Certificate, reason: Option<u8>) -> Result<(), AcmeError> {
        let local = |why: String| AcmeError::new(ErrorKind::Local, why);
        let id = &certificate.spec.id;
        let state = self.state(certificate).await.map_err(|error| store_error(&error))?;
        let pair = self.store.current(id).await.map_err(|error| store_error(&error))?;
        let (held, pair) =
            state.held.zip(pair).ok_or_else(|| local(format!("{id}: there is no certificate")))?;
        let authority = held.authority.clone().unwrap_or_default();
        let leaf = crate::client::leaf(&pair.chain).map_err(|error| local(error.to_string()))?;
        self.account(&authority).await?.revoke(&leaf, reason).await?;
        let lock = self.wait_for_lock(id).await.map_err(|error| store_error(&error))?;
        // After a roll-back it is not the certificate that was issued last.
        let stored = inspect(&Some(pair).into());
        let revoked = stored.info().unwrap_or(&held);
        let compromised_key = (reason == Some(KEY_COMPROMISE)).then(|| revoked.public_key.clone());
        let record = Record::Revoked { at: self.now(), serial: revoked.serial.clone(), compromised_key };
        let written = self.store.append(id, &record).await.map_err(|error| store_error(&error));
        drop(lock);
        written
    }

    /// Waits up to 10 s for the lock of a certificate, and returns it.
    ///
    /// # Errors
    /// Returns [`StoreError::Busy`] if another process still holds the lock then, or another error if the store fails.
    async fn wait_for_lock(&self, id: &str) -> Result<crate::store::Lock, StoreError> {
        for _ in 0..100 {
            if let Some(lock) = self.store.lock(id).await? {
                return Ok(lock);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(StoreError::Busy { id: id.to_owned() })
    }

    /// Abandons the attempt of a certificate, ends its pause after a failure, and removes its TXT records. The
    /// certificate need not be configured any more. Returns the names of records that could not be removed, each with
    /// the error; empty if all were.
    ///
    /// # Errors
    /// Returns a [`StoreError`], which is [`StoreError::Busy`] if another process holds the lock for 10 s.
    pub async fn abandon(&self, id: &str) -> Result<Vec<(String, AcmeError)>, StoreError> {
        let _lock = self.wait_for_lock(id).await?;
        let mut machine =
            Machine::new(CertificateSpec::new([], ""), State::replay(&self.store.journal(id).await?));
        if machine.state().attempt.is_some() || machine.state().until.is_some() {
            let record = Record::Abandoned { at: self.now(), why: "the user asked for it".to_owned() };
            self.store.append(id, &record).await?;
            self.reporter.record(id, &record);
            machine =
                Machine::new(CertificateSpec::new([], ""), State::replay(&self.store.journal(id).await?));
        }
        remove_records(self, id, machine.state()).await
    }

    /// Abandons the attempt of a certificate and removes its TXT records, then its journal and its pending key. The
    /// certificate's folder remains. If a TXT record cannot be removed, journal and key remain too, and the names of
    /// such records are returned, each with the error.
    ///
    /// # Errors
    /// Returns a [`StoreError`], which is [`StoreError::Busy`] if another process holds the lock for 10 s.
    pub async fn forget(&self, id: &str) -> Result<Vec<(String, AcmeError)>, StoreError> {
        let left = self.abandon(id).await?;
        if left.is_empty() {
            let _lock = self.wait_for_lock(id).await?;
            self.store.forget(id).await?;
        }
        Ok(left)
    }
}
