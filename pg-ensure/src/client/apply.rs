//! Application of a desired state: under an advisory lock, with a plan made under that lock, and verified afterwards.

use super::connect::{Connection, Server};
use super::error::Error;
use super::execute::ExecutionInput;
use super::observer::{Event, Observer};
use super::password::StoredVerifiers;
use crate::desired::DesiredState;
use crate::diff::diff;
use crate::name::Name;
use crate::plan::{BlockedChange, Consent, Digest, Obstacle, Plan, Risk, Step};
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

/// Key of the advisory lock: "pg-ensur" in ASCII.
const LOCK_KEY: i64 = 0x7067_2d65_6e73_7572;
/// Maximum number of plans executed in one run. Later plans cover the contents of databases that an earlier one
/// created.
const MAX_PLANS: usize = 4;

/// Options of a run: see [`Server::apply`](super::Server::apply).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApplyOptions {
    /// Objects that may be dropped. Default: none.
    pub consent: Consent,
    /// Digest of the agreed plan. If set, a run whose plan differs fails with [`Error::Moved`], and only the steps of
    /// that plan are executed. Default: `None`.
    pub expected: Option<Digest>,
    /// Maximum number of attempts; 0 has the effect of 1. A run is repeated after a transient error, except for one of
    /// connecting. Default: 8.
    pub attempts: u32,
    /// Maximum number of statements sent before their results are awaited; 0 has the effect of 1. Default: 256.
    pub pipeline: usize,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self { consent: Consent::none(), expected: None, attempts: 8, pipeline: 256 }
    }
}

impl ApplyOptions {
    /// Sets the objects that may be dropped.
    #[must_use]
    pub fn consent(mut self, consent: Consent) -> Self {
        self.consent = consent;
        self
    }

    /// Sets the digest of the agreed plan.
    #[must_use]
    pub fn expected(mut self, digest: Digest) -> Self {
        self.expected = Some(digest);
        self
    }

    /// Sets the maximum number of attempts. 0 has the effect of 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the maximum number of statements sent before their results are awaited. 0 has the effect of 1.
    #[must_use]
    pub fn pipeline(mut self, statements: usize) -> Self {
        self.pipeline = statements;
        self
    }
}

/// Result of a run that did not fail: see [`Server::apply`](super::Server::apply).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The server is a standby. Nothing was changed, since a standby replicates the state of its primary. The state can
    /// be applied after a promotion.
    Standby,
    /// The server was inspected, and changed where it differed. See [`AppliedChanges::is_complete`].
    Applied(AppliedChanges),
}

/// Steps that a run executed, and changes that it could not make: see [`Server::apply`](super::Server::apply).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppliedChanges {
    /// Steps of all plans that the run executed to the end, in order. Steps of a plan that failed after some of its
    /// transactions were committed are not included.
    pub done: Vec<Step>,
    /// The last plan of the run. It has no steps, only blocked changes and notes.
    pub left: Plan,
    /// Verifiers that the run stored with the plans of `done`, by role, for [`Server::known_passwords`] in a later run.
    pub passwords: BTreeMap<Name, SecretString>,
}

impl AppliedChanges {
    /// Returns `true` if the cluster is in the desired state: no change is blocked.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.left.blocked.is_empty()
    }
}

impl<T> Server<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    /// Plans the changes without making them. Desired settings are tried out in transactions that are rolled back, and
    /// passwords that the session cannot read by logins.
    ///
    /// # Errors
    /// Returns an [`Error`] if the desired state is not valid, or the server cannot be reached or queried.
    pub async fn plan(&self, desired: &DesiredState, consent: &Consent) -> Result<Plan, Error> {
        check_valid(desired)?;
        Ok(diff(&self.inspect(desired).await?, desired, consent))
    }

    /// Applies the desired state: inspects the cluster, and if it differs, takes the lock, plans again, executes the
    /// steps and verifies the result by another inspection. If nothing differs, no lock is taken and nothing is
    /// written; nothing is done on a standby. A run that fails with a transient error, other than one of connecting, is
    /// repeated after a pause, up to [`ApplyOptions::attempts`] attempts in total.
    ///
    /// Changes that the first plan blocks are not made in this run, even if a step would make them possible.
    ///
    /// # Errors
    /// Returns an [`Error`] if the desired state is not valid, the server cannot be reached or queried, the lock is not
    /// available, a step fails permanently, the plan is not the expected one, or differences remain after all steps.
    pub async fn apply(
        &self,
        desired: &DesiredState,
        options: &ApplyOptions,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, Error> {
        check_valid(desired)?;
        let mut attempt = 1;
        let mut progress = Progress::default();
        loop {
            match self.attempt(desired, options, observer, &mut progress).await {
                // If the server could not be reached, the time limit of the whole run has passed.
                Err(why) if why.is_transient() && !why.is_unreachable() && attempt < options.attempts => {
                    observer.event(&Event::Retrying(&why));
                    tokio::time::sleep(Duration::from_millis(50 << attempt.min(6))).await;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// Runs one attempt over its own connection.
    ///
    /// # Errors
    /// Returns an error if the connection, the plan or a step fails.
    async fn attempt(
        &self,
        desired: &DesiredState,
        options: &ApplyOptions,
        observer: &mut dyn Observer,
        progress: &mut Progress,
    ) -> Result<Outcome, Error> {
        let session = self.connect_observed(None, Some(observer)).await?;
        let outcome = self.run(&session, desired, options, observer, progress).await;
        session.close().await;
        outcome
    }

    /// Makes a plan, and if it has steps, takes the lock, executes them and plans again. On a standby, nothing is done.
    ///
    /// # Errors
    /// Returns an error if the plan cannot be made or has changed, the lock is not available, or a step fails.
    async fn run(
        &self,
        session: &Connection,
        desired: &DesiredState,
        options: &ApplyOptions,
        observer: &mut dyn Observer,
        progress: &mut Progress,
    ) -> Result<Outcome, Error> {
        if self.stays_in_recovery(session, observer).await? {
            return Ok(Outcome::Standby);
        }
        let mut plan = diff(&self.look(session, desired, &progress.set).await?, desired, &options.consent);
        check(options, &plan, progress)?;
        if let Some(agreed) = &progress.agreed {
            agreed.hold_back(&mut plan);
        }
        if plan.steps.is_empty() {
            return Ok(progress.applied(plan));
        }
        let lock = self.lock(session, observer).await?;
        let outcome = self.locked(session, desired, options, observer, progress).await;
        match lock {
            // The lock is released with its connection.
            Some(other) => other.close().await,
            None => {
                let _ = session
                    .client
                    .batch_execute(&format!("SELECT pg_catalog.pg_advisory_unlock({LOCK_KEY})"))
                    .await;
            }
        }
        outcome
    }

    /// Plans and executes under the lock until a plan has no steps. At most [`MAX_PLANS`] plans are executed, with an
    /// expected digest only one.
    ///
    /// # Errors
    /// Returns [`Error::NotConverged`] if steps remain after the last permitted plan, [`Error::Moved`] if the first
    /// plan is not the expected one, or the error of a query or step.
    async fn locked(
        &self,
        session: &Connection,
        desired: &DesiredState,
        options: &ApplyOptions,
        observer: &mut dyn Observer,
        progress: &mut Progress,
    ) -> Result<Outcome, Error> {
        let rounds = if options.expected.is_some() { 1 } else { MAX_PLANS };
        let mut round = 0;
        loop {
            let current = self.look(session, desired, &progress.set).await?;
            let mut plan = diff(&current, desired, &options.consent);
            if round == 0 {
                check(options, &plan, progress)?;
            }
            match &progress.agreed {
                Some(agreed) => agreed.hold_back(&mut plan),
                None => {
                    observer.event(&Event::Planned { plan: &plan });
                    progress.agreed = Some(ApprovedSteps::of(&plan, options.expected.is_some()));
                }
            }
            if plan.steps.is_empty() {
                return Ok(progress.applied(plan));
            }
            if round == rounds {
                return Err(Error::NotConverged(Box::new(plan)));
            }
            round += 1;
            let order =
                ExecutionInput { current: &current, plan: &plan, desired, pipeline: options.pipeline };
            self.execute(session, &order, &mut progress.set, &mut progress.has_begun, observer).await?;
            progress.done.extend(plan.steps);
            observer.event(&Event::Verify);
        }
    }

    /// Takes the lock. Advisory locks are local to a database, so the lock is taken in `postgres`, over a separate
    /// connection, if the session is in another database and `postgres` can be connected to. Returns that connection,
    /// `None` if the session itself holds the lock.
    ///
    /// # Errors
    /// Returns [`Error::Locked`] if another run holds the lock for longer than the time limit, or [`Error::Query`] if
    /// the query fails.
    async fn lock(
        &self,
        session: &Connection,
        observer: &mut dyn Observer,
    ) -> Result<Option<Connection>, Error> {
        let postgres = Name::new("postgres").expect("a name");
        let mut other = None;
        if self.config.get_dbname() != Some("postgres") {
            let hurried = self.clone().timeouts(super::Timeouts { connect: Duration::ZERO, ..self.timeouts });
            other = hurried.connect(Some(&postgres)).await.ok();
        }
        let client = other.as_ref().map_or(&session.client, |other: &Connection| &other.client);
        let end = Instant::now() + self.timeouts.lock;
        let sql = format!("SELECT pg_catalog.pg_try_advisory_lock({LOCK_KEY})");
        let mut is_reported = false;
        loop {
            let row = client.query_typed_one(&sql, &[]).await;
            let row = row.map_err(|source| Error::Query { what: "taking the lock", source })?;
            if row.get(0) {
                return Ok(other);
            }
            if !is_reported {
                observer.event(&Event::Waiting);
                is_reported = true;
            }
            if Instant::now() >= end {
                return Err(Error::Locked(self.timeouts.lock.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Progress of a run, kept over its attempts: the executed steps, the stored verifiers, and the steps of the first
/// plan, to which later plans are held.
#[derive(Default)]
struct Progress {
    done: Vec<Step>,
    set: StoredVerifiers,
    /// Steps of the first plan. `None` before it was made.
    agreed: Option<ApprovedSteps>,
    /// `true` once a statement was sent that may have had a lasting effect.
    has_begun: bool,
}

impl Progress {
    /// Returns the outcome of the run, and resets the progress.
    fn applied(&mut self, left: Plan) -> Outcome {
        let (done, passwords) = (std::mem::take(&mut self.done), std::mem::take(&mut self.set));
        Outcome::Applied(AppliedChanges { done, left, passwords })
    }
}

/// The statements of the first plan of a run, and its blocked changes.
struct ApprovedSteps {
    steps: BTreeSet<String>,
    blocked: BTreeSet<String>,
    /// `true` for a saved plan, to which no step may be added.
    is_final: bool,
}

impl ApprovedSteps {
    /// Returns the statements and the blocked changes of an approved plan. `is_final` is `true` for a saved plan.
    fn of(plan: &Plan, is_final: bool) -> Self {
        Self {
            is_final,
            steps: plan.steps.iter().map(|step| step.change.sql(plan.version)).collect(),
            blocked: plan.blocked.iter().map(|blocked| blocked.what.clone()).collect(),
        }
    }

    /// Moves steps that the first plan did not contain from a later plan to its blocked changes: all such steps if the
    /// first plan is final, otherwise those that take something away or that the first plan blocked.
    fn hold_back(&self, plan: &mut Plan) {
        let version = plan.version;
        let held = plan.steps.extract_if(.., |step| {
            let sql = step.change.sql(version);
            let more = self.is_final || self.blocked.contains(&sql) || step.change.risk() >= Risk::Restricts;
            more && !self.steps.contains(&sql)
        });
        let held: Vec<BlockedChange> = held
            .map(|step| BlockedChange { what: step.change.sql(version), why: Obstacle::Unplanned })
            .collect();
        plan.blocked.extend(held);
    }
}

/// Checks the desired state without a server.
///
/// # Errors
/// Returns [`Error::Invalid`] with all errors of the desired state.
fn check_valid(desired: &DesiredState) -> Result<(), Error> {
    let invalid = desired.validate();
    if invalid.is_empty() { Ok(()) } else { Err(Error::Invalid(invalid)) }
}

/// Checks that the plan has the expected digest, if one is set. The plan is not compared once a statement with a
/// lasting effect may have been executed, even in an attempt that was interrupted: it then contains only the remaining
/// steps, and [`ApprovedSteps::hold_back`] removes those that were not approved.
///
/// # Errors
/// Returns [`Error::Moved`] if the digest differs.
fn check(options: &ApplyOptions, plan: &Plan, progress: &Progress) -> Result<(), Error> {
    match options.expected {
        Some(expected) if expected != plan.digest && !progress.has_begun => {
            Err(Error::Moved { expected, found: Box::new(plan.digest) })
        }
        _ => Ok(()),
    }
}
