//! Removal of TXT records of certificates that left the configuration.

use super::round::remove_records;
use super::{Certificate, Engine, EngineEvent};
use crate::machine::{Alert, Record, State};
use crate::store::StoreError;
use crate::time::DAY;
use std::collections::BTreeSet;
use std::time::Duration;

/// Half of the first, and the maximum, pause before the removal is repeated. The pause doubles before each repetition.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_secs(60), DAY);

/// Removes TXT records of certificates that are not configured any more, and abandons their attempts. A record that
/// cannot be removed is reported and stays.
///
/// # Errors
/// Returns a [`StoreError`] if the store fails.
pub(super) async fn sweep(engine: &Engine, configured: &[Certificate]) -> Result<(), StoreError> {
    sweep_once(engine, configured).await.map(|_| ())
}

/// Sweeps at the start and then once a day, until the engine is stopped. While records are left, or after an error
/// (which is dropped), the pause is two minutes and doubles up to a day.
pub(super) async fn keep_sweeping(engine: &Engine, configured: &[Certificate]) {
    let mut pause = RETRY_PAUSES.0;
    loop {
        match sweep_once(engine, configured).await {
            Ok(true) => pause = RETRY_PAUSES.1,
            Ok(false) | Err(_) => pause = (pause * 2).min(RETRY_PAUSES.1),
        }
        if !engine.sleep(pause).await {
            return;
        }
    }
}

/// Removes the TXT records of all certificates that are not configured, and abandons their attempts. A record that
/// cannot be removed is reported as an event and an alert. Certificates that another process has locked are skipped.
/// Returns `true` if no record is left, apart from those of the skipped ones.
///
/// # Errors
/// Returns a [`StoreError`] if the store fails.
async fn sweep_once(engine: &Engine, configured: &[Certificate]) -> Result<bool, StoreError> {
    let configured: BTreeSet<&str> =
        configured.iter().map(|certificate| certificate.spec.id.as_str()).collect();
    let mut clean = true;
    for id in engine.store.ids().await? {
        if configured.contains(id.as_str()) {
            continue;
        }
        // Another process, with another configuration, may work on the certificate.
        let Some(_lock) = engine.store.lock(&id).await? else { continue };
        let state = State::replay(&engine.store.journal(&id).await?);
        if state.attempt.is_some() {
            let why = "the certificate is not configured any more".to_owned();
            let record = Record::Abandoned { at: engine.now(), why };
            engine.store.append(&id, &record).await?;
            engine.reporter.record(&id, &record);
        }
        for (name, error) in remove_records(engine, &id, &state).await? {
            clean = false;
            let why = error.reason;
            engine.reporter.event(&id, &EngineEvent::Error(format!("the TXT record at {name}: {why}")));
            engine.reporter.alert(&id, &Alert::Leftover { name, why }).await;
        }
    }
    Ok(clean)
}
