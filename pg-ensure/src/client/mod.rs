//! A server: its state seen in one snapshot, a plan applied to it under one lock.

mod apply;
mod connect;
mod error;
mod execute;
mod inspect;
mod password;
mod probe;
mod query;
mod rows;

pub use apply::{Applied, ApplyOptions, Event, Observer, Outcome, Silent};
pub use connect::{Patience, Server};
pub use error::Error;
pub use password::SET_PASSWORDS;
pub use rows::SnapshotError;
