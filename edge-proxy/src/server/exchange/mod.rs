//! One request and its answer, whatever the versions of HTTP at either side.
//!
//! [`Downstream`] is how a client's connection carries an exchange, [`Upstream`](upstream) how a service's does. What is
//! between them knows nothing of versions: it polls both sides, moves content from one to the other, never holds more
//! than a buffer, and never reads what the other side cannot take.

mod downstream;
mod encode;
mod forward;
mod guard;
mod pump;
mod serve;

pub(crate) use downstream::{Abort, BodyError, Downstream, Lost, Part};
pub(crate) use guard::read_whole;
pub(crate) use pump::Failure;
pub(crate) use serve::{Connection, serve};
