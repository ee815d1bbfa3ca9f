//! Servers in recovery: a standby is not changed, and the end of archive recovery is awaited.

use super::connect::{Connection, Server};
use super::error::Error;
use super::inspect::preflight;
use super::observer::{Event, Observer};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Socket};

/// Kind of recovery of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recovery {
    /// The server replays an archive, and will then accept writes.
    Archive,
    /// The server follows a primary until it is promoted.
    Standby,
    /// The session's privileges do not suffice to determine the kind.
    Unknown,
}

impl<T> Server<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    /// Returns `true` on a standby, `false` once the server is not in recovery. Waits for the end of archive recovery.
    /// A server whose kind of recovery is unknown counts as a standby after the time limit.
    ///
    /// # Errors
    /// Returns [`Error::Recovering`] if archive recovery does not end within the time limit, or the error of a query.
    pub(super) async fn stays_in_recovery(
        &self,
        session: &Connection,
        observer: &mut dyn Observer,
    ) -> Result<bool, Error> {
        let end = Instant::now() + self.timeouts.connect;
        let mut is_reported = false;
        loop {
            if !preflight(&session.client).await?.in_recovery {
                return Ok(false);
            }
            let kind = recovery(&session.client).await?;
            if kind == Recovery::Standby {
                return Ok(true);
            }
            if Instant::now() >= end {
                // A session that cannot determine the kind treats a server that stays in recovery as a standby.
                return match kind {
                    Recovery::Archive => Err(Error::Recovering(self.timeouts.connect.as_secs())),
                    Recovery::Standby | Recovery::Unknown => Ok(true),
                };
            }
            if !is_reported {
                observer.event(&Event::Recovering);
                is_reported = true;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Determines the kind of recovery: a standby has a WAL receiver or the file `standby.signal`.
///
/// # Errors
/// Returns [`Error::Query`] if the query fails.
async fn recovery(client: &Client) -> Result<Recovery, Error> {
    let failed = |source| Error::Query { what: "asking for the kind of recovery", source };
    let seen = client.query_typed_one(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver), \
         pg_catalog.has_function_privilege('pg_catalog.pg_stat_file(text, boolean)', 'EXECUTE')",
        &[],
    );
    let row = seen.await.map_err(failed)?;
    let (receives, may_look): (bool, bool) = (row.get(0), row.get(1));
    if receives {
        return Ok(Recovery::Standby);
    }
    if !may_look {
        return Ok(Recovery::Unknown);
    }
    // The server reads this file at startup to become a standby, and removes it at a promotion.
    let signal = "SELECT pg_catalog.pg_stat_file('standby.signal', true) IS NOT NULL";
    let row = client.query_typed_one(signal, &[]).await.map_err(failed)?;
    Ok(if row.get(0) { Recovery::Standby } else { Recovery::Archive })
}
