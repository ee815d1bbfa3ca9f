//! Facts that are queried from a running server.

use crate::install::{login, parameters};
use cli_support::outcome::Failure;
use pg_hba::Version;
use std::collections::BTreeSet;

/// Facts of a server on which decisions depend: its version, the roles of which a role is a direct or indirect member
/// (itself included, empty if the role does not exist), and whether `ssl` is on.
pub(crate) struct Facts {
    /// Major version of the server.
    pub(crate) version: Version,
    pub(crate) member_of: BTreeSet<String>,
    pub(crate) ssl: bool,
}

/// Query of every role of which the role `$1` is a direct or indirect member, itself included; no row if the role does
/// not exist.
const MEMBERSHIPS: &str = "WITH RECURSIVE held (role) AS (SELECT oid FROM pg_roles WHERE rolname = $1 UNION \
     SELECT roleid FROM pg_auth_members JOIN held ON member = role) \
     SELECT rolname::text FROM pg_roles JOIN held ON oid = role";

/// Connects to a server as in [`login`], and queries its version, the memberships of `user` and the value of `ssl`.
/// Blocks until it has completed.
///
/// # Errors
/// Returns a [`Failure`] if the connection or a query fails, or the version is not supported.
pub(crate) fn query_facts(connect: &str, user: &str) -> Result<Facts, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::Failed(format!("no runtime: {why}")))?;
    runtime.block_on(async {
        let client = login(&parameters("--connect", connect)?).await?;
        let version = pg_hba::install::version(&client).await.map_err(|why| Failure::because(&why))?;
        let failed = |why: tokio_postgres::Error| {
            Failure::Failed(why.as_db_error().map_or_else(|| why.to_string(), ToString::to_string))
        };
        let rows = client.query(MEMBERSHIPS, &[&user]).await.map_err(failed)?;
        let member_of = rows.iter().map(|row| row.get(0)).collect();
        let row = client.query_one("SELECT current_setting('ssl') = 'on'", &[]).await.map_err(failed)?;
        Ok(Facts { version, member_of, ssl: row.get(0) })
    })
}
