//! One target of an upstream, as all workers see it: its health, and what is counted of it. No lock, only atomics.

use super::UpstreamError;
use crate::balance::health::{Availability, Event, Health, Rules};
use crate::balance::{Candidate, hash};
use crate::config::{Target, Upstream};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The state of a target, shared by all workers.
#[derive(Debug)]
pub(crate) struct SharedTarget {
    pub(crate) target: Target,
    identity: u64,
    epoch: Instant,
    health: AtomicU64,
    in_flight: AtomicU32,
    requests: AtomicU64,
    failures: AtomicU64,
}

/// The state of a target, for monitoring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetStatus {
    /// The upstream's name.
    pub upstream: String,
    /// The address of the target.
    pub target: Target,
    /// The availability of the target.
    pub availability: Availability,
    /// The number of requests in flight.
    pub in_flight: u32,
    /// Requests that were sent to it.
    pub requests: u64,
    /// Those that failed, connections that could not be made included.
    pub failures: u64,
}

impl SharedTarget {
    fn new(target: Target, epoch: Instant) -> Self {
        Self {
            identity: hash(target.to_string().as_bytes()),
            target,
            epoch,
            health: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    fn availability(&self) -> Availability {
        match self.health.load(Relaxed) {
            // Nothing ever failed, or all is forgotten: no clock is asked.
            0 => Availability::Well,
            bits => Health::from_bits(bits).availability(self.now()),
        }
    }

    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            availability: self.availability(),
            in_flight: self.in_flight.load(Relaxed),
            identity: self.identity,
        }
    }

    /// Something happened here.
    pub(super) fn tell(&self, event: Event, rules: &Rules) {
        if event == Event::Failed {
            self.failures.fetch_add(1, Relaxed);
        }
        if self.health.load(Relaxed) == 0 && matches!(event, Event::Succeeded | Event::CheckedUp) {
            return;
        }
        let now = self.now();
        let step = |bits| Some(Health::from_bits(bits).after(event, now, rules).to_bits());
        // The closure always gives a value.
        let _ = self.health.fetch_update(Relaxed, Relaxed, step);
    }

    /// Returns the state of the target, for monitoring.
    pub(crate) fn status(&self, upstream: &str) -> TargetStatus {
        TargetStatus {
            upstream: upstream.to_owned(),
            target: self.target.clone(),
            availability: self.availability(),
            in_flight: self.in_flight.load(Relaxed),
            requests: self.requests.load(Relaxed),
            failures: self.failures.load(Relaxed),
        }
    }
}

/// A request in flight at a target.
pub(crate) struct InFlightGuard {
    target: Arc<SharedTarget>,
    rules: Rules,
    /// The target's position in its upstream.
    pub(crate) at: usize,
}

impl InFlightGuard {
    pub(super) fn new(target: Arc<SharedTarget>, rules: Rules, at: usize) -> Self {
        target.in_flight.fetch_add(1, Relaxed);
        target.requests.fetch_add(1, Relaxed);
        if target.availability() == Availability::Trial {
            target.tell(Event::Trying, &rules);
        }
        Self { target, rules, at }
    }

    pub(crate) fn succeeded(&self) {
        self.target.tell(Event::Succeeded, &self.rules);
    }

    pub(crate) fn failed(&self) {
        self.target.tell(Event::Failed, &self.rules);
    }

    /// An error of the target, or of no party.
    pub(crate) fn ended_by(&self, why: UpstreamError) {
        // A connection that was kept too long says nothing about the service, nor does a handler.
        if !matches!(why, UpstreamError::Stale | UpstreamError::Handler) {
            self.failed();
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.target.in_flight.fetch_sub(1, Relaxed);
    }
}

/// All targets of a process: what is known of one survives a reload that keeps it.
#[derive(Debug)]
pub(crate) struct Targets {
    epoch: Instant,
    known: Mutex<HashMap<(String, Target), Arc<SharedTarget>>>,
}

impl Targets {
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now(), known: Mutex::default() }
    }

    /// The targets of these upstreams, in their order. All others are forgotten.
    pub(crate) fn of(&self, upstreams: &[Upstream]) -> Vec<Vec<Arc<SharedTarget>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = HashMap::new();
        let all = upstreams
            .iter()
            .map(|upstream| {
                let shared = |target: &Target| {
                    let key = (upstream.name.clone(), target.clone());
                    let shared = known
                        .get(&key)
                        .cloned()
                        .unwrap_or_else(|| Arc::new(SharedTarget::new(target.clone(), self.epoch)));
                    kept.insert(key, shared.clone());
                    shared
                };
                upstream.targets.iter().map(shared).collect()
            })
            .collect();
        *known = kept;
        all
    }
}
