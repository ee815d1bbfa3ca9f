//! Kernel TLS: of a connection that sends much, the kernel encrypts what is sent.
//!
//! Only the sending side is given away. What a client sends is read as before ([`TlsStream`](super::tls::TlsStream)), so that
//! whatever it may be (its own KeyUpdate, alerts, a half-close, garbage) is judged by the same code as ever; what is to be
//! answered is said by way of the kernel ([`Kernel`]). Content then goes from the service's socket to the client's through a pipe
//! ([`SplicePipe`](super::splice::SplicePipe)), and never comes into this process.
//!
//! - The client's wish for new keys is followed where the kernel can change them (Linux 6.14); elsewhere the connection is
//!   reset, never ended as if it were complete. The same goes for the number of records that one key may encrypt.
//! - The kernel keeps records that find TCP's queue full, and drops them at the end of the socket. So an exchange is not
//!   complete before they are in that queue.
//! - A kernel without TLS is found out at the start, and nothing is different then.

mod kernel;
mod probe;
mod sys;
#[cfg(test)]
mod tests;

pub(crate) use kernel::Kernel;
pub(crate) use probe::{Support, probe};
