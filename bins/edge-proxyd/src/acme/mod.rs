//! The section `[acme]`: certificates that the proxy obtains itself, by acme-dns01 in this process.
//!
//! They are stored in the folder of `[certificates]`, in its usual layout, and loaded from there. A handshake with the
//! proxy then verifies the new serial number.

mod renewer;
mod settings;

pub(crate) use renewer::CertificateRenewer;
pub(crate) use settings::{AcmeSection, read, schema};
