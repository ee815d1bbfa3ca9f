//! Query for the renewal information of the issued certificate (RFC 9773).

use super::journal::{Record, State};
use super::protocol::Action;
use super::spec::Timeouts;
use crate::lifetime::{Ari, RenewalInfo};
use crate::time::{DAY, Time};
use std::time::Duration;

/// Interval between queries for renewal information, if the CA sends no Retry-After.
const INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// Interval after a query that failed without Retry-After.
const INTERVAL_AFTER_ERROR: Duration = Duration::from_secs(3600);

/// Query for the renewal information of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RenewalInfoQuery {
    /// Configured name of the authority that issued the certificate.
    pub(super) authority: String,
    /// ARI identifier of the certificate (RFC 9773 §4.1).
    pub(super) certificate: String,
}

impl RenewalInfoQuery {
    /// Returns the action that performs the query.
    pub(super) fn action(&self) -> Action {
        Action::RenewalInfo { authority: self.authority.clone(), certificate: self.certificate.clone() }
    }

    /// Returns the record of the answer. The next query is after Retry-After, or else after six hours, but not before
    /// the configured minimum, and within a day.
    pub(super) fn answered(
        &self,
        info: Option<RenewalInfo>,
        retry_after: Option<Duration>,
        timeouts: &Timeouts,
        now: Time,
    ) -> Record {
        let pause = retry_after.unwrap_or(INTERVAL).clamp(timeouts.ari.min(DAY), DAY);
        self.record(info, now.after(pause))
    }

    /// Returns the record of an answer by which the CA does not know the certificate, for the reason `why`. A
    /// certificate that another program installed counts as lost, so that a known one is ordered; for another, the next
    /// query is a day later.
    pub(super) fn unknown(&self, why: String, state: &State, now: Time) -> Record {
        if is_adopted(state) {
            return Record::Lost { at: now, why };
        }
        self.record(None, now.after(DAY))
    }

    /// Returns the record of a query that failed. The next one is after Retry-After, or else after an hour, within a
    /// day. The known renewal information remains in use: a failed query must not change the renewal time.
    pub(super) fn failed(&self, retry_after: Option<Duration>, state: &State, now: Time) -> Record {
        let known = state.ari.as_ref().filter(|ari| ari.of == self.certificate);
        let next = now.after(retry_after.unwrap_or(INTERVAL_AFTER_ERROR).min(DAY));
        self.record(known.and_then(|ari| ari.info.clone()), next)
    }

    /// Returns the record of the renewal information and the time of the next query.
    fn record(&self, info: Option<RenewalInfo>, next: Time) -> Record {
        Record::Ari(Ari { of: self.certificate.clone(), info, next })
    }
}

/// Returns `true` if the certificate in place was installed by another program: the journal contains no order, and the
/// certificate has neither a directory nor a profile.
fn is_adopted(state: &State) -> bool {
    state.held.as_ref().is_some_and(|held| held.directory.is_none() && held.profile.is_none())
        && state.last_request.is_none()
}
