//! Attacks against the running proxy, with an origin that records every byte it receives.
//!
//! The numbers are those of `ATTACKS.md`, whose every line names a test: S for framing, routing and identity, D for load.

#![cfg(feature = "server")]

mod early;
mod edge;
mod fairness;
mod framing;
mod http2;
mod http3;
mod interim;
mod names;
mod routing;
mod table;
mod upgrade;
mod upstream;
#[path = "../common/wire2.rs"]
mod wire2;
#[path = "../common/wire3.rs"]
mod wire3;
