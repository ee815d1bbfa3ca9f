#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod caa;
mod key_type;
mod ledger;
mod lifetime;
mod machine;
mod name;
pub mod propagation;
pub mod simulate;
mod time;

pub use key_type::{KeyType, KeyTypeError};
pub use ledger::{Entry, Ledger, Limit, Limits, Rate, Refusal};
pub use lifetime::{Ari, Due, Held, Plan, RenewalInfo, Wanted, Why, due};
pub use machine::{
    Action, Alert, Attempt, Authorization, Event, Machine, Order, Patience, Record, Spec, State, Status,
    Trouble, TroubleKind, Txt, machine_at,
};
pub use name::{Name, NameError, zone_candidates};
pub use time::{DAY, Time, spoken};
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
pub mod engine;
#[cfg(feature = "client")]
pub mod live;
#[cfg(feature = "client")]
pub mod store;
