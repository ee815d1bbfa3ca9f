//! The write-ahead journal of one certificate, and the state that it adds up to.

use super::error::ErrorKind;
use crate::lifetime::{Ari, CertificateInfo};
use crate::name::Name;
use crate::time::Time;
use std::collections::BTreeSet;
use std::time::Duration;

/// A TXT record of ours, or one that may be ours.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Txt {
    /// Configured name of the provider that has the zone.
    pub provider: String,
    /// The zone, as the provider calls it; a provider may put an identifier behind a `/`.
    pub zone: String,
    /// The whole name, after all CNAMEs.
    pub name: String,
    /// Value of the TXT record.
    pub value: String,
    /// The provider's identifier of the record, once it is known.
    pub id: Option<String>,
    /// It is known to be there.
    pub published: bool,
}

/// One line of the journal. What it says was durably written before it was done.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Record {
    /// All that went before, in one.
    State(Box<State>),
    /// Renewal information of the CA.
    Ari(Ari),
    /// An attempt begins.
    Began {
        /// Time of the event.
        at: Time,
        /// At which authority.
        authority: String,
        /// The human-readable reason.
        why: String,
        /// The certificate that it replaces, as ARI names it.
        replaces: Option<String>,
        /// The configuration that asked for it; unknown in old journals.
        #[cfg_attr(feature = "serde", serde(default))]
        request: Option<Box<OrderSpec>>,
    },
    /// The attempt was abandoned: it began under another configuration, or the user asked for it.
    Abandoned {
        /// Time of the event.
        at: Time,
        /// The human-readable reason.
        why: String,
    },
    /// The certificate that was issued is not in place any more, or cannot be used.
    Lost {
        /// Time of the event.
        at: Time,
        /// Condition of the pair in place.
        why: String,
    },
    /// The certificate that was issued is about to be downloaded again: its key is there, its chain is not.
    Restoring {
        /// Time of the event.
        at: Time,
        /// Condition of the pair in place.
        why: String,
    },
    /// The certificate that was issued is in place again.
    Restored {
        /// Time of the event.
        at: Time,
    },
    /// The certificate was revoked.
    Revoked {
        /// Time of the event.
        at: Time,
        /// Its serial number.
        serial: String,
    },
    /// A server could not be told of the certificate.
    Undeployed {
        /// Time of the event.
        at: Time,
        /// The human-readable reason.
        why: String,
        /// The next try.
        until: Time,
    },
    /// The key is in the store.
    Key {
        /// SHA-256 of the public key.
        public_key: String,
    },
    /// An order is about to be asked for.
    Ordering {
        /// Time of the event.
        at: Time,
    },
    /// There is an order.
    Ordered {
        /// URL of the object.
        url: String,
    },
    /// A record is about to be created.
    Publishing(Txt),
    /// A record was created.
    Published {
        /// Value of the TXT record.
        value: String,
        /// The provider's identifier.
        id: Option<String>,
    },
    /// A record was removed.
    Removed {
        /// Value of the TXT record.
        value: String,
    },
    /// The CA is about to be told that a challenge is ready.
    Triggering {
        /// The authorization's URL.
        authorization: String,
    },
    /// The certificate request is about to be sent.
    Finalizing,
    /// There is a certificate.
    Issued {
        /// URL of the object.
        url: String,
    },
    /// The certificate is in the store; the attempt is over.
    Installed {
        /// Time of the event.
        at: Time,
        /// Properties of the new certificate.
        held: Box<CertificateInfo>,
    },
    /// The attempt is over without a certificate.
    Failed {
        /// Time of the event.
        at: Time,
        /// The human-readable reason.
        why: String,
        /// Not again before.
        until: Time,
        /// Kind of the error.
        #[cfg_attr(feature = "serde", serde(default))]
        kind: Option<ErrorKind>,
    },
    /// The attempt goes on later, with the same order.
    Stalled {
        /// Time of the event.
        at: Time,
        /// The human-readable reason.
        why: String,
        /// Earliest time of the next request.
        until: Time,
        /// Kind of the error.
        #[cfg_attr(feature = "serde", serde(default))]
        kind: Option<ErrorKind>,
    },
    /// Everybody who has to know of the certificate does, and serves it.
    Deployed {
        /// Time of the event.
        at: Time,
    },
    /// The certificate was not served, so that the old one was put back.
    RolledBack {
        /// Time of the event.
        at: Time,
        /// Description of the certificate that was served.
        why: String,
        /// The next try.
        until: Time,
    },
}

/// The parts of a configuration that an order depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct OrderSpec {
    /// Names of the certificate, sorted.
    pub names: Vec<Name>,
    /// Type of its key, as [`KeyType::as_str`](crate::KeyType::as_str) writes it.
    pub key_type: String,
    /// ACME profile of the order.
    pub profile: Option<String>,
    /// Configured name of the authority.
    pub authority: String,
    /// Directory URL of the authority, if known.
    pub directory: Option<String>,
    /// Configured names of the DNS providers; all if empty.
    pub providers: Vec<String>,
}

/// An attempt to get a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Attempt {
    /// When it began.
    pub began: Time,
    /// At which authority.
    pub authority: String,
    /// ARI identifier of the certificate that it replaces.
    pub replaces: Option<String>,
    /// SHA-256 of its public key, once there is a key.
    pub key: Option<String>,
    /// An order may have been asked for.
    pub ordering: bool,
    /// URL of the order.
    pub order: Option<String>,
    /// The authorizations whose challenge may have been triggered.
    pub triggered: BTreeSet<String>,
    /// The certificate request may have been sent.
    pub finalizing: bool,
    /// The certificate's URL.
    pub issued: Option<String>,
    /// The configuration that asked for it; unknown in old journals.
    #[cfg_attr(feature = "serde", serde(default))]
    pub request: Option<Box<OrderSpec>>,
}

/// State of a certificate: the sum of its journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct State {
    /// The certificate in the store.
    pub held: Option<CertificateInfo>,
    /// Renewal information of the certificate.
    pub ari: Option<Ari>,
    /// The attempt under way.
    pub attempt: Option<Attempt>,
    /// Records of ours that are, or may be, in the DNS.
    pub txt: Vec<Txt>,
    /// The certificate has to be made known yet.
    pub undeployed: bool,
    /// Consecutive deployments after which it was not served.
    pub refused: u32,
    /// Attempts that failed or stalled since the last success.
    pub failures: u32,
    /// Earliest time of the next attempt, as written; see [`State::paused_until`].
    pub until: Option<Time>,
    /// Earliest time of the next deployment, as written; see [`State::deploy_paused_until`].
    pub deploy_until: Option<Time>,
    /// The last failure, as text for people.
    #[cfg_attr(feature = "serde", serde(rename = "trouble"))]
    pub last_error: Option<String>,
    /// Kind of the last failure.
    #[cfg_attr(feature = "serde", serde(default))]
    pub last_error_kind: Option<ErrorKind>,
    /// Time at which `until` was written.
    #[cfg_attr(feature = "serde", serde(default))]
    pub paused_at: Option<Time>,
    /// Time at which `deploy_until` was written.
    #[cfg_attr(feature = "serde", serde(default))]
    pub deploy_paused_at: Option<Time>,
    /// The last failure of a reload or of a check of the served certificate.
    #[cfg_attr(feature = "serde", serde(default))]
    pub deploy_error: Option<String>,
    /// Consecutive failures to deploy.
    #[cfg_attr(feature = "serde", serde(default))]
    pub deploy_failures: u32,
    /// Condition by which the certificate was lost, until there is another.
    #[cfg_attr(feature = "serde", serde(default))]
    pub lost: Option<String>,
    /// URL of the certificate in the store, by which it can be downloaded again.
    #[cfg_attr(feature = "serde", serde(default))]
    pub url: Option<String>,
    /// The certificate is being downloaded again.
    #[cfg_attr(feature = "serde", serde(default))]
    pub restoring: bool,
    /// Serial number of the certificate that was revoked.
    #[cfg_attr(feature = "serde", serde(default))]
    pub revoked: Option<String>,
    /// The configuration of the last attempt: a pause after a failure holds for the same one only.
    #[cfg_attr(feature = "serde", serde(default))]
    pub last_request: Option<Box<OrderSpec>>,
}

/// The longest pause that can have been written: Retry-After may ask for four weeks.
const LONGEST_PAUSE: Duration = crate::ledger::LONGEST_RETRY_AFTER;

/// Returns the end of a pause that is in force. One from a clock that was ahead is not, nor one longer than any can be.
fn in_force(until: Option<Time>, at: Option<Time>, now: Time) -> Option<Time> {
    until
        .filter(|until| now < *until && *until <= now.after(LONGEST_PAUSE))
        .filter(|_| at.is_none_or(|at| !at.is_ahead_of(now)))
}

impl State {
    /// The sum of a journal.
    pub fn replay<'r>(records: impl IntoIterator<Item = &'r Record>) -> Self {
        let mut state = Self::default();
        for record in records {
            state.apply(record);
        }
        state
    }

    /// Returns the end of the pause after a failure, if it is in force.
    #[must_use]
    pub fn paused_until(&self, now: Time) -> Option<Time> {
        in_force(self.until, self.paused_at, now)
    }

    /// Returns the end of the pause after a failed deployment, if it is in force.
    #[must_use]
    pub fn deploy_paused_until(&self, now: Time) -> Option<Time> {
        in_force(self.deploy_until, self.deploy_paused_at, now)
    }

    /// Applies one more line.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::State(state) => *self = (**state).clone(),
            Record::Ari(ari) => self.ari = Some(ari.clone()),
            Record::Began { at, authority, replaces, request, .. } => {
                (self.until, self.paused_at) = (None, None);
                self.last_request.clone_from(request);
                self.attempt = Some(Attempt {
                    began: *at,
                    authority: authority.clone(),
                    replaces: replaces.clone(),
                    request: request.clone(),
                    ..Attempt::default()
                });
            }
            Record::Abandoned { .. } => {
                self.attempt = None;
                (self.until, self.paused_at) = (None, None);
                (self.failures, self.last_error, self.last_error_kind) = (0, None, None);
            }
            Record::Lost { why, .. } => {
                (self.held, self.ari, self.revoked) = (None, None, None);
                (self.url, self.restoring) = (None, false);
                (self.undeployed, self.refused, self.deploy_failures) = (false, 0, 0);
                (self.deploy_until, self.deploy_paused_at, self.deploy_error) = (None, None, None);
                self.lost = Some(why.clone());
            }
            Record::Restoring { .. } => self.restoring = true,
            Record::Restored { .. } => {
                (self.restoring, self.undeployed) = (false, true);
                (self.deploy_until, self.deploy_paused_at, self.deploy_error) = (None, None, None);
                self.deploy_failures = 0;
            }
            Record::Revoked { serial, .. } => {
                self.revoked = Some(serial.clone());
                (self.until, self.paused_at) = (None, None);
            }
            Record::Undeployed { at, why, until } => {
                (self.deploy_until, self.deploy_paused_at) = (Some(*until), Some(*at));
                self.deploy_error = Some(why.clone());
                self.deploy_failures = self.deploy_failures.saturating_add(1);
            }
            Record::Key { public_key } => self.of_attempt(|attempt| attempt.key = Some(public_key.clone())),
            Record::Ordering { .. } => self.of_attempt(|attempt| attempt.ordering = true),
            Record::Ordered { url } => self.of_attempt(|attempt| attempt.order = Some(url.clone())),
            Record::Publishing(txt) => {
                if !self.txt.iter().any(|known| known.value == txt.value && known.name == txt.name) {
                    self.txt.push(txt.clone());
                }
            }
            Record::Published { value, id } => {
                for txt in self.txt.iter_mut().filter(|txt| txt.value == *value) {
                    txt.published = true;
                    txt.id.clone_from(id);
                }
            }
            Record::Removed { value } => self.txt.retain(|txt| txt.value != *value),
            Record::Triggering { authorization } => {
                self.of_attempt(|attempt| {
                    attempt.triggered.insert(authorization.clone());
                });
            }
            Record::Finalizing => self.of_attempt(|attempt| attempt.finalizing = true),
            Record::Issued { url } => self.of_attempt(|attempt| attempt.issued = Some(url.clone())),
            Record::Installed { held, .. } => {
                self.held = Some((**held).clone());
                self.url = self.attempt.take().and_then(|attempt| attempt.issued);
                self.restoring = false;
                self.ari = None;
                self.undeployed = true;
                (self.refused, self.failures, self.deploy_failures) = (0, 0, 0);
                (self.until, self.deploy_until) = (None, None);
                (self.paused_at, self.deploy_paused_at) = (None, None);
                (self.last_error, self.last_error_kind, self.deploy_error) = (None, None, None);
                (self.lost, self.revoked) = (None, None);
            }
            Record::Failed { at, why, until, kind } => {
                self.attempt = None;
                self.fail(*at, why, *until, *kind);
            }
            Record::Stalled { at, why, until, kind } => self.fail(*at, why, *until, *kind),
            Record::Deployed { .. } => {
                self.undeployed = false;
                (self.refused, self.deploy_failures) = (0, 0);
                (self.deploy_until, self.deploy_paused_at, self.deploy_error) = (None, None, None);
            }
            Record::RolledBack { at, why, until } => {
                self.refused = self.refused.saturating_add(1);
                (self.deploy_until, self.deploy_paused_at) = (Some(*until), Some(*at));
                self.deploy_error = Some(why.clone());
            }
        }
    }

    fn fail(&mut self, at: Time, why: &str, until: Time, kind: Option<ErrorKind>) {
        self.failures = self.failures.saturating_add(1);
        (self.until, self.paused_at) = (Some(until), Some(at));
        (self.last_error, self.last_error_kind) = (Some(why.to_owned()), kind);
    }

    fn of_attempt(&mut self, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = &mut self.attempt {
            change(attempt);
        }
    }
}
