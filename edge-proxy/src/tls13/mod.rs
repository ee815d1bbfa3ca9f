//! The record layer of TLS 1.3 after the handshake (RFC 8446 §5, §7): traffic keys, records, and the buffer of
//! encrypted records. TLS connections and kernel TLS are built on it.

mod keys;
pub(crate) mod record;
mod sealed;

pub(crate) use keys::{Cipher, Secret, TrafficKeys};
pub(crate) use sealed::RecordBuffer;
