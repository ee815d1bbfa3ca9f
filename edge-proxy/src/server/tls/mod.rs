//! TLS on TCP, with rustls driven directly: the ClientHello is seen before a byte is answered, and it is known which bytes
//! came as early data.

mod accept;
mod stream;

pub(crate) use accept::{Hello, read_hello, send_alert};
pub(crate) use stream::TlsStream;
