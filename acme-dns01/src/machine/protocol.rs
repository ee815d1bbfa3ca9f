//! Actions that the machine requests, and events that answer them.

use super::error::AcmeError;
use super::journal::{Record, Txt};
use crate::ledger::Entry;
use crate::lifetime::{CertificateInfo, RenewalInfo};
use crate::time::Time;
use std::time::Duration;

/// The next step. Each action is answered by one event and may be repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Append this to the journal, durably. Answered by [`Event::Done`].
    Journal(Record),
    /// Enter this into the ledger, durably. Answered by [`Event::Done`].
    Note(Entry),
    /// Tell a person. Answered by [`Event::Done`].
    Alert(Alert),
    /// Nothing before this time.
    Wait {
        /// Earliest time of the next poll.
        until: Time,
        /// Reason for the wait.
        why: String,
    },
    /// Read the authority's directory. Answered by [`Event::Directory`].
    Directory {
        /// Configured name of the authority.
        authority: String,
    },
    /// Ask when a certificate should be renewed. Answered by [`Event::RenewalInfo`].
    RenewalInfo {
        /// Configured name of the authority.
        authority: String,
        /// The certificate's identifier.
        certificate: String,
    },
    /// Make sure there is an account. Answered by [`Event::Account`].
    Account {
        /// Configured name of the authority.
        authority: String,
        /// The authority has forgotten the account that is in the store.
        forgotten: bool,
    },
    /// Check before anything is asked of the CA: CAA, zones, credentials. Answered by [`Event::Clear`].
    Preflight {
        /// Configured name of the authority.
        authority: String,
    },
    /// Make the key for the new certificate, or find the one made before, and store it. Answered by [`Event::Key`].
    Key,
    /// Ask for an order. Answered by [`Event::Order`].
    NewOrder {
        /// The certificate that it replaces.
        replaces: Option<String>,
    },
    /// Find an order for the same names that is still open. Answered by [`Event::Order`] or [`Event::NoOrder`].
    FindOrder,
    /// Read the order. Answered by [`Event::Order`].
    FetchOrder {
        /// URL of the object.
        url: String,
    },
    /// Read an authorization. Answered by [`Event::Authorization`].
    FetchAuthorization {
        /// URL of the object.
        url: String,
    },
    /// Find where a TXT record belongs: follow CNAMEs, find the provider and its zone. Answered by [`Event::Located`].
    Locate {
        /// The name to begin at, `_acme-challenge.…`.
        name: String,
    },
    /// Add a TXT record beside whatever is there. Answered by [`Event::Published`].
    Publish(Txt),
    /// Ask every authoritative address whether it has all of these. Answered by [`Event::Visible`] or
    /// [`Event::NotVisible`].
    Verify(Vec<Txt>),
    /// Tell the CA that a challenge is ready. Answered by [`Event::Done`].
    Trigger {
        /// The challenge's URL.
        challenge: String,
    },
    /// Send the certificate request for the stored key. Answered by [`Event::Order`].
    Finalize {
        /// URL of the order.
        order: String,
        /// URL for the certificate signing request.
        url: String,
    },
    /// Fetch the chain, choose among alternates, verify that it fits the key, and stage the pair. Answered by
    /// [`Event::Staged`].
    Download {
        /// The certificate's URL.
        url: String,
    },
    /// Fetch the chain of the certificate that was issued again, verify that it is the same and fits the key that is left, and
    /// stage the pair. Answered by [`Event::Done`].
    Restore {
        /// Configured name of the authority.
        authority: String,
        /// The certificate's URL.
        url: String,
    },
    /// Put the staged pair in place, at once. Answered by [`Event::Done`].
    Install,
    /// Remove exactly this TXT record. Answered by [`Event::Done`].
    Unpublish(Txt),
    /// Tell everybody who serves the certificate, and check by a handshake. Answered by [`Event::Done`] or
    /// [`Event::NotServed`].
    Deploy,
    /// Put the pair back that was there before. Answered by [`Event::Done`].
    Rollback,
}

/// The state of an order or an authorization (RFC 8555 §7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Something is still to be done.
    Pending,
    /// All is authorized; the certificate request may be sent.
    Ready,
    /// The CA is at work.
    Processing,
    /// It is done.
    Valid,
    /// It failed, expired, or was taken back.
    Invalid,
}

/// An ACME order (RFC 8555 §7.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// URL of the object.
    pub url: String,
    /// Status of the object.
    pub status: Status,
    /// URLs of the authorizations.
    pub authorizations: Vec<String>,
    /// URL for the certificate signing request.
    pub finalize: String,
    /// URL of the certificate, once issued.
    pub certificate: Option<String>,
    /// The problem document of the CA (RFC 9457), formatted as one line of text.
    pub problem: Option<String>,
    /// The time to wait before the next poll (Retry-After).
    pub retry_after: Option<Duration>,
}

/// An authorization, of which only the DNS-01 challenge counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// URL of the object.
    pub url: String,
    /// The name, without `*.`.
    pub name: String,
    /// Status of the object.
    pub status: Status,
    /// The DNS-01 challenge's URL.
    pub challenge: Option<String>,
    /// The challenge's state.
    pub challenge_status: Status,
    /// The TXT record's value.
    pub value: String,
    /// The problem document of the CA (RFC 9457), formatted as one line of text.
    pub problem: Option<String>,
    /// The time to wait before the next poll (Retry-After).
    pub retry_after: Option<Duration>,
}

/// Result of an action.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It was done.
    Done,
    /// The directory was read.
    Directory {
        /// The CA's clock.
        date: Option<Time>,
        /// It has ARI.
        renewal_info: bool,
    },
    /// The CA was asked about renewal.
    RenewalInfo {
        /// The renewal window, if it was valid.
        info: Option<RenewalInfo>,
        /// When to ask again.
        retry_after: Option<Duration>,
        /// The CA's clock.
        date: Option<Time>,
    },
    /// There is an account.
    Account,
    /// Nothing stands in the way.
    Clear,
    /// The key is stored.
    Key {
        /// SHA-256 of its public key.
        public_key: String,
    },
    /// The order as it is.
    Order(Order),
    /// There is no such order.
    NoOrder,
    /// The authorization as it is.
    Authorization(Authorization),
    /// Provider, zone and name of the record; its value is ignored.
    Located(Txt),
    /// The record is there.
    Published {
        /// The provider's identifier.
        id: Option<String>,
    },
    /// Every server has every value.
    Visible,
    /// Not every server has every value; which not.
    NotVisible(String),
    /// The pair is staged.
    Staged(Box<CertificateInfo>),
    /// Another certificate is served than the one that was installed.
    NotServed(String),
    /// The certificate that was issued is not in the store any more.
    Lost(String),
    /// The CA does not know the certificate that it was asked about.
    UnknownCertificate(String),
    /// It did not work.
    Error(AcmeError),
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alert {
    /// An attempt failed, or goes on later.
    Failing {
        /// The human-readable reason.
        why: String,
        /// The next try.
        next: Time,
        /// Number of consecutive failures.
        failures: u32,
    },
    /// A certificate nears its end, or is past it.
    Expiring {
        /// End of the validity period.
        not_after: Time,
        /// Reason why it was not renewed.
        why: String,
    },
    /// The new certificate was not served; the old one is back.
    RolledBack {
        /// Description of the certificate that was served.
        why: String,
    },
    /// It could not be made known to those who serve it.
    Undeployed {
        /// The human-readable reason.
        why: String,
    },
    /// A record of ours is still in the DNS.
    Leftover {
        /// Name of the record.
        name: String,
        /// Reason why the record could not be removed.
        why: String,
    },
    /// The CA forgot our account; a new one was made.
    AccountForgotten {
        /// Configured name of the authority.
        authority: String,
    },
    /// The machine's clock is off.
    Clock {
        /// By how many seconds it is ahead of the CA's.
        ahead: i64,
    },
    /// It works again.
    Recovered,
}

impl Alert {
    /// A word for programs: `failing`, `expiring`, …
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
        }
    }
}
