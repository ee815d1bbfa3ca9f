//! HTTP/2 without I/O: frames, HPACK, and field sections.
//!
//! Everything here takes bytes and gives values; nothing is read from or written to a connection. The decoders never hold more
//! than their limits say, and answer whatever RFC 9113 or RFC 7541 calls an error.

mod error;
pub mod frame;
pub mod hpack;
pub mod response;

pub use error::Code;
