//! TLS on TCP, with rustls driven directly: the ClientHello is seen before a byte is answered, and it is known which bytes
//! came as early data. After a handshake of TLS 1.3 the records are our own.

mod accept;
mod secrets;
mod session;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use accept::{Hello, read_hello, send_alert};
pub(crate) use secrets::SecretCapture;
pub(crate) use stream::TlsStream;
