//! HTTP/3 without I/O: frames, settings, QPACK, and the first flight of QUIC as far as a server name is in it.
//!
//! Everything here takes bytes and gives values; nothing is read from or written to a connection. The decoders are
//! incremental, never hold more than their limits say, and answer whatever RFC 9114 or RFC 9204 calls an error with the
//! code that it names.

pub mod client_hello;
pub mod control;
mod error;
pub mod frame;
pub mod initial;
pub mod qpack;
pub mod request;
pub mod response;
pub mod settings;
pub mod varint;

pub use crate::section::SectionLimits;
pub use error::{Code, Fault};

#[cfg(test)]
mod tests;
