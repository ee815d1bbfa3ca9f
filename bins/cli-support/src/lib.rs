// Links of the README to items: the first definition of a link counts.
#![doc = include_str!("links.md")]
#![doc = include_str!("../README.md")]

pub mod account;
pub mod bounded;
pub mod diff;
pub mod document;
pub mod finding;
pub mod generate;
pub mod journal;
pub mod outcome;
pub mod pipe;
pub mod progress;
pub mod reference;
pub mod replace;
pub mod secret;
pub mod table;
pub mod usage;
pub mod verbosity;
pub mod words;
