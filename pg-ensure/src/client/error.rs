//! Errors of the client.

use super::snapshot::SnapshotError;
use crate::desired::Invalid;
use crate::plan::{Digest, Plan};
use crate::version::TooOld;
use thiserror::Error;
use tokio_postgres::error::SqlState;

/// A cluster could not be inspected or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The desired state is wrong in itself. Nothing was asked of the server.
    #[error("the desired state is wrong: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Invalid>),
    /// No connection, not even after waiting.
    #[error("cannot connect to the database {database} at {server}")]
    Connect {
        /// The database's name.
        database: String,
        /// The sockets and addresses that were tried.
        server: String,
        /// The underlying cause.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The server does not let the session into a database.
    #[error("cannot enter the database {database}: {why}")]
    Closed {
        /// The database's name.
        database: String,
        /// The server's words.
        why: String,
    },
    /// No answer in time.
    #[error("no answer from the server in {0} s")]
    Silent(u64),
    /// The version of the server is not known.
    #[error(transparent)]
    Version(#[from] TooOld),
    /// A question failed.
    #[error("{what} failed")]
    Query {
        /// The query's subject.
        what: &'static str,
        /// The underlying cause.
        #[source]
        source: tokio_postgres::Error,
    },
    /// An answer means nothing.
    #[error("the server's answer cannot be read")]
    Snapshot(#[from] SnapshotError),
    /// A step failed.
    #[error("{sql}: failed")]
    Step {
        /// The step, without secrets.
        sql: String,
        /// The underlying cause.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The system has no randomness to give.
    #[error("no randomness for salts: {0}")]
    Random(String),
    /// A password cannot be one.
    #[error("the password of role {role:?} cannot be used")]
    Password {
        /// The role's name.
        role: String,
        /// The underlying cause.
        #[source]
        source: crate::scram::PasswordError,
    },
    /// The state is not the one that a plan was made for.
    #[error(
        "the state has moved: the plan was made for {expected}, and now it would be {found}; look at a new plan first"
    )]
    Moved {
        /// The plan that was agreed to.
        expected: Digest,
        /// The plan as it would be now.
        found: Box<Digest>,
    },
    /// Every step was made, and differences remain.
    #[error("{} changes could not be applied: make a new plan; the first: {}", .0.steps.len(), first(.0))]
    NotConverged(Box<Plan>),
    /// The server was still recovering from an archive when the time limit was reached.
    #[error("the server has been in archive recovery for {0} s")]
    Recovering(u64),
    /// Another run has held the lock for too long.
    #[error("another run has held the lock for {0} s")]
    Locked(u64),
}

fn first(plan: &Plan) -> String {
    plan.steps
        .first()
        .map(|step| format!("{} ({})", step.change.sql(plan.version), step.reason))
        .unwrap_or_default()
}

impl Error {
    /// Returns true if another attempt may succeed: exactly the codes by which PostgreSQL says that somebody
    /// else was at it, or that it is going down or coming up.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { source, .. } | Self::Query { source, .. } | Self::Step { source, .. } => {
                transient(source)
            }
            Self::Invalid(_)
            | Self::Closed { .. }
            | Self::Silent(_)
            | Self::Version(_)
            | Self::Snapshot(_)
            | Self::Random(_)
            | Self::Password { .. }
            | Self::Moved { .. }
            | Self::NotConverged(_)
            | Self::Recovering(_)
            | Self::Locked(_) => false,
        }
    }

    /// The server's words where it does not let the session into a database, whatever it waits for.
    pub(super) fn refusal(&self) -> Option<String> {
        let Self::Connect { source, .. } = self else { return None };
        let error = source.as_db_error()?;
        [
            SqlState::INSUFFICIENT_PRIVILEGE,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        ]
        .contains(error.code())
        .then(|| error.message().to_owned())
    }

    /// Returns true if no connection could be had within the time limit.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Silent(_))
    }
}

pub(super) fn transient(why: &tokio_postgres::Error) -> bool {
    let Some(code) = why.code() else { return why.is_closed() || broken(why) };
    [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::UNIQUE_VIOLATION,
        SqlState::OBJECT_IN_USE,
        SqlState::DUPLICATE_OBJECT,
        SqlState::DUPLICATE_DATABASE,
        SqlState::DUPLICATE_SCHEMA,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        // The primary became a standby meanwhile.
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ]
    .contains(code)
        || *code == SqlState::INTERNAL_ERROR
            && why.as_db_error().is_some_and(|error| error.message().contains("tuple concurrently"))
}

/// Returns true if the connection broke, or was not to be had.
fn broken(why: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(why);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind as Kind;
            return matches!(
                io.kind(),
                Kind::BrokenPipe
                    | Kind::ConnectionAborted
                    | Kind::ConnectionRefused
                    | Kind::ConnectionReset
                    | Kind::NotFound
                    | Kind::PermissionDenied
                    | Kind::TimedOut
                    | Kind::UnexpectedEof
            );
        }
        source = inner.source();
    }
    false
}
