//! HTTP/3 without I/O: frames, settings, QPACK, and the first flight of QUIC up to the server name.
//!
//! All functions work on bytes in memory; none reads from or writes to a connection. The decoders are incremental,
//! store at most what their limits permit, and report every error of RFC 9114 and RFC 9204 with its code.

pub mod client_hello;
pub mod control;
mod error;
pub mod frame;
pub mod initial;
pub mod padding;
pub mod qpack;
pub mod request;
pub mod response;
pub mod settings;
pub mod varint;

pub use crate::section::SectionLimits;
pub use error::{Code, ProtocolError};

#[cfg(test)]
mod tests;
