//! Load balancing over the targets of an upstream, health checks and retries.

use crate::balance::health::Rules;
use std::time::Duration;

/// The policy that chooses the target of the next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// Each target in turn.
    #[default]
    RoundRobin,
    /// The target with the fewest requests in flight.
    LeastConnections,
    /// The same target for the same key while it is healthy (rendezvous hashing).
    Hash(HashKey),
}

/// The part of a request that [`Balance::Hash`] hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// The restored client address.
    #[default]
    Client,
    /// The request target: path and query.
    Target,
    /// The host of the request.
    Host,
}

/// Health checking of targets: passive, by the outcome of requests, and active, by probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// Thresholds. By default 3 consecutive failures eject a target for 10 s; 2 probes to rise, 3 to fall.
    pub rules: Rules,
    /// The active health check. `None` sends no probes.
    pub check: Option<Check>,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { rules: Rules { failures: 3, eject: Duration::from_secs(10), rise: 2, fall: 3 }, check: None }
    }
}

/// An active health check: a request sent to each target at an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Path and query of the probe, a GET request.
    pub path: String,
    /// The Host of the probe. `None` takes the upstream's `host`, or else the target's authority.
    pub host: Option<String>,
    /// Time from one probe to the next (5 s).
    pub interval: Duration,
    /// Time within which a target must answer (2 s).
    pub timeout: Duration,
    /// The lowest and the highest status that counts as healthy, both included (default: 200 to 399).
    pub status: (u16, u16),
}

impl Check {
    /// A GET of this path every 5 s; a status of 200 to 399 within 2 s is healthy.
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

/// The retry policy. A request is sent to another target only if nothing of it was sent yet, or if it is idempotent
/// (RFC 9110 §9.2.2) and none of its content has been consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The highest number of retries after the first attempt (2). 0 disables retries.
    pub attempts: u8,
    /// Response statuses that count as failures (none by default). They also count against the target's health.
    pub statuses: Vec<u16>,
    /// The retry budget: retries allowed per hundred requests (20). Failed connection attempts do not consume it.
    pub budget_percent: u8,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 2, statuses: Vec::new(), budget_percent: 20 }
    }
}
