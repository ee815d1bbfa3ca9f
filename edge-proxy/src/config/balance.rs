//! How requests are spread over the targets of an upstream, and what is done when one fails.

use crate::balance::health::Rules;
use std::time::Duration;

/// Which target gets the next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// One after another.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// Always the same for the same key, for as long as it is well (rendezvous hashing).
    Hash(HashKey),
}

/// What requests are told apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// The restored address of the client.
    #[default]
    Client,
    /// Path and query.
    Target,
    /// The host that was asked for.
    Host,
}

/// How targets are found to be well or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// By what the requests find (3 failures in a row eject for 10 s), and by checks (2 to rise, 3 to fall).
    pub rules: Rules,
    /// Requests of our own. `None` is without.
    pub check: Option<Check>,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { rules: Rules { failures: 3, eject: Duration::from_secs(10), rise: 2, fall: 3 }, check: None }
    }
}

/// A request that is made to each target again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Path and query that are asked for by GET.
    pub path: String,
    /// The Host that is sent. `None` is the upstream's, else the target's.
    pub host: Option<String>,
    /// From one check to the next (5 s).
    pub interval: Duration,
    /// Within which it is answered (2 s).
    pub timeout: Duration,
    /// The lowest and the highest status that is well (200 to 399).
    pub status: (u16, u16),
}

impl Check {
    /// GET of this path every 5 s; 200 to 399 within 2 s is well.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            host: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            status: (200, 399),
        }
    }
}

/// When a request is sent to another target. Only what nothing was sent of, or what may be repeated (RFC 9110 §9.2.2) and
/// has no content that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often at most, besides the first (2). 0 is never.
    pub attempts: u8,
    /// Answers that are taken for a failure (none). They also count against the target's health.
    pub statuses: Vec<u16>,
    /// Repetitions allowed for a hundred requests (20). Connections that cannot be made are not counted.
    pub budget_percent: u8,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 2, statuses: Vec::new(), budget_percent: 20 }
    }
}
