//! The engine against real clients: `h3` as an independent peer, and one of raw frames that says what no client would.

mod abuse;
mod client;
mod exchange;
mod lifecycle;
mod service;
mod silence;
