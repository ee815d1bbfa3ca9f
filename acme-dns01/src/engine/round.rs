//! One round: everything that is due for one certificate, under its lock.

use super::{Certificate, Engine, How, Outcome};
use crate::client::now;
use crate::machine::{Action, Alert, Event, Machine, Record, State};
use crate::store::{Lock, Pair, StoreError};
use crate::time::{DAY, Time};
use std::sync::PoisonError;
use std::time::Duration;

/// What takes longer is taken up again in another round.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often in a row a line of the journal cannot be written before the round ends.
const UNWRITTEN: u32 = 3;
/// When a lock that was lost is tried for again.
const SOON: Duration = Duration::from_secs(1);
/// When a store that does not work is tried again, and one that is away for a moment.
const AGAIN: Duration = Duration::from_secs(60);
const AGAIN_SOON: Duration = Duration::from_secs(5);
/// How often in a row a store is away before a person is told: a restart is no news.
const TRANSIENT: u32 = 4;
/// After how long a person is told again that it does not.
const TELL_AGAIN: [Duration; 4] =
    [Duration::from_secs(600), Duration::from_secs(6000), Duration::from_secs(43_200), DAY];

/// What a person was told of a store that does not work.
#[derive(Debug, Default)]
pub(super) struct Hushed {
    failures: u32,
    told: usize,
    until: Option<Time>,
}

impl Engine {
    /// Makes sure that there is something to serve: takes what is in the store into use, or puts a self-signed pair there.
    ///
    /// # Errors
    /// [`StoreError`], or that a key cannot be made. What this machine has is in use all the same.
    pub async fn prepare(&self, certificate: &Certificate) -> Result<(), StoreError> {
        let id = &certificate.spec.id;
        let current = match self.current_or_own(certificate).await {
            Ok(pair) => pair,
            Err(why) => match self.store.local(id).await {
                Ok(Some(pair)) => {
                    self.say(id, &format!("what this machine has is used for now: {why}"));
                    pair
                }
                _ => return Err(why),
            },
        };
        self.set_live(id, &current)
    }

    /// Takes what this machine has into use at once, without asking a store that is shared: a server that starts while the database
    /// is away should not wait for it. Where this machine has nothing it is [`prepare`](Self::prepare). What is newer in the store
    /// is taken into use by [`run`](Self::run).
    ///
    /// # Errors
    /// As of [`prepare`](Self::prepare).
    pub async fn begin(&self, certificate: &Certificate) -> Result<(), StoreError> {
        match self.store.local(&certificate.spec.id).await {
            Ok(Some(pair)) => self.set_live(&certificate.spec.id, &pair),
            _ => self.prepare(certificate).await,
        }
    }

    fn set_live(&self, id: &str, pair: &Pair) -> Result<(), StoreError> {
        if let Some(live) = &self.live {
            let damaged = |why: crate::live::LiveError| StoreError::Damaged {
                path: id.to_owned(),
                why: why.to_string(),
            };
            live.set(id, pair).map_err(damaged)?;
        }
        Ok(())
    }

    async fn current_or_own(&self, certificate: &Certificate) -> Result<Pair, StoreError> {
        let id = &certificate.spec.id;
        self.store.refresh(id).await?;
        if let Some(pair) = self.store.current(id).await? {
            return Ok(pair);
        }
        let pair = self_signed(certificate).await?;
        // Another process may be about to put one there.
        for _ in 0..100 {
            if let Some(_held) = self.store.lock(id).await? {
                if self.store.current(id).await?.is_none() {
                    self.store.stage(id, &pair).await?;
                    self.store.install(id).await?;
                    self.say(id, "a self-signed certificate until there is a real one");
                }
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.store.current(id).await?.is_some() {
                break;
            }
        }
        self.store.refresh(id).await?;
        Ok(self.store.current(id).await?.unwrap_or(pair))
    }

    /// Takes what is in the store into use on this machine, after another machine changed it.
    pub(super) async fn take_over(&self, id: &str) -> Result<(), StoreError> {
        self.store.refresh(id).await?;
        match self.store.current(id).await? {
            Some(pair) => self.set_live(id, &pair),
            None => Ok(()),
        }
    }

    /// Where a certificate stands, by its journal and by what is in its folder.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn state(&self, certificate: &Certificate) -> Result<State, StoreError> {
        let records = self.store.journal(&certificate.spec.id).await?;
        self.state_of(certificate, &records).await
    }

    async fn state_of(&self, certificate: &Certificate, records: &[Record]) -> Result<State, StoreError> {
        let mut state = State::replay(records);
        if state.held.is_none()
            && let Some(pair) = self.store.current(&certificate.spec.id).await?
            && let Ok(mut held) = crate::client::describe(&pair.chain)
            && held.authority.is_some()
        {
            // A certificate that another program put there is as good as one of ours.
            held.authority = certificate.spec.authorities.first().cloned();
            held.profile.clone_from(&certificate.spec.profile);
            state.held = Some(held);
        }
        Ok(state)
    }

    /// Does what is due for one certificate, until nothing is.
    pub async fn round(&self, certificate: &Certificate, force: bool) -> Outcome {
        let id = certificate.spec.id.clone();
        // Never closed.
        let _turn = self.parallel.clone().acquire_owned().await;
        let worked = self.work(certificate, force).await;
        let how = match worked {
            Ok(how) => {
                self.hushed.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                how
            }
            // Nobody has to hear of that: whoever has the lock now goes on, and so does the next round.
            Err(why @ StoreError::LockLost { .. }) => How::Failed(now().after(SOON), why.to_string()),
            Err(why) => {
                let next = now().after(if why.is_transient() { AGAIN_SOON } else { AGAIN });
                if let Some(failures) = self.fails(&id, why.is_transient()) {
                    self.alert(&id, &Alert::Failing { why: why.to_string(), next, failures }).await;
                }
                How::Failed(next, why.to_string())
            }
        };
        Outcome { id, how }
    }

    /// The store did not work once more: how often in a row, if a person is to be told of this time.
    fn fails(&self, id: &str, transient: bool) -> Option<u32> {
        let mut all = self.hushed.lock().unwrap_or_else(PoisonError::into_inner);
        let hushed = all.entry(id.to_owned()).or_default();
        hushed.failures = hushed.failures.saturating_add(1);
        if *hushed.until.get_or_insert_with(now) > now() || (transient && hushed.failures < TRANSIENT) {
            return None;
        }
        hushed.until = Some(now().after(TELL_AGAIN[hushed.told.min(TELL_AGAIN.len() - 1)]));
        hushed.told += 1;
        Some(hushed.failures)
    }

    async fn work(&self, certificate: &Certificate, force: bool) -> Result<How, StoreError> {
        let id = &certificate.spec.id;
        let Some(held) = self.store.lock(id).await? else { return Ok(How::Elsewhere) };
        *self.ledger.lock().await = self.store.ledger().await?;
        let records = self.store.journal(id).await?;
        let state = self.state_of(certificate, &records).await?;
        if records.len() > 64 && state.attempt.is_none() {
            self.store.compact(id, &state).await?;
        }
        let mut machine = Machine::new(certificate.spec.clone(), state);
        if force {
            machine.force();
        }
        let how = self.drive(certificate, &mut machine, &held).await;
        if how.is_err() || machine.state().undeployed || machine.state().attempt.is_some() {
            self.tells_nothing(id);
        }
        how
    }

    async fn drive(
        &self,
        certificate: &Certificate,
        machine: &mut Machine,
        held: &Lock,
    ) -> Result<How, StoreError> {
        let id = &certificate.spec.id;
        let (mut issued, mut unwritten) = (false, 0);
        loop {
            if held.is_lost() {
                return Err(StoreError::LockLost { id: id.clone() });
            }
            let action = machine.poll(now(), &*self.ledger.lock().await);
            if let Action::Wait { until, why } = action {
                if machine.rests() {
                    return Ok(rested(machine, issued, until, why));
                }
                let pause = until.since(now());
                if pause > PATIENCE || !self.sleep(pause.max(Duration::from_millis(1))).await {
                    return Ok(How::Failed(until, why));
                }
                continue;
            }
            if self.is_stopping() && !matches!(action, Action::Journal(_)) {
                // What was done is written down; the next start goes on from there.
                return Ok(How::Failed(now(), "told to stop".to_owned()));
            }
            let line = match &action {
                Action::Journal(record) => Some(record.clone()),
                _ => None,
            };
            let event = self.perform(certificate, machine, action).await.unwrap_or_else(Event::Error);
            match (&line, &event) {
                (Some(_), Event::Error(trouble)) => {
                    unwritten += 1;
                    self.say(id, &format!("trouble: {}", trouble.why));
                    if unwritten >= UNWRITTEN {
                        return Err(StoreError::Unwritten { why: trouble.why.clone() });
                    }
                }
                (Some(record), _) => {
                    unwritten = 0;
                    issued |= matches!(record, Record::Installed { .. });
                    self.hear(id, record);
                }
                (None, Event::Error(trouble)) => self.say(id, &format!("trouble: {}", trouble.why)),
                (None, _) => {}
            }
            machine.handle(event, now());
        }
    }

    fn hear(&self, id: &str, record: &Record) {
        match record {
            Record::Began { authority, why, .. } => self.say(id, &format!("begins at {authority}: {why}")),
            Record::Ordered { url } => {
                self.count(|counts| counts.orders += 1);
                self.say(id, &format!("ordered: {url}"));
            }
            Record::Publishing(txt) => self.say(id, &format!("TXT {} at {}", txt.name, txt.provider)),
            Record::Triggering { .. } => self.say(id, "every name server has it; the CA validates"),
            Record::Finalizing => self.say(id, "validated; the CA issues"),
            Record::Installed { held, .. } => {
                self.count(|counts| counts.issued += 1);
                self.say(id, &format!("installed: serial {}, until {}", held.serial, held.not_after));
            }
            Record::Deployed { .. } => self.say(id, "deployed"),
            Record::Failed { why, until, .. } | Record::Stalled { why, until, .. } => {
                self.count(|counts| counts.failed += 1);
                self.say(id, &format!("failed, next try {until}: {why}"));
            }
            Record::RolledBack { why, .. } => self.say(id, &format!("rolled back: {why}")),
            _ => {}
        }
    }
}

fn rested(machine: &Machine, issued: bool, until: Time, why: String) -> How {
    let state = machine.state();
    let failed = state.failures > 0 || state.refused > 0 || state.deploy_until.is_some();
    match failed {
        true => How::Failed(until, state.trouble.clone().unwrap_or(why)),
        false if issued => How::Issued,
        false => How::Fine(until, why),
    }
}

async fn self_signed(certificate: &Certificate) -> Result<Pair, StoreError> {
    let (names, kind) = (certificate.spec.names.clone(), certificate.spec.key_type);
    let today = now();
    let damaged = |why: String| StoreError::Damaged { path: certificate.spec.id.clone(), why };
    // RSA takes its time.
    let made = tokio::task::spawn_blocking(move || crate::client::self_signed(&names, kind, today)).await;
    let made = made.map_err(|why| damaged(why.to_string()))?;
    let (chain, key) = made.map_err(|why| damaged(why.to_string()))?;
    Ok(Pair { chain, key })
}
