//! The I/O shell of an upgrade: directories, processes, the journal.

mod across;
mod after;
mod back;
mod backup;
mod beside;
mod cleanup;
mod condition;
mod configuration;
mod encoding;
mod error;
mod files;
mod gather;
mod gc;
mod isolation;
mod journal;
mod leftovers;
mod outcome;
mod pg_upgrade;
mod prepare;
mod queries;
mod reach;
mod rehearse;
mod request;
mod run;
mod server;
mod steps;
mod tools;
mod upgrade;

pub use after::inventory_of;
pub use error::UpgradeError;
pub use gc::{GcReport, collect};
pub use outcome::Outcome;
pub use rehearse::{Rehearsal, RehearsalOptions};
pub use request::{HbaChecker, NoHbaChecker, NoopObserver, Observer, Request, Services};
pub use upgrade::{Plan, Upgrade};
