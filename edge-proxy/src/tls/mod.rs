//! TLS on TCP. rustls is driven directly, so that the ClientHello is read before anything is sent, and early data is
//! distinguished. After a TLS 1.3 handshake of a client, the record layer of this crate takes over.

mod accept;
mod parameters;
mod rustls_io;
mod secrets;
mod session;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use accept::{Hello, read_hello, send_alert};
pub use parameters::TlsParameters;
pub(crate) use secrets::SecretCapture;
pub(crate) use stream::TlsStream;
