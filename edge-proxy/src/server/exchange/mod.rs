//! One request and its answer, whatever the versions of HTTP at either side.
//!
//! [`Downstream`] is how a client's connection carries an exchange, [`Upstream`](upstream) how a service's does. What is
//! between them knows nothing of versions: it polls both sides, moves content from one to the other, never holds more
//! than a buffer, and never reads what the other side cannot take.

mod admit;
mod authenticate;
mod client;
mod connection;
mod context;
mod encode;
mod forward;
mod outcome;
mod pump;
mod reply;
mod serve;

pub(crate) use client::{Abort, ClientGone, Downstream};
pub(crate) use connection::Connection;
pub(crate) use serve::serve;
