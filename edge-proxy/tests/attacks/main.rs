//! Attacks against the running proxy, with an origin that records every byte it receives.
//!
//! The numbers refer to `ATTACKS.md`: S for framing and routing.

#![cfg(feature = "server")]

mod edge;
mod framing;
mod http2;
mod http3;
mod routing;
mod upstream;
#[path = "../common/wire2.rs"]
mod wire2;
#[path = "../common/wire3.rs"]
mod wire3;
