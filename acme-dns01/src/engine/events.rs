//! Events of the engine, for observers.

use super::locator::UnreadyDependency;
use crate::machine::{Alert, Dependency, Record};
use crate::time::Time;
use std::fmt;
use std::sync::Arc;

/// Callback for every event of the engine, with the certificate's id. The callback must not block. The `Display` of
/// [`EngineEvent`] is one line.
pub type Observer = Arc<dyn Fn(&str, &EngineEvent) + Send + Sync>;

/// An event in the engine's work on one certificate, from the beginning of an attempt to the deployment, or an error.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EngineEvent {
    /// A self-signed placeholder was installed, so that servers can start.
    Placeholder,
    /// An issuance attempt began.
    Began {
        /// Configured name of the authority.
        authority: String,
        /// The human-readable reason.
        reason: String,
    },
    /// An order was created, or found again after an interruption. The text is the order's URL.
    Ordered(String),
    /// A TXT record is about to be created.
    Publishing {
        /// Name of the record.
        name: String,
        /// Configured name of the provider.
        provider: String,
    },
    /// Every name server that was queried returns the TXT records, and a challenge is about to be triggered. Reported
    /// once for each challenge.
    Validating,
    /// The certificate signing request is about to be sent.
    Issuing,
    /// A new certificate was installed.
    Installed {
        /// Serial number of the certificate.
        serial: String,
        /// End of its validity period.
        not_after: Time,
    },
    /// The certificate was deployed: every reload and every handshake check succeeded.
    Deployed,
    /// A deployment, or the roll-back of one, ended with an error, such as a failed reload. It is tried again; until
    /// then, servers may present the old or the new certificate.
    Undeployed {
        /// The human-readable reason.
        reason: String,
        /// Time of the next attempt.
        retry_at: Time,
    },
    /// The new certificate was not served, so the previous pair was put in place again. The text is the reason.
    RolledBack(String),
    /// The attempt failed, or was suspended and will be resumed.
    Failed {
        /// The human-readable reason.
        reason: String,
        /// Time of the next attempt.
        retry_at: Time,
    },
    /// The attempt in progress was abandoned: the configuration changed, or the user requested it. The text is the
    /// reason. A new attempt follows if the certificate is due.
    Abandoned(String),
    /// The issued certificate is missing or cannot be used, and has to be replaced. The text is the condition of the
    /// pair in place.
    Lost(String),
    /// The issued certificate is being downloaded again. The text is the condition of the pair in place.
    Restoring(String),
    /// The issued certificate was downloaded again and put in place. It still has to be deployed.
    Restored,
    /// An action failed with an error that has no event of its own, such as a transient error of the CA, of the store
    /// or of the preparation. It is tried again later. The text is the error.
    Error(String),
    /// An alert was raised. Not reported for [`Alert::Failing`], [`Alert::Undeployed`], [`Alert::RolledBack`] and
    /// [`Alert::Unblocked`], for which other events are.
    Alert(Alert),
    /// An alert could not be delivered to one of the sinks, which does not receive it again. The text is the error.
    AlertLost(String),
    /// A certificate installed by another host was put into use on this one. The text is its serial number.
    TakenOver(String),
    /// Owner, group or mode of files was corrected. The text says what was changed.
    Corrected(String),
    /// The certificate is due, but nothing is ordered for it, since this DNS provider or authority, which it may need,
    /// is not ready. Reported at the beginning, and again when provider, authority or reason change.
    Blocked(UnreadyDependency),
    /// The certificate can be ordered again, or is not due any more, after [`Blocked`](Self::Blocked). The value is the
    /// provider or authority that was not ready.
    Unblocked(Dependency),
    /// Information for the user that requires no action, such as addresses of name servers that do not answer.
    Note(String),
}

impl EngineEvent {
    /// Returns `true` for an event that reports a failure or an alert: [`Abandoned`](Self::Abandoned),
    /// [`Alert`](Self::Alert), [`AlertLost`](Self::AlertLost), [`Error`](Self::Error), [`Failed`](Self::Failed),
    /// [`Blocked`](Self::Blocked), [`Lost`](Self::Lost), [`RolledBack`](Self::RolledBack) and
    /// [`Undeployed`](Self::Undeployed).
    #[must_use]
    pub const fn needs_attention(&self) -> bool {
        matches!(
            self,
            Self::Abandoned(_)
                | Self::Alert(_)
                | Self::AlertLost(_)
                | Self::Error(_)
                | Self::Failed { .. }
                | Self::Blocked(_)
                | Self::Lost(_)
                | Self::RolledBack(_)
                | Self::Undeployed { .. }
        )
    }

    /// Returns the event that a journal record reports. A failed and a suspended attempt are both
    /// [`Failed`](Self::Failed). `None` for records of the state, of renewal information, of keys, of orders about to
    /// be created, of TXT records created or removed, and of issued or revoked certificates.
    pub(super) fn of(record: &Record) -> Option<Self> {
        Some(match record {
            Record::Began { authority, why, .. } => {
                Self::Began { authority: authority.clone(), reason: why.clone() }
            }
            Record::Ordered { url } => Self::Ordered(url.clone()),
            Record::Publishing(txt) => {
                Self::Publishing { name: txt.name.clone(), provider: txt.provider.clone() }
            }
            Record::Triggering { .. } => Self::Validating,
            Record::Finalizing => Self::Issuing,
            Record::Installed { held, .. } => {
                Self::Installed { serial: held.serial.clone(), not_after: held.not_after }
            }
            Record::Deployed { .. } => Self::Deployed,
            Record::Undeployed { why, until, .. } => {
                Self::Undeployed { reason: why.clone(), retry_at: *until }
            }
            Record::Failed { why, until, .. } | Record::Stalled { why, until, pending: false, .. } => {
                Self::Failed { reason: why.clone(), retry_at: *until }
            }
            Record::RolledBack { why, .. } => Self::RolledBack(why.clone()),
            Record::Abandoned { why, .. } => Self::Abandoned(why.clone()),
            Record::Lost { why, .. } => Self::Lost(why.clone()),
            Record::Restoring { why, .. } => Self::Restoring(why.clone()),
            Record::Restored { .. } => Self::Restored,
            Record::State(_)
            | Record::Ari(_)
            | Record::Stalled { pending: true, .. }
            | Record::Key { .. }
            | Record::Ordering { .. }
            | Record::Published { .. }
            | Record::Removed { .. }
            | Record::Issued { .. }
            | Record::Revoked { .. } => return None,
        })
    }
}

impl fmt::Display for EngineEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placeholder => f.write_str("a self-signed certificate until there is a real one"),
            Self::Began { authority, reason } => write!(f, "begins at {authority}: {reason}"),
            Self::Ordered(url) => write!(f, "ordered: {url}"),
            Self::Publishing { name, provider } => write!(f, "TXT {name} at {provider}"),
            Self::Validating => f.write_str("every name server has the record; the CA validates"),
            Self::Issuing => f.write_str("validated; the CA issues"),
            Self::Installed { serial, not_after } => {
                write!(f, "installed: serial {serial}, until {not_after}")
            }
            Self::Deployed => f.write_str("deployed"),
            Self::Undeployed { reason, retry_at } => {
                write!(f, "not deployed, next try {retry_at}: {reason}")
            }
            Self::RolledBack(reason) => write!(f, "rolled back: {reason}"),
            Self::Failed { reason, retry_at } => write!(f, "failed, next try {retry_at}: {reason}"),
            Self::Abandoned(reason) => write!(f, "the order under way is abandoned: {reason}"),
            Self::Lost(condition) => write!(f, "the certificate has to be replaced: {condition}"),
            Self::Restoring(condition) => write!(f, "the certificate is downloaded again: {condition}"),
            Self::Restored => f.write_str("the certificate is in place again"),
            Self::Error(reason) => write!(f, "error: {reason}"),
            Self::Alert(alert) => write!(f, "alert: {alert}"),
            Self::AlertLost(reason) => write!(f, "an alert could not be sent: {reason}"),
            Self::TakenOver(serial) => write!(f, "in use here: serial {serial}"),
            Self::Corrected(what) => write!(f, "corrected: {what}"),
            Self::Blocked(held) => write!(f, "held back, nothing is ordered: {held}"),
            Self::Unblocked(dependency) => {
                write!(f, "no longer held back: {dependency} is ready, or not needed any more")
            }
            Self::Note(text) => f.write_str(text),
        }
    }
}
