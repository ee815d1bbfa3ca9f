//! Load balancing over the targets of an upstream, health checks and retries.

use crate::balance::health::Rules;
use std::time::Duration;

/// The policy that chooses the target of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// Each target in turn, in proportion to the weights. The default.
    #[default]
    RoundRobin,
    /// The target with the fewest requests in flight relative to its weight.
    LeastConnections,
    /// The target that rendezvous hashing selects for a key of the request: the same one for the same key while it is
    /// available, in proportion to the weights.
    Hash(HashKey),
}

/// The part of a request that [`Balance::Hash`] hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// The restored client address. The default.
    #[default]
    Client,
    /// The request target: path and query as received.
    Target,
    /// The authority of the request in lower case, with its port if it has one.
    Host,
}

/// Health checking of targets: passive, by the outcome of requests, and active, by check requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// The thresholds. Default: 3 consecutive failures eject a target for 10 s; a target is up after 2 successful
    /// checks, and down after 3 failed ones.
    pub rules: Rules,
    /// The active health check. `None`, the default, sends no check requests.
    pub check: Option<Check>,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { rules: Rules { failures: 3, eject: Duration::from_secs(10), rise: 2, fall: 3 }, check: None }
    }
}

/// An active health check: a GET request to each target at an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The request target of the check in origin form: path and optional query.
    pub path: String,
    /// The Host of the check. `None` sends the upstream's `host` if it has one, or else the target's authority.
    pub host: Option<String>,
    /// The interval between the starts of two checks of a target. At least 100 ms. Default: 5 s.
    pub interval: Duration,
    /// The time limit of one check, above 0 and at most 60 s. Default: 2 s.
    pub timeout: Duration,
    /// The inclusive range of statuses that count as healthy, within 100 to 599. Default: 200 to 399.
    pub status: (u16, u16),
}

impl Check {
    /// Returns a check of this request target with the defaults: no own Host, every 5 s, a timeout of 2 s, and the
    /// statuses 200 to 399.
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

/// The retry policy. A request is sent to another target if no connection could be established, or if its method is
/// idempotent (RFC 9110 §9.2.2), it asks for no upgrade, none of its content was forwarded, and the client has received
/// no final response head. A request that timed out is not sent again.
///
/// Besides that, a request is sent once more on a new connection if a reused one was closed before the response and the
/// method is idempotent, or if the upstream did not process it (REFUSED_STREAM or GOAWAY), whatever its method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The highest number of times that a request is sent to another target after it was sent to one. Default: 2. Not
    /// counted are targets to which no connection could be established, and repetitions on a new connection.
    pub attempts: u8,
    /// The response statuses, 400 to 599, that count as failures of the request and of the target's health. Default:
    /// none.
    pub statuses: Vec<u16>,
    /// The retry budget: the number of retries allowed per hundred requests, 0 to 100. Default: 20. Failed connection
    /// attempts do not consume it.
    pub budget_percent: u8,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 2, statuses: Vec::new(), budget_percent: 20 }
    }
}
