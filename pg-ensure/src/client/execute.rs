//! Execution of a plan's steps: transaction by transaction, with the statements of each pipelined.

use super::connect::{Connection, Server};
use super::error::Error;
use super::observer::{Event, Observer};
use super::password::{self, StoredVerifiers};
use crate::current::CurrentState;
use crate::desired::DesiredState;
use crate::name::Name;
use crate::plan::{Change, ExecutionScope, Plan, RoleChange, Step};
use crate::version::Version;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Socket};

impl<T> Server<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    /// Executes every step of a plan, in its transactions and in the databases to which they belong. Adds the verifiers
    /// that were stored to `set` once all have succeeded. Sets `has_begun` before the first statement whose effect may
    /// last: one outside a transaction, or a COMMIT.
    ///
    /// # Errors
    /// Returns an [`Error`] if a password cannot be used, a connection cannot be opened, or a step fails; its
    /// transaction is rolled back, earlier ones stay committed.
    pub(super) async fn execute(
        &self,
        session: &Connection,
        order: &ExecutionInput<'_>,
        set: &mut StoredVerifiers,
        has_begun: &mut bool,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let ExecutionInput { current, plan, desired, pipeline } = *order;
        let passwords: Vec<&Name> = plan.steps.iter().filter_map(|step| password_of(&step.change)).collect();
        let verifiers = password::verifiers(desired, &passwords, current.iterations).await?;
        let superuser = current.superuser();
        let mut work =
            Execution { plan, verifiers: &verifiers, superuser, pipeline, done: 0, has_begun, observer };
        for (place, steps) in plan.transactions() {
            match place {
                ExecutionScope::Alone => work.alone(&session.client, steps).await?,
                ExecutionScope::In(database) if database != current.session.database => {
                    let other = self.connect(Some(&database)).await?;
                    let outcome = work.transaction(&other.client, steps).await;
                    other.close().await;
                    outcome?;
                }
                ExecutionScope::Cluster | ExecutionScope::In(_)
                    if pipeline > 1
                        && steps.iter().filter_map(|step| password_of(&step.change)).count()
                            >= PARALLEL_FROM =>
                {
                    for run in runs(steps) {
                        if password_of(&run[0].change).is_some() {
                            work.announce(run);
                            *work.has_begun = true;
                            self.passwords(run, &verifiers, superuser).await?;
                        } else {
                            work.transaction(&session.client, run).await?;
                        }
                    }
                }
                ExecutionScope::Cluster | ExecutionScope::In(_) => {
                    work.transaction(&session.client, steps).await?;
                }
            }
        }
        set.extend(verifiers);
        Ok(())
    }

    /// Sets the passwords of steps concurrently over up to [`CONNECTIONS`] connections, each in its own transaction:
    /// for each password the server checks whether it is the verifier of an empty password, which takes as long as
    /// deriving one.
    ///
    /// # Errors
    /// Returns an error if a connection cannot be opened, or [`Error::Step`] if a transaction fails.
    async fn passwords(
        &self,
        steps: &[Step],
        verifiers: &StoredVerifiers,
        superuser: bool,
    ) -> Result<(), Error> {
        let parts = steps.chunks(steps.len().div_ceil(CONNECTIONS)).map(|part| async move {
            let failed = |source| Error::Step { sql: format!("{} passwords", part.len()), source };
            let names = part.iter().filter_map(|step| password_of(&step.change));
            let part_of = names.filter_map(|name| verifiers.get_key_value(name));
            let verifiers: StoredVerifiers =
                part_of.map(|(name, verifier)| (name.clone(), verifier.clone())).collect();
            let session = self.connect(None).await?;
            let outcome = async {
                session.client.batch_execute("BEGIN").await?;
                password::set(&session.client, superuser, &verifiers).await?;
                session.client.batch_execute("COMMIT").await
            };
            let outcome = outcome.await;
            session.close().await;
            outcome.map_err(failed)
        });
        futures_util::future::join_all(parts).await.into_iter().collect()
    }
}

/// Input of an execution: the plan, the states from which it was made, and the maximum number of statements in flight.
pub(super) struct ExecutionInput<'a> {
    pub(super) current: &'a CurrentState,
    pub(super) plan: &'a Plan,
    pub(super) desired: &'a DesiredState,
    pub(super) pipeline: usize,
}

/// Number of passwords in a transaction from which they are set over several connections.
const PARALLEL_FROM: usize = 100;
/// Number of connections that set passwords.
const CONNECTIONS: usize = 4;

/// Splits steps into runs of consecutive steps that set passwords, and runs of other steps.
fn runs(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    steps.chunk_by(|a, b| password_of(&a.change).is_some() == password_of(&b.change).is_some())
}

/// Returns the role whose password a change sets. `None` for other changes.
fn password_of(change: &Change) -> Option<&Name> {
    match change {
        Change::Role(RoleChange::SetPassword { name }) => Some(name),
        _ => None,
    }
}

/// Progress of an execution of a plan: `done` is the number of announced steps, `pipeline` the maximum number of
/// statements in flight, `superuser` is `true` if the session's role is a superuser, and `has_begun` once a statement
/// was sent whose effect may last.
struct Execution<'a> {
    plan: &'a Plan,
    verifiers: &'a StoredVerifiers,
    superuser: bool,
    pipeline: usize,
    done: usize,
    has_begun: &'a mut bool,
    observer: &'a mut dyn Observer,
}

impl Execution<'_> {
    /// Notifies the observer of each step that is about to be executed.
    fn announce(&mut self, steps: &[Step]) {
        for step in steps {
            self.done += 1;
            self.observer.event(&Event::Step { number: self.done, of: self.plan.steps.len(), step });
        }
    }

    /// Executes steps each by itself, outside a transaction.
    ///
    /// # Errors
    /// Returns [`Error::Step`] for the first statement that fails.
    async fn alone(&mut self, client: &Client, steps: &[Step]) -> Result<(), Error> {
        for step in steps {
            self.announce(std::slice::from_ref(step));
            let sql = step.change.sql(self.plan.version);
            *self.has_begun = true;
            client.batch_execute(&sql).await.map_err(|source| Error::Step { sql, source })?;
        }
        Ok(())
    }

    /// Executes steps in one transaction. After an error, ROLLBACK is sent, and its own error is ignored.
    ///
    /// # Errors
    /// Returns [`Error::Step`] for the first statement that fails.
    async fn transaction(&mut self, client: &Client, steps: &[Step]) -> Result<(), Error> {
        let outcome = self.inside(client, steps).await;
        if outcome.is_err() {
            let _ = client.batch_execute("ROLLBACK").await;
        }
        outcome
    }

    /// Sends BEGIN, the steps and COMMIT. Passwords are set by data, other steps are pipelined.
    ///
    /// # Errors
    /// Returns [`Error::Step`] for the first statement that fails; the transaction is then not committed.
    async fn inside(&mut self, client: &Client, steps: &[Step]) -> Result<(), Error> {
        let failed = |sql: &str| {
            let sql = sql.to_owned();
            move |source| Error::Step { sql, source }
        };
        let begin = "BEGIN; SET LOCAL search_path TO pg_catalog";
        client.batch_execute(begin).await.map_err(failed("BEGIN"))?;
        let kinds =
            steps.chunk_by(|a, b| password_of(&a.change).is_some() == password_of(&b.change).is_some());
        for run in kinds {
            for part in run.chunks(self.pipeline.max(1)) {
                self.announce(part);
                let names: Vec<&Name> = part.iter().filter_map(|step| password_of(&step.change)).collect();
                if names.is_empty() {
                    self.execute_pipelined(client, part).await?;
                    continue;
                }
                let verifiers: StoredVerifiers = names
                    .iter()
                    .filter_map(|name| self.verifiers.get_key_value(*name))
                    .map(|(name, verifier)| (name.clone(), verifier.clone()))
                    .collect();
                let set = password::set(client, self.superuser, &verifiers).await;
                let what = part[0].change.sql(self.plan.version);
                let what = match part.len() {
                    1 => what,
                    count => format!("{what}, and {} more passwords", count - 1),
                };
                set.map_err(failed(&what))?;
            }
        }
        self.observer.event(&Event::Commit);
        *self.has_begun = true;
        client.batch_execute("COMMIT").await.map_err(failed("COMMIT"))?;
        self.observer.event(&Event::Committed);
        Ok(())
    }

    /// Sends the statements of steps without waiting in between, and waits for the results of all.
    ///
    /// # Errors
    /// Returns [`Error::Step`] for the first step in their order that failed.
    async fn execute_pipelined(&mut self, client: &Client, steps: &[Step]) -> Result<(), Error> {
        let version = self.plan.version;
        let texts: Vec<String> = steps.iter().map(|step| statement(&step.change, version)).collect();
        let sent = futures_util::future::join_all(texts.iter().map(|sql| client.batch_execute(sql))).await;
        for (step, outcome) in steps.iter().zip(sent) {
            outcome.map_err(|source| Error::Step { sql: step.change.sql(version), source })?;
        }
        Ok(())
    }
}

/// Returns the SQL of a change, enclosed in SET LOCAL ROLE and RESET ROLE if it has to be executed as another role.
fn statement(change: &Change, version: Version) -> String {
    let sql = change.sql(version);
    match change.acts_as() {
        Some(role) => format!("SET LOCAL ROLE {}; {sql}; RESET ROLE", role.quoted()),
        None => sql,
    }
}
