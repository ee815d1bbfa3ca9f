//! The I/O shell: one worker a core, each with its own runtime, listeners and upstream connections.

mod body;
mod bound_sockets;
mod buffer;
pub(crate) mod builder;
pub(crate) mod certificates;
mod date;
mod deadline;
mod descriptors;
mod downstream;
pub(crate) mod error;
mod exchange;
mod ids;
mod interfaces;
mod ktls;
mod lifecycle;
mod limits;
mod listen;
pub(crate) mod metrics;
pub(crate) mod observe;
mod passwords;
pub(crate) mod proxy;
mod relay;
pub(crate) mod resumption;
mod runtime;
mod socket;
mod splice;
mod sys;
mod tailscale;
mod tls;
mod tls13;
mod traces;
mod turns;
mod upstream;
mod view;
mod worker;

pub use upstream::{Cause, TargetChange, TargetEvent, TargetStatus, UpstreamTlsError};
