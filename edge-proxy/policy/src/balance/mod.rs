//! Load balancing: the choice of a target, target health and retries, as total functions over plain values.
//!
//! [`health`] is the state of one target, [`choose`] selects one of several, [`Budget`] limits retries. Time is an
//! argument, in milliseconds since any fixed moment.

mod budget;
mod choice;
pub mod health;
pub mod sticky;

pub use budget::Budget;
pub use choice::{Candidate, TriedTargets, choose, hash, sticky_target};
