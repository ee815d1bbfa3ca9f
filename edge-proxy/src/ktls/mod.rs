//! Kernel TLS: the kernel encrypts the output of connections that send much.
//!
//! Only the sending side is offloaded. Input is decrypted in this process as before
//! ([`TlsStream`](super::tls::TlsStream)), so that the same code handles KeyUpdate, alerts, a half-close and invalid
//! records; responses to them are sent through the kernel ([`Kernel`]). Content is spliced from the upstream's socket
//! to the client's through a pipe ([`SplicePipe`](super::splice::SplicePipe)), and never enters this process.
//!
//! - A KeyUpdate of the client is answered if the kernel can change keys (Linux 6.14); otherwise the connection is
//!   reset, never ended as if it were complete. The same holds for the limit of records per key.
//! - The kernel stores records when TCP's send queue is full, and drops them when the socket is closed. An exchange is
//!   therefore complete only once they are in that queue.
//! - The support is probed; without it, nothing is offloaded.

mod kernel;
mod probe;
#[cfg(test)]
mod tests;

pub(crate) use kernel::Kernel;
pub(crate) use probe::{KernelTlsSupport, probe};
