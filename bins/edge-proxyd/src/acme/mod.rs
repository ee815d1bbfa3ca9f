//! The section `[acme]`: certificates that the proxy obtains itself, by acme-dns01 in this process.
//!
//! They are stored in the folder of `[certificates]`, in its usual layout, and loaded from there. A handshake with the
//! proxy then verifies the new serial number.

mod keeper;
mod settings;

pub(crate) use keeper::Keeper;
pub(crate) use settings::{AcmeSection, read, schema};
