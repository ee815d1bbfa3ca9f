//! HTTP/2 without I/O: frames, HPACK, and responses.
//!
//! All functions work on bytes in memory; none reads from or writes to a connection. The decoders store at most what
//! their limits permit, and report every error of RFC 9113 and RFC 7541.

mod error;
pub mod frame;
pub mod hpack;
pub mod response;

pub use error::Code;
