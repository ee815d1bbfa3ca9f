//! The configuration of certificates, as `acme-dns01` reads it and as `[acme]` of edge-proxyd does.
//!
//! Two stages: [`Settings`] is the file as written, with secrets by reference; [`Settings::build`] reads the secrets and makes
//! an engine and its certificates of it.

mod build;
mod certificates;
mod reference;
mod settings;

pub use build::{BuildError, Setup};
pub use reference::reference;
pub use settings::{
    Alerts, AuthoritySettings, CertificateSettings, DnsSettings, MailSettings, ProviderSettings, Settings,
    WORDS,
};
