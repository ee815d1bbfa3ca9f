//! The section `[acme]`: certificates that the proxy obtains and renews itself, with the engine of acme-dns01 in this
//! process.
//!
//! The engine writes them to the folder of `[certificates]`, from which the proxy loads them. After each renewal, a TLS
//! handshake with the proxy verifies that it serves the certificate with the new serial number.

mod renewals;
mod renewer;
mod settings;

pub(crate) use renewals::Renewals;
pub(crate) use renewer::CertificateRenewer;
pub(crate) use settings::{AcmeSection, read, schema};
