//! The I/O shell: one worker a core, each with its own runtime, listeners and upstream connections.

mod accept;
mod buffer;
pub(crate) mod certificates;
mod date;
mod deadline;
mod exchange;
mod guards;
mod h1;
mod h2;
mod h3;
mod h3_service;
mod ids;
mod ktls;
mod listen;
pub(crate) mod metrics;
pub(crate) mod observe;
mod passwords;
pub(crate) mod proxy;
mod runtime;
mod socket;
mod table;
mod tls;
mod traces;
mod upstream;
mod whois;
mod worker;

pub use upstream::{TargetStatus, UpstreamTlsError};
