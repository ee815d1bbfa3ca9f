//! Errors of the client.

use super::snapshot::SnapshotError;
use crate::desired::InvalidDeclaration;
use crate::plan::{Digest, Plan};
use crate::version::UnsupportedVersion;
use thiserror::Error;
use tokio_postgres::error::SqlState;

/// Error of inspecting or changing a cluster.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The desired state is not valid; all its errors. The server was not contacted.
    #[error("the desired state is wrong: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<InvalidDeclaration>),
    /// No connection could be made within the time limit, or the server refused the connection.
    #[error("cannot connect to the database {database} at {server}")]
    Connect {
        /// Name of the database.
        database: String,
        /// Sockets and addresses that were tried, separated by commas.
        server: String,
        /// Error of the last attempt.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The server does not permit the session to connect to a database whose contents are to be inspected.
    #[error("cannot enter the database {database}: {why}")]
    Refused {
        /// Name of the database.
        database: String,
        /// Message of the server.
        why: String,
    },
    /// The server did not respond to an attempt to connect within the time limit, this number of seconds.
    #[error("no answer from the server in {0} s")]
    Silent(u64),
    /// The server is older than PostgreSQL 13.
    #[error(transparent)]
    Version(#[from] UnsupportedVersion),
    /// A query failed.
    #[error("{what} failed")]
    Query {
        /// Purpose of the query, such as `the snapshot of the cluster`.
        what: &'static str,
        /// Error of the query.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The contents of a database could not be queried.
    #[error("the snapshot of the database {database} failed")]
    Inspect {
        /// Name of the database.
        database: String,
        /// Error of the query.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The result of a query cannot be interpreted.
    #[error("the server's answer cannot be read")]
    Snapshot(#[from] SnapshotError),
    /// A step failed. The transaction that contained it, if any, was rolled back; if the connection broke at COMMIT, it
    /// may have been committed.
    #[error("{sql}: failed")]
    Step {
        /// SQL of the step, without secrets.
        sql: String,
        /// Error of the statement.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The operating system provides no random bytes for a salt; its message.
    #[error("no randomness for salts: {0}")]
    Random(String),
    /// The desired password of a role cannot be used. No step of the plan was executed.
    #[error("the password of role {role:?} cannot be used")]
    Password {
        /// Name of the role.
        role: String,
        /// Reason why the password cannot be used.
        #[source]
        source: crate::scram::PasswordError,
    },
    /// The plan is not the expected one, since the state has changed. Nothing was executed.
    #[error(
        "the state has moved: the plan was made for {expected}, and now it would be {found}; nothing was changed: make a new plan"
    )]
    Moved {
        /// Digest of the agreed plan.
        expected: Digest,
        /// Digest of the current plan.
        found: Box<Digest>,
    },
    /// All steps were executed, but differences remain; the remaining plan.
    #[error("{} changes could not be applied: make a new plan; the first: {}", .0.steps.len(), first(.0))]
    NotConverged(Box<Plan>),
    /// The server was still in archive recovery after this number of seconds.
    #[error("the server has been in archive recovery for {0} s")]
    Recovering(u64),
    /// Another run still held the lock after this number of seconds.
    #[error("another run has held the lock for {0} s")]
    Locked(u64),
}

/// Formats the first step of a plan with its reason. Empty for a plan without steps.
fn first(plan: &Plan) -> String {
    plan.steps
        .first()
        .map(|step| format!("{} ({})", step.change.sql(plan.version), step.reason))
        .unwrap_or_default()
}

impl Error {
    /// Returns `true` if a retry may succeed: for an error of connecting, a query or a step whose SQLSTATE indicates a
    /// concurrent change, startup, shutdown or too many connections, and for a connection that broke or could not be
    /// made. Always `false` for other kinds of errors.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { source, .. }
            | Self::Query { source, .. }
            | Self::Inspect { source, .. }
            | Self::Step { source, .. } => transient(source),
            Self::Invalid(_)
            | Self::Refused { .. }
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

    /// Returns the server's message if it refused the session's connection to a database for a reason that a retry does
    /// not change: privileges, authorization, or a database that accepts no connections. `None` for other errors.
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

    /// Returns `true` if no connection could be made: [`Connect`](Self::Connect) or [`Silent`](Self::Silent).
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Silent(_))
    }
}

/// Returns `true` if a retry may succeed, by the SQLSTATE, or by the I/O error of a connection that broke or could not
/// be made.
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
        // The primary was demoted to a standby meanwhile: sessions set default_transaction_read_only to off.
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ]
    .contains(code)
        || *code == SqlState::INTERNAL_ERROR
            && why.as_db_error().is_some_and(|error| error.message().contains("tuple concurrently"))
}

/// Returns `true` if the connection broke or could not be made, by the I/O error among the causes.
fn broken(why: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(why);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind as Kind;
            return is_lookup_failure(io)
                || matches!(
                    io.kind(),
                    Kind::BrokenPipe
                        | Kind::ConnectionAborted
                        | Kind::ConnectionRefused
                        | Kind::ConnectionReset
                        | Kind::HostUnreachable
                        | Kind::NetworkDown
                        | Kind::NetworkUnreachable
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

/// Returns `true` if the name of a host could not be resolved. While a machine starts, a resolver may be unreachable, or
/// not know the names of a VPN yet, so that an unknown name is not told from one that is not known yet.
fn is_lookup_failure(io: &std::io::Error) -> bool {
    // The error has neither a kind nor a number of its own; the text is that of the standard library.
    io.raw_os_error().is_none() && io.to_string().starts_with("failed to lookup address information")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_resolved_is_told_by_the_text_of_the_standard_library() {
        use std::net::ToSocketAddrs as _;
        let why = ("name.invalid", 5432)
            .to_socket_addrs()
            .expect_err("the top-level domain is reserved (RFC 6761)");
        assert!(is_lookup_failure(&why), "{why:?}");
        let refused = std::io::Error::from(std::io::ErrorKind::InvalidInput);
        assert!(!is_lookup_failure(&refused));
    }
}
