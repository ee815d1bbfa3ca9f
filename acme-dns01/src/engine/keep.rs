//! Rounds of one certificate until the engine is stopped.

use super::round::{Renewal, RoundOutcome};
use super::{Certificate, Engine};
use std::sync::Arc;
use std::time::Duration;

/// Minimum and maximum pause between rounds. The maximum applies even if nothing is due, since the clock may be set,
/// the host suspended, or files changed.
pub(super) const LOOK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3600));
/// Pause before the lock of a certificate held by another process is tried again.
const LOCK_RETRY: Duration = Duration::from_secs(30);

/// Prepares a certificate and runs a round, again and again until the engine is stopped. The pause between rounds ends
/// when the round's outcome says (at once after an issuance, after [`LOCK_RETRY`] if another process holds the lock),
/// within the limits of [`LOOK`]. While the certificate is held back, it ends after a minute at the latest, or when the
/// provider is ready.
pub(super) async fn keep(engine: Arc<Engine>, certificate: Certificate) {
    while !engine.is_stopping() {
        engine.prepare_or_report(&certificate).await;
        let round = engine.round(&certificate, Renewal::WhenDue).await;
        let until = match round.outcome {
            RoundOutcome::Issued => engine.now(),
            RoundOutcome::NotDue { until, .. } => until,
            RoundOutcome::Failed { retry_at, .. } => retry_at,
            RoundOutcome::Blocked { until, .. } => until,
            RoundOutcome::Locked => engine.now().after(LOCK_RETRY),
        };
        let now = engine.now();
        let end = now.after(until.since(now).clamp(LOOK.0, LOOK.1));
        engine.sleep_or_release(&certificate.spec.id, end).await;
    }
}
