//! Which of an upstream's targets a request goes to, and when it goes to another: total functions over plain values.
//!
//! [`health`] is what is known of one target, [`choose`] picks one of several, [`Budget`] says how many repetitions there
//! may be. Time comes in as milliseconds since any fixed moment.

mod budget;
mod choice;
pub mod health;

pub use budget::Budget;
pub use choice::{Candidate, TriedTargets, choose, hash};
