//! Takeover of certificates that other hosts install into a shared store.

use super::keep::LOOK;
use super::{Certificate, Engine, EngineEvent};
use crate::client::describe;
use crate::lifetime::Origin;
use crate::live::DeployError;
use crate::machine::Alert;
use crate::store::{Change, Changes};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// First and maximum pause before a failed takeover is retried: 1 s and an hour. The pause doubles after each failure.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Follows the changes that other hosts make to a shared store, and puts their certificates into use on this host.
pub(super) struct Follower {
    engine: Arc<Engine>,
    certificates: Vec<Certificate>,
    /// Certificates whose takeover failed: time of the next attempt, and the pause before it.
    retries: BTreeMap<String, (Instant, Duration)>,
}

impl Follower {
    /// Creates a follower of the certificates, none of which awaits a retry.
    pub(super) const fn new(engine: Arc<Engine>, certificates: Vec<Certificate>) -> Self {
        Self { engine, certificates, retries: BTreeMap::new() }
    }

    /// Takes over changed certificates and retries failed ones until the engine is stopped or the store ends the
    /// subscription. Without changes or scheduled retries, all certificates are checked after the maximum interval
    /// between rounds.
    pub(super) async fn run(mut self, mut changes: Changes) {
        let mut stopping = self.engine.stopping.subscribe();
        loop {
            let next = self.retries.values().map(|(at, _)| *at).min();
            let later = next.unwrap_or_else(|| Instant::now() + LOOK.1);
            let changed: BTreeSet<String> = tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep_until(later) => match next {
                    Some(_) => {
                        let due = self.retries.iter().filter(|(_, (at, _))| *at <= Instant::now());
                        due.map(|(id, _)| id.clone()).collect()
                    }
                    None => self.all(),
                },
                change = changes.recv() => match change {
                    Some(Change::Certificate(id)) => BTreeSet::from([id]),
                    Some(Change::Anything) => self.all(),
                    None => return,
                },
            };
            self.take_over(&changed).await;
        }
    }

    /// Returns the ids of all configured certificates.
    fn all(&self) -> BTreeSet<String> {
        self.certificates.iter().map(|certificate| certificate.spec.id.clone()).collect()
    }

    /// Takes over the certificates with these ids concurrently. A failure is reported as an event and schedules a
    /// retry; the first of consecutive failures also raises an alert.
    async fn take_over(&mut self, changed: &BTreeSet<String>) {
        let changed: Vec<Certificate> = self
            .certificates
            .iter()
            .filter(|certificate| changed.contains(&certificate.spec.id))
            .cloned()
            .collect();
        let mut taken = Vec::new();
        for certificate in &changed {
            taken.push(take_over(&self.engine, certificate));
        }
        for (certificate, taken) in changed.iter().zip(join_all(taken).await) {
            let id = &certificate.spec.id;
            let Err(why) = taken else {
                self.retries.remove(id);
                continue;
            };
            let text = format!("the certificate that another machine installed: {why}");
            self.engine.reporter.event(id, &EngineEvent::Error(text));
            let pause =
                self.retries.get(id).map_or(RETRY_PAUSES.0, |(_, pause)| (*pause * 2).min(RETRY_PAUSES.1));
            if self.retries.insert(id.clone(), (Instant::now() + pause, pause)).is_none() {
                self.engine.reporter.alert(id, &Alert::Undeployed { why }).await;
            }
        }
    }
}

/// Puts the stored certificate into use on this host: refreshes the store's files, sets the live certificate, and runs
/// the deployment unless this process has deployed that serial number. Without a stored pair only the refresh takes
/// place, and a certificate that is not from a CA is not deployed. A deployment that succeeds is recorded and reported.
///
/// # Errors
/// Returns the description of an error of the store, of a pair that cannot be used, or of the deployment.
async fn take_over(engine: &Engine, certificate: &Certificate) -> Result<(), String> {
    let id = &certificate.spec.id;
    engine.store.refresh(id).await.map_err(|error| error.to_string())?;
    let pair = engine.store.current(id).await.map_err(|error| error.to_string())?;
    let Some(pair) = pair else { return Ok(()) };
    engine.deployer.set_live(id, &pair).map_err(|error| error.to_string())?;
    let info = describe(&pair.chain).map_err(|error| error.to_string())?;
    if info.origin != Origin::Authority || engine.deployer.has_deployed(id, &info.serial) {
        return Ok(());
    }
    let folder = engine.store.folder(id);
    match certificate.deployment.run(&info, id, folder.as_deref()).await {
        Ok(()) => {
            engine.deployer.will_deploy(id, &info.serial);
            engine.reporter.event(id, &EngineEvent::TakenOver(info.serial));
            Ok(())
        }
        Err(DeployError::NotServed(why) | DeployError::Failed(why)) => Err(why),
    }
}
