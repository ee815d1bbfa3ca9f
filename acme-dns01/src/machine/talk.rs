//! What the machine asks for, and what it is told.

use super::journal::{Record, Txt};
use crate::ledger::Entry;
use crate::lifetime::{Held, RenewalInfo};
use crate::time::Time;
use std::time::Duration;

/// What is to be done next. Each action is answered by one event; what is asked twice is harmless.
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
        /// Until when.
        until: Time,
        /// What for.
        why: String,
    },
    /// Read the authority's directory. Answered by [`Event::Directory`].
    Directory {
        /// Which authority.
        authority: String,
    },
    /// Ask when a certificate should be renewed. Answered by [`Event::RenewalInfo`].
    RenewalInfo {
        /// The authority.
        authority: String,
        /// The certificate's identifier.
        certificate: String,
    },
    /// Make sure there is an account. Answered by [`Event::Account`].
    Account {
        /// The authority.
        authority: String,
        /// The authority has forgotten the account that is in the store.
        forgotten: bool,
    },
    /// Check before anything is asked of the CA: CAA, zones, credentials. Answered by [`Event::Clear`].
    Preflight {
        /// The authority.
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
        /// Its URL.
        url: String,
    },
    /// Read an authorization. Answered by [`Event::Authorization`].
    FetchAuthorization {
        /// Its URL.
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
        /// The order.
        order: String,
        /// Where to.
        url: String,
    },
    /// Fetch the chain, choose among alternates, verify that it fits the key, and stage the pair. Answered by
    /// [`Event::Staged`].
    Download {
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

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its URL.
    pub url: String,
    /// Its state.
    pub status: Status,
    /// Its authorizations.
    pub authorizations: Vec<String>,
    /// Where the certificate request belongs.
    pub finalize: String,
    /// The certificate.
    pub certificate: Option<String>,
    /// What went wrong, in the CA's words.
    pub problem: Option<String>,
    /// When to look again.
    pub retry_after: Option<Duration>,
}

/// An authorization, of which only the DNS-01 challenge counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Its URL.
    pub url: String,
    /// The name, without `*.`.
    pub name: String,
    /// Its state.
    pub status: Status,
    /// The DNS-01 challenge's URL.
    pub challenge: Option<String>,
    /// The challenge's state.
    pub challenge_status: Status,
    /// The TXT record's value.
    pub value: String,
    /// What went wrong, in the CA's words.
    pub problem: Option<String>,
    /// When to look again.
    pub retry_after: Option<Duration>,
}

/// What happened.
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
        /// What it said, if it made sense.
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
    /// Where a record belongs; its value is not looked at.
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
    Staged(Box<Held>),
    /// Another certificate is served than the one that was installed.
    NotServed(String),
    /// It did not work.
    Error(Trouble),
}

/// Why something did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Trouble {
    /// Of which kind.
    pub kind: TroubleKind,
    /// For people: what was tried, what came, what to change.
    pub why: String,
    /// Not again before, in the CA's words.
    pub retry_after: Option<Duration>,
}

/// What follows from a trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TroubleKind {
    /// The network, a time-out, a server error: it may work in a moment.
    Transient,
    /// It will not work as it is: a refusal by the CA.
    Refused,
    /// Too many requests; see when it may be tried again.
    RateLimited,
    /// The certificate was replaced already (RFC 9773 §5).
    AlreadyReplaced,
    /// The CA does not know the account.
    AccountUnknown,
    /// The CA does not know the order any more, or what came of it cannot be used.
    OrderGone,
    /// On our side: the DNS provider, the disk, the configuration.
    Ours,
}

impl Trouble {
    /// A trouble without a time to come again.
    #[must_use]
    pub fn new(kind: TroubleKind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into(), retry_after: None }
    }
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alert {
    /// An attempt failed, or goes on later.
    Failing {
        /// Why.
        why: String,
        /// The next try.
        next: Time,
        /// How many in a row.
        failures: u32,
    },
    /// A certificate nears its end, or is past it.
    Expiring {
        /// Its end.
        not_after: Time,
        /// What stands in the way.
        why: String,
    },
    /// The new certificate was not served; the old one is back.
    RolledBack {
        /// What was seen.
        why: String,
    },
    /// It could not be made known to those who serve it.
    Undeployed {
        /// Why.
        why: String,
    },
    /// A record of ours is still in the DNS.
    Leftover {
        /// Its name.
        name: String,
        /// Why it could not be removed.
        why: String,
    },
    /// The CA forgot our account; a new one was made.
    AccountForgotten {
        /// The authority.
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
            Self::Expiring { not_after, why } => write!(f, "the certificate ends {not_after}: {why}"),
            Self::RolledBack { why } => {
                write!(f, "the new certificate is not served, so the old one is back: {why}")
            }
            Self::Undeployed { why } => write!(f, "the new certificate could not be made known: {why}"),
            Self::Leftover { name, why } => write!(f, "a TXT record of ours is still at {name}: {why}"),
            Self::AccountForgotten { authority } => {
                write!(f, "{authority} does not know our account any more; it is registered again")
            }
            Self::Clock { ahead } if *ahead > 0 => {
                write!(f, "this machine's clock is {ahead} s ahead of the CA's")
            }
            Self::Clock { ahead } => write!(f, "this machine's clock is {} s behind the CA's", -ahead),
            Self::Recovered => f.write_str("there is a new certificate again"),
        }
    }
}
