//! Applying: under one lock, by a plan made for what is then there, and looked at again afterwards.

use super::connect::{Server, Session};
use super::error::Error;
use super::execute::Order;
use super::inspect::preflight;
use super::password::Set;
use crate::desired::Desired;
use crate::diff::diff;
use crate::name::Name;
use crate::plan::{Consent, Digest, Plan, Step};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

/// The key of the advisory lock: "pg-ensur".
const LOCK: i64 = 0x7067_2d65_6e73_7572;
/// How often a plan is made anew for what creating databases has brought to light.
const ROUNDS: usize = 4;

/// How a run is done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApplyOptions {
    /// What may be destroyed.
    pub consent: Consent,
    /// The plan that was agreed to: a run that would do anything else is refused.
    pub expected: Option<Digest>,
    /// How often a run is begun again after a transient error.
    pub attempts: u32,
    /// How many statements are under way at once.
    pub pipeline: usize,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self { consent: Consent::none(), expected: None, attempts: 8, pipeline: 256 }
    }
}

impl ApplyOptions {
    /// With what may be destroyed.
    #[must_use]
    pub fn consent(mut self, consent: Consent) -> Self {
        self.consent = consent;
        self
    }

    /// Bound to a plan.
    #[must_use]
    pub fn expected(mut self, digest: Digest) -> Self {
        self.expected = Some(digest);
        self
    }

    /// With so many statements under way at once.
    #[must_use]
    pub fn pipeline(mut self, statements: usize) -> Self {
        self.pipeline = statements;
        self
    }
}

/// How a run has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The server is a standby. It was left alone: what its primary has, it gets.
    Standby,
    /// It was looked at and changed where it was needed.
    Applied(Applied),
}

/// What a run has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// The steps that were made.
    pub done: Vec<Step>,
    /// What is left: no steps, only what was blocked, and notes.
    pub left: Plan,
}

/// What happens in a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Another run holds the lock.
    Waiting,
    /// A step is about to be made.
    Step {
        /// Its number, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// The step.
        step: &'a Step,
    },
    /// A transaction is about to be committed.
    Commit,
    /// It was committed.
    Committed,
    /// The run begins again.
    Again(&'a Error),
    /// It is looked at what came of it.
    Verify,
}

/// Whoever follows a run.
pub trait Observer: Send {
    /// Something happens.
    fn event(&mut self, event: &Event<'_>);
}

/// Nobody follows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: &Event<'_>) {}
}

impl<T> Server<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    /// What would be done.
    ///
    /// # Errors
    /// When the desired state is wrong, or the server cannot be reached or asked.
    pub async fn plan(&self, desired: &Desired, consent: &Consent) -> Result<Plan, Error> {
        validated(desired)?;
        Ok(diff(&self.inspect(desired).await?, desired, consent))
    }

    /// Makes it so: looks, and if anything is to be done, takes the lock, looks again, does it, and looks whether it is
    /// done. A run that finds nothing to do takes no lock and writes nothing.
    ///
    /// # Errors
    /// When the desired state is wrong, the server cannot be reached or asked, a step fails for good, the state is not
    /// the expected one, or something is left to be done after everything was.
    pub async fn apply(
        &self,
        desired: &Desired,
        options: &ApplyOptions,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, Error> {
        validated(desired)?;
        let mut attempt = 1;
        let mut done = Vec::new();
        loop {
            match self.attempt(desired, options, observer, &mut done).await {
                Err(why) if why.is_transient() && attempt < options.attempts => {
                    observer.event(&Event::Again(&why));
                    tokio::time::sleep(Duration::from_millis(50 << attempt.min(6))).await;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn attempt(
        &self,
        desired: &Desired,
        options: &ApplyOptions,
        observer: &mut dyn Observer,
        done: &mut Vec<Step>,
    ) -> Result<Outcome, Error> {
        let session = self.connect(None).await?;
        let outcome = self.run(&session, desired, options, observer, done).await;
        session.close().await;
        outcome
    }

    async fn run(
        &self,
        session: &Session,
        desired: &Desired,
        options: &ApplyOptions,
        observer: &mut dyn Observer,
        done: &mut Vec<Step>,
    ) -> Result<Outcome, Error> {
        if preflight(&session.client).await?.in_recovery {
            return Ok(Outcome::Standby);
        }
        let mut set = Set::new();
        let plan = diff(&self.look(session, desired, &set).await?, desired, &options.consent);
        check(options, &plan, done)?;
        if plan.steps.is_empty() {
            return Ok(Outcome::Applied(Applied { done: std::mem::take(done), left: plan }));
        }
        let lock = self.lock(session, observer).await?;
        let outcome = self.locked(session, desired, options, observer, done, &mut set).await;
        match lock {
            // The lock goes with the connection that holds it.
            Some(other) => other.close().await,
            None => {
                let _ = session
                    .client
                    .batch_execute(&format!("SELECT pg_catalog.pg_advisory_unlock({LOCK})"))
                    .await;
            }
        }
        outcome
    }

    async fn locked(
        &self,
        session: &Session,
        desired: &Desired,
        options: &ApplyOptions,
        observer: &mut dyn Observer,
        done: &mut Vec<Step>,
        set: &mut Set,
    ) -> Result<Outcome, Error> {
        let rounds = if options.expected.is_some() { 1 } else { ROUNDS };
        let mut round = 0;
        loop {
            let current = self.look(session, desired, set).await?;
            let plan = diff(&current, desired, &options.consent);
            if round == 0 {
                check(options, &plan, done)?;
            }
            if plan.steps.is_empty() {
                return Ok(Outcome::Applied(Applied { done: std::mem::take(done), left: plan }));
            }
            if round == rounds {
                return Err(Error::NotConverged(Box::new(plan)));
            }
            round += 1;
            let order = Order { current: &current, plan: &plan, desired, pipeline: options.pipeline };
            self.execute(session, &order, set, observer).await?;
            done.extend(plan.steps);
            observer.event(&Event::Verify);
        }
    }

    /// Takes the lock. Advisory locks are a database's own, so that all runs take theirs in `postgres` where there is
    /// one, by a connection that holds nothing else.
    async fn lock(&self, session: &Session, observer: &mut dyn Observer) -> Result<Option<Session>, Error> {
        let postgres = Name::new("postgres").expect("a name");
        let mut other = None;
        if self.config.get_dbname() != Some("postgres") {
            let hurried = self.clone().patience(super::Patience { connect: Duration::ZERO, ..self.patience });
            other = hurried.connect(Some(&postgres)).await.ok();
        }
        let client = other.as_ref().map_or(&session.client, |other: &Session| &other.client);
        let end = Instant::now() + self.patience.lock;
        let sql = format!("SELECT pg_catalog.pg_try_advisory_lock({LOCK})");
        let mut told = false;
        loop {
            let row = client.query_typed_one(&sql, &[]).await;
            let row = row.map_err(|source| Error::Query { what: "taking the lock", source })?;
            if row.get(0) {
                return Ok(other);
            }
            if !told {
                observer.event(&Event::Waiting);
                told = true;
            }
            if Instant::now() >= end {
                return Err(Error::Locked(self.patience.lock.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn validated(desired: &Desired) -> Result<(), Error> {
    let invalid = desired.validate();
    if invalid.is_empty() { Ok(()) } else { Err(Error::Invalid(invalid)) }
}

/// Whether this is the plan that was agreed to. Once steps were made in this run, a plan is for what is left of it.
fn check(options: &ApplyOptions, plan: &Plan, done: &[Step]) -> Result<(), Error> {
    match options.expected {
        Some(expected) if expected != plan.digest && done.is_empty() => {
            Err(Error::Moved { expected, found: Box::new(plan.digest) })
        }
        _ => Ok(()),
    }
}
