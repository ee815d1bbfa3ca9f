//! Servers in recovery: standbys are left alone, the end of archive recovery is waited for.

use super::connect::{Connection, Server};
use super::error::Error;
use super::inspect::preflight;
use super::observer::{Event, Observer};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Socket};

/// The kind of recovery that a server is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recovery {
    /// It replays an archive and will accept writes by itself.
    Archive,
    /// It follows a primary until somebody promotes it.
    Standby,
    /// The session may not see which of both.
    Unknown,
}

impl<T> Server<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    /// Returns true on a standby. Waits for the end of archive recovery.
    pub(super) async fn stays_in_recovery(
        &self,
        session: &Connection,
        observer: &mut dyn Observer,
    ) -> Result<bool, Error> {
        let end = Instant::now() + self.timeouts.connect;
        let mut told = false;
        loop {
            if !preflight(&session.client).await?.in_recovery {
                return Ok(false);
            }
            let kind = recovery(&session.client).await?;
            if kind == Recovery::Standby {
                return Ok(true);
            }
            if Instant::now() >= end {
                // A session that cannot see more takes a server that stays in recovery for a standby.
                return match kind {
                    Recovery::Archive => Err(Error::Recovering(self.timeouts.connect.as_secs())),
                    Recovery::Standby | Recovery::Unknown => Ok(true),
                };
            }
            if !told {
                observer.event(&Event::Recovering);
                told = true;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

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
    // A standby is what this file makes of a server; the server reads it at its start, and removes it at a promotion.
    let signal = "SELECT pg_catalog.pg_stat_file('standby.signal', true) IS NOT NULL";
    let row = client.query_typed_one(signal, &[]).await.map_err(failed)?;
    Ok(if row.get(0) { Recovery::Standby } else { Recovery::Archive })
}
