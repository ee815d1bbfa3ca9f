//! Kernel TLS: for connections that send much, the kernel encrypts the output.
//!
//! Only the sending side is offloaded. Input is read as before ([`TlsStream`](super::tls::TlsStream)), so that the same
//! code judges whatever arrives (KeyUpdate, alerts, a half-close, garbage); responses to it are sent through the kernel
//! ([`Kernel`]). Content is spliced from the upstream's socket to the client's through a pipe
//! ([`SplicePipe`](super::splice::SplicePipe)), and never enters this process.
//!
//! - A KeyUpdate of the client is followed if the kernel can change keys (Linux 6.14); otherwise the connection is
//!   reset, never
//!   ended as if it were complete. The same holds for the limit of records per key.
//! - The kernel keeps records that find TCP's queue full, and drops them when the socket is closed. So an exchange is
//!   complete
//!   only once they are in that queue.
//! - The support is probed at start; without it nothing changes.

mod kernel;
mod probe;
#[cfg(test)]
mod tests;

pub(crate) use kernel::Kernel;
pub(crate) use probe::{KernelTlsSupport, probe};
