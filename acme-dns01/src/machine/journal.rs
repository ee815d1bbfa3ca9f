//! The write-ahead journal of one certificate, and its replay to a state.

use super::attempt::{Attempt, OrderSpec, TxtRecord};
use super::error::ErrorKind;
use super::pause::in_force;
use crate::lifetime::{Ari, CertificateInfo};
use crate::time::Time;

/// One record of the journal, written durably before the action that it announces, or after the event that it reports.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Record {
    /// A snapshot that replaces all previous records.
    State(Box<State>),
    /// Renewal information from the CA, or the time of the next query after one that failed.
    Ari(Ari),
    /// An issuance attempt begins.
    Began {
        /// Time of the event.
        at: Time,
        /// Configured name of the authority.
        authority: String,
        /// The reason of the attempt, as text: which rule or event made the certificate due.
        why: String,
        /// ARI identifier of the certificate that the order replaces. `None` if it replaces none.
        replaces: Option<String>,
        /// Configuration on which the attempt is based. `None` in journals of older versions.
        #[cfg_attr(feature = "serde", serde(default))]
        request: Option<Box<OrderSpec>>,
    },
    /// The attempt was abandoned, since the configuration changed or the user requested it.
    Abandoned {
        /// Time of the event.
        at: Time,
        /// The reason of the end, as text: a change of the configuration, or the request.
        why: String,
    },
    /// The issued certificate is missing, damaged or replaced by another, cannot be restored, or was installed by
    /// another program and is not known to the CA. A new one will be ordered.
    Lost {
        /// Time of the event.
        at: Time,
        /// Condition of the pair in place, or the reason why the certificate cannot be restored, as text.
        why: String,
    },
    /// The issued certificate is about to be downloaded again, since its key is present but its chain is not.
    Restoring {
        /// Time of the event.
        at: Time,
        /// Condition of the pair in place, as text.
        why: String,
    },
    /// The issued certificate was downloaded again and put in place. It still has to be deployed.
    Restored {
        /// Time of the event.
        at: Time,
    },
    /// The certificate was revoked through this program, and is due for replacement.
    Revoked {
        /// Time of the event.
        at: Time,
        /// Serial number of the certificate.
        serial: String,
        /// SHA-256 digest of the public key in hexadecimal digits, if the reason was that the key is compromised.
        #[cfg_attr(feature = "serde", serde(default))]
        compromised_key: Option<String>,
    },
    /// A deployment, or the roll-back of one, ended with an error, such as a failed reload. It is tried again; until
    /// then, servers may present the old or the new certificate.
    Undeployed {
        /// Time of the event.
        at: Time,
        /// The error of the deployment or roll-back, as text.
        why: String,
        /// Time of the next attempt.
        until: Time,
        /// Digest of the deployment configuration, [`CertificateSpec::deployment`](crate::CertificateSpec). `None` if
        /// it was not given, or in journals of older versions.
        #[cfg_attr(feature = "serde", serde(default))]
        deployment: Option<String>,
    },
    /// The private key for the order was stored.
    Key {
        /// SHA-256 digest of the public key, in hexadecimal digits.
        public_key: String,
    },
    /// A newOrder request is about to be sent.
    Ordering {
        /// Time of the event.
        at: Time,
    },
    /// An order was created, or found again after an interruption.
    Ordered {
        /// URL of the order.
        url: String,
    },
    /// A TXT record is about to be created.
    Publishing(TxtRecord),
    /// A TXT record was created.
    Published {
        /// Value of the TXT record.
        value: String,
        /// The provider's identifier of the record. `None` if the provider has none.
        id: Option<String>,
    },
    /// A TXT record was removed.
    Removed {
        /// Value of the TXT record.
        value: String,
    },
    /// The CA is about to be told that a challenge is ready.
    Triggering {
        /// URL of the authorization.
        authorization: String,
    },
    /// The certificate signing request is about to be sent.
    Finalizing,
    /// The certificate was issued.
    Issued {
        /// URL of the certificate.
        url: String,
    },
    /// The new certificate was installed in the store; the attempt is complete. It still has to be deployed.
    Installed {
        /// Time of the event.
        at: Time,
        /// Properties of the new certificate.
        held: Box<CertificateInfo>,
    },
    /// The attempt ended without a certificate.
    Failed {
        /// Time of the event.
        at: Time,
        /// The error that ended the attempt, as text.
        why: String,
        /// Earliest time of the next attempt.
        until: Time,
        /// Kind of the error. `None` in journals of older versions.
        #[cfg_attr(feature = "serde", serde(default))]
        kind: Option<ErrorKind>,
    },
    /// The attempt was suspended, and will be resumed with the same order. If `pending`, nothing failed.
    Stalled {
        /// Time of the event.
        at: Time,
        /// The error that suspended the attempt, as text.
        why: String,
        /// Earliest time of the next request.
        until: Time,
        /// Kind of the error. `None` in journals of older versions.
        #[cfg_attr(feature = "serde", serde(default))]
        kind: Option<ErrorKind>,
        /// `true` if the CA processes the order, and asked to be polled later.
        #[cfg_attr(feature = "serde", serde(default))]
        pending: bool,
    },
    /// The certificate was deployed: every reload and every check succeeded.
    Deployed {
        /// Time of the event.
        at: Time,
    },
    /// A server did not present the certificate, so the previous pair was put in place again.
    RolledBack {
        /// Time of the event.
        at: Time,
        /// Description of the certificate that was served, or of the failed handshake.
        why: String,
        /// Time of the next deployment.
        until: Time,
        /// Digest of the deployment configuration, as in [`Undeployed`](Self::Undeployed).
        #[cfg_attr(feature = "serde", serde(default))]
        deployment: Option<String>,
    },
}

/// State of a certificate, replayed from its journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct State {
    /// Properties of the certificate that was issued last. It is in place in the store, or after a roll-back the
    /// previous pair of the store. `None` before the first issuance and after a loss.
    pub held: Option<CertificateInfo>,
    /// Renewal information of the certificate. `None` if it was not queried since the last installation or loss.
    pub ari: Option<Ari>,
    /// The attempt in progress, which may be suspended. `None` without one.
    pub attempt: Option<Attempt>,
    /// TXT records that this program created or may have created, and has not removed.
    pub txt: Vec<TxtRecord>,
    /// `true` from the installation or restoration of a certificate until its deployment has succeeded, also after a
    /// roll-back.
    pub undeployed: bool,
    /// Number of times that the issued certificate was rolled back since servers did not present it. 0 again once it is
    /// deployed or lost, or another is installed.
    #[cfg_attr(feature = "serde", serde(rename = "refused"))]
    pub roll_backs: u32,
    /// Number of attempts that failed or were suspended since a certificate was last installed or an attempt abandoned.
    pub failures: u32,
    /// Earliest time of the next attempt, as recorded; it may have passed. `None` without a recorded pause. See
    /// [`State::paused_until`].
    pub until: Option<Time>,
    /// Earliest time of the next deployment, as recorded; it may have passed. `None` without a recorded pause. See
    /// [`State::deploy_paused_until`].
    pub deploy_until: Option<Time>,
    /// Human-readable reason of the last failure. `None` if there was none since the last installed certificate or
    /// abandoned attempt.
    #[cfg_attr(feature = "serde", serde(rename = "trouble"))]
    pub last_error: Option<String>,
    /// Kind of the last failure. `None` without a failure, or in journals of older versions.
    #[cfg_attr(feature = "serde", serde(default))]
    pub last_error_kind: Option<ErrorKind>,
    /// Time at which `until` was recorded. `None` if it was not, or in journals of older versions.
    #[cfg_attr(feature = "serde", serde(default))]
    pub paused_at: Option<Time>,
    /// Time at which `deploy_until` was recorded. `None` if it was not, or in journals of older versions.
    #[cfg_attr(feature = "serde", serde(default))]
    pub deploy_paused_at: Option<Time>,
    /// Human-readable reason for which the issued certificate is not deployed: the error of the last deployment or
    /// roll-back, or a description of the certificate that was served instead. `None` before the first failure, and
    /// once it is deployed, restored or lost, or another is installed.
    #[cfg_attr(feature = "serde", serde(default))]
    pub deploy_error: Option<String>,
    /// Number of deployments and roll-backs of the issued certificate that ended with an error, such as a failed
    /// reload. 0 again once it is deployed, restored or lost, or another is installed. A roll-back that succeeds does
    /// not count.
    #[cfg_attr(feature = "serde", serde(default))]
    pub deploy_failures: u32,
    /// Digest of the configuration of the last deployment that failed or was rolled back. `None` if it was not given,
    /// or in journals of older versions. A pause after such a deployment applies to the same configuration only.
    #[cfg_attr(feature = "serde", serde(default))]
    pub failed_deployment: Option<String>,
    /// Reason for which the issued certificate was declared lost ([`Record::Lost`]). `None` unless it was, and again
    /// after another is installed.
    #[cfg_attr(feature = "serde", serde(default))]
    pub lost: Option<String>,
    /// URL of the issued certificate at the CA, from which it can be downloaded again. `None` if not known.
    #[cfg_attr(feature = "serde", serde(default))]
    pub url: Option<String>,
    /// `true` from the beginning of a restoration until the certificate is restored, lost or replaced.
    #[cfg_attr(feature = "serde", serde(default))]
    pub restoring: bool,
    /// Serial number of the last certificate that was revoked through this program. It remains after a replacement,
    /// since the revoked pair may be the previous one, or be in place again. `None` if none was revoked.
    #[cfg_attr(feature = "serde", serde(default))]
    pub revoked: Option<String>,
    /// SHA-256 digests of the last eight public keys that were compromised, or that the CA refused.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rejected_keys: Vec<String>,
    /// Configuration of the last attempt. `None` without one. A pause after a failure applies to the same configuration
    /// only.
    #[cfg_attr(feature = "serde", serde(default))]
    pub last_request: Option<Box<OrderSpec>>,
}

impl State {
    /// Returns the end of the pause after a failure. `None` if no pause is in force.
    #[must_use]
    pub fn paused_until(&self, now: Time) -> Option<Time> {
        in_force(self.until, self.paused_at, now)
    }

    /// Returns the end of the pause after a failed deployment. `None` if no pause is in force.
    #[must_use]
    pub fn deploy_paused_until(&self, now: Time) -> Option<Time> {
        in_force(self.deploy_until, self.deploy_paused_at, now)
    }

    /// Returns the TXT record with this value. `None` if it was not created, or is removed.
    pub(super) fn challenge_record(&self, value: &str) -> Option<&TxtRecord> {
        self.txt.iter().find(|txt| txt.value == value)
    }
}
