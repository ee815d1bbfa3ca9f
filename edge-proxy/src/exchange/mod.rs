//! One request with its response, independent of the HTTP versions on either side.
//!
//! [`Downstream`] is the interface of the client's connection, [`Upstream`](upstream) that of the upstream's. The pump
//! between them does not depend on versions: it polls both sides, moves content from one to the other, stores at most
//! one buffer of it, and never reads what the other side cannot accept.

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
pub(super) mod request_id;
mod serve;
mod urgency;

pub(crate) use client::{Abort, ClientGone, Downstream};
pub(crate) use connection::Connection;
pub(crate) use serve::{drop_at_once, serve};
