//! A target of an upstream, shared by all workers: its health and counters. Only the last failure is behind a lock.

use super::target_event::{TargetChange, TargetEvent};
use super::{Cause, UpstreamError};
use crate::observe::Observer;
use edge_policy::balance::health::{Availability, Change, Event, Health, Rules};
use edge_policy::balance::{Candidate, hash};
use edge_policy::config::{Target, Upstream};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The state of a target, shared by all workers.
pub(crate) struct SharedTarget {
    /// The address of the target.
    pub(crate) target: Target,
    /// The hash of the target's address, for rendezvous hashing and the sticky cookie.
    identity: u64,
    /// The time from which the times in `health` are counted: the start of the proxy.
    epoch: Instant,
    /// The state of [`Health`] as bits. 0 for a target without recent failures.
    health: AtomicU64,
    /// The number of requests and forwarded connections in flight.
    in_flight: AtomicU32,
    /// The number of requests and forwarded connections so far, with failed connection attempts.
    requests: AtomicU64,
    /// The number of failed requests so far, with failed connection attempts.
    failures: AtomicU64,
    /// The name of the upstream, for events.
    upstream: String,
    /// The receiver of changes of the target's availability.
    observer: Arc<dyn Observer>,
    /// The cause of the last failure and its time. Locked only when a failure occurs and when the status is read.
    /// `None` before the first failure.
    last: Mutex<Option<(Cause, Instant)>>,
}

/// The status of one target of an upstream, for monitoring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetStatus {
    /// The name of the upstream.
    pub upstream: String,
    /// The address of the target.
    pub target: Target,
    /// The availability of the target.
    pub availability: Availability,
    /// The number of requests and forwarded connections in flight at the target.
    pub in_flight: u32,
    /// The number of requests and forwarded connections that were begun at the target since the start of the proxy, or
    /// since a reload added the target, with retries and failed connection attempts, without health checks.
    pub requests: u64,
    /// The number of failed requests since the same time as in `requests`, with failed connection attempts, without
    /// failed health checks and failures that this system caused.
    pub failures: u64,
    /// The cause of the last failure, also of a health check or for a cause in this system, and the time since then.
    /// `None` if there was none.
    pub last_failure: Option<(Cause, Duration)>,
}

impl SharedTarget {
    /// Creates the state of a healthy target without requests. `upstream` is the name of its upstream, and `epoch` the
    /// time from which the times of its health are counted.
    fn new(upstream: &str, target: Target, epoch: Instant, observer: Arc<dyn Observer>) -> Self {
        Self {
            upstream: upstream.to_owned(),
            observer,
            last: Mutex::default(),
            identity: hash(target.to_string().as_bytes()),
            target,
            epoch,
            health: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Returns the time in milliseconds since `epoch`.
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// Returns the availability of the target at present.
    fn availability(&self) -> Availability {
        match self.health.load(Relaxed) {
            // Nothing ever failed, or all is forgotten: no clock is asked.
            0 => Availability::Healthy,
            bits => Health::from_bits(bits).availability(self.now()),
        }
    }

    /// Returns the state of the target for the balance, with the default weight and not as a backup.
    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            availability: self.availability(),
            in_flight: self.in_flight.load(Relaxed),
            identity: self.identity,
            ..Candidate::NONE
        }
    }

    /// Records the cause and the time of a failure for the status, without changing the health. No effect for `None`.
    pub(super) fn note(&self, cause: Option<Cause>) {
        if let Some(cause) = cause {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((cause, Instant::now()));
        }
    }

    /// Applies an event to the health of the target, and reports a change of the availability to the observer. Counts
    /// a failed request, and records `cause`, that of the failure, for the status.
    pub(super) fn tell(&self, event: Event, rules: &Rules, cause: Option<Cause>) {
        if event == Event::Failed {
            self.failures.fetch_add(1, Relaxed);
        }
        self.note(cause);
        if self.health.load(Relaxed) == 0 && matches!(event, Event::Succeeded | Event::CheckedUp) {
            return;
        }
        let now = self.now();
        let step = |bits| Some(Health::from_bits(bits).after(event, now, rules).to_bits());
        // The closure always returns a value. The thread that made a change reports it.
        if let Ok(before) = self.health.fetch_update(Relaxed, Relaxed, step) {
            let before = Health::from_bits(before);
            if let Some(change) = before.change_to(before.after(event, now, rules), rules) {
                let change = match change {
                    Change::Ejected(time) => TargetChange::Ejected(time),
                    Change::Down => TargetChange::Down,
                    Change::Back => TargetChange::Back,
                };
                let (upstream, target) = (&self.upstream[..], &self.target);
                self.observer.target(&TargetEvent { upstream, target, change, cause });
            }
        }
    }

    /// Returns the status of the target, for monitoring. `upstream` is the name to give for its upstream.
    pub(crate) fn status(&self, upstream: &str) -> TargetStatus {
        TargetStatus {
            upstream: upstream.to_owned(),
            target: self.target.clone(),
            availability: self.availability(),
            in_flight: self.in_flight.load(Relaxed),
            requests: self.requests.load(Relaxed),
            failures: self.failures.load(Relaxed),
            last_failure: self
                .last
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .map(|(cause, at)| (cause, at.elapsed())),
        }
    }
}

/// A request or forwarded connection in flight at a target. Dropping it decrements the target's number of these.
pub(crate) struct InFlightGuard {
    /// The target of the request.
    target: Arc<SharedTarget>,
    /// The rules by which the outcome changes the target's health.
    rules: Rules,
    /// The index of the target in its upstream.
    pub(crate) at: usize,
}

impl InFlightGuard {
    /// Counts a request at a target as begun and in flight. If the target is ejected and its trial is due, this
    /// request becomes the trial. `at` is the index of the target in its upstream.
    pub(super) fn new(target: Arc<SharedTarget>, rules: Rules, at: usize) -> Self {
        target.in_flight.fetch_add(1, Relaxed);
        target.requests.fetch_add(1, Relaxed);
        if target.availability() == Availability::Trial {
            target.tell(Event::Trying, &rules, None);
        }
        Self { target, rules, at }
    }

    /// Records that the request succeeded.
    pub(crate) fn succeeded(&self) {
        self.target.tell(Event::Succeeded, &self.rules, None);
    }

    /// Records that the request failed for this cause.
    pub(crate) fn failed(&self, cause: Option<Cause>) {
        self.target.tell(Event::Failed, &self.rules, cause);
    }

    /// Records that the request ended by this error, as a failure of the target. A stale connection, a request that
    /// was not processed and a handler that panicked have no effect.
    pub(crate) fn ended_by(&self, why: UpstreamError) {
        // Neither a stale connection, a request that was not processed, nor a handler is a failure of the target.
        if !matches!(
            why,
            UpstreamError::Stale
                | UpstreamError::Handler
                | UpstreamError::Refused
                | UpstreamError::Unprocessed
        ) {
            self.failed(why.cause());
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.target.in_flight.fetch_sub(1, Relaxed);
    }
}

/// The targets of a process, by upstream and address. The state of a target survives reloads that keep it.
pub(crate) struct Targets {
    /// The time from which the times of the targets' health are counted.
    epoch: Instant,
    /// The receiver of changes of the targets' availability.
    observer: Arc<dyn Observer>,
    /// The targets by the name of their upstream and their address.
    known: Mutex<HashMap<(String, Target), Arc<SharedTarget>>>,
}

impl Targets {
    /// Creates an empty set. Changes of its targets are reported to this observer.
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { epoch: Instant::now(), observer, known: Mutex::default() }
    }

    /// Returns the targets of each of these upstreams, in their order. Targets that exist already for the same name of
    /// an upstream retain their state; those of no given upstream are removed.
    pub(crate) fn of(&self, upstreams: &[Upstream]) -> Vec<Vec<Arc<SharedTarget>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = HashMap::new();
        let all = upstreams
            .iter()
            .map(|upstream| {
                let shared = |target: &Target| {
                    let key = (upstream.name.clone(), target.clone());
                    let shared = known.get(&key).cloned().unwrap_or_else(|| {
                        let observer = self.observer.clone();
                        Arc::new(SharedTarget::new(&upstream.name, target.clone(), self.epoch, observer))
                    });
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
