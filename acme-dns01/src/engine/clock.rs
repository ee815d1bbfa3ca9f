//! The engine's clock.

use crate::client::now;
use crate::time::Time;
use async_trait::async_trait;
use std::fmt;
use std::time::Duration;

/// The source of the current time of an [`Engine`](super::Engine), and of its pauses.
///
/// By it the engine decides when a certificate is due, whether it has expired and which rate limits are reached, and
/// dates journal and ledger. The CA's clock still prevails: a difference that the `Date` field of its responses shows is
/// corrected, as for the system's clock. Time limits of requests, reloads and checks, waits for locks and retries after a
/// change by another host are those of Tokio's timer. Keys and nonces are not derived from it.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Time;

    /// Waits for `pause`, by this clock. The engine looks at the time again afterwards, so that a wait may end early. By
    /// default waits by Tokio's timer.
    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

/// The clock of the operating system, with Tokio's timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        now()
    }
}
