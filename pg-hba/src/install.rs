//! Installation of rules on a running server: checked before, compared by `pg_hba_file_rules`, and tested by a login.
//!
//! The caller writes the files: between [`prepare`] and [`activate`] it replaces the server's file, and if activation
//! fails, it restores the previous one and calls [`reload`].

use crate::document::{Document, RejectedFile};
use crate::guard::admits;
use crate::policy::Policy;
use crate::render::{RenderError, render};
use crate::rule::Rule;
use crate::server::{Server, Version};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, SimpleQueryMessage};

/// Error of installing rules. After [`NoReload`](Self::NoReload), [`Canary`](Self::Canary), and an error of a query in
/// [`activate`] or [`reload`], the server may use the new rules.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The server's version is not supported. Contains its `server_version_num`, such as 120005, or 0 if that cannot be
    /// parsed.
    #[error("PostgreSQL {} is not supported: expected 13 to 19", shown(*.0))]
    Version(u32),
    /// The rules cannot be written in the grammar of the server's version.
    #[error("the rules cannot be written")]
    Render(#[from] RenderError),
    /// The server would reject the rules.
    #[error("PostgreSQL {version} would refuse it:\n{why}")]
    Refused {
        /// Version of the server.
        version: Version,
        /// Reasons for the rejection.
        why: RejectedFile,
    },
    /// A rule can never match on the server: a `hostssl` rule while `ssl` is off. GSSAPI is assumed to be built in.
    #[error("rule {rule}: {text}: this server can never match it: turn ssl on, or set tls = \"optional\"")]
    Impossible {
        /// Position of the rule, from 1.
        rule: usize,
        /// The rule as written in the file.
        text: String,
    },
    /// The rules do not admit the session's own role. Contains its name.
    #[error("refused: {0:?} would be locked out; name it in the policy: superuser = {0:?}")]
    LockedOut(String),
    /// `pg_hba_file_rules` differs from the intended rules. Contains a description with the line.
    #[error("{0}")]
    Compare(String),
    /// The server did not reload its configuration within about 5 s.
    #[error("the server did not reload")]
    NoReload,
    /// The test login failed. Contains the error of the future `canary`.
    #[error("the canary login failed: {0}")]
    Canary(String),
    /// A query failed or returned no row.
    #[error("{sql}: {why}")]
    Query {
        /// SQL text of the query.
        sql: String,
        /// Error message of the server or of the connection; `no answer` if the query returned no row or NULL.
        why: String,
    },
}

/// Returns a `server_version_num` as a version: 120005 is `12.5`, 90624 is `9.6.24`, and 0 is `of an unknown version`.
fn shown(number: u32) -> String {
    match number {
        0 => "of an unknown version".to_owned(),
        1..100_000 => format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100),
        _ => format!("{}.{}", number / 10_000, number % 10_000),
    }
}

/// Rules that passed the checks of [`prepare`] and can be installed.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Path of the server's `pg_hba.conf` (`hba_file`), on the server's host.
    pub path: PathBuf,
    /// New content of the file, including the first line [`MANAGED`](crate::MANAGED).
    pub text: String,
    /// Names of the privileged roles of the server that the policy does not name, sorted. The rules take them for
    /// privileged.
    pub privileged: Vec<String>,
    rules: Vec<Rule>,
}

/// Query for the roles with SUPERUSER, CREATEROLE, REPLICATION or BYPASSRLS, the predefined roles that give access to
/// the server's files and programs, and all direct and indirect members of either, without predefined roles.
const PRIVILEGED: &str = "\
WITH RECURSIVE privileged (oid) AS (
  SELECT oid FROM pg_catalog.pg_roles WHERE rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls
    OR rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
  UNION SELECT member FROM pg_catalog.pg_auth_members m JOIN privileged ON m.roleid = privileged.oid)
SELECT rolname FROM pg_catalog.pg_roles JOIN privileged USING (oid) WHERE rolname !~ '^pg_' ORDER BY rolname";

/// Returns hosts and ports (or sockets) of connection parameters, separated by commas, for messages about a connection
/// that could not be made: tokio-postgres does not name the server. Without hosts, the addresses (`hostaddr`) take their
/// place. Empty if there are neither.
#[must_use]
pub fn address(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(index)),
        Host::Unix(folder) => folder.join(format!(".s.PGSQL.{}", port(index))).display().to_string(),
    });
    let addresses = config.get_hostaddrs().iter().enumerate();
    let addresses = addresses.map(|(index, ip)| SocketAddr::new(*ip, port(index)).to_string());
    let all: Vec<String> = if config.get_hosts().is_empty() { addresses.collect() } else { hosts.collect() };
    all.join(", ")
}

/// Queries the server's major version.
///
/// # Errors
/// Returns [`InstallError::Query`] if the query fails, and [`InstallError::Version`] unless the version is from 13 to
/// 19.
pub async fn version(client: &Client) -> Result<Version, InstallError> {
    let number: u32 = one(client, "SHOW server_version_num").await?.parse().unwrap_or(0);
    Version::from_number(number / 10_000).ok_or(InstallError::Version(number))
}

/// Renders a policy for a server, and checks that its rules are valid, can match with the current value of `ssl`, and
/// admit the session's role ([`admits`]). Roles that are privileged on the server, by attributes or memberships, are
/// so in the rules too, also if the policy does not name them: see [`Prepared::privileged`]. Nothing is written.
///
/// # Errors
/// Returns [`InstallError::Query`], [`InstallError::Version`], [`InstallError::Render`], [`InstallError::Refused`],
/// [`InstallError::Impossible`] or [`InstallError::LockedOut`] for the first query or check that fails.
pub async fn prepare(client: &Client, policy: &Policy) -> Result<Prepared, InstallError> {
    let version = version(client).await?;
    let path = PathBuf::from(one(client, "SHOW hba_file").await?);
    let user = one(client, "SELECT current_user").await?;
    let mut privileged = all(client, PRIVILEGED).await?;
    privileged.retain(|role| !policy.is_privileged(role));
    let mut policy = policy.clone();
    policy.privileged.extend(privileged.iter().cloned());
    let text = render(&policy.compile(), version)?;
    let tls = one(client, "SHOW ssl").await? == "on";
    let rules = Document::parse(&text, &Server::new(version).with_tls(tls)).rules();
    let rules = rules.map_err(|why| InstallError::Refused { version, why })?;
    if let Some(at) = rules.iter().position(|rule| !rule.possible) {
        return Err(InstallError::Impossible { rule: at + 1, text: rules[at].to_string() });
    }
    if !admits(&rules, &user) {
        return Err(InstallError::LockedOut(user));
    }
    Ok(Prepared { path, text, privileged, rules })
}

/// Activates the file that the caller has written: compares `pg_hba_file_rules` with the intended rules, reloads the
/// server, waits up to about 5 s for the reload, and then awaits the test login `canary`.
///
/// # Errors
/// Returns [`InstallError::Compare`], [`InstallError::Query`] or [`InstallError::NoReload`] for the first step that
/// fails, and [`InstallError::Canary`] if `canary` returns an error; it is awaited only after a successful reload. The
/// caller then restores the previous file and calls [`reload`].
pub async fn activate(
    client: &Client,
    prepared: &Prepared,
    canary: impl Future<Output = Result<(), String>>,
) -> Result<(), InstallError> {
    // The view reads the file itself, so that errors are found before the server reloads.
    compare(client, &prepared.rules).await?;
    let before = one(client, "SELECT pg_conf_load_time()").await?;
    reload(client).await?;
    // The load time advances even if the server rejects the file, which the comparison above excludes.
    for _ in 0..200 {
        if one(client, "SELECT pg_conf_load_time()").await? != before {
            return canary.await.map_err(InstallError::Canary);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Err(InstallError::NoReload)
}

/// Requests a reload of the server's configuration (`pg_reload_conf()`), without waiting for it.
///
/// # Errors
/// Returns [`InstallError::Query`] if the query fails.
pub async fn reload(client: &Client) -> Result<(), InstallError> {
    one(client, "SELECT pg_reload_conf()").await.map(drop)
}

/// Compares the server's view of the file with the intended rules: type, method, and the numbers of databases and
/// users. A row without a type is a line that the server rejects, even if its `error` column is NULL. Notices about
/// records that cannot match are ignored.
///
/// # Errors
/// Returns [`InstallError::Compare`] for the first difference, and [`InstallError::Query`] if the query fails.
async fn compare(client: &Client, rules: &[Rule]) -> Result<(), InstallError> {
    let wrong = |why: String| Err(InstallError::Compare(why));
    let sql = "SELECT line_number, type, auth_method, error, array_length(database, 1), array_length(user_name, 1) \
               FROM pg_hba_file_rules";
    let mut expected = rules.iter();
    for row in query(client, sql).await? {
        let SimpleQueryMessage::Row(row) = row else { continue };
        let line = row.get(0).unwrap_or("?");
        if let Some(error) = row.get(3).filter(|error| !error.contains("cannot match because")) {
            return wrong(format!("the server refuses line {line}: {error}"));
        }
        let Some(kind) = row.get(1) else {
            return wrong(format!("the server refuses line {line} and does not say why"));
        };
        let Some(rule) = expected.next() else {
            return wrong(format!("the server reads a rule at line {line} that was not written"));
        };
        let counts =
            [row.get(4), row.get(5)].map(|count| count.and_then(|count| count.parse().ok()).unwrap_or(0));
        let same = kind == rule.connection.as_str()
            && row.get(2) == Some(rule.method.as_str())
            && counts == [rule.databases.len(), rule.users.len()];
        if !same {
            return wrong(format!("the server reads line {line} as {kind} {}", row.get(2).unwrap_or("?")));
        }
    }
    match expected.next() {
        Some(rule) => wrong(format!("the server does not read the rule of line {}", rule.origin.line)),
        None => Ok(()),
    }
}

/// Executes a statement by the simple query protocol.
///
/// # Errors
/// Returns [`InstallError::Query`] if it fails.
async fn query(client: &Client, sql: &str) -> Result<Vec<SimpleQueryMessage>, InstallError> {
    let failed = |why: tokio_postgres::Error| InstallError::Query {
        sql: sql.to_owned(),
        why: why.as_db_error().map_or_else(|| why.to_string(), ToString::to_string),
    };
    client.simple_query(sql).await.map_err(failed)
}

/// Executes a query, and returns the values of the first column that are not NULL.
///
/// # Errors
/// Returns [`InstallError::Query`] if the query fails.
async fn all(client: &Client, sql: &str) -> Result<Vec<String>, InstallError> {
    let rows = query(client, sql).await?;
    let found = rows.iter().filter_map(|row| match row {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(found.collect())
}

/// Executes a query, and returns the first value of the first column that is not NULL.
///
/// # Errors
/// Returns [`InstallError::Query`] if the query fails, or returns no such value.
async fn one(client: &Client, sql: &str) -> Result<String, InstallError> {
    let found = all(client, sql).await?.into_iter().next();
    found.ok_or_else(|| InstallError::Query { sql: sql.to_owned(), why: "no answer".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_its_port_or_socket() {
        for (text, expected) in [
            (
                "host=/run/postgresql,db.example.org port=5432,6432",
                "/run/postgresql/.s.PGSQL.5432, db.example.org:6432",
            ),
            ("host=a,b", "a:5432, b:5432"),
            ("hostaddr=192.0.2.1,2001:db8::1 port=5433", "192.0.2.1:5433, [2001:db8::1]:5433"),
            ("user=a", ""),
        ] {
            assert_eq!(address(&text.parse().expect("parameters")), expected, "{text}");
        }
    }
}
