//! `[acme]`: certificates that the proxy gets for itself, by acme-dns01 in this process.
//!
//! They are kept in the folder of `[certificates]`, in the layout that everybody knows, and taken into use from there; the
//! new serial number is read back by a handshake with the proxy itself.

mod keeper;
mod settings;

pub(crate) use keeper::Keeper;
pub(crate) use settings::{AcmeSection, read, schema};
