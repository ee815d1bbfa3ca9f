//! Kernel TLS: of a connection that sends much, the kernel encrypts what is sent.
//!
//! Only the sending side is given away. rustls goes on reading, so that whatever a client may send (its own KeyUpdate, alerts,
//! a half-close, garbage) is judged by the same code as ever; what rustls has to answer is taken from it and said by way of the
//! kernel ([`Sender`]). Content then goes from the service's socket to the client's through a pipe ([`Relay`]), and never comes
//! into this process.
//!
//! - The traffic secret is what rustls tells its key log, and the number of the next record is counted where records are
//!   written. Neither is trusted: a record that rustls wrote is decrypted by them before the kernel gets them.
//! - The client's wish for new keys is followed where the kernel can change them (Linux 6.14); elsewhere the connection is
//!   reset, never ended as if it were complete. The same goes for the number of records that one key may encrypt.
//! - The kernel keeps records that find TCP's queue full, and drops them at the end of the socket. So an exchange is not
//!   complete before they are in that queue.
//! - A kernel without TLS is found out at the start, and nothing is different then.

mod keys;
mod probe;
mod relay;
mod sender;
mod sys;
#[cfg(test)]
mod tests;

pub(crate) use keys::{Cipher, Listener, take_said};
pub(crate) use probe::{Support, probe};
pub(crate) use relay::Relay;
pub(crate) use sender::{Sender, Watch};
