//! Many certificates: once, or for ever.

use super::{Certificate, Engine, How, Outcome};
use crate::client::now;
use crate::live::{Refused, deploy};
use crate::machine::Alert;
use crate::store::{Change, Changes};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Clocks jump and machines sleep: it is looked again at least this often, and never in a frenzy.
const LOOK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3600));
/// When a certificate that another process works on is looked at again.
const ELSEWHERE: Duration = Duration::from_secs(30);
/// When a server that could not be told of another machine's certificate is told again: at first, and at the most.
const TELL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

impl Engine {
    /// Does what is due for all of these, as many at once as allowed.
    pub async fn once(self: &Arc<Self>, certificates: &[Certificate], force: bool) -> Vec<Outcome> {
        let mut rounds = tokio::task::JoinSet::new();
        for certificate in certificates {
            let (engine, certificate) = (self.clone(), certificate.clone());
            rounds.spawn(async move {
                engine.ready(&certificate).await;
                engine.round(&certificate, force).await
            });
        }
        let mut outcomes = rounds.join_all().await;
        outcomes.sort_by(|one, other| one.id.cmp(&other.id));
        outcomes
    }

    async fn ready(&self, certificate: &Certificate) {
        // Never closed.
        let _turn = self.parallel.clone().acquire_owned().await;
        if let Err(why) = self.prepare(certificate).await {
            self.say(&certificate.spec.id, &why.to_string());
        }
    }

    /// Keeps a certificate alive until the engine is told to [stop](Self::stop).
    pub async fn keep(self: Arc<Self>, certificate: Certificate) {
        while !self.is_stopping() {
            self.ready(&certificate).await;
            let outcome = self.round(&certificate, false).await;
            let until = match outcome.how {
                How::Issued => now(),
                How::Fine(until, _) | How::Failed(until, _) => until,
                How::Elsewhere => now().after(ELSEWHERE),
            };
            let pause = until.since(now()).clamp(LOOK.0, LOOK.1);
            self.sleep(pause).await;
        }
    }

    /// Keeps all of these alive until the engine is told to [stop](Self::stop), and follows what other machines do to a store
    /// that is shared.
    pub async fn run(self: &Arc<Self>, certificates: &[Certificate]) {
        let mut tasks = tokio::task::JoinSet::new();
        for certificate in certificates.iter().cloned() {
            tasks.spawn(self.clone().keep(certificate));
        }
        if let Some(changes) = self.store.changes() {
            tasks.spawn(self.clone().follow(certificates.to_vec(), changes));
        }
        tasks.join_all().await;
    }

    /// Ends [`run`](Self::run) and every round as soon as what is under way is done and written down: within the time-out of
    /// one request.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Sleeps; `false` if the engine was told to stop meanwhile.
    pub(super) async fn sleep(&self, pause: Duration) -> bool {
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            _ = stopping.wait_for(|stopping| *stopping) => false,
        }
    }

    /// Takes into use what other machines install, and tells this machine's servers until they have heard.
    async fn follow(self: Arc<Self>, certificates: Vec<Certificate>, mut changes: Changes) {
        let mut owed: BTreeMap<String, (Instant, Duration)> = BTreeMap::new();
        let mut stopping = self.stopping.subscribe();
        loop {
            let next = owed.values().map(|(at, _)| *at).min();
            let later = next.unwrap_or_else(|| Instant::now() + LOOK.1);
            let everything = || certificates.iter().map(|certificate| certificate.spec.id.clone()).collect();
            let changed: BTreeSet<String> = tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep_until(later) => match next {
                    Some(_) => {
                        let due = owed.iter().filter(|(_, (at, _))| *at <= Instant::now());
                        due.map(|(id, _)| id.clone()).collect()
                    }
                    None => everything(),
                },
                change = changes.recv() => match change {
                    Some(Change::Certificate(id)) => BTreeSet::from([id]),
                    Some(Change::Anything) => everything(),
                    None => return,
                },
            };
            let changed: Vec<&Certificate> =
                certificates.iter().filter(|certificate| changed.contains(&certificate.spec.id)).collect();
            let mut heard = Vec::new();
            for certificate in &changed {
                heard.push(self.heard(certificate));
            }
            for (certificate, heard) in changed.iter().zip(join_all(heard).await) {
                let id = &certificate.spec.id;
                let Err(why) = heard else {
                    owed.remove(id);
                    continue;
                };
                self.say(id, &format!("what another machine installed: {why}"));
                let pause = owed.get(id).map_or(TELL.0, |(_, pause)| (*pause * 2).min(TELL.1));
                if owed.insert(id.clone(), (Instant::now() + pause, pause)).is_none() {
                    self.alert(id, &Alert::Undeployed { why }).await;
                }
            }
        }
    }

    async fn heard(&self, certificate: &Certificate) -> Result<(), String> {
        let id = &certificate.spec.id;
        self.take_over(id).await.map_err(|why| why.to_string())?;
        let pair = self.store.current(id).await.map_err(|why| why.to_string())?;
        let Some(pair) = pair else { return Ok(()) };
        let held = crate::client::describe(&pair.chain).map_err(|why| why.to_string())?;
        if held.authority.is_none() || self.has_told(id, &held.serial) {
            return Ok(());
        }
        match deploy(&certificate.deployment, &held, id).await {
            Ok(()) => {
                self.tells(id, &held.serial);
                self.say(id, &format!("in use here: serial {}", held.serial));
                Ok(())
            }
            Err(Refused::NotServed(why) | Refused::Failed(why)) => Err(why),
        }
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_told(&self, id: &str, serial: &str) -> bool {
        self.told().get(id).is_some_and(|told| told == serial)
    }

    /// This machine's servers are told of this certificate by who calls this.
    pub(super) fn tells(&self, id: &str, serial: &str) {
        self.told().insert(id.to_owned(), serial.to_owned());
    }

    /// Nobody tells this machine's servers any more: it is found out again what they have to know.
    pub(super) fn tells_nothing(&self, id: &str) {
        self.told().remove(id);
    }
}
