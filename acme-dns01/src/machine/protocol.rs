//! Actions that the machine requests, and events that answer them.

use super::attempt::TxtRecord;
use super::error::AcmeError;
use super::journal::Record;
use crate::ledger::Entry;
use crate::lifetime::{CertificateInfo, RenewalInfo};
use crate::time::Time;
use std::time::Duration;

/// The next action. Each one except [`Wait`](Self::Wait) has one event or [`Event::Error`] as its result, and may be
/// performed again after an interruption.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Append this record to the journal, durably. Answered by [`Event::Done`].
    Journal(Record),
    /// Record this entry in the ledger, durably. Answered by [`Event::Done`].
    Note(Entry),
    /// Send an alert. Answered by [`Event::Done`].
    Alert(Alert),
    /// Do nothing before this time. Not answered.
    Wait {
        /// Earliest time of the next poll.
        until: Time,
        /// Human-readable reason for the wait.
        why: String,
    },
    /// Fetch the CA's directory. Answered by [`Event::Directory`].
    Directory {
        /// Configured name of the authority.
        authority: String,
    },
    /// Fetch the renewal information of a certificate. Answered by [`Event::RenewalInfo`] or
    /// [`Event::UnknownCertificate`].
    RenewalInfo {
        /// Configured name of the authority.
        authority: String,
        /// ARI identifier of the certificate (RFC 9773 §4.1).
        certificate: String,
    },
    /// Ensure that an account is registered. Answered by [`Event::Account`].
    Account {
        /// Configured name of the authority.
        authority: String,
        /// `true` if the CA does not know the account in the store, so that it has to be registered again.
        forgotten: bool,
    },
    /// Check CAA and the zones of all names before the order. Answered by [`Event::Clear`].
    Preflight {
        /// Configured name of the authority.
        authority: String,
    },
    /// Generate and store the private key for the new certificate, or find the one that is stored already; with
    /// [`CertificateSpec::reuse_key`](crate::CertificateSpec), take that of the current certificate. Answered by
    /// [`Event::Key`].
    Key,
    /// Create an order. Answered by [`Event::Order`].
    NewOrder {
        /// ARI identifier of the certificate that the order replaces. `None` if it replaces none.
        replaces: Option<String>,
    },
    /// Search for an open order for the same names. Answered by [`Event::Order`] or [`Event::NoOrder`].
    FindOrder,
    /// Fetch the order. Answered by [`Event::Order`].
    FetchOrder {
        /// URL of the order.
        url: String,
    },
    /// Fetch an authorization. Answered by [`Event::Authorization`].
    FetchAuthorization {
        /// URL of the authorization.
        url: String,
    },
    /// Find the location of a TXT record: follow CNAME records, find provider and zone. Answered by [`Event::Located`].
    Locate {
        /// Name of the challenge record before CNAME records are followed, `_acme-challenge.…`.
        name: String,
    },
    /// Create a TXT record in addition to existing ones. Answered by [`Event::Published`].
    Publish(TxtRecord),
    /// Query every address of every authoritative name server for all of these records. Answered by [`Event::Visible`]
    /// or [`Event::NotVisible`].
    Verify(Vec<TxtRecord>),
    /// Tell the CA that a challenge is ready for validation. Answered by [`Event::Done`].
    Trigger {
        /// URL of the challenge.
        challenge: String,
    },
    /// Send the certificate signing request for the stored key. Answered by [`Event::Order`].
    Finalize {
        /// URL of the order.
        order: String,
        /// URL to which the certificate signing request is sent.
        url: String,
    },
    /// Download the chain, select among alternate chains, verify that it matches the key, and stage the pair. Answered
    /// by [`Event::Staged`].
    Download {
        /// URL of the certificate.
        url: String,
    },
    /// Download the chain of the issued certificate again, verify that it is the same and matches the remaining key,
    /// and stage the pair. Answered by [`Event::Done`].
    Restore {
        /// Configured name of the authority.
        authority: String,
        /// URL of the certificate.
        url: String,
    },
    /// Install the staged pair atomically. Answered by [`Event::Done`].
    Install,
    /// Remove the TXT record with this name and value. Answered by [`Event::Done`].
    Unpublish(TxtRecord),
    /// Reload the servers and verify the served certificate by handshakes. Answered by [`Event::Done`],
    /// [`Event::NotServed`] or [`Event::Lost`].
    Deploy,
    /// Put the previous pair in place again, and reload the servers. Answered by [`Event::Done`].
    Rollback,
}

/// Status of an order, authorization or challenge (RFC 8555 §7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// `pending`: authorizations or validations are outstanding.
    Pending,
    /// `ready`: all authorizations are valid, and the order can be finalized.
    Ready,
    /// `processing`: the CA is validating or issuing.
    Processing,
    /// `valid`: the certificate was issued, or the authorization is valid.
    Valid,
    /// `invalid`, `expired`, `deactivated`, `revoked`, or an unknown status.
    Invalid,
}

/// An ACME order (RFC 8555 §7.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// URL of the order.
    pub url: String,
    /// Status of the order.
    pub status: Status,
    /// URLs of the authorizations.
    pub authorizations: Vec<String>,
    /// URL to which the certificate signing request is sent.
    pub finalize: String,
    /// Certificate URL. `None` until the certificate is issued.
    pub certificate: Option<String>,
    /// The problem document of the CA (RFC 9457), formatted as one line of text. `None` without an error.
    pub problem: Option<String>,
    /// Delay before the next poll (Retry-After). `None` if the response had none.
    pub retry_after: Option<Duration>,
}

/// An authorization (RFC 8555 §7.1.4), with its DNS-01 challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// URL of the authorization.
    pub url: String,
    /// Identifier of the authorization: the name without `*.`.
    pub name: String,
    /// Status of the authorization.
    pub status: Status,
    /// URL of the DNS-01 challenge. `None` if the CA does not offer one.
    pub challenge: Option<String>,
    /// Status of the DNS-01 challenge; [`Status::Invalid`] without one.
    pub challenge_status: Status,
    /// Value of the TXT record (RFC 8555 §8.4). Empty without a DNS-01 challenge.
    pub value: String,
    /// The problem document of the failed challenge (RFC 9457), formatted as one line of text, or the status of an
    /// authorization that cannot become valid. `None` without an error.
    pub problem: Option<String>,
    /// Delay before the next poll (Retry-After). `None` if the response had none.
    pub retry_after: Option<Duration>,
}

/// The result of an [`Action`], which the caller passes to [`Machine::handle`](crate::Machine::handle).
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The action was performed.
    Done,
    /// The directory was fetched.
    Directory {
        /// The CA's clock. `None` if the response had no Date field.
        date: Option<Time>,
        /// `true` if the CA supports renewal information (RFC 9773).
        renewal_info: bool,
    },
    /// The renewal information was fetched.
    RenewalInfo {
        /// The suggested window. `None` if it is malformed, or the CA does not support ARI.
        info: Option<RenewalInfo>,
        /// Delay before the next query (Retry-After). `None` if the response had none.
        retry_after: Option<Duration>,
        /// The CA's clock, from the response's Date field. `None` without one.
        date: Option<Time>,
    },
    /// The account is registered.
    Account,
    /// The preflight checks passed.
    Clear,
    /// The certificate's private key is stored.
    Key {
        /// SHA-256 digest of the public key, in hexadecimal digits.
        public_key: String,
    },
    /// The order as the CA returned it.
    Order(Order),
    /// No open order with these names was found.
    NoOrder,
    /// The authorization as the CA returned it.
    Authorization(Authorization),
    /// Provider, zone and name of the TXT record. Its value is ignored.
    Located(TxtRecord),
    /// The TXT record was created.
    Published {
        /// The provider's identifier of the record. `None` if the provider has none.
        id: Option<String>,
    },
    /// Every queried server has every value.
    Visible,
    /// At least one server lacks a value. The text is a human-readable report.
    NotVisible(String),
    /// The pair was staged. The value is the properties of the certificate.
    Staged(Box<CertificateInfo>),
    /// A server presents another certificate than the installed one. The text describes it.
    NotServed(String),
    /// The issued certificate, which was to be deployed, is missing from the store. The text is the reason.
    Lost(String),
    /// The CA does not know the certificate whose renewal information was requested. The text is the reason.
    UnknownCertificate(String),
    /// The action failed.
    Error(AcmeError),
}

/// A DNS provider or certificate authority, by its configured name, on which the order of a certificate depends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dependency {
    /// A certificate authority, by its configured name.
    Authority(String),
    /// A DNS provider, by its configured name.
    Provider(String),
}

impl std::fmt::Display for Dependency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Authority(name) => write!(f, "the authority {name}"),
            Self::Provider(name) => write!(f, "the provider {name}"),
        }
    }
}

/// A condition that the user should be notified of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alert {
    /// An attempt failed, or was suspended and will be resumed; or the store failed, so that nothing can be done for
    /// the certificate.
    Failing {
        /// The error of the attempt or of the store, as text.
        why: String,
        /// Time of the next attempt.
        next: Time,
        /// Number of attempts that failed or were suspended since a certificate was last installed or an attempt
        /// abandoned, or of consecutive failures of the store.
        failures: u32,
    },
    /// A certificate has less than a sixth of its lifetime left, or has expired. Raised at most once a day.
    Expiring {
        /// End of the validity period.
        not_after: Time,
        /// Last error, or a text that the renewal is about to begin.
        why: String,
    },
    /// A server did not present the new certificate, so the previous pair was put in place again.
    RolledBack {
        /// Description of the certificate that was served, or of the failed handshake.
        why: String,
    },
    /// A deployment, or the roll-back of one, ended with an error, such as a failed reload; or a certificate that
    /// another host installed into a shared store could not be put into use on this one. Until the next deployment,
    /// servers may present the old or the new certificate.
    Undeployed {
        /// The error, as text.
        why: String,
    },
    /// A TXT record of this program could not be removed from the DNS. Raised at the sixth failure in a row, and for
    /// certificates that are not configured any more at each; the removal is tried again.
    Leftover {
        /// Name of the record.
        name: String,
        /// Reason why the record could not be removed.
        why: String,
    },
    /// The CA did not know the account, and a new one was registered.
    AccountForgotten {
        /// Configured name of the authority.
        authority: String,
    },
    /// The local clock differs from the CA's by 30 s or more, and by more than a minute from the difference known
    /// before.
    Clock {
        /// Local clock minus the CA's clock, in seconds.
        ahead: i64,
    },
    /// A certificate was issued and installed after failed attempts.
    Recovered,
    /// The certificate is due, and nothing is ordered for it, since a DNS provider or authority that it may need is not
    /// ready. Raised after ten minutes, and then once a day.
    Blocked {
        /// The provider or authority, and what it lacks, as text.
        why: String,
    },
    /// The certificate can be ordered again, or is not due any more, after [`Blocked`](Self::Blocked).
    Unblocked {
        /// The provider or authority that was not ready.
        dependency: Dependency,
    },
}

impl Alert {
    /// Returns the stable, machine-readable name: `failing`, `expiring`, `rolled_back`, `undeployed`, `leftover`,
    /// `account_forgotten`, `clock`, `recovered`, `held_back` or `released`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Failing { .. } => "failing",
            Self::Expiring { .. } => "expiring",
            Self::RolledBack { .. } => "rolled_back",
            Self::Undeployed { .. } => "undeployed",
            Self::Leftover { .. } => "leftover",
            Self::AccountForgotten { .. } => "account_forgotten",
            Self::Clock { .. } => "clock",
            Self::Recovered => "recovered",
            Self::Blocked { .. } => "held_back",
            Self::Unblocked { .. } => "released",
        }
    }
}

impl std::fmt::Display for Alert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failing { why, next, failures } => {
                write!(f, "no certificate (failure {failures} in a row, next try {next}): {why}")
            }
            Self::Expiring { not_after, why } => write!(f, "the certificate expires {not_after}: {why}"),
            Self::RolledBack { why } => {
                write!(f, "the new certificate is not served; the old one was put back: {why}")
            }
            Self::Undeployed { why } => write!(f, "the new certificate could not be deployed: {why}"),
            Self::Leftover { name, why } => write!(f, "a TXT record could not be removed from {name}: {why}"),
            Self::AccountForgotten { authority } => {
                write!(f, "{authority} does not know the account any more; it was registered again")
            }
            Self::Clock { ahead } if *ahead > 0 => {
                write!(f, "this machine's clock is {ahead} s ahead of the CA's")
            }
            Self::Clock { ahead } => write!(f, "this machine's clock is {} s behind the CA's", -ahead),
            Self::Recovered => f.write_str("renewed after failures"),
            Self::Blocked { why } => write!(f, "the certificate is due, and held back: {why}"),
            Self::Unblocked { dependency } => {
                write!(f, "no longer held back: {dependency} is ready, or not needed any more")
            }
        }
    }
}
