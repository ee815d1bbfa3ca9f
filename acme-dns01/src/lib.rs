// Links of the README to items: the first definition of a link counts.
#![doc = include_str!("links.md")]
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod caa;
mod condition;
mod key_type;
mod ledger;
mod lifetime;
mod machine;
mod name;
pub mod propagation;
pub mod simulate;
mod time;

pub use condition::{Condition, StoredPair};
pub use key_type::{KeyType, KeyTypeError};
pub use ledger::{Entry, Ledger, Limit, Limits, OrderLimits, Rate, Refusal};
pub use lifetime::{
    Ari, CertificateInfo, Origin, RenewalInfo, RenewalPolicy, RenewalReason, RenewalTime, Requirements, due,
};
pub use machine::{
    AcmeError, Action, Alert, Attempt, Authorization, CertificateSpec, Dependency, ErrorKind, Event, Machine,
    Order, OrderSpec, Record, State, Status, Timeouts, TxtRecord, renewal_due,
};
pub use name::{Name, NameError, zone_candidates};
pub use time::{DAY, Time, format_duration};
#[cfg(feature = "client")]
pub mod adopt;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
pub mod dns;
#[cfg(feature = "client")]
pub mod provider;
#[cfg(feature = "client")]
pub(crate) use client::now as client_now;
#[cfg(feature = "client")]
pub mod alert;
#[cfg(feature = "client")]
pub mod deferred;
#[cfg(feature = "client")]
pub mod engine;
#[cfg(feature = "client")]
mod finding;
#[cfg(feature = "client")]
pub mod live;
#[cfg(feature = "client")]
mod process;
#[cfg(feature = "client")]
pub mod store;

#[cfg(feature = "dns-update")]
pub use dns_update;
#[cfg(feature = "mail")]
pub use lettre;
#[cfg(feature = "postgres")]
pub use tokio_postgres;
#[cfg(feature = "client")]
pub use {bytes, http, rustls, secrecy, serde_json, tokio};

/// Formats an error with its causes, separated by colons, on one line. A cause that the text already ends with is left
/// out.
#[cfg(feature = "client")]
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        below = cause.source();
    }
    text
}
