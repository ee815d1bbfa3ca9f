#![doc = include_str!("../README.md")]

pub mod diff;
pub mod outcome;
pub mod progress;
pub mod replace;
pub mod secret;
pub mod table;
